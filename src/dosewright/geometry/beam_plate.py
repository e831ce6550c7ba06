"""Beam plates: where the beams through the target pass, in voxels (GDP-HMM; Gao et al., CVPR 2023).

The published definition, kept to the last bit where it is defined:
  source   1000 mm from the isocentre in the axial plane, its voxel index (y, x) cut off toward zero; z as the isocentre
  rays     from the source through every surface voxel of the target to the first or last row of the image in y,
           whichever lies beyond; the end is cut off to a voxel, and the ray has as many steps as its longest axis
           has voxels, each rounded to the nearest voxel (half to even)
  closing  voxels hit are dilated by a cube of 4 (offsets -2 to 1) and eroded by a cube of 3, background outside
  weight   (source - isocentre)² / (source - voxel)², both counted in voxels even where the spacing is anisotropic
  sum      over beams

The physics in millimetres, with couch angles, is in `rays`. The published code wraps round at the lower face of the
grid and fails at the upper one; here what lies beyond the grid counts as background.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from dosewright.core import Grid
from dosewright.core.errors import GridMismatchError, InputError
from dosewright.core.types import FloatVolume, Mask, Shape, Triple
from dosewright.geometry.angle_plate import require_angles
from dosewright.geometry.isocenter import isocenter_voxel
from dosewright.geometry.surface import surface_voxels

SOURCE_DISTANCE_MM = 1000.0
_EDGE = 0.5 + 1e-6  # voxels beyond the outermost centres that may still round into the grid
_CHUNK = 128  # rays worked on at a time; their steps fit the cache


def beam_plate(
    target: Mask,
    grid: Grid,
    isocenter_xyz_mm: Triple,
    gantry_angles_deg: Sequence[float],
    *,
    every_second: bool = False,
) -> FloatVolume:
    """Return the beam plate: inverse-square weight of every voxel a beam through the target passes, summed over beams.

    Args:
        target: Voxels of the target, usually the union of all PTVs.
        grid: Grid of the target; its spacing places the source.
        isocenter_xyz_mm: LPS mm; its voxel index is cut off, not rounded.
        gantry_angles_deg: IEC 61217 gantry angles of coplanar beams, or of an arc's control points.
        every_second: Take every second angle, as published for arcs.

    Raises:
        GridMismatchError: If the target has another shape than the grid.
        InputError: If the target is empty, there is no angle, or the isocentre lies outside the grid.
    """
    require_angles(gantry_angles_deg)
    if target.shape != grid.shape_zyx:
        raise GridMismatchError(f"must have the grid's shape {grid.shape_zyx}", argument="target", value=target.shape)
    if not target.any():
        raise InputError("must not be empty", argument="target", value="0 voxels")
    isocenter = isocenter_voxel(grid, isocenter_xyz_mm)
    surface = surface_voxels(target)
    plate = np.zeros(grid.shape_zyx)
    for angle in list(gantry_angles_deg)[:: 2 if every_second else 1]:
        _add_beam(plate, surface, isocenter, source_voxel(grid, isocenter, float(angle)))
    return plate


def source_voxel(grid: Grid, isocenter_zyx: Shape, gantry_angle_deg: float) -> Shape:
    """Return the source's voxel index (z, y, x), mostly outside the grid.

    >>> source_voxel(Grid((64, 128, 128), (2.5, 2.5, 2.0)), (30, 60, 61), 90.0)
    (30, 60, 461)
    """
    z, y, x = isocenter_zyx
    radians = np.pi / 180 * (gantry_angle_deg - 90)
    spacing_x, spacing_y, _ = grid.spacing_xyz_mm
    return (
        z,
        int(y + SOURCE_DISTANCE_MM * np.sin(radians) / spacing_y),
        int(x + SOURCE_DISTANCE_MM * np.cos(radians) / spacing_x),
    )


def _add_beam(plate: FloatVolume, surface: Int[np.ndarray, "n 3"], isocenter: Shape, source: Shape) -> None:
    hit = _trace(np.array(source), _ray_ends(np.array(source), surface, plate.shape[1]), plate.shape)
    slices = np.flatnonzero(hit.any(axis=(1, 2)))
    if slices.size == 0:
        return
    box = slice(max(int(slices[0]) - 2, 0), int(slices[-1]) + 2)  # the dilation reaches 2 down and 1 up
    z, y, x = (np.arange(n, dtype=float) - s for n, s in zip(plate.shape, source))
    in_plane_2 = (y * y)[:, None] + x * x
    reference_2 = sum((s - i) ** 2 for s, i in zip(source, isocenter))
    for k, closed in enumerate(_closed(hit[box]), start=box.start):  # by slices, which fit the cache
        weight = reference_2 / (z[k] * z[k] + in_plane_2)
        weight *= closed
        plate[k] += weight


def _ray_ends(source: Int[np.ndarray, " 3"], surface: Int[np.ndarray, "n 3"], rows: int) -> Int[np.ndarray, "m 3"]:
    """Return the distinct voxels in which rays leave through the first or last row; they fix the rays."""
    end_y = np.where(source[1] > surface[:, 1], 0, rows - 1)
    run = surface[:, 1] - source[1]
    run[run == 0] = 1
    ratio = (end_y - source[1]) / run
    end_z, end_x = (np.trunc(source[i] + ratio * (surface[:, i] - source[i])).astype(np.int64) for i in (0, 2))
    low_z, low_x = end_z.min(), end_x.min()
    width = end_x.max() - low_x + 1
    key = np.unique(((end_z - low_z) * width + end_x - low_x) * 2 + (end_y > 0))
    place = key // 2
    return np.stack([place // width + low_z, key % 2 * (rows - 1), place % width + low_x], axis=1)


def _trace(source: Int[np.ndarray, " 3"], ends: Int[np.ndarray, "m 3"], shape: Shape) -> Bool[np.ndarray, "z y x"]:
    """Return the voxels of the grid that rays from the source to `ends` step on."""
    run = ends - source
    length = np.abs(run).max(axis=1)
    run, length = run[length > 0], length[length > 0]
    step = run / length[:, None]
    first, last = _span_inside(source, step, length, shape)
    padded = np.zeros([n + 2 for n in shape], bool)  # one voxel round the grid catches what rounds outward
    for k in range(0, len(step), _CHUNK):
        rays = slice(k, k + _CHUNK)
        _mark(padded, source, step[rays], first[rays], last[rays])
    return padded[1:-1, 1:-1, 1:-1]


def _mark(
    hit: Bool[np.ndarray, "z y x"],
    source: Int[np.ndarray, " 3"],
    step: Float[np.ndarray, "m 3"],
    first: Int[np.ndarray, " m"],
    last: Int[np.ndarray, " m"],
) -> None:
    """Set the voxels nearest to `source + i step`, first ≤ i ≤ last, of every ray, shifted by one into the padding."""
    count = np.maximum(last - first + 1, 0)
    number = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)).astype(float)
    flat = np.zeros(number.shape)
    for axis, size in enumerate(hit.shape):
        position = np.repeat(step[:, axis], count)
        position *= number
        position += source[axis]
        np.rint(position, out=position)  # before the shift by one, which would turn half to even into half to odd
        position += 1
        flat *= size
        flat += position
    hit.ravel()[flat.astype(np.intp)] = True


def _span_inside(
    source: Int[np.ndarray, " 3"], step: Float[np.ndarray, "m 3"], length: Int[np.ndarray, " m"], shape: Shape
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Return the first and last step of each ray inside the grid; last < first where it misses."""
    low, high = -_EDGE - source, np.array(shape) - 1 + _EDGE - source
    moving = step != 0
    safe = np.where(moving, step, 1.0)
    bounds = np.sort(np.stack([low / safe, high / safe]), axis=0)
    always = (low <= 0) & (high >= 0)
    enter = np.where(moving, bounds[0], np.where(always, -np.inf, np.inf)).max(axis=1)
    leave = np.where(moving, bounds[1], np.inf).min(axis=1)
    enter = np.clip(np.ceil(enter), 0, length + 1)
    leave = np.clip(np.floor(leave), -1, length)
    return enter.astype(np.int64), leave.astype(np.int64)


def _closed(hit: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """Return the mask dilated by a cube of 4 voxels (offsets -2 to 1), then eroded by a cube of 3."""
    for axis in range(3):
        old, new = np.moveaxis(hit, axis, 0), hit.copy()
        wide = np.moveaxis(new, axis, 0)
        wide[:-1] |= old[1:]
        wide[:-2] |= old[2:]
        wide[1:] |= old[:-1]
        hit = new
    for axis in range(3):
        old, new = np.moveaxis(hit, axis, 0), hit.copy()
        narrow = np.moveaxis(new, axis, 0)
        narrow[1:] &= old[:-1]
        narrow[:-1] &= old[1:]
        narrow[0] = narrow[-1] = False
        hit = new
    return hit
