"""Whether OpenKBP would accept a submission, and what is wrong with it when not.

The archive is never unpacked to disk; one entry at a time is read into memory.
"""

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from dosewright.core import GridMismatchError, SubmissionError
from dosewright.core.types import Mask
from dosewright.io import openkbp_csv
from dosewright.submission.openkbp import PATIENT
from dosewright.submission.openkbp_rows import check_rows
from dosewright.submission.problem import Problem

_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_ENCRYPTED = 0x1


def require_valid(
    path: str | Path, expected_ids: Collection[str], masks: Mapping[str, Mask] | None = None
) -> list[Problem]:
    """Return the warnings of a submission that would be accepted; see `validate`.

    Raises:
        SubmissionError: If it would not be; the message lists every problem.
    """
    problems = validate(path, expected_ids, masks)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        listed = "\n".join(f"  {problem}" for problem in errors)
        raise SubmissionError(f"{len(errors)} problem{'s' if len(errors) > 1 else ''}\n{listed}", path=path)
    return problems


def validate(path: str | Path, expected_ids: Collection[str], masks: Mapping[str, Mask] | None = None) -> list[Problem]:
    """Return every problem of a submission; an empty list means that it would be accepted as it is.

    Args:
        path: The zip.
        expected_ids: Patients that must be there (`pt_N`), and no others.
        masks: Possible dose masks by patient, (z, y, x) LPS, for the warning about dose outside of them.

    Raises:
        GridMismatchError: If a mask is not 128³.
    """
    path = Path(path)
    for case_id, mask in (masks or {}).items():
        if mask.shape != openkbp_csv.SHAPE:
            raise GridMismatchError(
                f"must have shape {openkbp_csv.SHAPE}", argument=f"masks[{case_id}]", value=mask.shape
            )
    problems = _check_archive(path)
    if problems:
        return problems
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        problems += _check_patients(entries, expected_ids)
        for entry in entries:
            problems += _check_entry(archive, entry, masks or {})
    return problems


def _check_archive(path: Path) -> list[Problem]:
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except FileNotFoundError:
        return [Problem(path.name, "must exist", value="no such file")]
    except OSError as error:
        return [Problem(path.name, "must be a readable file", value=error.strerror or str(error))]
    try:
        with zipfile.ZipFile(path):
            return []
    except (OSError, zipfile.BadZipFile):
        if start == b"PK\x03\x04":
            return [Problem(path.name, "must be a complete zip: its end is missing, so it was cut short")]
        return [Problem(path.name, "must be a zip", value=f"a file starting with {start!r}")]


def _check_patients(entries: list[zipfile.ZipInfo], expected_ids: Collection[str]) -> list[Problem]:
    """Return missing, extra and repeated patients; a file in a folder still counts as present."""
    counts = Counter(entry.filename for entry in entries)
    repeated = [Problem(name, "must appear once in the zip", value=f"{n} times") for name, n in counts.items() if n > 1]
    present = {patient for entry in entries if (patient := _patient(entry))}
    missing = sorted(set(expected_ids) - present, key=_number)
    extra = sorted(present - set(expected_ids), key=_number)
    return [
        *repeated,
        *(Problem(f"{patient}.csv", "is missing: every patient must be predicted") for patient in missing),
        *(Problem(f"{patient}.csv", "is not a patient of this set") for patient in extra),
    ]


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, masks: Mapping[str, Mask]) -> list[Problem]:
    named = _check_name(entry)
    patient = _patient(entry)
    if not patient:
        return named
    size, most = entry.file_size, openkbp_csv.MAX_BYTES
    if size > most:
        rule = f"must unpack to at most {most // 10**6} MB; it was not unpacked"
        return [*named, Problem(entry.filename, rule, value=f"{size / 1e6:.0f} MB")]
    if entry.flag_bits & _ENCRYPTED:
        return [*named, Problem(entry.filename, "must not be encrypted")]
    if stat.S_ISLNK(entry.external_attr >> 16):
        return [*named, Problem(entry.filename, "must be a file, not a link")]
    try:
        content = archive.read(entry)
    except (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        return [*named, Problem(entry.filename, "must be undamaged", value=str(error))]
    return named + check_rows(entry.filename, content, masks.get(patient))


def _check_name(entry: zipfile.ZipInfo) -> list[Problem]:
    name, parts = entry.filename, PurePosixPath(entry.filename).parts
    if ".." in parts or name.startswith("/") or "\\" in entry.orig_filename or ":" in name:
        return [Problem(name, "must not point outside the folder it is unpacked in")]
    if any(part.startswith(".") or part in _LITTER for part in parts):
        return [Problem(name, "must not be there: it is a hidden file of the operating system")]
    if entry.is_dir():
        return [Problem(name, "must not be there: zip the files themselves, not their folder")]
    if len(parts) > 1:
        return [Problem(name, "must not be inside a folder: zip the files themselves, not their folder")]
    if not _patient(entry):
        return [Problem(name, "must be named pt_N.csv")]
    return []


def _patient(entry: zipfile.ZipInfo) -> str | None:
    """Return the patient an entry is for, None for entries that are no patient's file."""
    name = PurePosixPath(entry.filename)
    hidden = any(part.startswith(".") or part in _LITTER for part in name.parts)
    if hidden or entry.is_dir() or name.suffix != ".csv" or not PATIENT.match(name.stem):
        return None
    return name.stem


def _number(patient: str) -> tuple[int, str]:
    match = PATIENT.match(patient)
    return (int(match[1]) if match else -1, patient)
