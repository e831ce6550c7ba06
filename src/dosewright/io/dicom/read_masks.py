"""Structures on a grid."""

from dataclasses import dataclass

import numpy as np

from dosewright.core import Grid
from dosewright.core.types import Mask
from dosewright.io.dicom.read_contours import RoiContours
from dosewright.io.dicom.read_planes import PLANE_TOLERANCE_MM, planes_in, slabs_of
from dosewright.io.dicom.read_polygons import fill_even_odd


@dataclass(frozen=True, eq=False)
class Rasterised:
    """A structure's voxels.

    Args:
        mask: Voxels whose centres lie inside.
        cut_planes: Contour planes above or below the grid.
        cut_contours: Contours that reach beyond the grid within a plane.
        gaps: Gaps between its planes, left open.
        thickness_mm: What each plane stands for along z.
    """

    mask: Mask
    cut_planes: int
    cut_contours: int
    gaps: int
    thickness_mm: float


def rasterise(roi: RoiContours, grid: Grid, slice_mm: float) -> Rasterised:
    """Return a structure on a grid; see `read_planes` and `read_polygons` for the rules.

    Args:
        roi: Contours in the grid's frame of reference.
        grid: Any axial grid.
        slice_mm: Distance of the slices of the CT that was contoured.
    """
    z_mm, which = planes_in(np.array([points[0, 2] for points in roi.contours]))
    slabs = slabs_of(z_mm, slice_mm)
    slices_mm = grid.axis_mm("z")
    plane_of_slice = slabs.planes_of(slices_mm)
    _, rows, columns = grid.shape_zyx
    indices = [grid.index_zyx(points)[:, :0:-1] for points in roi.contours]  # (x, y) in pixels
    corners = np.concatenate([(points.min(0), points.max(0)) for points in indices])
    low = np.clip(np.floor(corners.min(0)), 0, (columns, rows)).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, low, (columns, rows)).astype(int)
    used, place = np.unique(plane_of_slice[plane_of_slice >= 0], return_inverse=True)
    contours = [[indices[i] - low for i in np.flatnonzero(which == plane)] for plane in used]
    filled = fill_even_odd(contours, int(high[1] - low[1]), int(high[0] - low[0]))
    mask = np.zeros(grid.shape_zyx, bool)
    for k, plane in zip(np.flatnonzero(plane_of_slice >= 0), place):
        mask[k, low[1] : high[1], low[0] : high[0]] = filled[plane]
    half = grid.spacing_xyz_mm[2] / 2 + PLANE_TOLERANCE_MM
    outside = (z_mm < slices_mm[0] - half) | (z_mm > slices_mm[-1] + half)
    beyond = [bool((p < -0.5).any() or (p > (columns - 0.5, rows - 0.5)).any()) for p in indices]
    return Rasterised(mask, int(outside.sum()), sum(beyond), slabs.gaps, slabs.thickness_mm)
