"""Plan patients with generic and with anatomy-aware goals, and compare parotid means and coverage.

python experiments/anatomy/compare.py DIR --predictions PREDICTIONS --out outputs/anatomy_plans
python experiments/anatomy/compare.py DIR --cases pt_203 pt_209 --out outputs/anatomy_plans

Both plans of a patient share dose influence, optimiser and all objectives but those of organs with a goal: generic ones
are the baseline of conf/anatomy/head_neck.yaml for everyone, anatomy-aware ones what its rules make of it. Each patient
leaves a file; started again, patients that have one are not planned again. Fluence only, no apertures.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from dosewright.core import InputError, PatientCase
from dosewright.core.files import atomic_write
from dosewright.core.types import FloatVolume
from dosewright.fluence.influence_cache import cached_influence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.io.openkbp import OpenKBPReader
from dosewright.io.predictions import read_prediction
from dosewright.jobs.cli import conf_dir
from dosewright.objectives.anatomy.engine import anatomy_goals
from dosewright.objectives.anatomy.settings import AnatomySettings
from dosewright.objectives.extraction_rules import ExtractionSettings
from dosewright.planning.extracted_planner import ExtractedPlanner
from dosewright.planning.plan_case import plan_case

ARMS: Mapping[str, list[str]] = {
    "generic": ["objectives=anatomy_aware", "objectives.anatomy.rules=[]"],
    "anatomy_aware": ["objectives=anatomy_aware"],
}
PAROTIDS = ("Parotid_L", "Parotid_R")
ATYPICAL_Z = 1.5


def main() -> None:
    """Plan what is missing and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds provided-data/")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--cases", nargs="+", help="default: all with a contralateral parotid")
    parser.add_argument(
        "--predictions", type=Path, help="dose for rings, tissue and organs without goal; default: reference"
    )
    parser.add_argument("--beamlet-mm", type=float, default=10.0)
    parser.add_argument("--spacing-mm", type=float, default=5.0)
    parser.add_argument("--influence-cache", type=Path, default=Path("outputs/influence"))
    parser.add_argument("--out", type=Path, default=Path("outputs/anatomy_plans"))
    given = parser.parse_args()
    reader = OpenKBPReader(given.root, given.split)
    settings = {arm: extraction_of(overrides) for arm, overrides in ARMS.items()}
    records = []
    for case_id in given.cases or reader.case_ids:
        path = given.out / f"{case_id}.json"
        if not path.is_file():
            record = compare(reader.read(case_id), settings, given)
            atomic_write(path, json.dumps(record, indent=1) + "\n")
        records.append(json.loads(path.read_text()))
        print(case_id, "done", flush=True)
    text = report([record for record in records if record["arms"]])
    atomic_write(given.out / "comparison.md", text)
    print(text)


