"""Radiological depth: millimetres of water between the source and a point.

The density is sampled on planes across the beam, on rays from the source, and summed along them, so that all points
behind each other share the work: O(voxels) per beam rather than O(voxels × path).
"""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from dosewright.core import Grid
from dosewright.core.errors import InputError
from dosewright.core.types import FloatVolume, Volume
from dosewright.geometry.beam_frame import BeamFrame

_BONE_HU = 1950.0


def relative_electron_density(ct_hu: Volume) -> FloatVolume:
    """Return electron density relative to water from CT numbers: two straight lines that meet at water.

    1 + HU / 1000 below 0 HU and not negative, 1 + HU / 1950 above: the default slopes of Thomas, Br J Radiol 72 (1999)
    781, for scanners without a calibration of their own.

    >>> relative_electron_density(np.array([[[-1000, -500, 0, 975]]])).ravel()
    array([0. , 0.5, 1. , 1.5], dtype=float32)
    """
    hu = np.asarray(ct_hu, np.float32)
    return np.maximum(1.0 + np.where(hu < 0, hu / np.float32(1000), hu / np.float32(_BONE_HU)), np.float32(0))


def radiological_depth_mm(
    density: FloatVolume,
    grid: Grid,
    frame: BeamFrame,
    points_uvd_mm: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    step_mm: float | None = None,
) -> Float[np.ndarray, " n"]:
    """Return the density-weighted length from the source to each point, in mm of water.

    Args:
        density: Relative electron density; 0 where nothing attenuates. Nothing attenuates outside the grid.
        grid: Grid of the density.
        frame: The beam.
        points_uvd_mm: u, v on the isocentre plane and distance from the source along the central axis, as
            `rays.beam_eye_view` returns them.
        step_mm: Distance of the samples along and across the beam; default the mean spacing of the grid.

    Raises:
        InputError: If the step is not positive.
    """
    step = float(np.prod(grid.spacing_xyz_mm) ** (1 / 3)) if step_mm is None else float(step_mm)
    if not step > 0:
        raise InputError("must be a positive length in mm", argument="step_mm", value=step_mm)
    if points_uvd_mm[0].size == 0:
        return np.zeros(0, np.float32)
    first = _entry_mm(density, grid, frame)
    lines = [
        _sample_line(float(p.min()) if low is None else low, float(p.max()), step)
        for p, low in zip(points_uvd_mm, (None, None, min(first, float(points_uvd_mm[2].min()))))
    ]
    water = _integrate(_sample(density, grid, frame, lines), frame, lines)
    index = np.stack([(p - line[0]) / np.float32(step) for p, line in zip(points_uvd_mm[::-1], lines[::-1])])
    return ndimage.map_coordinates(water, index, order=1, mode="nearest", prefilter=False)


def _sample_line(low: float, high: float, step: float) -> Float[np.ndarray, " k"]:
    return (low + step * np.arange(int(np.ceil((high - low) / step)) + 1)).astype(np.float32)


def _entry_mm(density: FloatVolume, grid: Grid, frame: BeamFrame) -> float:
    """Return the least distance along the central axis from the source to a corner of the grid."""
    far = np.array(grid.shape_zyx) - 1.0
    corners = np.array([[z, y, x] for z in (0.0, far[0]) for y in (0.0, far[1]) for x in (0.0, far[2])])
    return float(((grid.position_xyz_mm(corners) - frame.source_xyz_mm) @ frame.axis_xyz).min())


def _sample(
    density: FloatVolume, grid: Grid, frame: BeamFrame, lines: list[Float[np.ndarray, " _"]]
) -> Float[np.ndarray, "d v u"]:
    """Return the density on the rays, one plane per distance from the source."""
    u, v, depth = lines
    scale = depth / np.float32(frame.sad_mm)
    index = np.empty((3, depth.size, v.size, u.size), np.float32)
    for axis in range(3):
        i = 2 - axis  # x, y, z of array axis
        start = (frame.source_xyz_mm[i] - grid.origin_xyz_mm[i]) / grid.spacing_xyz_mm[i]
        along, right, up = (float(e[i] / grid.spacing_xyz_mm[i]) for e in (frame.axis_xyz, frame.u_xyz, frame.v_xyz))
        across = (up * v)[:, None] + (right * u)[None, :] + np.float32(frame.sad_mm * along)
        np.multiply(scale[:, None, None], across.astype(np.float32), out=index[axis])
        index[axis] += np.float32(start)
    return ndimage.map_coordinates(density, index, order=1, mode="constant", cval=0.0, prefilter=False)


def _integrate(
    samples: Float[np.ndarray, "d v u"], frame: BeamFrame, lines: list[Float[np.ndarray, " _"]]
) -> Float[np.ndarray, "d v u"]:
    """Return the trapezoidal integral of the samples from the first plane, along the slanted rays."""
    u, v, depth = lines
    step = float(depth[1] - depth[0]) if depth.size > 1 else 0.0
    slant = np.sqrt(1.0 + ((v / frame.sad_mm) ** 2)[:, None] + ((u / frame.sad_mm) ** 2)[None, :]).astype(np.float32)
    total = np.zeros_like(samples)
    np.cumsum(0.5 * (samples[1:] + samples[:-1]), axis=0, out=total[1:])
    total *= slant * np.float32(step)
    return total
