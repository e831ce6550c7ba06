"""The isocentre: given with the case, or derived from its targets."""

import numpy as np

from dosewright.core import Grid, PatientCase
from dosewright.core.errors import CaseError, InputError
from dosewright.core.types import Mask, Shape, Triple

_SNAP = 1e-6  # voxels; an isocentre stored as a voxel index survives the way through millimetres


def targets_mask(case: PatientCase) -> Mask:
    """Return the union of the case's targets that have a prescription."""
    return np.logical_or.reduce([case.structures[name] for name in case.targets])


def isocenter_of(case: PatientCase) -> Triple:
    """Return the case's isocentre, LPS mm; where none is given, the centroid of the union of its targets.

    The union counts every voxel once, so overlapping prescription levels carry no extra weight.
    """
    if case.isocenter_xyz_mm is not None:
        return case.isocenter_xyz_mm
    return centroid_xyz_mm(targets_mask(case), case.grid)


def centroid_xyz_mm(mask: Mask, grid: Grid) -> Triple:
    """Return the mean position of a mask's voxel centres, LPS mm.

    Raises:
        CaseError: If the mask is empty.

    >>> mask = np.zeros((3, 4, 5), bool)
    >>> mask[1, 1:3, 2:4] = True
    >>> centroid_xyz_mm(mask, Grid((3, 4, 5), (2.0, 2.0, 3.0)))
    (5.0, 3.0, 3.0)
    """
    if not mask.any():
        raise CaseError("must not be empty", argument="mask", value="0 voxels")
    index = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        weights = np.count_nonzero(mask, axis=others)
        index.append(float(weights @ np.arange(mask.shape[axis]) / weights.sum()))
    x, y, z = grid.position_xyz_mm(np.array(index))
    return (float(x), float(y), float(z))


def isocenter_voxel(grid: Grid, isocenter_xyz_mm: Triple) -> Shape:
    """Return the voxel index (z, y, x) of the isocentre: its fractional index, cut off.

    Raises:
        InputError: If the isocentre is not inside the grid's voxels.

    >>> isocenter_voxel(Grid((10, 10, 10), (2.0, 2.0, 2.0)), (7.9, 8.0, 8.1))
    (4, 4, 3)
    """
    index = grid.index_zyx(np.array(isocenter_xyz_mm, float))
    if not all(-0.5 <= i < n - 0.5 for i, n in zip(index, grid.shape_zyx)):
        raise InputError(
            f"must lie inside the grid of shape {grid.shape_zyx}; its fractional index is "
            f"({', '.join(f'{i:.1f}' for i in index)})",
            argument="isocenter_xyz_mm",
            value=tuple(float(v) for v in isocenter_xyz_mm),
        )
    z, y, x = (int(i + _SNAP) for i in index)
    return (z, y, x)
