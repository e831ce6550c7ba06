"""Volumes from one axial grid to another.

Axes are parallel, so a volume is resampled axis by axis with one matrix each: linear interpolation between voxel
centres, or, where voxels get larger, the mean over the new voxel of what it covers of the old ones.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from dosewright.core import Grid
from dosewright.core.types import Mask, Triple, Volume

Moved = Float[np.ndarray, "new_z new_y new_x"]
MovedMask = Bool[np.ndarray, "new_z new_y new_x"]

_TINY = 1e-6  # of a voxel


def linear_weights(
    source_mm: Float[np.ndarray, " n"], wanted_mm: Float[np.ndarray, " m"], reach_mm: tuple[float, float]
) -> sparse.csr_array:
    """Return the matrix that interpolates linearly from voxel centres to other positions, (m, n).

    Args:
        source_mm: Voxel centres, growing, at any distances.
        wanted_mm: Positions.
        reach_mm: How far beyond the first and the last centre their values hold; further out all weights are 0.

    >>> linear_weights(np.array([0.0, 2.0]), np.array([-1.5, -1.0, 0.5, 3.0]), (1.0, 1.0)).toarray().tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.75, 0.25], [0.0, 1.0]]
    """
    low, high = source_mm[0] - reach_mm[0] - _TINY, source_mm[-1] + reach_mm[1] + _TINY
    inside = (wanted_mm >= low) & (wanted_mm <= high)
    clipped = np.clip(wanted_mm, source_mm[0], source_mm[-1])
    left = np.clip(np.searchsorted(source_mm, clipped, side="right") - 1, 0, max(source_mm.size - 2, 0))
    right = np.minimum(left + 1, source_mm.size - 1)
    gap = np.where(right > left, source_mm[right] - source_mm[left], 1.0)
    share = (clipped - source_mm[left]) / gap
    share = np.where(np.abs(share) < _TINY, 0.0, np.where(np.abs(share - 1) < _TINY, 1.0, share))
    rows = np.concatenate([np.arange(wanted_mm.size)] * 2)
    values = np.concatenate([(1 - share) * inside, share * inside])
    return sparse.csr_array((values, (rows, np.concatenate([left, right]))), (wanted_mm.size, source_mm.size))


def mean_weights(
    source_mm: Float[np.ndarray, " n"], source_step: float, wanted_mm: Float[np.ndarray, " m"], wanted_step: float
) -> sparse.csr_array:
    """Return the matrix that averages voxels over larger ones, (m, n); rows without a source are 0.

    >>> mean_weights(np.array([0.5, 1.5, 2.5]), 1.0, np.array([0.75, 2.25]), 1.5).toarray().round(3).tolist()
    [[0.667, 0.333, 0.0], [0.0, 0.333, 0.667]]
    """
    first = np.clip(np.floor((wanted_mm - wanted_step / 2 - source_mm[0]) / source_step + 0.5), 0, source_mm.size - 1)
    count = int(np.ceil(wanted_step / source_step)) + 1
    columns = np.minimum(first.astype(int)[:, None] + np.arange(count), source_mm.size - 1)
    unique = np.concatenate([np.ones((columns.shape[0], 1), bool), np.diff(columns, axis=1) > 0], axis=1)
    centres = source_mm[columns]
    top = np.minimum(centres + source_step / 2, (wanted_mm + wanted_step / 2)[:, None])
    bottom = np.maximum(centres - source_step / 2, (wanted_mm - wanted_step / 2)[:, None])
    overlap = np.where(unique, np.clip(top - bottom, 0, None), 0.0)
    total = overlap.sum(axis=1, keepdims=True)
    values = np.divide(overlap, total, out=np.zeros_like(overlap), where=total > _TINY * source_step)
    rows = np.repeat(np.arange(wanted_mm.size), count)
    matrix = sparse.csr_array((values.ravel(), (rows, columns.ravel())), (wanted_mm.size, source_mm.size))
    matrix.eliminate_zeros()
    return matrix


def apply_weights(volume: Volume, weights_zyx: tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]) -> Moved:
    """Return the volume with a matrix applied along each axis, float32, slice by slice to spare memory."""
    along_z, along_y, along_x = (matrix.astype(np.float32) for matrix in weights_zyx)
    out = np.zeros((along_z.shape[0], along_y.shape[0], along_x.shape[0]), np.float32)
    for k in range(out.shape[0]):
        entries = range(along_z.indptr[k], along_z.indptr[k + 1])
        terms = [along_z.data[i] * volume[along_z.indices[i]].astype(np.float32) for i in entries if along_z.data[i]]
        if terms:
            out[k] = (along_x @ (along_y @ np.sum(terms, axis=0)).T).T
    return out


def resample_ct(ct_hu: Volume, grid: Grid, wanted: Grid, outside_hu: float) -> tuple[Moved, MovedMask]:
    """Return CT numbers on another grid, and the voxels that the CT covers; beyond it `outside_hu` holds.

    Along an axis on which voxels get larger, a voxel is the mean of those it covers, else linearly interpolated.
    """
    weights = []
    for axis in "zyx":
        i = "xyz".index(axis)
        old, new = grid.spacing_xyz_mm[i], wanted.spacing_xyz_mm[i]
        if new > old * (1 + _TINY):
            weights.append(mean_weights(grid.axis_mm(axis), old, wanted.axis_mm(axis), new))
        else:
            weights.append(linear_weights(grid.axis_mm(axis), wanted.axis_mm(axis), (old / 2, old / 2)))
    along_z, along_y, along_x = weights
    covered = _covered(along_z, along_y, along_x)
    hu = apply_weights(ct_hu, (along_z, along_y, along_x))
    hu[~covered] = outside_hu
    return hu, covered


def grid_of_spacing(grid: Grid, spacing_xyz_mm: Triple) -> Grid:
    """Return a grid of another spacing, centred in the same box and not larger; one voxel along each axis at least.

    >>> grid_of_spacing(Grid((10, 20, 20), (1.0, 1.0, 3.0)), (3.0, 2.0, 3.0))
    Grid(shape_zyx=(10, 10, 6), spacing_xyz_mm=(3.0, 2.0, 3.0), origin_xyz_mm=(2.0, 0.5, 0.0))
    """
    lengths = [n * s for n, s in zip(grid.shape_zyx[::-1], grid.spacing_xyz_mm)]
    nx, ny, nz = (max(1, int(length / s + _TINY)) for length, s in zip(lengths, spacing_xyz_mm))
    x, y, z = (c - (n - 1) / 2 * s for c, n, s in zip(grid.center_xyz_mm, (nx, ny, nz), spacing_xyz_mm))
    return Grid((nz, ny, nx), spacing_xyz_mm, (x, y, z))


def _covered(along_z: sparse.csr_array, along_y: sparse.csr_array, along_x: sparse.csr_array) -> Mask:
    z, y, x = (np.asarray(matrix.sum(axis=1)).ravel() > 0.5 for matrix in (along_z, along_y, along_x))
    return z[:, None, None] & y[None, :, None] & x[None, None]
