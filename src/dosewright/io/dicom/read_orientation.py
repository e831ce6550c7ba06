"""How the rows and columns of an axial image lie in the patient: the one place where axes are turned to LPS.

DICOM (PS3.3 C.7.6.2.1.1): Image Orientation holds the direction in which the column index grows along a row, then the
direction in which the row index grows down a column; Image Position is the centre of the first pixel; Pixel Spacing is
the distance between rows, then that between columns.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from dosewright.io.dicom.read_elements import Attributes

COSINE_TOLERANCE = 1e-4  # 0.05 mm over a slice of 500 mm


@dataclass(frozen=True)
class AxialFrame:
    """Which way an axial image's indices grow.

    Args:
        swapped: Whether the column index grows along y and the row index along x.
        x_sign: 1 when the index along x grows to the patient's left, else −1.
        y_sign: 1 when the index along y grows posterior, else −1.
    """

    swapped: bool
    x_sign: int
    y_sign: int

    @property
    def normal_z(self) -> int:
        """The z component, 1 or −1, of row direction × column direction."""
        return self.x_sign * self.y_sign * (-1 if self.swapped else 1)

    def to_lps(self, planes: Shaped[np.ndarray, "*n rows columns"]) -> Shaped[np.ndarray, "*n y x"]:
        """Return planes with y and x growing with the patient's axes."""
        turned = np.swapaxes(planes, -1, -2) if self.swapped else planes
        return turned[..., :: self.y_sign, :: self.x_sign]

    def axes_mm(
        self, position: Float[np.ndarray, " 3"], spacing_rows_columns: Float[np.ndarray, " 2"], rows: int, columns: int
    ) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " y"]]:
        """Return voxel centres along x and y in mm, growing, of an image at `position`."""
        between_rows, between_columns = spacing_rows_columns
        steps = (between_rows, between_columns) if self.swapped else (between_columns, between_rows)
        counts = (rows, columns) if self.swapped else (columns, rows)
        axes = [
            start + sign * step * np.arange(count)
            for start, sign, step, count in zip(position, (self.x_sign, self.y_sign), steps, counts)
        ]
        return axes[0][:: self.x_sign], axes[1][:: self.y_sign]


def axial_frame(attributes: Attributes) -> AxialFrame:
    """Return the frame of an image whose rows and columns are parallel to the patient's x and y.

    Raises:
        CaseError: If the image is oblique, not axial, or its directions are not perpendicular unit vectors.
    """
    keyword = "ImageOrientationPatient"
    cosines = attributes.numbers(keyword, 6)
    rounded = np.round(cosines)
    row, column = rounded[:3], rounded[3:]
    shown = tuple(float(v) for v in np.round(cosines, 6))
    units = np.abs(row).sum() == 1 and np.abs(column).sum() == 1 and row @ column == 0
    if not units or np.abs(cosines - rounded).max() > COSINE_TOLERANCE:
        raise attributes.error(
            keyword, "must be parallel to the patient's axes: oblique images are not read, resample them first", shown
        )
    if row[2] or column[2]:
        raise attributes.error(keyword, "must be axial: sagittal and coronal images are not read", shown)
    swapped = bool(row[1])
    x, y = (column[0], row[1]) if swapped else (row[0], column[1])
    return AxialFrame(swapped, int(x), int(y))
