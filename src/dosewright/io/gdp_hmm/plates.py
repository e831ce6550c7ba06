"""A case's plates as the challenge stores them, and how far a file's own are from them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dosewright.core import PatientCase
from dosewright.geometry import angle_plate, beam_plate, isocenter_of, targets_mask
from dosewright.io.gdp_hmm.content import PlanContent
from dosewright.io.gdp_hmm.names import TOTAL

Plane = Float[np.ndarray, "y x"]
Weights = Float[np.ndarray, "z y x"]


@dataclass(frozen=True)
class PlateDifference:
    """Where a file's plate differs from the one computed.

    Args:
        plate: "angle_plate" or "beam_plate".
        voxels: How many differ by more than 1e-6.
        largest: By how much at most.
    """

    plate: str
    voxels: int
    largest: float


def plates_of(case: PatientCase) -> tuple[Plane, Weights]:
    """Return angle plate (y, x) and beam plate (z, y, x), as published; both zero for a case without beams.

    The beam plate goes through PTV_Total where the case has it (`zPTV_Total`), else through the union of its targets.
    Of an arc every second control point counts, in the case's order.

    Raises:
        InputError: If the isocentre lies outside the grid.
    """
    if not case.beams:
        return np.zeros(case.grid.shape_zyx[1:], np.float32), np.zeros(case.grid.shape_zyx)
    isocenter, angles = isocenter_of(case), [beam.gantry_angle_deg for beam in case.beams]
    target = case.structures[TOTAL] if TOTAL in case.structures else targets_mask(case)
    every_second = case.technique == "VMAT"
    return (
        angle_plate(case.grid, isocenter, angles),
        beam_plate(target, case.grid, isocenter, angles, every_second=every_second),
    )


def plate_differences(content: PlanContent, case: PatientCase) -> tuple[PlateDifference, ...]:
    """Return where a file's own plates differ from those of the case read from it; () where they agree.

    A plate the file lacks, or has in another shape, differs in all voxels.
    """
    found = []
    for name, plate in zip(("angle_plate", "beam_plate"), plates_of(case), strict=True):
        stored = content.plates.get(name)
        if stored is None or stored.shape != plate.shape:
            found.append(PlateDifference(name, plate.size, float("inf")))
            continue
        gap = np.abs(stored.astype(np.float64) - plate)
        if (voxels := int(np.count_nonzero(~(gap <= 1e-6)))) > 0:
            found.append(PlateDifference(name, voxels, float(gap.max())))
    return tuple(found)
