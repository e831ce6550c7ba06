"""What lies in a folder: one record per DICOM file, from its header alone."""

import filecmp
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from dosewright.core import CaseError, DosewrightError
from dosewright.io.dicom.read_elements import Attributes, read_dataset

CT, STRUCTURES, PLAN, DOSE = "CT", "RTSTRUCT", "RTPLAN", "RTDOSE"
SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": CT,
    "1.2.840.10008.5.1.4.1.1.481.3": STRUCTURES,
    "1.2.840.10008.5.1.4.1.1.481.5": PLAN,
    "1.2.840.10008.5.1.4.1.1.481.8": PLAN,  # RT Ion Plan
    "1.2.840.10008.5.1.4.1.1.481.2": DOSE,
}
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
MAX_STRUCTURE_BYTES = 256_000_000
MAX_PLAN_BYTES = 128_000_000

_IDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "ImageType")
_LABELS = {STRUCTURES: "StructureSetLabel", PLAN: "RTPlanLabel", DOSE: "SeriesDescription"}
_REFERENCES = ("ReferencedRTPlanSequence", "ReferencedStructureSetSequence", "ReferencedFrameOfReferenceSequence")
_KEYWORDS = (*_IDS, *_LABELS.values(), *_REFERENCES, "DoseSummationType")
_SKIPPED_NAMES = {"DICOMDIR"}


@dataclass(frozen=True)
class Instance:
    """One file of interest, by what it is and what it refers to.

    Args:
        path: The file.
        kind: `CT`, `STRUCTURES`, `PLAN` or `DOSE`.
        uid: SOP instance UID.
        series: Series instance UID.
        frames: Frame of reference UIDs: one of an image, a plan or a dose, those that a structure set names.
        patient: Digest of the patient's ID.
        label: Structure set label, plan label or series description; to choose by, never shown.
        images: SOP instance UIDs of the images a structure set refers to.
        image_series: Series that a structure set refers to.
        plans: Plans a dose refers to.
        structure_sets: Structure sets a plan or dose refers to.
        summation: Dose summation type.
    """

    path: Path
    kind: str
    uid: str
    series: str
    frames: tuple[str, ...]
    patient: str
    label: str = ""
    images: tuple[str, ...] = ()
    image_series: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    structure_sets: tuple[str, ...] = ()
    summation: str = ""


@dataclass(frozen=True)
class Scan:
    """All that was found under one folder.

    Args:
        root: The folder.
        instances: Files of interest, by path.
        broken: Files that seem to be DICOM but cannot be read, with the reason.
        ignored: How many files were left out, by what they are.
        patient_ids: Digest → the ID itself; empty unless asked for.
    """

    root: Path
    instances: tuple[Instance, ...]
    broken: dict[Path, str]
    ignored: dict[str, int]
    patient_ids: dict[str, str]


def scan_folder(root: Path, keep_patient_id: bool = False) -> Scan:
    """Return what lies under a folder, at any depth; links to folders are not followed.

    Raises:
        CaseError: If the folder is missing.
    """
    if not root.is_dir():
        raise CaseError("must be a folder of DICOM files", argument="data.root", value="no such folder", path=root)
    instances, broken, ignored, ids = [], {}, dict[str, int](), dict[str, str]()
    for path in _files(root):
        try:
            found = _instance(path)
        except DosewrightError as error:
            broken[path] = str(error)
            continue
        if isinstance(found, str):
            ignored[found] = ignored.get(found, 0) + 1
            continue
        instance, patient_id = found
        instances.append(instance)
        if keep_patient_id:
            ids[instance.patient] = patient_id
    unique = _without_copies(instances)
    if len(unique) < len(instances):
        ignored["identical copies"] = len(instances) - len(unique)
    return Scan(root, unique, broken, ignored, ids)


