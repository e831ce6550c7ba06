"""An existing study, as far as new objects need to know it to belong to it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.uid import CTImageStorage, RTPlanStorage, RTStructureSetStorage

from dosewright.core import CaseError, InputError
from dosewright.io.dicom.read_elements import Attributes, read_dataset
from dosewright.io.dicom.read_orientation import axial_frame
from dosewright.io.dicom.write_dataset import StudyHeader
from dosewright.io.dicom.write_images import ImageSeries
from dosewright.io.dicom.write_rtstruct import StructureSet

_MOST_FILES, _MOST_BYTES = 5000, 500_000_000
_SHARED = {  # and what they are where they are absent; None: they must be there
    "PatientID": "",
    "PatientPosition": "HFS",
    "StudyInstanceUID": None,
    "SeriesInstanceUID": None,
    "FrameOfReferenceUID": None,
}
_HEADER = {
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "accession_number": "AccessionNumber",
    "study_description": "StudyDescription",
}


@dataclass(frozen=True)
class StudyReference:
    """A study that new objects shall belong to.

    Args:
        header: Patient, study and frame of reference, as the CT says.
        images: The CT series.
        structures: Its structure set, without names that are there twice, or None.
        plan_uid: Instance UID of its plan, or None.
        position: How the patient lies: "HFS", "FFS", …
        path: Folder of the CT, for messages.
    """

    header: StudyHeader
    images: ImageSeries
    structures: StructureSet | None = None
    plan_uid: str | None = None
    position: str = "HFS"
    path: Path | None = None


def read_study_reference(files: Iterable[str | Path]) -> StudyReference:
    """Return the study of a CT series and, where they are among the files, one RTSTRUCT and one RTPLAN.

    Pixels are not read, and messages hold nothing of the patient but the files' paths.

    Args:
        files: DICOM files of one patient.

    Raises:
        CaseError: If a file is unreadable or of another kind, there is no CT slice, more than one structure set or
            plan, the slices are not of one axial series, or something is of
            another patient, study, frame or structure set.
    """
    paths = [Path(file) for file in files]
    if len(paths) > _MOST_FILES:
        raise CaseError(f"must be at most {_MOST_FILES}", argument="files", value=len(paths))
    found: dict[str, list[Attributes]] = {
        str(kind): [] for kind in (CTImageStorage, RTStructureSetStorage, RTPlanStorage)
    }
    for path in paths:
        one = read_dataset(path, _MOST_BYTES)
        kind = one.text("SOPClassUID")
        if kind not in found:
            raise one.error("SOPClassUID", "must be a CT slice, an RTSTRUCT or an RTPLAN", kind)
        found[kind].append(one)
    slices, structures, plans = found.values()
    return _with_plan(_with_structures(_of_images(slices), structures), plans)


def _of_images(slices: list[Attributes]) -> StudyReference:
    if not slices:
        raise CaseError("must hold CT slices", argument="files", value="none")
    first, placed = slices[0], []
    shared = {keyword: first.text(keyword, default) for keyword, default in _SHARED.items()}
    for one in slices:
        for keyword, default in _SHARED.items():
            if one.text(keyword, default) != shared[keyword]:
                raise _another(one, keyword)
        axial_frame(one)
        placed.append((float(one.numbers("ImagePositionPatient", 3)[2]), one.text("SOPInstanceUID")))
    try:
        images = ImageSeries(shared["SeriesInstanceUID"], tuple((uid, z_mm) for z_mm, uid in sorted(placed)))
    except InputError as error:
        raise CaseError.located(error, first.path.parent) from error
    header = StudyHeader(
        patient_name=first.text("PatientName", ""),
        patient_id=shared["PatientID"],
        study_uid=shared["StudyInstanceUID"],
        frame_uid=shared["FrameOfReferenceUID"],
        **{name: first.text(keyword, "") for name, keyword in _HEADER.items()},
    )
    return StudyReference(header, images, position=shared["PatientPosition"], path=first.path.parent)


def _with_structures(known: StudyReference, found: list[Attributes]) -> StudyReference:
    one = _single("RTSTRUCT", known, found)
    if one is None:
        return known
    rois = one.items("StructureSetROISequence")
    for item in one.items("ReferencedFrameOfReferenceSequence"):
        _agree(item, "FrameOfReferenceUID", known.header.frame_uid)
    numbers: dict[str, list[int]] = {}
    for item in rois:
        if item.has("ReferencedFrameOfReferenceUID"):
            _agree(item, "ReferencedFrameOfReferenceUID", known.header.frame_uid)
        numbers.setdefault(item.text("ROIName", ""), []).append(item.integer("ROINumber"))
    clear = {name: found[0] for name, found in numbers.items() if name and len(found) == 1}
    return replace(known, structures=StructureSet(one.text("SOPInstanceUID"), clear))


def _with_plan(known: StudyReference, found: list[Attributes]) -> StudyReference:
    one = _single("RTPLAN", known, found)
    if one is None:
        return known
    if known.structures is not None:
        for item in one.items("ReferencedStructureSetSequence"):
            _agree(item, "ReferencedSOPInstanceUID", known.structures.uid)
    return replace(known, plan_uid=one.text("SOPInstanceUID"))


def _single(kind: str, known: StudyReference, found: list[Attributes]) -> Attributes | None:
    """Return the only object of its kind, of the same patient and study as the CT."""
    if len(found) > 1:
        names = tuple(one.path.name for one in found)
        raise CaseError("must be one at most", argument=kind, value=names, path=known.path)
    for one in found:
        _agree(one, "PatientID", known.header.patient_id)
        _agree(one, "StudyInstanceUID", known.header.study_uid)
        return one
    return None


def _agree(one: Attributes, keyword: str, expected: str) -> None:
    if one.text(keyword, "") != expected:
        raise _another(one, keyword)


def _another(one: Attributes, keyword: str) -> CaseError:
    return one.error(keyword, "must be the same in all files of a study", "another one")  # no patient's ID in messages
