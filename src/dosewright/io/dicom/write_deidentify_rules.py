"""What is kept of a DICOM object when it is de-identified: what is not known to be harmless goes.

A subset of the Basic Application Level Confidentiality Profile (DICOM PS3.15, annex E), turned around: the profile
lists what to remove, this lists what to keep. Groups, sequences, free texts and binaries that are not listed are left
out; names of persons and dates are emptied; every UID that is not DICOM's own is replaced. Pixels are not touched.
Decimal strings stay as they are in the file once they are seen to be such, as contours have millions of them.
"""

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID_dictionary

from dosewright.io.dicom.write_dataset import MARK

METHOD = "Dosewright: own subset of the PS3.15 Basic Profile"

_RT_GROUPS = {0x3002, 0x3004, 0x3006, 0x300A, 0x300C, 0x300E}
_GROUPS = {0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x7FE0} | _RT_GROUPS
_TEXTS = {"LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "AS"}
_TIMES = {"DA", "TM", "DT"}
_NUMBERS = {"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT", "US or SS"}

_PATIENT = {"PatientName", "PatientID", "PatientBirthDate", "PatientSex"}
_KEPT_TEXTS = {"Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "RescaleType"}
_KEPT_SEQUENCES = {
    *("ReferencedImageSequence", "SourceImageSequence", "ReferencedStudySequence", "ReferencedSeriesSequence"),
}
_EMPTIED = {  # may be empty, but must be there
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "OperatorsName"),
    *("PatientBirthDate", "PatientSex", "PositionReferenceIndicator", "StructureSetDate", "StructureSetTime"),
    *("RTPlanDate", "RTPlanTime", "ReviewDate", "ReviewTime", "ReviewerName", "ROIInterpreter", "ContentDate"),
    *("ContentTime", "TreatmentMachineName"),
}
_REPLACED = {"StructureSetLabel": "STRUCTURES", "RTPlanLabel": "PLAN", "ApplicatorID": "NONE", "BlockTrayID": "NONE"}
_IDENTIFYING = {
    *("PatientID", "PatientBirthDate", "AccessionNumber", "InstitutionName", "InstitutionalDepartmentName"),
    *("StationName", "DeviceSerialNumber", "OtherPatientIDs", "PatientAddress", "PatientTelephoneNumbers"),
}
_LEAST_TERM = 3  # characters of what is looked for in names of structures
_DATE = re.compile(r"([0-9]{8})([0-9.+\-]*)\Z")
_MARKED = re.compile(r"RESEARCH (USE )?ONLY")
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}\Z")
_DECIMALS = re.compile(rb"[0-9eE+\-.\\ ]*\0?\Z")


@dataclass(frozen=True)
class Rules:
    """How one patient's objects are cleaned.

    Args:
        pseudonym: New name and ID of the patient.
        new_uid: A UID → the one that replaces it, the same in all files.
        shift_days: Days to add to dates; None empties them.
        keep_structure_names: Whether names of structures stay, if they hold nothing of the patient's.
    """

    pseudonym: str
    new_uid: Callable[[str], str]
    shift_days: int | None = None
    keep_structure_names: bool = True


@dataclass(frozen=True)
class Cleaned:
    """A cleaned object.

    Args:
        dataset: What is left of it.
        names: Names of structures that stayed.
        renamed: How many names of structures are numbers now.
    """

    dataset: Dataset
    names: tuple[str, ...]
    renamed: int


def cleaned(dataset: Dataset, rules: Rules) -> Cleaned:
    """Return what is kept of an object; what pydicom raises on broken elements passes through."""
    cleaner = _Cleaner(rules, identity_terms(dataset))
    found = cleaner.cleaned(dataset)
    found.SpecificCharacterSet = "ISO_IR 192"
    found.PatientName = found.PatientID = rules.pseudonym
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = METHOD
    found.LongitudinalTemporalInformationModified = "REMOVED" if rules.shift_days is None else "MODIFIED"
    return Cleaned(found, tuple(cleaner.names), cleaner.renamed)


def identity_terms(dataset: Dataset) -> frozenset[str]:
    """Return what must not stand in a kept text: parts of persons' names, IDs, numbers, dates of birth, institutions.

    >>> one = Dataset()
    >>> one.PatientName, one.PatientID = "Doe^Jane", "X-17"
    >>> sorted(identity_terms(one))
    ['doe', 'jane', 'x-17']
    """
    terms: set[str] = set()
    for tag, kind in _tags(dataset):
        if kind == "SQ":
            for item in dataset[tag].value:
                terms |= identity_terms(item)
        elif kind == "PN":
            terms |= set(re.split(r"[\s^=,.\\\-\[\]']+", str(dataset[tag].value)))
        elif keyword_for_tag(tag) in _IDENTIFYING:
            terms |= {one.strip() for one in _values(dataset[tag].value)}
    return frozenset(term.casefold() for term in terms if len(term) >= _LEAST_TERM)