def _without_copies(instances: list[Instance]) -> tuple[Instance, ...]:
    """Return the instances without files that are byte for byte an earlier one."""
    kept: dict[str, list[Instance]] = {}
    for instance in instances:
        same = kept.setdefault(instance.uid, [])
        if not any(filecmp.cmp(instance.path, other.path, shallow=False) for other in same):
            same.append(instance)
    return tuple(sorted((i for same in kept.values() for i in same), key=lambda i: i.path))


def _files(root: Path) -> list[Path]:
    found = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder) / name for name in files if not name.startswith(".") and name not in _SKIPPED_NAMES]
    return sorted(found)


def _instance(path: Path) -> tuple[Instance, str] | str:
    """Return a file's record and its patient's ID, or in words what it is when it is left out."""
    if not _is_dicom(path):
        return "not DICOM"
    data = read_dataset(path, MAX_STRUCTURE_BYTES, _KEYWORDS)
    sop_class = data.text("SOPClassUID")
    kind = SOP_CLASSES.get(sop_class, "")
    if sop_class == ENHANCED_CT:
        raise data.error("SOPClassUID", "must be CT Image Storage: enhanced multi-frame CT is not read", sop_class)
    if not kind:
        return "other DICOM objects"
    if kind == CT and "LOCALIZER" in data.text("ImageType", "").upper().split("\\"):
        return "localizers"
    patient_id = data.text("PatientID", "")
    images, series = _image_references(data, path) if kind == STRUCTURES else ((), ())
    instance = Instance(
        path=path,
        kind=kind,
        uid=data.text("SOPInstanceUID"),
        series=data.text("SeriesInstanceUID"),
        frames=_frames(data, kind),
        patient=hashlib.sha256(patient_id.encode()).hexdigest() if patient_id else "",
        label=data.text(_LABELS[kind], "") if kind in _LABELS else "",
        images=images,
        image_series=series,
        plans=data.references("ReferencedRTPlanSequence") if kind == DOSE else (),
        structure_sets=data.references("ReferencedStructureSetSequence") if kind in (DOSE, PLAN) else (),
        summation=data.text("DoseSummationType", "") if kind == DOSE else "",
    )
    return instance, patient_id


def _is_dicom(path: Path) -> bool:
    """Whether a regular file has DICOM's prefix; one called .dcm without it is broken, others are none of ours.

    Raises:
        CaseError: If a file that is called .dcm is not DICOM, or cannot be opened.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as stream:
            prefixed = stream.read(132)[128:] == b"DICM"
    except OSError as error:
        if path.suffix.lower() != ".dcm":
            return False
        raise CaseError("must be readable", argument="file", value=error.strerror, path=path) from error
    if not prefixed and path.suffix.lower() == ".dcm":
        raise CaseError("must be a DICOM file: it lacks the prefix DICM at byte 128", argument="file", path=path)
    return prefixed


def _frames(data: Attributes, kind: str) -> tuple[str, ...]:
    if kind != STRUCTURES:
        frame = data.text("FrameOfReferenceUID", None if kind == DOSE else "")  # a dose without one has no place
        return (frame,) if frame else ()
    items = data.items("ReferencedFrameOfReferenceSequence")
    return tuple(item.text("FrameOfReferenceUID") for item in items if item.has("FrameOfReferenceUID"))


def _image_references(data: Attributes, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the images and the series a structure set refers to; from its contours where it has no list of them."""
    images: list[str] = []
    series: list[str] = []
    for frame in data.items("ReferencedFrameOfReferenceSequence"):
        for study in frame.items("RTReferencedStudySequence"):
            for one in study.items("RTReferencedSeriesSequence"):
                series.append(one.text("SeriesInstanceUID"))
                images += one.references("ContourImageSequence")
    if not series:
        whole = read_dataset(path, MAX_STRUCTURE_BYTES, ("ROIContourSequence",))
        for roi in whole.items("ROIContourSequence"):
            for contour in roi.items("ContourSequence"):
                images += contour.references("ContourImageSequence")
    return tuple(dict.fromkeys(images)), tuple(dict.fromkeys(series))
