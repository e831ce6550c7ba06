"""Pictures of a plan: DVHs, slices, and its fluence beam by beam."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from dosewright.core import Beam
from dosewright.core.files import atomic_path
from dosewright.dose.figures import draw_dvh, draw_slices
from dosewright.fluence.beamlets import Beamlets
from dosewright.jobs.plan_comparison import ACHIEVED, REFERENCE, SEQUENCED, PlanDoses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 90
_COLUMNS = 5  # of fluence maps
_MAP_INCH = 2.1
_DVH_ORDER = (ACHIEVED, SEQUENCED)  # solid and dashed; the dose asked for and the reference follow


def save_figures(
    doses: PlanDoses,
    beams: Sequence[Beam],
    beamlets: Beamlets,
    fluence: Float[np.ndarray, " b"],
    folder: Path,
) -> dict[str, Path]:
    """Draw a plan's pictures and return their files by name: dvh, slices, reference (where there is one), fluence."""
    case, given = doses.case, doses.doses
    shown = [label for label in _DVH_ORDER if label in given]
    shown += [label for label in given if label not in shown]
    final = shown[len(doses.planned) - 1]  # what the machine would give
    figures = {
        "dvh": draw_dvh(case, {label: given[label] for label in shown}),
        "slices": draw_slices(case, given[final], given[doses.wanted], labels=(final, doses.wanted)),
    }
    if REFERENCE in given and doses.wanted != REFERENCE:
        figures["reference"] = draw_slices(case, given[final], given[REFERENCE], labels=(final, REFERENCE))
    figures["fluence"] = draw_fluence(beams, beamlets, fluence)
    paths = {}
    for name, figure in figures.items():
        suffix = "svg" if name == "dvh" else "png"
        paths[name] = folder / f"{case.case_id}_{name}.{suffix}"
        with atomic_path(paths[name]) as temporary:
            figure.savefig(temporary, format=suffix, dpi=DPI)
    return paths


def draw_fluence(beams: Sequence[Beam], beamlets: Beamlets, fluence: Float[np.ndarray, " b"]) -> "Figure":
    """Return the fluence of every beam as a map in the beam's eye view, all on one scale.

    Beamlets that share a place, as the energies of protons do, are summed.

    Args:
        beams: The beams.
        beamlets: Where the fluence passes the isocentre's plane.
        fluence: Per beamlet, in the units of the dose influence.
    """
    from matplotlib.figure import Figure

    maps = [_map(beamlets, fluence, beam) for beam in range(len(beams))]
    top = max((float(np.nanmax(image)) for image, _ in maps if np.isfinite(image).any()), default=0.0)
    columns = min(_COLUMNS, max(len(beams), 1))
    rows = -(-len(beams) // columns)
    figure = Figure(figsize=(columns * _MAP_INCH + 0.9, rows * (_MAP_INCH + 0.35) + 0.3), layout="constrained")
    grid = figure.subplots(max(rows, 1), columns, squeeze=False)
    drawn = None
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, beam, (image, extent) in zip(grid.ravel(), beams, maps):
        if image.size:
            drawn = axes.imshow(image, origin="lower", extent=extent, vmin=0.0, vmax=top or 1.0, cmap="magma")
        couch = f", couch {beam.couch_angle_deg:g}°" if beam.couch_angle_deg else ""
        axes.set_title(f"gantry {beam.gantry_angle_deg:g}°{couch}", fontsize=9)
    if drawn is not None:
        figure.colorbar(drawn, ax=grid, label="fluence", shrink=0.8)
    return figure


def _map(
    beamlets: Beamlets, fluence: Float[np.ndarray, " b"], beam: int
) -> tuple[Float[np.ndarray, "v u"], tuple[float, float, float, float]]:
    """Return a beam's fluence on a grid in mm and that grid's edges; NaN where the beam has no beamlet."""
    own = beamlets.beam == beam
    if not own.any():
        return np.full((0, 0), np.nan), (0.0, 0.0, 0.0, 0.0)
    size, u_mm, v_mm = beamlets.size_mm, beamlets.u_mm[own], beamlets.v_mm[own]
    columns = np.rint((u_mm - u_mm.min()) / size).astype(int)
    rows = np.rint((v_mm - v_mm.min()) / size).astype(int)
    image = np.zeros((rows.max() + 1, columns.max() + 1))
    present = np.zeros(image.shape, bool)
    np.add.at(image, (rows, columns), fluence[own])
    present[rows, columns] = True
    image[~present] = np.nan
    half = size / 2
    extent = (u_mm.min() - half, u_mm.max() + half, v_mm.min() - half, v_mm.max() + half)
    return image, tuple(float(edge) for edge in extent)  # type: ignore[return-value]
