"""Structures grown and shrunk by margins in mm.

Convention, that of `geometry.distance`: margins run between voxel centres. A voxel joins a grown structure if its
centre lies within the margin of the centre of one of the structure's voxels, the margin itself included; it leaves a
shrunk one if its centre lies within the margin of the centre of a voxel outside. So a margin below the spacing changes
nothing, shrinking is growing what is outside, and on a grid the margin comes out up to a spacing short, never long.
What lies beyond the array is neither inside nor outside.
"""

import numpy as np
from scipy import ndimage

from dosewright.core.errors import InputError
from dosewright.core.types import Mask, Triple
from dosewright.geometry.surface import bounding_box

TOLERANCE_MM = 1e-3
_NEVER = 2.0  # a step along an axis without margin, in margins: beyond reach


def grown(mask: Mask, spacing_zyx_mm: Triple, margin_zyx_mm: Triple) -> Mask:
    """Return a mask with the voxels around it whose centres lie in an ellipsoid around one of its voxel centres.

    Args:
        mask: The structure; an empty one stays empty.
        spacing_zyx_mm: Voxel edge lengths in array order.
        margin_zyx_mm: Half axes of the ellipsoid; 0 leaves a direction as it is.

    Raises:
        InputError: If a spacing is not positive, or a margin negative or not finite.

    >>> mask = np.zeros((1, 1, 5), bool)
    >>> mask[0, 0, 1] = True
    >>> grown(mask, (3.0, 2.0, 2.0), (4.0, 4.0, 4.0)).ravel().tolist()
    [True, True, True, True, False]
    """
    steps = _steps(spacing_zyx_mm, margin_zyx_mm)
    if not mask.any() or max(margin_zyx_mm) <= TOLERANCE_MM:
        return mask.copy()
    z, y, x = (int(1 / step + 1) for step in steps)
    box = bounding_box(mask, (z, y, x))
    out = mask.copy()
    out[box] = ndimage.distance_transform_edt(~mask[box], sampling=steps) <= _limit(margin_zyx_mm)
    return out


def shrunk(mask: Mask, spacing_zyx_mm: Triple, margin_zyx_mm: Triple) -> Mask:
    """Return the voxels of a mask that have no outside voxel in an ellipsoid around them.

    Args:
        mask: The structure; where it meets the array's border, it stays.
        spacing_zyx_mm: See `grown`.
        margin_zyx_mm: See `grown`.

    Raises:
        InputError: See `grown`.

    >>> mask = np.zeros((1, 1, 7), bool)
    >>> mask[0, 0, 1:6] = True
    >>> shrunk(mask, (3.0, 2.0, 2.0), (2.0, 2.0, 2.0)).ravel().astype(int).tolist()
    [0, 0, 1, 1, 1, 0, 0]
    """
    steps = _steps(spacing_zyx_mm, margin_zyx_mm)
    if not mask.any() or max(margin_zyx_mm) <= TOLERANCE_MM:
        return mask.copy()
    box = bounding_box(mask, (1, 1, 1))  # holds the nearest outside voxel of every inside one
    if mask[box].all():
        return mask.copy()
    out = np.zeros_like(mask)
    out[box] = ndimage.distance_transform_edt(mask[box], sampling=steps) > _limit(margin_zyx_mm)
    return out


def _steps(spacing_zyx_mm: Triple, margin_zyx_mm: Triple) -> Triple:
    """Return the length of a voxel step in margins, per axis."""
    if not all(np.isfinite(s) and s > 0 for s in spacing_zyx_mm):
        raise InputError("must be positive and finite", argument="spacing_zyx_mm", value=spacing_zyx_mm)
    if not all(np.isfinite(m) and m >= 0 for m in margin_zyx_mm):
        raise InputError("must be finite, zero or more", argument="margin_zyx_mm", value=margin_zyx_mm)
    z, y, x = (s / m if m > TOLERANCE_MM else _NEVER for s, m in zip(spacing_zyx_mm, margin_zyx_mm))
    return (z, y, x)


def _limit(margin_zyx_mm: Triple) -> float:
    return 1.0 + TOLERANCE_MM / max(margin_zyx_mm)
