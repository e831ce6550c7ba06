"""Whether OpenKBP would accept a submission, and what is wrong with it when not.

The archive is never unpacked to disk; one entry at a time is read into memory.
"""

import zipfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from dosewright.core import GridMismatchError
from dosewright.core.types import Mask
from dosewright.io import openkbp_csv
from dosewright.submission.flat_zip import check_archive, check_name, is_litter, read_entry, require_none
from dosewright.submission.openkbp import PATIENT
from dosewright.submission.openkbp_rows import check_rows
from dosewright.submission.problem import Problem


def require_valid(
    path: str | Path, expected_ids: Collection[str], masks: Mapping[str, Mask] | None = None
) -> list[Problem]:
    """Return the warnings of a submission that would be accepted; see `validate`.

    Raises:
        SubmissionError: If it would not be; the message lists every problem.
    """
    return require_none(validate(path, expected_ids, masks), path)


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
    problems = check_archive(path)
    if problems:
        return problems
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        problems += _check_patients(entries, expected_ids)
        for entry in entries:
            problems += _check_entry(archive, entry, masks or {})
    return problems


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
    named = check_name(entry, lambda own: _patient(own) is not None, "pt_N.csv")
    patient = _patient(entry)
    if not patient:
        return named
    content = read_entry(archive, entry, openkbp_csv.MAX_BYTES)
    if isinstance(content, list):
        return named + content
    return named + check_rows(entry.filename, content, masks.get(patient))


def _patient(entry: zipfile.ZipInfo) -> str | None:
    """Return the patient an entry is for, None for entries that are no patient's file."""
    name = PurePosixPath(entry.filename)
    if is_litter(entry.filename) or entry.is_dir() or name.suffix != ".csv" or not PATIENT.match(name.stem):
        return None
    return name.stem


def _number(patient: str) -> tuple[int, str]:
    match = PATIENT.match(patient)
    return (int(match[1]) if match else -1, patient)
