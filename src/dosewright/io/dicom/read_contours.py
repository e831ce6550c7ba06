"""The structures of an RTSTRUCT as contours in mm, checked, and what of them is no closed axial contour."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dosewright.core import CaseError
from dosewright.io.dicom.read_elements import Attributes, read_dataset
from dosewright.io.dicom.read_planes import PLANE_TOLERANCE_MM
from dosewright.io.dicom.read_scan import MAX_STRUCTURE_BYTES

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
LIMIT_MM = 1e5  # positions beyond are not of a patient

Contour = Float[np.ndarray, "_ 3"]


@dataclass(frozen=True, eq=False)
class RoiContours:
    """One structure.

    Args:
        number: ROI number.
        name: ROI name, as the source has it.
        kind: RT ROI interpreted type, "" when none is given.
        frame: Frame of reference the contours are in, "" when none is given.
        contours: Closed axial contours, LPS mm.
        images: For each contour the SOP instance UID of its image, or "".
        reason: Why it cannot be a mask; empty when it can.
        notes: What was passed over.
    """

    number: int
    name: str
    kind: str
    frame: str
    contours: tuple[Contour, ...]
    images: tuple[str, ...]
    reason: str = ""
    notes: tuple[str, ...] = ()


def read_rois(path: Path) -> tuple[RoiContours, ...]:
    """Return the structures of an RTSTRUCT in the file's order.

    Structures of points or open lines, without contours, or with a contour across the axial planes come without
    contours, with the reason.

    Raises:
        CaseError: If the file is broken, or contours are not finite positions.
    """
    data = read_dataset(path, MAX_STRUCTURE_BYTES)
    names = {item.integer("ROINumber"): item for item in data.items("StructureSetROISequence", required=True)}
    if len(names) != len(data.items("StructureSetROISequence")):
        raise data.error("StructureSetROISequence", "must have each ROI number once", len(names))
    kinds = {
        item.integer("ReferencedROINumber"): item.text("RTROIInterpretedType", "").upper()
        for item in data.items("RTROIObservationsSequence")
    }
    frames = [i.text("FrameOfReferenceUID", "") for i in data.items("ReferencedFrameOfReferenceSequence")]
    common = frames[0] if len(frames) == 1 else ""
    drawn: dict[int, Attributes] = {}
    for item in data.items("ROIContourSequence", required=True):
        number = item.integer("ReferencedROINumber")
        if number not in names or number in drawn:
            raise data.error("ROIContourSequence", "must refer to each ROI at most once, and to no other", number)
        drawn[number] = item
    return tuple(_roi(number, item, kinds.get(number, ""), common, drawn.get(number)) for number, item in names.items())


def _roi(number: int, item: Attributes, kind: str, common_frame: str, drawn: Attributes | None) -> RoiContours:
    name = item.text("ROIName", "")
    frame = item.text("ReferencedFrameOfReferenceUID", common_frame)
    contours: list[Contour] = []
    images: list[str] = []
    passed = Counter[str]()
    seen: set[bytes] = set()
    reason = ""
    for contour in [] if drawn is None else drawn.items("ContourSequence"):
        geometry = contour.text("ContourGeometricType").upper()
        if geometry not in CLOSED:
            passed[f"contours of type {geometry}"] += 1
            continue
        points = _points(contour, name)
        if np.ptp(points[:, 2]) > PLANE_TOLERANCE_MM:
            reason = "a contour is not axial"
        elif len(points) < 3:
            passed["contours of fewer than 3 points"] += 1
        elif (digest := hashlib.sha256(points.tobytes()).digest()) in seen:  # even–odd, twice the same would be a hole
            passed["contours that repeat another one"] += 1
        else:
            seen.add(digest)
            contours.append(points)
            images.append(next(iter(contour.references("ContourImageSequence")), ""))
    notes = tuple(f"{count} {what} passed over" for what, count in passed.items())
    if not contours and not reason:
        reason = f"only {', '.join(passed)}" if passed else "no contours"
    if reason:
        contours, images = [], []
    return RoiContours(number, name, kind, frame, tuple(contours), tuple(images), reason, notes)


def _points(contour: Attributes, name: str) -> Contour:
    values = contour.numbers("ContourData")
    count = contour.integer("NumberOfContourPoints", values.size // 3)
    if values.size % 3 or values.size != 3 * count:
        raise contour.error("ContourData", f"must have 3 × {count} numbers", f"{values.size} in {name!r}")
    if np.abs(values).max() > LIMIT_MM:
        raise contour.error("ContourData", f"must lie within ±{LIMIT_MM:g} mm", f"{np.abs(values).max():g} in {name!r}")
    return values.reshape(-1, 3)


def check_frame(roi: RoiContours, ct_frame: str, slice_z_mm: dict[str, float], path: Path) -> str:
    """Return a note, "" if none, on a structure whose frame of reference is the CT's, or that lies on its images.

    Some exporters write a frame of reference of their own making. The contours are the CT's all the same when each of
    them names an image of the series and lies in its plane.

    Raises:
        CaseError: If the frame of reference is another and the contours do not prove where they belong.
    """
    if not roi.contours or (ct_frame and roi.frame == ct_frame):
        return ""
    on_images = all(
        image in slice_z_mm and abs(points[0, 2] - slice_z_mm[image]) <= 2 * PLANE_TOLERANCE_MM
        for image, points in zip(roi.images, roi.contours)
    )
    if not on_images:
        rule = "must be the CT's, or every contour must name and lie on an image of the CT"
        raise CaseError(
            rule, argument="ReferencedFrameOfReferenceUID (3006,0024)", value=roi.frame or "nothing", path=path
        )
    return "the structure set has another frame of reference than the CT, but its contours lie on the CT's images"
