"""Whether GDP-HMM would accept a submission, and what is wrong with it when not."""

import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dosewright.core import CaseError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.types import Shape
from dosewright.io.gdp_hmm.bounded_stream import BoundedStream
from dosewright.io.gdp_hmm.npz import MAX_HEADER, read_header
from dosewright.submission.flat_zip import check_archive, check_name, is_litter, read_entry, require_none
from dosewright.submission.gdp_hmm import PLAN, SUFFIX
from dosewright.submission.problem import Problem

LEAST_HOTTEST_GY = 10.0  # the smallest of the published prescriptions is 11
_FORM = f"<PID>+<PlanID>+<suffix>{SUFFIX}"


def require_valid(path: str | Path, expected: Mapping[str, Shape]) -> list[Problem]:
    """Return the warnings of a submission that would be accepted; see `validate`.

    Raises:
        SubmissionError: If it would not be; the message lists every problem.
    """
    return require_none(validate(path, expected), path)


def validate(path: str | Path, expected: Mapping[str, Shape]) -> list[Problem]:
    """Return every problem of a submission; an empty list means that it would be accepted as it is.

    Args:
        path: The zip.
        expected: Plan → voxels (z, y, x) of its file; these must be there, and no others.
    """
    path = Path(path)
    problems = check_archive(path)
    if problems:
        return problems
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        problems += _check_plans(entries, expected)
        for entry in entries:
            problems += check_name(entry, lambda own: _plan(own) is not None, _FORM)
            plan = _plan(entry)
            if plan is not None and plan in expected:
                problems += _check_entry(archive, entry, expected[plan])
    return problems


def _check_plans(entries: list[zipfile.ZipInfo], expected: Mapping[str, Shape]) -> list[Problem]:
    counts = Counter(entry.filename for entry in entries)
    present = {plan for entry in entries if (plan := _plan(entry))}
    repeated = [Problem(name, "must appear once in the zip", value=f"{n} times") for name, n in counts.items() if n > 1]
    missing, extra = sorted(set(expected) - present), sorted(present - set(expected))
    return [
        *repeated,
        *(Problem(f"{plan}{SUFFIX}", "is missing: every plan must be predicted") for plan in missing),
        *(Problem(f"{plan}{SUFFIX}", "is not a plan of this set") for plan in extra),
    ]


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shape: Shape) -> list[Problem]:
    content = read_entry(archive, entry, int(np.prod(shape)) * 8 + MAX_HEADER + 100)
    if isinstance(content, list):
        return content
    stream = BoundedStream(io.BytesIO(content), len(content))
    try:
        stored, dtype, fortran = read_header(stream)
    except CaseError as error:
        return [Problem(entry.filename, "must be an .npy file", value=str(error))]
    if dtype.hasobject or dtype not in (np.float32, np.float64):
        return [Problem(entry.filename, "must be of float32 or float64", value=str(dtype))]
    if stored != shape:
        return [Problem(entry.filename, f"must have the plan's own shape {shape} (z, y, x)", value=str(stored))]
    if stream.left != int(np.prod(shape)) * dtype.itemsize:
        return [Problem(entry.filename, "must hold as many bytes as its header says", value=f"{stream.left}")]
    dose_gy = np.frombuffer(content, dtype, offset=len(content) - stream.left)
    return ([Problem(entry.filename, "must be in C order")] if fortran else []) + _check_dose(entry.filename, dose_gy)


def _check_dose(file: str, dose_gy: np.ndarray) -> list[Problem]:
    bad = int(np.count_nonzero(~np.isfinite(dose_gy)))
    if bad:
        return [Problem(file, "the dose must be finite", value=f"{bad} voxels NaN or infinite")]
    least, most = float(dose_gy.min()), float(dose_gy.max())
    if least < 0:
        return [Problem(file, "the dose must not be negative", value=f"{least:g}")]
    if most > DOSE_MAX_GY:
        rule = f"the dose must be total Gy, at most {DOSE_MAX_GY:g} (is it in cGy?)"
        return [Problem(file, rule, value=f"{most:g}")]
    if most < LEAST_HOTTEST_GY:
        rule = f"must reach {LEAST_HOTTEST_GY:g} Gy; the dose is nearly zero (is it divided by 10 or more?)"
        return [Problem(file, rule, value=f"at most {most:g} Gy")]
    return []


def _plan(entry: zipfile.ZipInfo) -> str | None:
    """Return the plan an entry is for, None for entries that are no plan's file."""
    name = entry.filename
    if is_litter(name) or entry.is_dir() or "/" in name or not name.endswith(SUFFIX):
        return None
    plan = name.removesuffix(SUFFIX)
    return plan if PLAN.match(plan) else None
