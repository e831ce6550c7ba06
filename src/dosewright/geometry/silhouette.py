"""The target's shadow on the plane through the isocentre, as a raster."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int32
from scipy import ndimage

from dosewright.core.errors import InputError
from dosewright.core.types import Mask, Triple
from dosewright.geometry.beam_frame import BeamFrame

FloatField = Float[np.ndarray, "_ _ _"]  # broadcasts to (z, y, x)


@dataclass(frozen=True, eq=False)
class Silhouette:
    """A shadow on square pixels.

    Args:
        low_uv_mm: Centre of the first pixel.
        pixel_mm: Pixel edge length.
        raster: Pixels whose centre the shadow covers; its border is empty.
    """

    low_uv_mm: tuple[float, float]
    pixel_mm: float
    raster: Bool[np.ndarray, "v u"]

    def covers(self, u_mm: FloatField, v_mm: FloatField) -> Mask:
        """Return which projections fall on it, to half a pixel; u and v broadcast."""
        rows, columns = self.raster.shape
        shape = np.broadcast_shapes(u_mm.shape, v_mm.shape)
        column = np.broadcast_to(_nearest(u_mm, self.low_uv_mm[0], self.pixel_mm, columns), shape)
        inside = np.empty(shape, bool)
        for k, v in enumerate(np.broadcast_to(v_mm, shape)):  # by slices, which fit the cache
            row = _nearest(v, self.low_uv_mm[1], self.pixel_mm, rows)
            row *= columns
            row += column[k]
            inside[k] = self.raster.ravel().take(row)
        return inside


def _nearest(
    values_mm: Float[np.ndarray, "*shape"], low_mm: float, pixel_mm: float, count: int
) -> Int32[np.ndarray, "*shape"]:
    scaled = values_mm * np.float32(1 / pixel_mm)
    scaled += np.float32(0.5 - low_mm / pixel_mm)
    np.clip(scaled, 0, count - 1, out=scaled)
    return scaled.astype(np.int32)


def cast_silhouette(
    centers_xyz_mm: Float[np.ndarray, "n 3"], spacing_xyz_mm: Triple, frame: BeamFrame, margin_mm: float = 0.0
) -> Silhouette:
    """Return the shadow of whole voxels, on pixels of half the smallest spacing.

    A voxel casts the rectangle around its shadow; without couch rotation that is the shadow itself, but for the change
    of magnification within one voxel. Voxels on a body's surface cast the whole body's shadow.

    Args:
        centers_xyz_mm: Centres of the voxels, LPS mm.
        spacing_xyz_mm: Size of the voxels.
        frame: The beam.
        margin_mm: Widens the shadow, measured on its plane.

    Raises:
        InputError: If a voxel lies at or behind the source.
    """
    offset = centers_xyz_mm - frame.source_xyz_mm
    depth = offset @ frame.axis_xyz
    if depth.min() <= 0:
        raise InputError("must exceed the way to the target's farthest voxel", argument="sad_mm", value=frame.sad_mm)
    magnification = frame.sad_mm / depth
    pixel = min(spacing_xyz_mm) / 2
    border = math.ceil(margin_mm / pixel) + 2
    lows, spans = [], []
    for direction in (frame.u_xyz, frame.v_xyz):
        center = (offset @ direction) * magnification
        half = 0.5 * float(np.abs(direction) @ spacing_xyz_mm) * magnification
        low = float((center - half).min()) - (border - 0.5) * pixel  # a pixel's edge on the shadow's
        first, last = np.ceil((center - half - low) / pixel), np.floor((center + half - low) / pixel)
        lows.append(low)
        spans.append((first.astype(np.intp), last.astype(np.intp)))
    raster = _fill_rectangles(spans[0], spans[1], border)
    if margin_mm > 0:
        raster = ndimage.distance_transform_edt(~raster, sampling=pixel) <= margin_mm
    return Silhouette((lows[0], lows[1]), pixel, raster)


def _fill_rectangles(
    columns: tuple[np.ndarray, np.ndarray], rows: tuple[np.ndarray, np.ndarray], border: int
) -> Bool[np.ndarray, "v u"]:
    """Return the union of rectangles [first, last]: corners counted, then summed along both axes."""
    shape = (int(rows[1].max()) + border + 1, int(columns[1].max()) + border + 1)
    count = np.zeros(shape[0] * shape[1], np.int64)
    for row, row_sign in ((rows[0], 1), (rows[1] + 1, -1)):
        for column, sign in ((columns[0], row_sign), (columns[1] + 1, -row_sign)):
            count += sign * np.bincount(row * shape[1] + column, minlength=count.size)
    return count.reshape(shape).cumsum(axis=0).cumsum(axis=1) > 0