@dataclass
class _Cleaner:
    rules: Rules
    terms: frozenset[str]
    names: list[str] = field(default_factory=list)
    renamed: int = 0

    def cleaned(self, dataset: Dataset) -> Dataset:
        """Return a data set, or an item, without what goes."""
        found = Dataset()
        for tag, kind in _tags(dataset):
            keyword = keyword_for_tag(tag)
            if tag.group not in _GROUPS or (tag.group == 0x0010 and keyword not in _PATIENT):
                continue
            if kind == "SQ":
                if keyword in _KEPT_SEQUENCES or (tag.group in _RT_GROUPS and not keyword.endswith("CodeSequence")):
                    found.add_new(tag, "SQ", [self.cleaned(item) for item in dataset[tag].value])
            elif kind in _NUMBERS:
                found[tag] = _number(dataset, tag, kind)
            elif keyword == "PixelData":
                found.add_new(tag, "OW", dataset.PixelData)
            elif keyword == "ROIName":
                found.ROIName = self._structure_name(str(dataset.ROIName or ""), int(dataset.ROINumber))
            elif keyword == "BeamName":
                found.BeamName = f"Beam {int(dataset.BeamNumber)}"
            else:
                value = self._value(dataset[tag], kind, keyword)
                if value is not None:
                    found.add_new(tag, kind, value)
        return found

    def _structure_name(self, name: str, number: int) -> str:
        if self.rules.keep_structure_names and not any(term in name.casefold() for term in self.terms):
            self.names.append(name)
            return name
        self.renamed += 1
        return f"ROI_{number}"

    def _value(self, element: DataElement, kind: str, keyword: str) -> str | list[str] | None:
        """Return what a text, code, time, name or UID becomes; None leaves it out."""
        if kind in _TEXTS and _MARKED.search(str(element.value).upper()):
            return MARK
        if keyword in _REPLACED:
            return _REPLACED[keyword]
        if kind in _TIMES and self.rules.shift_days is not None and keyword != "PatientBirthDate":
            return _shifted(str(element.value or ""), kind, self.rules.shift_days)
        if keyword in _EMPTIED:
            return ""
        values = _values(element.value)
        if kind == "UI":
            return [one if one in UID_dictionary else self.rules.new_uid(one) for one in values]
        if kind == "CS" or keyword in _KEPT_TEXTS:
            odd = kind == "CS" and not all(_CODE.match(one) for one in values)
            return None if odd or self._names_somebody(values) else values
        return None

    def _names_somebody(self, values: list[str]) -> bool:
        words = {word for value in values for word in (value.casefold(), *re.split(r"[\W_]+", value.casefold()))}
        return not words.isdisjoint(self.terms)


def _tags(dataset: Dataset) -> Iterator[tuple[BaseTag, str]]:
    """Yield the tags that DICOM knows and their kinds, without turning values into objects."""
    for tag in sorted(dataset.keys()):
        if not tag.is_private and dictionary_has_tag(tag):
            yield tag, dictionary_VR(tag)


def _number(dataset: Dataset, tag: BaseTag, kind: str) -> DataElement | RawDataElement:
    """Return an element of numbers.

    Raises:
        ValueError: If it holds anything else, whatever kind the file says it is.
    """
    element = dataset.get_item(tag)
    raw = isinstance(element, RawDataElement) and element.VR in (None, kind)
    if raw and kind in ("DS", "IS") and _DECIMALS.match(element.value or b""):
        return element
    converted = dataset[tag]
    every = converted.value if isinstance(converted.value, MultiValue | list) else [converted.value]
    if converted.VR not in _NUMBERS or not all(one is None or isinstance(one, int | float | Decimal) for one in every):
        raise ValueError("must be numbers")
    return converted


def _values(value: object) -> list[str]:
    every = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [str(one) for one in every if one and not isinstance(one, bytes)]


def _shifted(value: str, kind: str, days: int) -> str:
    """Return a date moved by some days; times stay, and what is neither goes.

    >>> _shifted("20240301", "DA", -1), _shifted("Monday", "DA", -1)
    ('20240229', '')
    """
    if kind == "TM":
        return value if re.fullmatch(r"[0-9.]*", value) else ""
    match = _DATE.match(value)
    try:
        day = datetime.datetime.strptime(match[1] if match else "", "%Y%m%d") + datetime.timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return day.strftime("%Y%m%d") + (match[2] if match else "")
