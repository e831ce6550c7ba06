"""Distances to a structure in millimetres.

Convention: distances run between voxel centres. Outside, a voxel's distance is that to the nearest voxel of the mask
(0 in the mask); inside, that to the nearest voxel not in it. So the signed distance jumps across a face from minus to
plus one spacing, without a zero; the surface itself lies halfway. What lies beyond the array counts as neither.
"""

import math

import numpy as np
from scipy import ndimage

from dosewright.core.errors import InputError
from dosewright.core.types import FloatVolume, Mask, Triple
from dosewright.geometry.surface import Box, bounding_box


def distance_to_mm(mask: Mask, spacing_zyx_mm: Triple, limit_mm: float | None = None) -> FloatVolume:
    """Return each voxel's distance to the mask in mm; 0 in the mask.

    Args:
        mask: The structure.
        spacing_zyx_mm: Voxel edge lengths in array order (`grid.spacing_zyx_mm`).
        limit_mm: Larger distances become this; only a box that far around the mask is then worked on.

    Raises:
        InputError: If the mask is empty, or a spacing or the limit is not positive and finite.

    >>> mask = np.zeros((1, 1, 5), bool)
    >>> mask[0, 0, 1] = True
    >>> distance_to_mm(mask, (3.0, 2.0, 2.0), limit_mm=5.0).ravel().tolist()
    [2.0, 0.0, 2.0, 4.0, 5.0]
    """
    box = _box_within(mask, spacing_zyx_mm, limit_mm)
    near = ndimage.distance_transform_edt(~mask[box], sampling=spacing_zyx_mm)
    if limit_mm is None:
        return near.astype(np.float32)
    distance = np.full(mask.shape, limit_mm, np.float32)
    distance[box] = np.minimum(near, limit_mm)
    return distance


def signed_distance_mm(mask: Mask, spacing_zyx_mm: Triple, limit_mm: float | None = None) -> FloatVolume:
    """Return the signed distance to the mask's border in mm: positive outside, negative inside.

    Args:
        mask: The structure.
        spacing_zyx_mm: Voxel edge lengths in array order (`grid.spacing_zyx_mm`).
        limit_mm: Distances are clipped to ± this; only a box that far around the mask is then worked on.

    Raises:
        InputError: If the mask is empty or fills the array, or a spacing or the limit is not positive and finite.

    >>> mask = np.zeros((1, 1, 6), bool)
    >>> mask[0, 0, 1:4] = True
    >>> signed_distance_mm(mask, (3.0, 2.0, 2.0)).ravel().tolist()
    [2.0, -2.0, -4.0, -2.0, 2.0, 4.0]
    """
    distance = distance_to_mm(mask, spacing_zyx_mm, limit_mm)
    box = bounding_box(mask, (1, 1, 1))  # holds the nearest outside voxel of every inside one
    if mask[box].all():
        raise InputError("must leave a voxel outside", argument="mask", value=f"{mask.size} of {mask.size} voxels")
    depth = ndimage.distance_transform_edt(mask[box], sampling=spacing_zyx_mm)
    distance[box] -= depth if limit_mm is None else np.minimum(depth, limit_mm)
    return distance


def _box_within(mask: Mask, spacing_zyx_mm: Triple, limit_mm: float | None) -> Box:
    if not all(math.isfinite(s) and s > 0 for s in spacing_zyx_mm):
        raise InputError("must be positive and finite", argument="spacing_zyx_mm", value=spacing_zyx_mm)
    if limit_mm is None:
        if not mask.any():
            raise InputError("must not be empty", argument="mask", value="0 voxels")
        return (slice(None), slice(None), slice(None))
    if not (math.isfinite(limit_mm) and limit_mm > 0):
        raise InputError("must be positive and finite", argument="limit_mm", value=limit_mm)
    z, y, x = (math.ceil(limit_mm / s) for s in spacing_zyx_mm)
    return bounding_box(mask, (z, y, x))
