"""What every DICOM object written here shares: patient, study and frame, marks of research use, UIDs, the file itself.

Everything written is a function of its content: UIDs are hashes of it, dates stay empty unless an existing study gives
them, so that the same case gives the same bytes. Files are Implicit VR Little Endian: every importer must read it, and
it has no 64 KB limit for the points of a contour.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from pydicom.charset import default_encoding
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from dosewright.core import InputError
from dosewright.core.files import atomic_path

MANUFACTURER = "Dosewright"
MARK = "RESEARCH ONLY"
WARNING = "RESEARCH USE ONLY - NOT FOR TREATMENT"
_UTF8 = "ISO_IR 192"
_LONG_STRING = 64  # characters of VR LO


@dataclass(frozen=True)
class StudyHeader:
    """Patient, study and frame of reference, as all objects of a study repeat them.

    Args:
        patient_name: DICOM person name.
        patient_id: At most 64 characters.
        study_uid: Study instance UID.
        frame_uid: Frame of reference UID.
        birth_date: YYYYMMDD or empty.
        sex: "M", "F", "O" or empty.
        study_date: YYYYMMDD or empty.
        study_time: HHMMSS or empty.
        study_id: At most 16 characters.
        accession_number: At most 16 characters.
        study_description: At most 64 characters.
    """

    patient_name: str
    patient_id: str
    study_uid: str
    frame_uid: str
    birth_date: str = ""
    sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    accession_number: str = ""
    study_description: str = f"Dosewright - {MARK}"


def new_object(header: StudyHeader, sop_class: str, modality: str, description: str, series_number: int) -> Dataset:
    """Return a data set with the modules that all objects have; series and instance UID are set by `identify`.

    Args:
        header: Patient, study and frame of reference.
        sop_class: SOP class UID.
        modality: "CT", "RTSTRUCT", "RTPLAN" or "RTDOSE".
        description: Of the series; the mark of research use is appended.
        series_number: Of the series in the study.
    """
    one = Dataset()
    one.SpecificCharacterSet = _UTF8
    one.SOPClassUID = sop_class
    one.StudyDate, one.StudyTime = header.study_date, header.study_time
    one.AccessionNumber = header.accession_number
    one.Modality = modality
    one.Manufacturer = one.ManufacturerModelName = MANUFACTURER
    one.ReferringPhysicianName = ""
    one.StudyDescription = header.study_description
    one.SeriesDescription = text(f"{description} - {MARK}")
    one.PatientName, one.PatientID = header.patient_name, header.patient_id
    one.PatientBirthDate, one.PatientSex = header.birth_date, header.sex
    one.StudyInstanceUID = header.study_uid
    one.StudyID = header.study_id
    one.SeriesNumber = series_number
    one.FrameOfReferenceUID = header.frame_uid
    one.PositionReferenceIndicator = ""
    if modality != "CT":
        one.OperatorsName = ""
    return one


def identify(one: Dataset, series_uid: str | None = None) -> str:
    """Set the instance UID, and the series UID unless one is given, from all else the object holds; return the former.

    Args:
        one: A whole object but for these two.
        series_uid: Of the series it belongs to; None makes one of its own.
    """
    digest = _bytes_of(one)
    one.SeriesInstanceUID = series_uid or content_uid("series", digest)
    one.SOPInstanceUID = content_uid("instance", one.SeriesInstanceUID, digest)
    return str(one.SOPInstanceUID)


def content_uid(*parts: str | bytes) -> str:
    """Return the UID of some content: the same for the same parts, under pydicom's root.

    >>> content_uid("study", "pt_1") == content_uid("study", "pt_1") != content_uid("study", "pt_2")
    True
    """
    digests = [hashlib.sha256(part if isinstance(part, bytes) else part.encode()).hexdigest() for part in parts]
    return str(generate_uid(entropy_srcs=digests))


def save(one: Dataset, path: Path) -> None:
    """Write an object as a DICOM file in one step.

    Raises:
        StorageError: If it cannot be written.
    """
    one.file_meta = FileMetaDataset()
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with atomic_path(path) as temporary:
        one.save_as(temporary, enforce_file_format=True)


def reference(sop_class: str, uid: str) -> Dataset:
    """Return an item that references an instance."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def decimal(value: float | int) -> str:
    """Return a number as a decimal string of at most 16 characters, with all the digits that fit.

    Raises:
        InputError: If it is not finite.

    >>> decimal(2.5), decimal(-1 / 3), decimal(-0.0)
    ('2.5', '-0.3333333333333', '0')
    """
    if not math.isfinite(value):
        raise InputError("must be finite", argument="decimal string", value=value)
    whole = round(value)
    if whole == value and abs(whole) < 10**15:
        return str(whole)
    return str(format_number_as_ds(float(value)))


def decimals(*values: float | int) -> list[str]:
    """Return numbers as decimal strings."""
    return [decimal(float(value)) for value in values]


def text(value: str, longest: int = _LONG_STRING, argument: str = "text") -> str:
    """Return a text that is fit for a short string element.

    Args:
        value: The text.
        longest: Most characters.
        argument: Its name in messages.

    Raises:
        InputError: If it is too long, or has a backslash, a control character or spaces around it.
    """
    if len(value) > longest or "\\" in value or not value.isprintable() or value != value.strip():
        rule = f"must be at most {longest} printable characters without backslashes or spaces around them"
        raise InputError(rule, argument=argument, value=value)
    return value


def _bytes_of(one: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    write_dataset(stream, one, default_encoding)
    return bytes(stream.getvalue())
