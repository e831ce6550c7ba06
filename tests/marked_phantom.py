"""A patient that no flip, no swap of axes and no shift leaves as it is: a marked voxel in each octant.

The truth is a table of positions in LPS mm, made by arithmetic from what is written here, not by the package's grid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dosewright.core import Beam, Grid, PatientCase

SPACING_XYZ = (2.0, 3.0, 2.5)
ORIGIN_XYZ = (-37.5, 12.25, -810.5)
SHAPE_ZYX = (14, 18, 22)

#: Octant (left/right, posterior/anterior, superior/inferior) → voxel (z, y, x); no two share an index along any axis.
MARKS = {
    "RAI": (2, 3, 4),
    "LAI": (3, 4, 17),
    "RPI": (4, 13, 5),
    "LPI": (5, 14, 16),
    "RAS": (9, 5, 6),
    "LAS": (10, 6, 18),
    "RPS": (8, 12, 7),
    "LPS": (11, 15, 15),
}
#: Structure → first and last voxel of its box, each in another octant and of another size; sides are the patient's.
BOXES = {
    "PTV_High": ((5, 5, 9), (8, 11, 13)),
    "Parotid_R": ((2, 3, 3), (4, 5, 5)),
    "Parotid_L": ((3, 3, 16), (5, 5, 19)),
    "SpinalCord": ((2, 13, 9), (11, 14, 10)),
    "Brainstem": ((9, 12, 11), (11, 14, 14)),
    "Larynx": ((2, 3, 8), (3, 4, 13)),
    "Bone_Mandible": ((8, 3, 6), (10, 4, 15)),
}


@dataclass(frozen=True)
class Marked:
    """A marked voxel: where it is, and what CT and dose are there."""

    octant: str
    position_xyz_mm: tuple[float, float, float]
    ct_hu: int
    dose_gy: float


def position_of(zyx: tuple[int, int, int], spacing: tuple[float, ...] = SPACING_XYZ) -> tuple[float, float, float]:
    z, y, x = zyx
    return (
        ORIGIN_XYZ[0] + x * spacing[0],
        ORIGIN_XYZ[1] + y * spacing[1],
        ORIGIN_XYZ[2] + z * spacing[2],
    )


def truth(shift: tuple[int, int, int] = (0, 0, 0), spacing: tuple[float, ...] = SPACING_XYZ) -> tuple[Marked, ...]:
    """The marks; `shift` moves them all by voxels."""
    return tuple(
        Marked(
            octant,
            position_of((zyx[0] + shift[0], zyx[1] + shift[1], zyx[2] + shift[2]), spacing),
            ct_hu=300 + 100 * number,
            dose_gy=20.0 + 6.0 * number,
        )
        for number, (octant, zyx) in enumerate(MARKS.items())
    )


def marked_case(case_id: str = "marked") -> PatientCase:
    """The phantom: CT 0 HU and 60 Gy in the body, but for the marks."""
    body = np.zeros(SHAPE_ZYX, bool)
    body[1:-1, 2:-1, 2:-2] = True
    ct = np.where(body, 0, -1000).astype(np.int16)
    dose = np.where(body, 60.0, 0.0).astype(np.float32)
    for mark, zyx in zip(truth(), MARKS.values(), strict=True):
        ct[zyx], dose[zyx] = mark.ct_hu, mark.dose_gy
    structures = {}
    for name, (first, last) in BOXES.items():
        structures[name] = np.zeros(SHAPE_ZYX, bool)
        structures[name][tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
    return PatientCase(
        case_id=case_id,
        grid=Grid(SHAPE_ZYX, SPACING_XYZ, ORIGIN_XYZ),
        ct_hu=ct,
        body=body,
        structures=structures,
        prescription_gy={"PTV_High": 60.0},
        beams=tuple(Beam(angle) for angle in (0, 70, 155)),
        dose_gy=dose,
        isocenter_xyz_mm=position_of((7, 8, 11)),
        fractions=30,
    )


def assert_marks(at: Callable[[tuple[float, float, float]], float], what: str, tolerance: float = 0.0) -> None:
    """Fail unless `at(position)` gives each mark's `what` ("ct_hu" or "dose_gy") at the mark's position in LPS mm."""
    found = {mark.octant: at(mark.position_xyz_mm) for mark in truth()}
    for mark in truth():
        assert abs(found[mark.octant] - getattr(mark, what)) <= tolerance, (mark.octant, found)


def assert_box(positions_xyz_mm: np.ndarray, name: str, tolerance_mm: float = 1e-3) -> None:
    """Fail unless voxel centres (n, 3) in LPS mm are those of a structure's box."""
    first, last = BOXES[name]
    expected = {
        tuple(np.round(position_of((z, y, x)), 2))
        for z in range(first[0], last[0] + 1)
        for y in range(first[1], last[1] + 1)
        for x in range(first[2], last[2] + 1)
    }
    assert np.abs(np.array(positions_xyz_mm) - np.round(positions_xyz_mm, 2)).max() <= tolerance_mm
    assert {tuple(np.round(position, 2)) for position in positions_xyz_mm.tolist()} == expected, name
