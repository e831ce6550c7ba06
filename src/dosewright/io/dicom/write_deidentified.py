"""De-identified copies of DICOM-RT files."""

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTDoseStorage,
    RTPlanStorage,
    RTStructureSetStorage,
)

from dosewright.core import CaseError, InputError
from dosewright.core.files import atomic_path
from dosewright.io.dicom.read_elements import Attributes, library_errors, read_dataset
from dosewright.io.dicom.write_deidentify_rules import Rules, cleaned

KINDS: Mapping[str, str] = {
    str(CTImageStorage): "CT",
    str(RTStructureSetStorage): "RTSTRUCT",
    str(RTPlanStorage): "RTPLAN",
    str(RTDoseStorage): "RTDOSE",
}
MOST_BYTES = 600_000_000
_SYNTAXES = (str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian), str(ExplicitVRBigEndian))
_PSEUDONYM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}\Z")
_LONGEST_SHIFT_DAYS = 3650

Dates = Literal["remove", "shift"]


@dataclass(frozen=True)
class Deidentified:
    """What came of a folder.

    Args:
        written: Files, `<pseudonym>/<modality>.<UID>.dcm` in the output folder.
        patients: Number of patients.
        skipped: Why files were left out → how many.
        renamed: Structures whose names held something of a patient's and are numbers now.
        names: Names of structures that stayed: free text, to be looked through before the files are given away.
        left_out: Number of a file among all those in the folder, sorted by path and from 1 on → why it was left out.
        files: Number of all files in the folder.
    """

    written: tuple[Path, ...]
    patients: int
    skipped: Mapping[str, int]
    renamed: int
    names: tuple[str, ...] = ()
    left_out: Mapping[int, str] = field(default_factory=dict)
    files: int = 0

    def describe(self) -> str:
        """Return a sentence that is safe to log.

        >>> Deidentified((), 0, {"not DICOM": 2}, 0).describe()
        '0 files of 0 patients written, 0 structures renamed; left out: 2 not DICOM'
        """
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items())) or "none"
        done = f"{len(self.written)} files of {self.patients} patients written, {self.renamed} structures renamed"
        return f"{done}; left out: {left_out}"


def deidentify(
    folder: str | Path,
    out: str | Path,
    *,
    key: str | None = None,
    dates: Dates = "remove",
    patients: Mapping[str, str] | None = None,
    keep_structure_names: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Deidentified:
    """Write de-identified copies of all CT, RTSTRUCT, RTPLAN and RTDOSE below a folder.

    Other objects and files are left out, as are those that cannot be cleaned for sure: compressed pixels, which may
    hold comments, and pixels with burned-in annotation. See `write_deidentify_rules` for what is kept. File names and
    messages hold nothing of the files but their number in the sorted folder.

    Args:
        folder: Where to look, at any depth.
        out: Where to; absent or empty, and not within `folder`.
        key: Secret from which pseudonyms, UIDs and shifts of dates follow: the same key gives the same ones, so that
            parts of a study can be done apart. None draws one and forgets it.
        dates: "remove", or "shift" by a number of days of each patient's own: intervals stay.
        patients: Patient ID → pseudonym, for those who shall have a certain one.
        keep_structure_names: Whether names of structures stay where they hold nothing of the patient's.
        progress: Called after each file with the number of those done and of all.

    Raises:
        InputError: If the folder is missing or without a file that can be written, `out` is not empty or within the
            folder, an option is unknown, or a pseudonym is no safe file name or that of two patients.
        StorageError: If a file cannot be written.
    """
    folder, out = Path(folder), Path(out)
    _check(folder, out, key, dates, patients or {})
    work = _Work(out, (key or secrets.token_hex(32)).encode(), dates, dict(patients or {}), keep_structure_names)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for number, path in enumerate(paths, 1):
        work.take(path, number)
        if progress is not None:
            progress(number, len(paths))
    if not work.written:
        reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(work.skipped.items())) or "no files"
        raise InputError("must hold DICOM-RT files that can be de-identified", argument="folder", value=reasons)
    return Deidentified(
        written=tuple(work.written),
        patients=len(work.seen),
        skipped=dict(work.skipped),
        renamed=work.renamed,
        names=tuple(sorted(work.names)),
        left_out=work.left_out,
        files=len(paths),
    )


