"""The three tables beside a folder of plans, kept up to date plan by plan."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dosewright.core import CaseError
from dosewright.core.files import atomic_write
from dosewright.core.strict_json import read_strict_json
from dosewright.io.gdp_hmm.metadata import read_meta_data, split_name

META_DATA, PTV_DICT, PAT_OBJ_DICT = "meta_data.csv", "PTV_DICT.json", "Pat_Obj_DICT.json"
COLUMNS = (
    *("PID", "PlanID", "isVMAT", "cohort", "site", "phase", "dev_split", "npz_path"),
    *("D05_div_D95", "max_div_D95", "num_PTV", "HighDose"),
)
_SPLITS = {"train": ("train", "train"), "validation": ("train", "valid"), "test": ("valid", "test")}


@dataclass(frozen=True)
class PlanEntry:
    """What the tables say of one plan.

    Args:
        plan: Name of its file without `.npz`.
        is_vmat: Whether it is an arc plan.
        site: 1 head and neck, 2 lung.
        split: "train", "validation" or "test".
        targets: The patient's entry of `PTV_DICT.json`.
    """

    plan: str
    is_vmat: bool
    site: int
    split: str
    targets: dict[str, dict[str, Any]]


def add_to_tables(folder: Path, entry: PlanEntry, structures: Sequence[str]) -> tuple[Path, ...]:
    """Enter a plan, or replace its entry; return the tables' paths.

    Args:
        folder: Of the plans.
        entry: The plan.
        structures: Its entry of `Pat_Obj_DICT.json`: the challenge's names of what was, or could be, optimised.

    Raises:
        CaseError: If a table there is broken, or another plan of the same patient has other targets.
        StorageError: If a table cannot be written.
    """
    pid, plan_id = split_name(entry.plan)
    paths = tuple(folder / name for name in (META_DATA, PTV_DICT, PAT_OBJ_DICT))
    others = [] if not paths[0].exists() else [row for row in read_meta_data(paths[0]) if row.plan != entry.plan]
    targets, objectives = _json(paths[1]), _json(paths[2])
    if any(row.pid == pid for row in others) and targets.get(pid) != entry.targets:
        rule = "must be the same for all plans of a patient, as PTV_DICT.json has one entry for each"
        raise CaseError(rule, argument=f"targets of {pid}", value=entry.targets, path=paths[1])
    kept = _kept_rows(paths[0], entry.plan)
    phase, dev_split = _SPLITS[entry.split]
    high = entry.targets["PTV_High"]["PDose"]
    row = (pid, plan_id, entry.is_vmat, 0, entry.site, phase, dev_split, f"{entry.plan}.npz")
    kept.append(dict(zip(COLUMNS, (*row, "", "", len(entry.targets), float(high)), strict=True)))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows(sorted(kept, key=lambda r: str(r["npz_path"])))
    plans = objectives.get(pid)
    plans = {} if not isinstance(plans, dict) else plans
    atomic_write(paths[1], json.dumps(targets | {pid: entry.targets}, indent=1) + "\n")
    atomic_write(paths[2], json.dumps(objectives | {pid: plans | {plan_id: list(structures)}}, indent=1) + "\n")
    atomic_write(paths[0], text.getvalue())
    return paths


def _kept_rows(path: Path, plan: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return [row for row in csv.DictReader(stream) if Path(row["npz_path"]).name != f"{plan}.npz"]


def _json(path: Path) -> dict[str, Any]:
    content = read_strict_json(path) if path.exists() else {}
    if not isinstance(content, dict):
        raise CaseError("must be an object of patients", argument=path.name, value=type(content).__name__, path=path)
    return content
