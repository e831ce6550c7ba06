"""Masks as RTSTRUCT."""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from dosewright.core import Grid, GridMismatchError, InputError
from dosewright.core.structures import Role, role_of
from dosewright.core.types import Mask
from dosewright.io.dicom.write_contours import Holes, contours_mm
from dosewright.io.dicom.write_dataset import (
    MARK,
    WARNING,
    StudyHeader,
    decimal,
    identify,
    new_object,
    reference,
    save,
    text,
)
from dosewright.io.dicom.write_images import ImageSeries

_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
_DIGITS = 5  # of a contour's points, in mm
_TARGETS = ("PTV", "CTV", "GTV")
_TYPES: Mapping[Role, str] = {Role.OAR: "ORGAN", Role.HELPER: "CONTROL", Role.EXTERNAL: "EXTERNAL"}
_HUES: Mapping[Role, tuple[float, float]] = {  # from, span: targets red to yellow, organs the rest
    Role.TARGET: (0.0, 0.14),
    Role.OAR: (0.25, 0.6),
    Role.HELPER: (0.86, 0.1),
}


@dataclass(frozen=True)
class StructureSet:
    """A structure set that was written or is there.

    Args:
        uid: Instance UID of the RTSTRUCT.
        numbers: ROI name as it stands in the file → ROI number.
    """

    uid: str
    numbers: Mapping[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", MappingProxyType(dict(self.numbers)))


def write_rtstruct(
    path: Path,
    masks: Mapping[str, Mask],
    grid: Grid,
    header: StudyHeader,
    images: ImageSeries,
    names: Mapping[str, str] | None = None,
    holes: Holes = "keyhole",
) -> StructureSet:
    """Write masks as contours, one plane of them per slice of the grid; return what references the file.

    Args:
        path: The file.
        masks: TG-263 name → mask, `External` for the patient's outline; none is empty.
        grid: The masks' grid, in the frame of reference of `header`.
        header: Patient, study and frame of reference.
        images: The CT series; a contour references the slice in its plane, where there is one.
        names: TG-263 name → the name to write, for those that shall have another.
        holes: See `contours_mm`.

    Raises:
        GridMismatchError: If a mask has another shape than the grid.
        InputError: If a mask is empty, or a name too long, illegal or there twice.
        StorageError: If it cannot be written.
    """
    written = check_structures(masks, grid, names or {})
    one = new_object(header, RTStructureSetStorage, "RTSTRUCT", "Dosewright structures", 2)
    one.StructureSetLabel = MARK
    one.StructureSetDescription = WARNING
    one.StructureSetDate = one.StructureSetTime = ""
    one.ApprovalStatus = "UNAPPROVED"
    one.ReferencedFrameOfReferenceSequence = [_frame(header, images)]
    one.StructureSetROISequence, one.ROIContourSequence, one.RTROIObservationsSequence = [], [], []
    colours = colours_of(masks)
    for number, (name, mask) in enumerate(masks.items(), 1):
        one.StructureSetROISequence.append(_roi(number, written[name], name, header, float(mask.sum()), grid))
        one.ROIContourSequence.append(_contours(number, mask, grid, images, holes, colours[name]))
        one.RTROIObservationsSequence.append(_observation(number, name))
    uid = identify(one)
    save(one, path)
    return StructureSet(uid, {written[name]: number for number, name in enumerate(masks, 1)})


def interpreted_type(name: str) -> str:
    """Return the RT ROI interpreted type of a TG-263 name; empty for an ITV, which has none.

    >>> [interpreted_type(name) for name in ("PTV_High", "Parotid_L", "zRing", "External", "ITV")]
    ['PTV', 'ORGAN', 'CONTROL', 'EXTERNAL', '']
    """
    role = role_of(name)
    if role is not Role.TARGET:
        return _TYPES[role]
    return name[:3] if name.startswith(_TARGETS) else ""


def colours_of(names: Sequence[str] | Mapping[str, object]) -> dict[str, tuple[int, int, int]]:
    """Return red, green and blue (0 to 255) for each name: warm for targets, cold for organs, pink for helpers.

    >>> colours_of(["PTV_High", "Parotid_L"])
    {'PTV_High': (255, 0, 0), 'Parotid_L': (115, 230, 0)}
    """
    found: dict[str, tuple[int, int, int]] = {}
    for role in Role:
        own = [name for name in names if role_of(name) is role]
        for place, name in enumerate(own):
            if role is Role.EXTERNAL:
                found[name] = (160, 160, 160)
                continue
            first, span = _HUES[role]
            bright = 1.0 if role is Role.TARGET else 0.9
            red, green, blue = colorsys.hsv_to_rgb(first + span * place / len(own), 1.0, bright)
            found[name] = (round(255 * red), round(255 * green), round(255 * blue))
    return found


def check_structures(masks: Mapping[str, Mask], grid: Grid, names: Mapping[str, str]) -> dict[str, str]:
    """Return the name to write for each mask, once all of them can be written; see `write_rtstruct`.

    Raises:
        GridMismatchError: If a mask has another shape than the grid.
        InputError: If there is no mask, one is empty, or a name too long, illegal or there twice.
    """
    if not masks:
        raise InputError("must hold at least one structure", argument="masks", value={})
    for name, mask in masks.items():
        if mask.shape != grid.shape_zyx:
            raise GridMismatchError(f"must have the grid's shape {grid.shape_zyx}", argument=name, value=mask.shape)
        if not mask.any():
            raise InputError("must not be empty: leave the structure out instead", argument=name, value="0 voxels")
    written = {name: text(names.get(name, name), argument=f"name of {name}") for name in masks}
    twice = sorted({one for one in written.values() if list(written.values()).count(one) > 1})
    if twice:
        raise InputError("must be different for each structure", argument="names", value=twice)
    return written


def _frame(header: StudyHeader, images: ImageSeries) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images.series_uid
    series.ContourImageSequence = [reference(images.sop_class, uid) for uid, _ in images.instances]
    study = reference(_STUDY_MANAGEMENT, header.study_uid)
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = header.frame_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _roi(number: int, written: str, name: str, header: StudyHeader, voxels: float, grid: Grid) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = number, written
    item.ReferencedFrameOfReferenceUID = header.frame_uid
    item.ROIGenerationAlgorithm = "AUTOMATIC" if role_of(name) is Role.HELPER else ""
    item.ROIVolume = decimal(round(voxels * grid.voxel_volume_cc, 6))
    return item


def _contours(
    number: int, mask: Mask, grid: Grid, images: ImageSeries, holes: Holes, colour: tuple[int, int, int]
) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber, item.ROIDisplayColor = number, list(colour)
    item.ContourSequence = []
    heights = grid.axis_mm("z").tolist()
    for k, points in contours_mm(mask, grid, holes):
        contour = Dataset()
        uid = images.at(heights[k])
        if uid is not None:
            contour.ContourImageSequence = [reference(images.sop_class, uid)]
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.NumberOfContourPoints = len(points)
        height = decimal(heights[k])
        contour.ContourData = [one for x, y in _written(points) for one in (x, y, height)]
        item.ContourSequence.append(contour)
    return item


def _written(points: np.ndarray) -> list[tuple[str, str]]:
    short = {value: decimal(value) for value in np.unique(points.round(_DIGITS)).tolist()}
    return [(short[x], short[y]) for x, y in points.round(_DIGITS).tolist()]


def _observation(number: int, name: str) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType, item.ROIInterpreter = interpreted_type(name), ""
    return item
