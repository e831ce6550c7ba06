"""Checks of one `pt_N.csv` of an OpenKBP submission, row by row."""

import re
import warnings

import numpy as np
from jaxtyping import Bool, Float, Int

from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.types import Mask
from dosewright.io import openkbp_csv
from dosewright.submission.problem import Problem, Severity

MIN_VOXELS = 1000  # the smallest of the 202 published reference doses has 8142
OUTSIDE_GY = 0.1  # less outside the dose mask is noise, not worth a warning
MIN_HOTTEST_GY = 10.0  # every patient has a target prescribed 70 Gy
VOXELS = int(np.prod(openkbp_csv.SHAPE))

_WHOLE = re.compile(r"^\s*[+-]?[0-9]+\s*$")
_INDEX_LIMIT = 2**62  # longer integers are out of range whatever they are; this one fits int64
_Row = tuple[int, int, float]  # row, index, dose


def check_rows(file: str, content: bytes, mask: Mask | None = None) -> list[Problem]:
    """Return what is wrong with the content of one patient's file.

    Rows that cannot be read are left out of the checks that follow. Of rows that break the same rule the first is named
    and the others are counted.

    Args:
        file: Name to report.
        content: The unpacked bytes.
        mask: The patient's possible dose mask, (z, y, x) LPS; dose outside it is a warning.
    """
    try:
        header, *lines = content.decode("ascii").splitlines() or [""]
    except UnicodeDecodeError as error:
        return [Problem(file, "must be plain ASCII text", value=repr(content[error.start : error.start + 8]))]
    if header != openkbp_csv.HEADER:
        return [Problem(file, f"the header must be {openkbp_csv.HEADER!r}", row=1, value=repr(header[:60]))]
    rows, indices, doses_gy, problems = _parse(file, lines)
    problems += _check_indices(file, rows, indices)
    problems += _check_doses(file, rows, doses_gy)
    inside = (indices >= 0) & (indices < VOXELS)
    return problems + _check_mask(file, rows[inside], indices[inside], doses_gy[inside], mask)


def _parse(
    file: str, lines: list[str]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, " n"], list[Problem]]:
    """Return row numbers, indices and doses: by numpy when all is well, else row by row to say what is not."""
    kind = [("index", np.int64), ("dose_gy", np.float64)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table = np.loadtxt(lines, delimiter=",", comments=None, dtype=kind, ndmin=1)
    except (ValueError, Warning):
        return _parse_slowly(file, lines)
    if len(table) != len(lines):  # numpy skips blank lines
        return _parse_slowly(file, lines)
    return np.arange(2, len(lines) + 2), table["index"], table["dose_gy"], []


def _parse_slowly(
    file: str, lines: list[str]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, " n"], list[Problem]]:
    good: list[_Row] = []
    broken: dict[str, list[tuple[int, str]]] = {}
    for row, line in enumerate(lines, start=2):
        result = _parse_line(row, line)
        if isinstance(result, str):
            broken.setdefault(result, []).append((row, line))
        else:
            good.append(result)
    problems = [
        Problem(file, rule + _more(len(found)), row=found[0][0], value=repr(found[0][1][:60]))
        for rule, found in broken.items()
    ]
    rows, indices, doses = zip(*good) if good else ((), (), ())
    return np.array(rows, np.int64), np.array(indices, np.int64), np.array(doses, np.float64), problems


def _parse_line(row: int, line: str) -> _Row | str:
    """Return the parsed row, or the rule it breaks."""
    cells = line.split(",")
    if len(cells) != 2:
        return "a row must be index,dose"
    if not _WHOLE.match(cells[0]):
        return "the index must be a whole number"
    if not cells[1].strip():
        return "the dose must not be left empty: it reads as NaN"
    try:
        dose = float("bad" if "_" in cells[1] else cells[1])
    except ValueError:
        return "the dose must be a number"
    index = int(cells[0])
    return row, max(-_INDEX_LIMIT, min(index, _INDEX_LIMIT)), dose


def _check_indices(file: str, rows: Int[np.ndarray, " n"], indices: Int[np.ndarray, " n"]) -> list[Problem]:
    outside = (indices < 0) | (indices >= VOXELS)
    repeated = np.ones(indices.size, bool)
    repeated[np.unique(indices, return_index=True)[1]] = False
    return [
        *_first(file, f"the index must be in [0, {VOXELS}), a flat index into 128×128×128", outside, rows, indices),
        *_first(file, "the index must appear once", repeated, rows, indices),
    ]


def _check_doses(file: str, rows: Int[np.ndarray, " n"], doses_gy: Float[np.ndarray, " n"]) -> list[Problem]:
    finite = np.isfinite(doses_gy)
    absurd = finite & (doses_gy > DOSE_MAX_GY)
    unit = f"the dose must be total Gy, at most {DOSE_MAX_GY:g} (is it in cGy?)"
    problems = [
        *_first(file, "the dose must be finite", ~finite, rows, doses_gy),
        *_first(file, "the dose must not be negative", finite & (doses_gy < 0), rows, doses_gy),
        *_first(file, unit, absurd, rows, doses_gy),
    ]
    irradiated = int(np.count_nonzero(finite & (doses_gy > 0)))
    if irradiated < MIN_VOXELS:
        rule = f"must hold dose in at least {MIN_VOXELS} voxels; the dose is nearly empty"
        return [*problems, Problem(file, rule, value=f"{irradiated} voxels")]
    hottest_gy = float(doses_gy[finite].max())
    if hottest_gy < MIN_HOTTEST_GY:
        rule = f"must reach {MIN_HOTTEST_GY:g} Gy; the dose is nearly zero (is it scaled to [0, 1]?)"
        return [*problems, Problem(file, rule, value=f"at most {hottest_gy:g} Gy")]
    return problems


def _check_mask(
    file: str,
    rows: Int[np.ndarray, " n"],
    indices: Int[np.ndarray, " n"],
    doses_gy: Float[np.ndarray, " n"],
    mask: Mask | None,
) -> list[Problem]:
    if mask is None:
        return []
    outside = (doses_gy > OUTSIDE_GY) & (openkbp_csv.from_lps(mask.view(np.uint8)).ravel()[indices] == 0)
    rule = "dose lies outside the possible dose mask, where the reference is zero"
    return _first(file, rule, outside, rows, doses_gy, severity="warning")


def _first(
    file: str,
    rule: str,
    bad: Bool[np.ndarray, " n"],
    rows: Int[np.ndarray, " n"],
    values: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    severity: Severity = "error",
) -> list[Problem]:
    """Return one problem for all bad rows: the first one, and how many more there are."""
    count = int(np.count_nonzero(bad))
    if not count:
        return []
    at = int(np.argmax(bad))
    return [Problem(file, rule + _more(count), row=int(rows[at]), value=f"{values[at]}", severity=severity)]


def _more(count: int) -> str:
    return f" (and in {count - 1} more rows)" if count > 1 else ""
