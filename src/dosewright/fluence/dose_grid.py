"""Between a case's grid and the grid its dose is calculated on."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from dosewright.core import Grid, GridMismatchError, PatientCase
from dosewright.core.types import FloatVolume, Mask, Volume

_LEAST_SHARE = 0.05  # of the weight on voxels inside, below which a value would be extrapolated from too little


def mask_on_grid(mask: Mask, source: Grid, grid: Grid, *, share: float = 0.5) -> Bool[np.ndarray, "k j i"]:
    """Return a mask at another grid's voxel centres: where the interpolated mask exceeds `share`."""
    if source.is_close(grid):
        return np.asarray(mask)
    return ndimage.map_coordinates(mask.astype(np.float32), _indices(source, grid), order=1, mode="constant") > share


def volume_on_grid(
    volume: Volume, source: Grid, grid: Grid, *, inside: Bool[np.ndarray, "zi yi xi"] | None = None
) -> Float[np.ndarray, "k j i"]:
    """Return a volume at another grid's voxel centres, trilinear, nearest beyond the border.

    Args:
        volume: On `source`.
        source: Grid of the volume.
        grid: Where it is wanted.
        inside: Voxels of `source` that count; the others take no part in the interpolation. None counts all.

    Raises:
        GridMismatchError: If an array has another shape than its grid.
    """
    for name, array in (("volume", volume), ("inside", inside)):
        if array is not None and array.shape != source.shape_zyx:
            raise GridMismatchError(f"must have its grid's shape {source.shape_zyx}", argument=name, value=array.shape)
    values = volume.astype(np.float64)
    if source.is_close(grid):
        return values
    at = _indices(source, grid)
    if inside is None:
        return ndimage.map_coordinates(values, at, order=1, mode="nearest")
    share = ndimage.map_coordinates(inside.astype(np.float64), at, order=1, mode="nearest")
    return ndimage.map_coordinates(values * inside, at, order=1, mode="nearest") / np.maximum(share, _LEAST_SHARE)


def dose_on_case_grid(
    dose_gy: Float[np.ndarray, "k j i"], body: Bool[np.ndarray, "k j i"], grid: Grid, case: PatientCase
) -> FloatVolume:
    """Return a dose of `grid` on the case's grid, interpolated from voxels in the body only, zero outside the case's.

    Args:
        dose_gy: Zero outside `body`.
        body: Voxels of `grid` that have dose.
        grid: Grid of both.
        case: Says where the dose is wanted.
    """
    if not grid.is_close(case.grid):
        at = _indices(grid, case.grid)
        share = ndimage.map_coordinates(body.astype(np.float64), at, order=1, mode="nearest")
        dose_gy = ndimage.map_coordinates(dose_gy, at, order=1, mode="nearest") / np.maximum(share, _LEAST_SHARE)
    return np.where(case.body, np.maximum(dose_gy, 0), 0).astype(np.float32)


def _indices(source: Grid, grid: Grid) -> Float[np.ndarray, "3 z y x"]:
    """Return fractional indices on `source` of the voxel centres of `grid`."""
    axes = [(grid.axis_mm(a) - source.origin_xyz_mm[i]) / source.spacing_xyz_mm[i] for i, a in enumerate("xyz")]
    return np.stack(np.meshgrid(*axes[::-1], indexing="ij"))