def extraction_of(overrides: Sequence[str]) -> ExtractionSettings:
    """Return the settings of an arm, composed as `dosewright plan` does."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings: ExtractionSettings = instantiate(
            compose("plan", overrides=list(overrides)).objectives, _convert_="all"
        )
    return settings


def compare(case: PatientCase, settings: Mapping[str, ExtractionSettings], given: argparse.Namespace) -> dict[str, Any]:
    """Return the numbers of both plans of a patient; without any where no parotid is contralateral."""
    outcome = anatomy_goals(case, settings["anatomy_aware"].anatomy or AnatomySettings())
    parotids = {m.organ: dict(m.values) for m in outcome.measures if m.organ in PAROTIDS}
    record: dict[str, Any] = {"case_id": case.case_id, "parotids": parotids, "arms": {}, "seconds": {}}
    record["told"] = list(outcome.sentences)
    record["goals_gy"] = {goal.organ: goal.objective.dose_gy for goal in outcome.goals if goal.organ in PAROTIDS}
    if not any(values["laterality"] == "contralateral" for values in parotids.values()):
        return record
    wanted_gy = case.dose_gy if given.predictions is None else read_prediction(given.predictions, case)
    if wanted_gy is None:
        raise InputError("must be given: the patient has no dose", argument="--predictions", value=None)
    influence = cached_influence(case, InfluenceSettings(given.beamlet_mm, given.spacing_mm), given.influence_cache)
    if case.dose_gy is not None:
        record["arms"]["clinical"] = numbers(case, case.dose_gy)
    for arm, extraction in settings.items():
        clock = time.process_time()
        plan = plan_case(case, wanted_gy, influence, ExtractedPlanner(extraction))
        record["seconds"][arm] = time.process_time() - clock
        record["arms"][arm] = numbers(case, plan.dose_gy) | {"status": plan.result.status.value}
    return record


def numbers(case: PatientCase, dose_gy: FloatVolume) -> dict[str, float]:
    """Return means of organs, near-maxima of serial ones and coverage of targets, in Gy, where dose is scored."""
    found = {}
    for name, mask in case.structures.items():
        inside = dose_gy[mask & case.body & case.scored_mask].astype(np.float64)
        if inside.size == 0:
            continue
        found[f"{name} Dmean"] = float(inside.mean())
        if name in case.prescription_gy:
            found |= {f"{name} D95": float(np.percentile(inside, 5)), f"{name} D99": float(np.percentile(inside, 1))}
        elif name in ("SpinalCord", "Brainstem", "Bone_Mandible"):
            hottest = max(round(0.1 / case.grid.voxel_volume_cc), 1)
            found[f"{name} D0.1cc"] = float(np.sort(inside)[-hottest:].min())
    return found


def report(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a line per patient, and means of both groups."""
    groups = {True: f"contralateral volume > {ATYPICAL_Z:g} SD from the mean", False: "typical"}
    lines = [
        "| patient | contralateral cc (z) | overlap, % | goal, Gy | contralateral mean, Gy: clinical, generic, aware "
        "| change | ipsilateral: generic, aware | change of PTV_High D95, Gy | worst changes of D95, D99 "
        "| change of cord D0.1cc |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows = {record["case_id"]: _row(record) for record in records}
    lines += [row["line"] for row in rows.values()]
    for atypical, name in groups.items():
        of = [row for row in rows.values() if row["atypical"] == atypical]
        if of:
            lines.append(_mean_line(name, of))
    return "\n".join(lines) + "\n"


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    parotids, arms = record["parotids"], record["arms"]
    contra = next(organ for organ, values in parotids.items() if values["laterality"] == "contralateral")
    values, both = parotids[contra], (arms["generic"], arms["anatomy_aware"])
    ipsi = next((organ for organ in parotids if organ != contra), None)
    generic, aware = (arm[f"{contra} Dmean"] for arm in both)
    coverage = {name: both[1][name] - both[0][name] for name in both[0] if name.endswith(("D95", "D99"))}
    worst = {index: min(v for name, v in coverage.items() if name.endswith(index)) for index in ("D95", "D99")}
    cord = both[1].get("SpinalCord D0.1cc", np.nan) - both[0].get("SpinalCord D0.1cc", np.nan)
    sides = [arm.get(f"{ipsi} Dmean", np.nan) for arm in both]
    row: dict[str, Any] = {
        "atypical": abs(values["volume_z"]) > ATYPICAL_Z,
        "clinical": arms.get("clinical", {}).get(f"{contra} Dmean", np.nan),
        "generic": generic,
        "aware": aware,
        "ipsi": sides,
        "high": coverage["PTV_High D95"],
        "worst": worst["D95"],
        "worst_99": worst["D99"],
        "cord": cord,
    }
    row["line"] = (
        f"| {record['case_id']} | {values['volume_cc']:.1f} ({values['volume_z']:+.2f}) | "
        f"{values['overlap_percent']:.0f} | {record['goals_gy'][contra]:.1f} | "
        f"{row['clinical']:.1f}, {generic:.1f}, {aware:.1f} | "
        f"{100 * (aware / generic - 1):+.1f} % | {_pair(sides)} | {row['high']:+.2f} | "
        f"{row['worst']:+.2f}, {row['worst_99']:+.2f} | {cord:+.2f} |"
    )
    return row


def _pair(values: Sequence[float]) -> str:
    """Return two doses, or that there are none."""
    return "absent" if np.isnan(values).any() else f"{values[0]:.1f}, {values[1]:.1f}"


def _mean_line(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    clinical, generic, aware, high, worst, worst_99, cord = (
        float(np.nanmean([row[key] for row in rows]))
        for key in ("clinical", "generic", "aware", "high", "worst", "worst_99", "cord")
    )
    before, after = np.nanmean([row["ipsi"] for row in rows], axis=0)
    return (
        f"| **mean of {len(rows)}, {name}** | | | | {clinical:.1f}, {generic:.1f}, {aware:.1f} | "
        f"{100 * (aware / generic - 1):+.1f} % | {_pair([before, after])} | {high:+.2f} | "
        f"{worst:+.2f}, {worst_99:+.2f} | {cord:+.2f} |"
    )


if __name__ == "__main__":
    main()
