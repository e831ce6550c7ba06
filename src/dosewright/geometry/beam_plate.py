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
    closed = _closed(hit[box])
    z, y, x = (np.arange(n, dtype=float) - s for n, s in zip(plate.shape, source))
    distance_2 = (z * z)[box, None, None] + (y * y)[:, None] + x * x
    reference_2 = sum((s - i) ** 2 for s, i in zip(source, isocenter))
    np.divide(reference_2, distance_2, out=distance_2, where=closed)
    np.add(plate[box], distance_2, out=plate[box], where=closed)


def _ray_ends(source: Int[np.ndarray, " 3"], surface: Int[np.ndarray, "n 3"], rows: int) -> Int[np.ndarray, "m 3"]:
    """Return the distinct voxels in which rays leave through the first or last row; they fix the rays."""
    end_y = np.where(source[1] > surface[:, 1], 0, rows - 1)
    run = surface[:, 1] - source[1]
    run[run == 0] = 1
    ratio = (end_y - source[1]) / run
    ends = np.stack(
        [
            np.trunc(source[0] + ratio * (surface[:, 0] - source[0])),
            end_y,
            np.trunc(source[2] + ratio * (surface[:, 2] - source[2])),
        ],
        axis=1,
    ).astype(np.int64)
    return np.unique(ends, axis=0)


def _trace(source: Int[np.ndarray, " 3"], ends: Int[np.ndarray, "m 3"], shape: Shape) -> Bool[np.ndarray, "z y x"]:
    """Return the voxels of the grid that rays from the source to `ends` step on."""
    run = ends - source
    length = np.abs(run).max(axis=1)
    run, length = run[length > 0], length[length > 0]
    step = run / length[:, None]
    first, last = _span_inside(source, step, length, shape)
    count = np.maximum(last - first + 1, 0)
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
    number = number.astype(float)
    padded = [n + 2 for n in shape]  # one voxel round the grid catches what rounds outward
    flat = np.zeros(number.shape)
    for axis in range(3):
        position = np.repeat(step[:, axis], count)
        position *= number
        position += source[axis]
        np.rint(position, out=position)
        flat *= padded[axis]
        flat += position
    flat += (padded[1] + 1) * padded[2] + 1
    hit = np.zeros(padded, bool)
    hit.ravel()[flat.astype(np.int64)] = True
    return hit[1:-1, 1:-1, 1:-1]


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
        source = np.moveaxis(hit, axis, 0)
        wide = source.copy()
        wide[:-1] |= source[1:]
        wide[:-2] |= source[2:]
        wide[1:] |= source[:-1]
        hit = np.moveaxis(wide, 0, axis)
    for axis in range(3):
        source = np.moveaxis(hit, axis, 0)
        narrow = np.zeros_like(source)
        narrow[1:-1] = source[:-2] & source[1:-1] & source[2:]
        hit = np.moveaxis(narrow, 0, axis)
    return hit
