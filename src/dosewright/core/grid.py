"""The voxel grid: geometry as a value, without voxels.

Conventions of the whole package:
  arrays     (z, y, x), C order; index k, j, i
  positions  DICOM patient coordinates LPS in mm: +x to the patient's left, +y posterior, +z cranial
  origin     centre of voxel (0, 0, 0)
  axes       array axes are parallel to the patient axes and grow with them
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dosewright.core.errors import InputError
from dosewright.core.types import Shape, Triple


@dataclass(frozen=True)
class Grid:
    """Axis-aligned LPS grid.

    Args:
        shape_zyx: Voxels along z, y, x.
        spacing_xyz_mm: Voxel edge lengths in mm.
        origin_xyz_mm: Centre of the first voxel, LPS mm.

    Raises:
        InputError: If a size is not a positive integer or a length not positive and finite.

    >>> grid = Grid((10, 20, 30), (1.0, 2.0, 3.0))
    >>> grid.voxel_volume_cc
    0.006
    >>> grid.center_xyz_mm
    (14.5, 19.0, 13.5)
    """

    shape_zyx: Shape
    spacing_xyz_mm: Triple
    origin_xyz_mm: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        shape = tuple(self.shape_zyx)
        spacing = tuple(float(v) for v in self.spacing_xyz_mm)
        origin = tuple(float(v) for v in self.origin_xyz_mm)
        if len(shape) != 3 or not all(math.isfinite(n) and int(n) == n and n >= 1 for n in shape):
            raise InputError("must be three positive integers", argument="shape_zyx", value=shape)
        if len(spacing) != 3 or not all(math.isfinite(v) and v > 0 for v in spacing):
            raise InputError("must be three positive lengths in mm", argument="spacing_xyz_mm", value=spacing)
        if len(origin) != 3 or not all(math.isfinite(v) for v in origin):
            raise InputError("must be three finite positions in mm", argument="origin_xyz_mm", value=origin)
        object.__setattr__(self, "shape_zyx", tuple(int(n) for n in shape))
        object.__setattr__(self, "spacing_xyz_mm", spacing)
        object.__setattr__(self, "origin_xyz_mm", origin)

    @property
    def spacing_zyx_mm(self) -> Triple:
        """Spacing in array order, mm."""
        x, y, z = self.spacing_xyz_mm
        return (z, y, x)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of a voxel in mm³."""
        return math.prod(self.spacing_xyz_mm)

    @property
    def voxel_volume_cc(self) -> float:
        """Volume of a voxel in cm³."""
        return self.voxel_volume_mm3 / 1000.0

    @property
    def center_xyz_mm(self) -> Triple:
        """Position of the grid's centre, LPS mm."""
        nz, ny, nx = self.shape_zyx
        index = np.array([(nz - 1) / 2, (ny - 1) / 2, (nx - 1) / 2])
        x, y, z = self.position_xyz_mm(index)
        return (float(x), float(y), float(z))

    def position_xyz_mm(self, index_zyx: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Return LPS positions in mm of (fractional) voxel indices."""
        return np.asarray(index_zyx, float)[..., ::-1] * self.spacing_xyz_mm + self.origin_xyz_mm

    def index_zyx(self, position_xyz_mm: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Return fractional voxel indices of LPS positions in mm."""
        return ((np.asarray(position_xyz_mm, float) - self.origin_xyz_mm) / self.spacing_xyz_mm)[..., ::-1]

    def axis_mm(self, axis: str) -> Float[np.ndarray, " n"]:
        """Return voxel-centre positions along "x", "y" or "z", in mm.

        Raises:
            InputError: If the axis is none of the three.
        """
        if axis not in ("x", "y", "z"):
            raise InputError('must be "x", "y" or "z"', argument="axis", value=axis)
        i = "xyz".index(axis)
        return self.origin_xyz_mm[i] + self.spacing_xyz_mm[i] * np.arange(self.shape_zyx[2 - i])

    def is_close(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same shape, and voxel centres within `tolerance_mm`."""
        if self.shape_zyx != other.shape_zyx:
            return False
        far = np.array(self.shape_zyx) - 1.0
        corners = (np.zeros(3), far)
        return all(
            bool(np.all(np.abs(self.position_xyz_mm(c) - other.position_xyz_mm(c)) <= tolerance_mm)) for c in corners
        )

    def crop(self, box_zyx: tuple[slice, slice, slice]) -> "Grid":
        """Return the grid of the sub-array `array[box_zyx]`.

        Raises:
            InputError: If the box is empty, stepped or leaves the grid.
        """
        if len(box_zyx) != 3:
            raise InputError("must be three slices", argument="box_zyx", value=box_zyx)
        starts, sizes = [], []
        for piece, size in zip(box_zyx, self.shape_zyx, strict=True):
            start, stop = piece.start or 0, size if piece.stop is None else piece.stop
            if piece.step not in (None, 1) or not 0 <= start < stop <= size:
                raise InputError(f"must be a box inside {self.shape_zyx}", argument="box_zyx", value=box_zyx)
            starts.append(start)
            sizes.append(stop - start)
        origin = self.position_xyz_mm(np.array(starts, float))
        return Grid((sizes[0], sizes[1], sizes[2]), self.spacing_xyz_mm, (origin[0], origin[1], origin[2]))
