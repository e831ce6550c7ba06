"""Which side a disease lies on, and which of two paired organs lies with it; said only where geometry is clear.

Left is +x (LPS). A side is never guessed: where targets sit astride the midline, or a name contradicts the position,
nothing is decided.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dosewright.core import PatientCase
from dosewright.core.structures import mirrored
from dosewright.core.types import Mask
from dosewright.geometry import centroid_xyz_mm

#: Organs whose centre lies on the midline, in the order in which they are asked.
MIDLINE_ORGANS = ("Brainstem", "SpinalCord", "SpinalCanal")
PAIRED = ("Parotid_L", "Glnd_Submand_L", "Eye_L", "Cochlea_L", "Lung_L")


class Laterality(StrEnum):
    """On which side of the disease an organ lies."""

    IPSILATERAL = "ipsilateral"
    CONTRALATERAL = "contralateral"
    UNDECIDED = "undecided"
    UNPAIRED = "unpaired"


class Side(StrEnum):
    """Side of the patient."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


@dataclass(frozen=True)
class TargetSide:
    """Where the target of highest prescription lies.

    Args:
        side: Left or right where enough of it lies there, else midline.
        left_percent: Share of its volume left of the midline.
        midline_x_mm: Where the midline was taken to be, LPS mm.
        midline_from: What told it.
    """

    side: Side
    left_percent: float
    midline_x_mm: float
    midline_from: str


def target_side(case: PatientCase, least_percent: float) -> TargetSide:
    """Return the side of the target of highest prescription.

    Args:
        case: The case.
        least_percent: Of its volume that must lie on one side for a side to be named, in (50, 100].
    """
    midline_x_mm, source = _midline(case)
    columns = np.count_nonzero(case.structures[case.targets[0]], axis=(0, 1))
    x_mm = case.grid.axis_mm("x")
    left = float(columns[x_mm > midline_x_mm].sum() + 0.5 * columns[x_mm == midline_x_mm].sum())
    left_percent = 100.0 * left / float(columns.sum())
    side = Side.MIDLINE
    if left_percent >= least_percent:
        side = Side.LEFT
    elif 100.0 - left_percent >= least_percent:
        side = Side.RIGHT
    return TargetSide(side, left_percent, midline_x_mm, source)


def laterality_of(name: str, mask: Mask, case: PatientCase, found: TargetSide) -> Laterality:
    """Return where an organ lies with respect to the disease.

    Args:
        name: TG-263 name; only those that end in `_L` or `_R` are paired.
        mask: Its voxels, at least one.
        case: The case.
        found: See `target_side`.
    """
    if mirrored(name) == name:
        return Laterality.UNPAIRED
    if found.side is Side.MIDLINE or not name_fits(name, mask, case, found):
        return Laterality.UNDECIDED
    named = Side.LEFT if name.endswith("_L") else Side.RIGHT
    return Laterality.IPSILATERAL if named is found.side else Laterality.CONTRALATERAL


def name_fits(name: str, mask: Mask, case: PatientCase, found: TargetSide) -> bool:
    """Whether a paired organ's centre lies on the side that its name says."""
    is_left = centroid_xyz_mm(mask, case.grid)[0] > found.midline_x_mm
    return is_left == name.endswith("_L")


def _midline(case: PatientCase) -> tuple[float, str]:
    """Return the midline's x in mm and what it was read off: paired organs, organs on the midline, else the body."""
    for left in PAIRED:
        pair = (left, mirrored(left))
        xs = [x for x in (_center_x_mm(case, name) for name in pair) if x is not None]
        if len(xs) == 2:
            return (xs[0] + xs[1]) / 2.0, f"halfway between {pair[0]} and {pair[1]}"
    for name in MIDLINE_ORGANS:
        x_mm = _center_x_mm(case, name)
        if x_mm is not None:
            return x_mm, f"the centre of {name}"
    return centroid_xyz_mm(case.body, case.grid)[0], "the centre of the body"


def _center_x_mm(case: PatientCase, name: str) -> float | None:
    """Return the x of the middle of an organ's voxels in the body, mm; None where there are none."""
    mask = case.structures.get(name)
    inside = None if mask is None else mask & case.body
    return None if inside is None or not inside.any() else centroid_xyz_mm(inside, case.grid)[0]