class _Work:
    """Files one after the other."""

    def __init__(self, out: Path, key: bytes, dates: Dates, pseudonyms: dict[str, str], keep_names: bool) -> None:
        self.out, self._key, self._dates = out, key, dates
        self._pseudonyms, self._keep_names = pseudonyms, keep_names
        self.written: list[Path] = []
        self.seen: dict[str, str] = {}  # patient → pseudonym
        self.left_out: dict[int, str] = {}
        self.renamed = 0
        self.names: set[str] = set()

    @property
    def skipped(self) -> Counter[str]:
        """Why files were left out → how many."""
        return Counter(self.left_out.values())

    def take(self, path: Path, number: int) -> None:
        """Write the clean copy of one file, or count why not."""
        try:
            reason = self._copied(path, Path(f"file {number}"))
        except CaseError:
            reason = "not readable as DICOM"
        if reason:
            self.left_out[number] = reason

    def _copied(self, path: Path, shown: Path) -> str | None:
        one = read_dataset(path, MOST_BYTES, pixels=True)
        modality = KINDS.get(one.text("SOPClassUID", ""))
        reason = "of a kind that is not cleaned" if modality is None else _unsafe(one)
        if reason or modality is None:
            return reason
        patient = one.text("PatientID", "") or one.text("StudyInstanceUID")
        rules = self._rules(patient)
        with library_errors(shown, "file"):
            found = cleaned(one.dataset, rules)
            uid = str(found.dataset.SOPInstanceUID)
        target = self.out / self.seen[patient] / f"{modality}.{uid}.dcm"
        if target.exists():
            return "there twice"
        found.dataset.Modality = modality
        _save(found.dataset, target, UID(_syntax(one)), shown)
        self.written.append(target)
        self.renamed += found.renamed
        self.names.update(found.names)
        return None

    def _rules(self, patient: str) -> Rules:
        if patient not in self.seen:
            pseudonym = self._pseudonyms.get(patient, f"ANON_{self._hash('patient', patient) >> 88:010X}")
            if pseudonym in self.seen.values():
                raise InputError("must be different for each patient", argument="pseudonym", value=pseudonym)
            self.seen[patient] = pseudonym
        days = -1 - self._hash("days", patient) % _LONGEST_SHIFT_DAYS
        shift = days if self._dates == "shift" else None
        return Rules(self.seen[patient], self._new_uid, shift, self._keep_names)

    def _new_uid(self, uid: str) -> str:
        return f"2.25.{self._hash('uid', uid)}"

    def _hash(self, what: str, value: str) -> int:
        """Return 128 bits that nobody without the key can trace back."""
        digest = hmac.new(self._key, f"{what}\0{value}".encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:16], "big")


def _unsafe(one: Attributes) -> str | None:
    """Return why a file cannot be cleaned for sure, or None."""
    if _syntax(one) not in _SYNTAXES:
        return "with compressed pixels"
    if one.text("BurnedInAnnotation", "NO") != "NO":
        return "with burned-in annotation"
    with library_errors(one.path, "PixelData"):
        pixels = one.dataset.get("PixelData")
    if pixels is None:
        return None
    sizes = [one.integer(keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    count = one.integer("NumberOfFrames", 1) * one.integer("SamplesPerPixel", 1)
    expected = sizes[0] * sizes[1] * sizes[2] // 8 * count
    return None if len(pixels) in (expected, expected + expected % 2) else "with more or fewer pixels than announced"


def _syntax(one: Attributes) -> str:
    return Attributes(one.dataset.file_meta, one.path).text("TransferSyntaxUID", "")


def _save(clean: Dataset, target: Path, syntax: UID, shown: Path) -> None:
    clean.file_meta = FileMetaDataset()
    clean.file_meta.MediaStorageSOPClassUID = clean.SOPClassUID
    clean.file_meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    clean.file_meta.TransferSyntaxUID = syntax
    with atomic_path(target) as temporary, library_errors(shown, "file"):
        clean.save_as(temporary, enforce_file_format=True)


def _check(folder: Path, out: Path, key: str | None, dates: str, patients: Mapping[str, str]) -> None:
    if not folder.is_dir():
        raise InputError("must be a folder", argument="folder", value="no such folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError("must not lie within the folder that is read", argument="out", value="a folder within")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("must be absent or empty", argument="out", value="something there", path=out)
    if key is not None and not key:
        raise InputError("must not be empty", argument="key", value="")
    if dates not in ("remove", "shift"):
        raise InputError('must be "remove" or "shift"', argument="dates", value=dates)
    for pseudonym in patients.values():
        if not _PSEUDONYM.match(pseudonym):
            rule = "must be ASCII letters, digits and ._+- only, and start with a letter, a digit or _"
            raise InputError(rule, argument="patients", value=pseudonym)
    if len(set(patients.values())) < len(patients):
        raise InputError("must be different for each patient", argument="patients", value=sorted(patients.values()))
