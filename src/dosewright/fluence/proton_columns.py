"""Columns of the dose influence of proton spots, by pyRadPlan's pencil beam (Hong et al. 1996)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Column = tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]


def proton_columns(engine: Any, beam_info: dict[str, Any], rbe: float) -> Iterator[Column]:
    """Yield rows (ascending) and dose in Gy (RBE) per million protons of each of a beam's spots.

    Args:
        engine: pyRadPlan's engine; its voxels are the rows.
        beam_info: What it knows of the beam.
        rbe: The dose is multiplied by it.
    """
    voxels = np.asarray(engine._vdose_grid)
    for index in range(beam_info["beam"]["num_of_rays"]):
        ray = engine._init_ray(beam_info, index)
        nominal = engine._extract_single_scenario_ray(ray, 0)
        for spot in range(ray["num_of_bixels"]):
            found = engine._compute_bixel(nominal, spot)
            rows = np.searchsorted(voxels, np.asarray(found["ix"]))
            yield rows, np.asarray(found["physical_dose"], np.float32) * np.float32(rbe)
