"""Left and right of glands that are named by the side of the tumour, or outlined as a pair.

LPS x grows toward the patient's left. Sides are given only where geometry is plain, at least 10 mm from the midline,
which is the cord's centroid in x, or the brainstem's, or the body's: a gland named by the tumour by its centroid, two
of them on different sides; a pair by each of its voxels. What is not plain keeps its name.
"""

from collections.abc import Mapping

import numpy as np

from dosewright.core import Grid
from dosewright.core.types import Mask
from dosewright.geometry import centroid_xyz_mm
from dosewright.io.gdp_hmm.names import CONTRALATERAL, IPSILATERAL

LEAST_MM = 10.0
PAIRS: Mapping[str, str] = {"Parotids": "Parotid", "Glnd_Submands": "Glnd_Submand", "Eyes": "Eye"}
_MIDDLE = ("SpinalCord", "Brainstem")


def with_sides(masks: Mapping[str, Mask], body: Mask, grid: Grid) -> tuple[dict[str, Mask], list[str]]:
    """Return the masks with sides where they are plain, and a note for each decision.

    Args:
        masks: Our name → voxels.
        body: Voxels of the patient.
        grid: Grid of both.
    """
    middle = next((name for name in _MIDDLE if name in masks), "body")
    middle_mm = centroid_xyz_mm(masks.get(middle, body), grid)[0]
    names, notes = _sides_of_glands(masks, grid, middle, middle_mm)
    found = {names.get(name, name): mask for name, mask in masks.items()}
    for pair, gland in PAIRS.items():
        left, right = f"{gland}_L", f"{gland}_R"
        if pair not in found or left in found or right in found:
            continue
        parts = _halves(found[pair], grid, middle_mm)
        if parts is None:
            notes.append(f"{pair} are not told apart: they come closer than {LEAST_MM:g} mm to the {middle}'s midline")
            continue
        found |= {name: part for name, part in zip((left, right), parts, strict=True) if part.any()}
        notes.append(f"{left} and {right} are what of {pair} lies left and right of the {middle}'s midline")
    return found, notes


def _sides_of_glands(
    masks: Mapping[str, Mask], grid: Grid, middle: str, middle_mm: float
) -> tuple[dict[str, str], list[str]]:
    """Return new names of the ipsi- and contralateral parotid where they are sure, and what there is to say."""
    glands = {name: masks[name] for name in (IPSILATERAL, CONTRALATERAL) if name in masks}
    if not glands:
        return {}, []
    if taken := [name for name in ("Parotid_L", "Parotid_R") if name in masks]:
        return {}, [f"{', '.join(glands)} keep their names: there is {' and '.join(taken)}"]
    offsets_mm = {name: centroid_xyz_mm(mask, grid)[0] - middle_mm for name, mask in glands.items()}
    sides = {name: "Parotid_L" if offset > 0 else "Parotid_R" for name, offset in offsets_mm.items()}
    told = ", ".join(f"{name} {abs(d):.0f} mm to the {'left' if d > 0 else 'right'}" for name, d in offsets_mm.items())
    if min(map(abs, offsets_mm.values())) < LEAST_MM or len(set(sides.values())) < len(sides):
        return {}, [f"parotids keep their names, sides are not plain: {told} of the {middle}"]
    named = ", ".join(f"{name} is {side}" for name, side in sides.items())
    return sides, [f"{named}: {told} of the {middle}"]


def _halves(mask: Mask, grid: Grid, middle_mm: float) -> tuple[Mask, Mask] | None:
    """Return what lies left and right of the midline; None if part of the mask is too near to it."""
    offset_mm = grid.axis_mm("x") - middle_mm
    if mask[:, :, np.abs(offset_mm) < LEAST_MM].any():
        return None
    return mask & (offset_mm > 0), mask & (offset_mm < 0)
