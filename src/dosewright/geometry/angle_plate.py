"""Angle plates: each gantry angle as a line in the axial plane (GDP-HMM; Gao et al., CVPR 2023).

Conventions: planes (y, x) and volumes (z, y, x) in voxels of the grid, whatever its spacing. With LPS axes gantry 0
points up the image, toward anterior, and gantry 90 to the image's right, the patient's left. Couch angles are ignored.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dosewright.core import Grid
from dosewright.core.errors import InputError
from dosewright.core.types import FloatVolume, Triple
from dosewright.geometry.isocenter import isocenter_voxel
from dosewright.geometry.thick_line import draw_thick_line

LENGTH = 50  # voxels
HALF_SLICES = 5


def angle_plate(grid: Grid, isocenter_xyz_mm: Triple, gantry_angles_deg: Sequence[float]) -> Float[np.ndarray, "y x"]:
    """Return the axial angle plate: 1 on a line 50 voxels long and 4 wide from the isocentre toward each angle, else 0.

    The line ends at the whole voxel nearest the isocentre's side; its raster is OpenCV 4's (see `thick_line`).

    Args:
        grid: Grid of the plate; only its y and x sizes matter.
        isocenter_xyz_mm: LPS mm; its voxel index is cut off, not rounded.
        gantry_angles_deg: IEC 61217 gantry angles; for an arc, of all control points.

    Raises:
        InputError: If there is no angle, or the isocentre lies outside the grid.

    >>> plate = angle_plate(Grid((9, 128, 128), (2.5, 2.5, 2.0)), (160.0, 160.0, 8.0), [0.0])
    >>> [int(plate[y, x]) for y, x in ((64, 64), (14, 64), (11, 64), (90, 64), (40, 62), (40, 66), (40, 67))]
    [1, 1, 0, 0, 1, 1, 0]
    """
    require_angles(gantry_angles_deg)
    _, center_y, center_x = isocenter_voxel(grid, isocenter_xyz_mm)
    image = np.zeros(grid.shape_zyx[1:], bool)
    for angle in gantry_angles_deg:
        radians = math.pi / 180 * (float(angle) - 90)
        tip = (int(center_x + LENGTH * np.cos(radians)), int(center_y + LENGTH * np.sin(radians)))
        draw_thick_line(image, tip, (center_x, center_y))
    return image.astype(np.float32)


def angle_plate_volume(grid: Grid, isocenter_xyz_mm: Triple, gantry_angles_deg: Sequence[float]) -> FloatVolume:
    """Return the angle plate repeated on the ten slices from 5 below the isocentre's to 4 above it, else 0.

    Raises:
        InputError: As `angle_plate`.
    """
    plate = angle_plate(grid, isocenter_xyz_mm, gantry_angles_deg)
    center_z = isocenter_voxel(grid, isocenter_xyz_mm)[0]
    volume = np.zeros(grid.shape_zyx, np.float32)
    volume[max(center_z - HALF_SLICES, 0) : center_z + HALF_SLICES] = plate
    return volume


def require_angles(gantry_angles_deg: Sequence[float]) -> None:
    """Check gantry angles.

    Raises:
        InputError: If there is none, or one is not finite.
    """
    if len(gantry_angles_deg) == 0:
        raise InputError("must hold at least one beam", argument="gantry_angles_deg", value=list(gantry_angles_deg))
    if not all(math.isfinite(angle) for angle in gantry_angles_deg):
        raise InputError("must be finite", argument="gantry_angles_deg", value=list(gantry_angles_deg))
