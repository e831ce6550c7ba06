"""A CT series as HU on a grid.

All headers are read and checked before the first pixel: slices of one size, axial, stacked straight and evenly. A
series that breaks this is refused, never repaired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num

from dosewright.core import CaseError, Grid
from dosewright.core.case import HU_MAX, HU_MIN
from dosewright.core.types import Volume
from dosewright.io.dicom.read_elements import Attributes, read_dataset
from dosewright.io.dicom.read_orientation import AxialFrame, axial_frame
from dosewright.io.dicom.read_pixels import stored_values
from dosewright.io.dicom.read_scan import Instance

MAX_SLICE_BYTES = 64_000_000
POSITION_TOLERANCE_MM = 0.1  # positions are often rounded to a tenth of a millimetre
TILT_TOLERANCE_DEG = 0.01

_HEADER = [
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SliceThickness",
    "GantryDetectorTilt",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PatientPosition",
    "BodyPartExamined",
    "NumberOfFrames",
]


@dataclass(frozen=True)
class CtStack:
    """The geometry of a CT series, and its files from caudal to cranial.

    Args:
        grid: The grid.
        frame: How rows and columns lie.
        paths: One file per slice, in the grid's order.
        slice_uids: SOP instance UID → the slice's z in mm.
        patient_position: "HFS", …, or "" when no file says so.
        body_part: Body part examined, or "".
        notes: What was assumed.
    """

    grid: Grid
    frame: AxialFrame
    paths: tuple[Path, ...]
    slice_uids: dict[str, float]
    patient_position: str
    body_part: str
    notes: tuple[str, ...]


def read_stack(slices: Sequence[Instance], max_voxels: int) -> CtStack:
    """Return the geometry of a series from its headers.

    Raises:
        CaseError: If the slices are not of one size, axial and evenly stacked, or have too many voxels.
    """
    headers = [read_dataset(slice.path, MAX_SLICE_BYTES, _HEADER) for slice in slices]
    first = headers[0]
    for header in headers:
        _check_alike(first, header)
    rows, columns = first.integer("Rows"), first.integer("Columns")
    if min(rows, columns) < 1 or rows * columns * len(slices) > max_voxels:
        raise first.error(
            "Rows", f"× Columns × slices must be in [1, {max_voxels}] voxels", (rows, columns, len(slices))
        )
    frame = axial_frame(first)
    positions = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    order = np.argsort(positions[:, 2], kind="stable")
    spacing = first.numbers("PixelSpacing", 2)
    if spacing.min() <= 0:
        raise first.error("PixelSpacing", "must be positive", tuple(spacing))
    paths = [slices[i].path for i in order]
    z0, dz, notes = _even_spacing(positions[order], paths, first)
    x_mm, y_mm = frame.axes_mm(positions[order[0]], spacing, rows, columns)
    steps = spacing if frame.swapped else spacing[::-1]
    grid = Grid(
        (len(slices), y_mm.size, x_mm.size),
        (float(steps[0]), float(steps[1]), dz),
        (float(x_mm[0]), float(y_mm[0]), z0),
    )
    heights = dict(zip((slices[i].uid for i in order), positions[order, 2].tolist()))
    body_part, position = first.text("BodyPartExamined", ""), first.text("PatientPosition", "")
    return CtStack(grid, frame, tuple(paths), heights, position, body_part, notes)


def read_hu(stack: CtStack) -> tuple[Volume, tuple[str, ...]]:
    """Return a series' CT numbers in HU, (z, y, x), and notes on what was changed.

    Int16 when every rescale slope and intercept is whole, else float32. Values below −1024 HU, which scanners write
    outside their field of view, become −1024.

    Raises:
        CaseError: If pixel data do not fit their header, or are out of range.
    """
    hu: Volume = np.empty(stack.grid.shape_zyx, np.int16)
    padded = 0
    for k, path in enumerate(stack.paths):
        plane = _plane_hu(read_dataset(path, MAX_SLICE_BYTES, pixels=True), stack)
        if plane.dtype == np.float32 and hu.dtype != np.float32:  # one slice with a fraction makes all of them float
            hu = hu.astype(np.float32)
        padded += int(np.count_nonzero(plane < HU_MIN))
        hu[k] = np.maximum(plane, plane.dtype.type(HU_MIN))
    note = f"{padded} voxels below {HU_MIN:g} HU, padding of the scanner, became {HU_MIN:g} HU"
    return hu, (note,) if padded else ()


def _plane_hu(data: Attributes, stack: CtStack) -> Num[np.ndarray, "y x"]:
    stored = stored_values(data, allowed_bits=(16,))
    if stored.shape[0] != 1:
        raise data.error("NumberOfFrames", "must be 1", stored.shape[0])
    slope, intercept = data.number("RescaleSlope"), data.number("RescaleIntercept")
    if slope <= 0:
        raise data.error("RescaleSlope", "must be positive", slope)
    unit = data.text("RescaleType", "HU").upper()
    if unit != "HU":
        raise data.error("RescaleType", "must be HU", unit)
    plane = stack.frame.to_lps(stored[0])
    if plane.shape != stack.grid.shape_zyx[1:]:
        raise data.error("Rows", "must be those of the header", stored.shape[1:])
    values = plane * slope + intercept
    least, most = float(values.min()), float(values.max())
    if most > HU_MAX:
        raise data.error("PixelData", f"must be at most {HU_MAX:g} HU", most)
    whole = slope == int(slope) and intercept == int(intercept) and least >= np.iinfo(np.int16).min
    return values.astype(np.int16 if whole else np.float32)


def _check_alike(first: Attributes, header: Attributes) -> None:
    for keyword in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
        expected, value = first.numbers(keyword), header.numbers(keyword)
        if expected.shape != value.shape or not np.allclose(expected, value, rtol=0, atol=1e-4):
            rule = f"must be the same in all slices of a series: {first.path.name} has {tuple(expected.tolist())}"
            raise header.error(keyword, rule, tuple(value.tolist()))
    for keyword in ("FrameOfReferenceUID", "PatientPosition"):
        if header.text(keyword, "") != first.text(keyword, ""):
            raise header.error(keyword, "must be the same in all slices of a series", header.text(keyword, ""))
    tilt = header.number("GantryDetectorTilt", 0.0)
    if abs(tilt) > TILT_TOLERANCE_DEG:
        rule = "must be 0: tilted gantries shear the volume; resample the series to straight slices first"
        raise header.error("GantryDetectorTilt", rule, tilt)


def _even_spacing(
    positions: Float[np.ndarray, "n 3"], paths: Sequence[Path], first: Attributes
) -> tuple[float, float, tuple[str, ...]]:
    """Return the first z and the distance of slices in mm, with notes, of positions in order of z."""
    z, argument = positions[:, 2], "ImagePositionPatient (0020,0032)"
    drift = np.abs(positions[:, :2] - positions[0, :2]).max(axis=1)
    if drift.max() > POSITION_TOLERANCE_MM:
        worst = int(np.argmax(drift))
        rule = "must differ along z only in a series: its slices are sheared or shifted"
        raise CaseError(rule, argument=argument, value=tuple(positions[worst].tolist()), path=paths[worst])
    if z.size == 1:
        thickness = first.number("SliceThickness")
        if thickness <= 0:
            raise first.error("SliceThickness", "must be positive", thickness)
        return float(z[0]), thickness, (f"one slice only: taken to be {thickness:g} mm thick, as its header says",)
    gaps = np.diff(z)
    if gaps.min() <= POSITION_TOLERANCE_MM:
        at = int(np.argmin(gaps))
        rule = f"must differ between slices of a series: {paths[at].name} lies at the same z"
        raise CaseError(rule, argument=argument, value=float(z[at + 1]), path=paths[at + 1])
    typical = float(np.median(gaps))
    missing = np.flatnonzero(gaps > 1.5 * typical)
    if missing.size:
        at = int(missing[0])
        rule = f"must follow each other every {typical:g} mm: a slice is missing, or the series changes its spacing"
        raise CaseError(rule, argument=argument, value=f"z = {z[at]:g}, then {z[at + 1]:g} mm", path=paths[at + 1])
    spacing = float(z[-1] - z[0]) / (z.size - 1)
    off = np.abs(z - (z[0] + spacing * np.arange(z.size)))
    if off.max() > POSITION_TOLERANCE_MM:
        at = int(np.argmax(off))
        rule = f"must be evenly spaced within {POSITION_TOLERANCE_MM:g} mm"
        raise CaseError(rule, argument=argument, value=f"{off[at]:.2f} mm off at z = {z[at]:g}", path=paths[at])
    return float(z[0]), spacing, ()
