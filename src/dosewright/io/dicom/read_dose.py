"""RTDOSE as Gy on its own axes, and on a case's grid."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dosewright.core import Grid
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.types import FloatVolume, Mask
from dosewright.io.dicom.read_elements import Attributes, read_dataset
from dosewright.io.dicom.read_orientation import axial_frame
from dosewright.io.dicom.read_pixels import stored_values
from dosewright.io.dicom.resample import apply_weights, linear_weights

MAX_DOSE_BYTES = 512_000_000
OFFSET_TOLERANCE_MM = 0.01
_OFFSETS = "GridFrameOffsetVector"
_HEADER = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsAllocated",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "DoseUnits",
    "DoseType",
    "DoseSummationType",
    "DoseGridScaling",
    "GridFrameOffsetVector",
    "FrameOfReferenceUID",
]


@dataclass(frozen=True, eq=False)
class DoseVolume:
    """A dose as it was calculated.

    Args:
        dose_gy: Total dose in Gy, (z, y, x), all axes growing.
        x_mm: Voxel centres along x, LPS mm.
        y_mm: Voxel centres along y.
        z_mm: Voxel centres along z; their distances may differ.
        kind: Dose type, "PHYSICAL" or "EFFECTIVE".
        quantum_gy: Gy that one step of the stored integers is.
    """

    dose_gy: FloatVolume
    x_mm: Float[np.ndarray, " x"]
    y_mm: Float[np.ndarray, " y"]
    z_mm: Float[np.ndarray, " z"]
    kind: str
    quantum_gy: float

    @property
    def grid(self) -> Grid | None:
        """The dose's grid, or None when its planes are unevenly spaced."""
        steps = [(axis[-1] - axis[0]) / max(axis.size - 1, 1) for axis in (self.x_mm, self.y_mm, self.z_mm)]
        even = self.z_mm[0] + steps[2] * np.arange(self.z_mm.size)
        if min(steps) <= 0 or np.abs(even - self.z_mm).max() > OFFSET_TOLERANCE_MM:
            return None
        x, y, z = (float(step) for step in steps)
        return Grid(self.dose_gy.shape, (x, y, z), (float(self.x_mm[0]), float(self.y_mm[0]), float(self.z_mm[0])))

    def on(self, grid: Grid) -> tuple[FloatVolume, Mask]:
        """Return the dose on a grid in Gy, and the voxels it covers.

        Trilinear between voxel centres; up to half a voxel beyond the outermost centres their values hold, and further
        out the dose is unknown: 0 there, and not covered.
        """
        weights, inside = [], []
        for axis, centres in (("z", self.z_mm), ("y", self.y_mm), ("x", self.x_mm)):
            ends = (float(centres[1] - centres[0]) / 2, float(centres[-1] - centres[-2]) / 2)
            weights.append(linear_weights(centres, grid.axis_mm(axis), ends))
            inside.append(np.asarray(weights[-1].sum(axis=1)).ravel() > 0.5)
        z, y, x = inside
        covered = z[:, None, None] & y[None, :, None] & x[None, None]
        return apply_weights(self.dose_gy, (weights[0], weights[1], weights[2])), covered


def read_dose(path: Path, frame_uid: str) -> DoseVolume:
    """Return one RTDOSE.

    Args:
        path: The file.
        frame_uid: Frame of reference it must be in.

    Raises:
        CaseError: If the dose is not in Gy, in another frame of reference, oblique, of one plane only, of an unknown
            layout of planes, negative, or broken.
    """
    header = read_dataset(path, MAX_DOSE_BYTES, _HEADER)
    _check_kind(header, frame_uid)
    scaling = header.number("DoseGridScaling")
    if scaling <= 0:
        raise header.error("DoseGridScaling", "must be positive", scaling)
    frame = axial_frame(header)
    rows, columns, planes = (header.integer(k) for k in ("Rows", "Columns", "NumberOfFrames"))
    if min(rows, columns, planes) < 2:
        raise header.error("NumberOfFrames", "must be at least 2, as Rows and Columns", (planes, rows, columns))
    if header.numbers("PixelSpacing", 2).min() <= 0:
        raise header.error("PixelSpacing", "must be positive", tuple(header.numbers("PixelSpacing", 2)))
    position = header.numbers("ImagePositionPatient", 3)
    z_mm = _planes_mm(header, planes, float(position[2]), frame.normal_z)
    data = read_dataset(path, MAX_DOSE_BYTES, pixels=True)
    stored = stored_values(data, allowed_bits=(16, 32))
    if stored.shape != (planes, rows, columns):
        raise data.error("NumberOfFrames", "must be that of the header", stored.shape)
    if stored.min() < 0:
        raise data.error("PixelData", "must not be negative: a difference of doses is no dose", int(stored.min()))
    peak = float(stored.max()) * scaling
    if peak > DOSE_MAX_GY:
        raise data.error("DoseGridScaling", f"must give at most {DOSE_MAX_GY:g} Gy", f"{peak:g} Gy")
    order = 1 if z_mm[0] < z_mm[-1] else -1
    x_mm, y_mm = frame.axes_mm(position, header.numbers("PixelSpacing", 2), rows, columns)
    # Scaled in double precision plane by plane, rounded once.
    dose_gy = np.empty((planes, y_mm.size, x_mm.size), np.float32)
    for k, plane in enumerate(stored[::order]):
        dose_gy[k] = frame.to_lps(plane) * scaling
    return DoseVolume(dose_gy, x_mm, y_mm, z_mm[::order], header.text("DoseType"), scaling)


def _check_kind(header: Attributes, frame_uid: str) -> None:
    units = header.text("DoseUnits").upper()
    if units != "GY":
        raise header.error("DoseUnits", "must be GY: relative doses have no known scale", units)
    kind = header.text("DoseType").upper()
    if kind not in ("PHYSICAL", "EFFECTIVE"):
        raise header.error("DoseType", "must be PHYSICAL or EFFECTIVE", kind)
    own = header.text("FrameOfReferenceUID", "")
    if not own or own != frame_uid:
        raise header.error(
            "FrameOfReferenceUID", f"must be the CT's, {frame_uid or 'which has none'}", own or "nothing"
        )


def _planes_mm(header: Attributes, planes: int, z_mm: float, normal_z: int) -> Float[np.ndarray, " z"]:
    """Return each plane's z in mm, in the file's order (PS3.3 C.8.8.3.2).

    Offsets that start at 0 are distances from Image Position along row × column; those that start at Image Position's z
    are positions themselves.
    """
    offsets = header.numbers(_OFFSETS, planes)
    if abs(offsets[0]) <= OFFSET_TOLERANCE_MM:
        positions = z_mm + normal_z * offsets
    elif abs(offsets[0] - z_mm) <= OFFSET_TOLERANCE_MM:
        positions = offsets
    else:
        raise header.error(_OFFSETS, f"must start at 0 or at Image Position's z, {z_mm:g}", float(offsets[0]))
    steps = np.diff(positions)
    if not ((steps > OFFSET_TOLERANCE_MM).all() or (steps < -OFFSET_TOLERANCE_MM).all()):
        raise header.error(
            _OFFSETS, "must grow or fall from plane to plane", f"steps {steps.min():g} to {steps.max():g}"
        )
    return positions
