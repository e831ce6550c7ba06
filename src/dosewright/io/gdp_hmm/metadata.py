"""What the challenge says of its plans: `meta_data.csv`, `PTV_DICT.json` and `Pat_Obj_DICT.json`."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dosewright.core import CaseError, InputError
from dosewright.core.files import read_at_most
from dosewright.core.strict_json import BYTES_MAX, read_strict_json

SITES = {"1": "HeadNeck", "2": "Lung"}
LEVELS = ("PTV_High", "PTV_Mid", "PTV_Low")
SUFFIX = ".npz"
_NEEDED = ("npz_path", "site")
_TRUTH = {"true": True, "1": True, "false": False, "0": False, "": None}
_PLAN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")


@dataclass(frozen=True)
class PlanRow:
    """One plan of `meta_data.csv`.

    Args:
        plan: Name of its file without `.npz`, `<PID>+<PlanID>+<suffix>`; the case id.
        pid: The patient.
        plan_id: "9Ag", "15Ag", "A4Ac", "2Ac", "imrt"…; "" where the file's name has none.
        site: "HeadNeck" or "Lung".
        is_vmat: None where the table does not say.
        phase: "train", "valid" or "test"; "" where absent.
        dev_split: The same for a split of the training phase in two; "" where absent.
        npz_path: Parts of the path, without a root and without "..".
    """

    plan: str
    pid: str
    plan_id: str
    site: str
    is_vmat: bool | None
    phase: str
    dev_split: str
    npz_path: tuple[str, ...]


@dataclass(frozen=True)
class TargetEntry:
    """One level of a patient in `PTV_DICT.json`.

    Args:
        level: "PTV_High", "PTV_Mid" or "PTV_Low".
        dose_gy: Prescribed total dose.
        opt_name: The part of it that was optimised and, of PTV_High, scored by metric 1.
        struct_name: The target itself; "" where not said, as for PTV_High.
        ring_name: "" where not said.
        minus_name: The target without the one above it; "" where not said.
    """

    level: str
    dose_gy: float
    opt_name: str
    struct_name: str = ""
    ring_name: str = ""
    minus_name: str = ""


def read_meta_data(path: str | Path) -> tuple[PlanRow, ...]:
    """Return the plans of a `meta_data.csv`, in its order. Columns but `npz_path` and `site` may be missing.

    Raises:
        CaseError: If the file is missing, too large, not CSV, or a row breaks a rule; the message names the line.
    """
    path = Path(path)
    try:
        text = read_at_most(path, BYTES_MAX).decode("utf-8-sig")
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        missing = [name for name in _NEEDED if name not in (table.fieldnames or ())]
        if missing:
            raise CaseError(f"must have the columns {_NEEDED}", argument="header", value=f"none {missing}", path=path)
        rows = [_plan_row(row, f"line {table.line_num}", path) for row in table]
    except OSError as error:
        raise CaseError(f"cannot be read: {error.strerror}", argument="meta_data", path=path) from error
    except CaseError:
        raise
    except InputError as error:
        raise CaseError.located(error, path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CaseError(f"must be CSV in UTF-8 ({error})", argument="meta_data", path=path) from error
    seen: set[str] = set()
    for row in rows:
        if row.plan in seen:
            raise CaseError("must be there once", argument="plan", value=row.plan, path=path)
        seen.add(row.plan)
    return tuple(rows)


def read_ptv_dict(path: str | Path) -> dict[str, tuple[TargetEntry, ...]]:
    """Return the targets of every patient, PTV_High first.

    Raises:
        CaseError: If the file cannot be read, or a patient has no PTV_High or a level without a dose.
    """
    content = _object(path, "PTV_DICT")
    found: dict[str, tuple[TargetEntry, ...]] = {}
    for pid, levels in content.items():
        if not isinstance(levels, dict) or "PTV_High" not in levels:
            raise CaseError("must have PTV_High", argument=f"PTV_DICT[{pid}]", value=type(levels).__name__, path=path)
        found[pid] = tuple(_target(pid, level, levels[level], path) for level in LEVELS if level in levels)
    return found


def read_objective_structures(path: str | Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return which structures were optimised: patient → plan → names; plan "" where all plans share a list.

    Both published layouts are read: a list per patient, and a list per patient and plan.

    Raises:
        CaseError: If the file cannot be read or has another layout.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for pid, entry in _object(path, "Pat_Obj_DICT").items():
        plans = entry if isinstance(entry, dict) else {"": entry}
        for names in plans.values():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                rule = "must be a list of names, or one per plan"
                raise CaseError(rule, argument=f"Pat_Obj_DICT[{pid}]", value=type(names).__name__, path=path)
        found[pid] = {plan: tuple(names) for plan, names in plans.items()}
    return found


def split_name(plan: str) -> tuple[str, str]:
    """Return patient and plan of a file's name.

    >>> split_name("0522c0001+15Ag+MOS_23629")
    ('0522c0001', '15Ag')
    """
    pid, _, rest = plan.partition("+")
    return pid, rest.partition("+")[0]


def _plan_row(row: dict[str | None, Any], line: str, path: Path) -> PlanRow:
    def cell(name: str) -> str:
        return str(row.get(name) or "").strip()

    parts = tuple(part for part in PurePosixPath(cell("npz_path").replace("\\", "/")).parts if part != "/")
    plan = parts[-1].removesuffix(SUFFIX) if parts else ""
    if None in row or ".." in parts or not parts or not parts[-1].endswith(SUFFIX) or not _PLAN.match(plan):
        rule = f"must be the path of a file <PID>+<PlanID>+<suffix>{SUFFIX}"
        raise CaseError(rule, argument=f"npz_path, {line}", value=cell("npz_path"), path=path)
    pid, plan_id = split_name(plan)
    for name, own in (("PID", pid), ("PlanID", plan_id)):
        if cell(name) and cell(name) != own:
            rule = f"must be that of its file {parts[-1]}"
            raise CaseError(rule, argument=f"{name}, {line}", value=cell(name), path=path)
    site, truth = cell("site").removesuffix(".0"), cell("isVMAT").lower()
    if site not in SITES:
        raise CaseError("must be 1 (head and neck) or 2 (lung)", argument=f"site, {line}", value=site, path=path)
    if truth not in _TRUTH:
        raise CaseError("must be True or False", argument=f"isVMAT, {line}", value=cell("isVMAT"), path=path)
    return PlanRow(plan, pid, plan_id, SITES[site], _TRUTH[truth], cell("phase"), cell("dev_split"), parts)


def _target(pid: str, level: str, entry: Any, path: str | Path) -> TargetEntry:
    where = f"PTV_DICT[{pid}][{level}]"
    if not isinstance(entry, dict):
        raise CaseError("must be an object", argument=where, value=type(entry).__name__, path=path)
    dose, opt_name = entry.get("PDose"), entry.get("OPTName")
    if isinstance(dose, bool) or not isinstance(dose, int | float) or not (math.isfinite(dose) and dose > 0):
        raise CaseError("must be a positive dose in Gy", argument=f"{where}[PDose]", value=dose, path=path)
    names = [entry.get(key, "") for key in ("StructName", "RingName", "MinusName")]
    if not isinstance(opt_name, str) or not opt_name or not all(isinstance(name, str) for name in names):
        raise CaseError("must name its structures", argument=f"{where}[OPTName]", value=opt_name, path=path)
    return TargetEntry(level, float(dose), opt_name, *names)


def _object(path: str | Path, name: str) -> dict[str, Any]:
    try:
        content = read_strict_json(path)
    except InputError as error:
        raise CaseError.located(error, error.path or path) from error
    if not isinstance(content, dict):
        raise CaseError("must be an object of patients", argument=name, value=type(content).__name__, path=path)
    return content
