"""What the plan factory made: one row per plan, totals, a data card, and distributions as pictures."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core.files import atomic_write
from dosewright.io.prepared import ANATOMY_SUFFIX
from dosewright.io.prepared_plan import DOSE_STEP_GY
from dosewright.jobs.generate_figures import draw_distributions
from dosewright.jobs.generate_store import BatchRecord, PlanRecord, PlanStore
from dosewright.jobs.generate_unit import Unit
from dosewright.jobs.pictures import save_picture

Values = dict[str, list[float]]
Plans = dict[tuple[str, str, int], PlanRecord]  # patient, set of beams, index → plan


def write_summary(
    out: Path, store: PlanStore, records: Sequence[BatchRecord], plain: Mapping[str, Any], failed: Mapping[Unit, str]
) -> dict[str, Any]:
    """Write summary.json, plans.csv, card.md and the pictures; return the totals.

    Args:
        out: Folder of these.
        store: Where the plans are.
        records: Of all batches.
        plain: The job's configuration.
        failed: Unit → why it could not be made.
    """
    plans = {(r.case_id, r.beam_set, plan.index): plan for r in records for plan in r.plans}
    totals = _totals(store, records, plans, plain, failed)
    atomic_write(out / "plans.csv", _rows(store, plans))
    kept = _gathered([plan.measures for plan in plans.values() if not plan.reasons])
    clinical = _gathered(list({r.case_id: r.reference for r in records if r.reference}.values()))
    content = totals | {"kept plans": _statistics(kept), "reference doses": _statistics(clinical)}
    atomic_write(out / "summary.json", json.dumps(content, indent=1) + "\n")
    atomic_write(out / "card.md", _card(content, plain))
    if kept:
        save_picture(draw_distributions(kept, clinical), out / "distributions.png")
    return {name: totals[name] for name in ("kept", "rejected", "failed")}


def _totals(
    store: PlanStore,
    records: Sequence[BatchRecord],
    plans: Plans,
    plain: Mapping[str, Any],
    failed: Mapping[Unit, str],
) -> dict[str, Any]:
    seconds: Counter[str] = Counter()
    for record in records:
        seconds.update({name: value * float(plain["threads"]) for name, value in record.seconds.items()})
    made = sum(len(record.plans) for record in records)
    paths = [store.plan_path(*place) for place, plan in plans.items() if not plan.reasons]
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    shared = [path.stat().st_size for path in store.folder.glob(f"*{ANATOMY_SUFFIX}")]
    reasons = Counter(_kind(reason) for plan in plans.values() for reason in plan.reasons)
    return {
        "kept": len(paths),
        "rejected": len(plans) - len(paths),
        "failed": {f"{unit.case_id}, {unit.beam_set}": problem for unit, problem in failed.items()},
        "patients": len({record.case_id for record in records}),
        "beam sets": sorted({record.beam_set for record in records}),
        "reasons of rejection": dict(reasons.most_common()),
        "core seconds": {name: round(value, 1) for name, value in seconds.items()},
        "plans per core-hour": round(3600 * made / seconds.total(), 1) if seconds.total() else None,
        "bytes per plan": round(float(np.mean(sizes))) if sizes else None,
        "megabytes": round((sum(sizes) + sum(shared)) / 1e6, 1),
    }


def _kind(reason: str) -> str:
    """Return a reason without its numbers.

    >>> _kind("D95 of PTV_Low is 88.1% of its prescription, less than 90%")
    'D95 of PTV_Low'
    """
    return reason.split(" is ")[0].split(" by ")[0]


def _rows(store: PlanStore, plans: Plans) -> str:
    groups = sorted({group for plan in plans.values() for group in plan.draw["sparing"]})
    drawn = [name for name in next(iter(plans.values())).draw if name not in ("index", "sparing")] if plans else []
    measures = sorted({name for plan in plans.values() for name in plan.measures})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["plan", "patient", "beam_set", "kept", "reasons"]
    writer.writerow([*head, *(f"sparing {group}" for group in groups), *drawn, *measures])
    for (case_id, beam_set, index), plan in sorted(plans.items()):
        row = [
            store.plan_id(case_id, beam_set, index),
            case_id,
            beam_set,
            int(not plan.reasons),
            "; ".join(plan.reasons),
        ]
        row += [f"{plan.draw['sparing'][group]:.4g}" for group in groups]
        row += [f"{plan.draw[value]:.4g}" for value in drawn]
        writer.writerow([*row, *(f"{plan.measures[m]:.4f}" if m in plan.measures else "" for m in measures)])
    return text.getvalue()


def _gathered(measures: Sequence[Mapping[str, float]]) -> Values:
    found: Values = {}
    for one in measures:
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return found


def _statistics(values: Values) -> dict[str, dict[str, float | int]]:
    return {
        name: {
            "n": len(found),
            "mean": round(float(np.mean(found)), 4),
            "sd": round(float(np.std(found)), 4),
            **{f"p{p}": round(float(np.percentile(found, p)), 4) for p in (5, 50, 95)},
        }
        for name, found in sorted(values.items())
    }


def _card(content: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    """Return the data card."""
    data = plain["data"]
    lines = [
        f"# Plans from {data.get('name')}, split {data.get('split')}",
        "",
        f"{content['kept']} plans of {content['patients']} patients, beams: {', '.join(content['beam sets'])}; "
        f"{content['rejected']} more were rejected by quality control.",
        "",
        "Made by `dosewright generate`: fluence optimised on a dose-influence matrix for objectives whose doses and",
        "priorities are drawn at random, scaled to a drawn coverage. Not sequenced; not for clinical use. The",
        "licence of the patients' data holds for them.",
        "",
        f"- seed {plain['factory']['seed']}, {plain['plans']} plans a patient and set of beams, card {plain['card']}",
        f"- doses in steps of {1000 * DOSE_STEP_GY:g} mGy on the patient's grid",
        f"- {content['bytes per plan']} bytes a plan, {content['megabytes']} MB in all",
        f"- {content['plans per core-hour']} plans per core-hour, dose influence included",
        "",
        "## Settings",
        "",
        "```json",
        json.dumps({name: plain[name] for name in ("factory", "beam_sets", "fluence", "card", "plans")}, indent=1),
        "```",
        "",
        "## Rejected, by reason (a plan may have several)",
        "",
        *(f"- {reason}: {count}" for reason, count in content["reasons of rejection"].items()),
        "",
        "## Indices: kept plans against the patients' own doses",
        "",
        "| index | plans: mean ± SD | 5th to 95th percentile | own doses: mean ± SD |",
        "|---|---|---|---|",
    ]
    own = content["reference doses"]
    for name, one in content["kept plans"].items():
        other = f"{own[name]['mean']:.3f} ± {own[name]['sd']:.3f}" if name in own else ""
        lines.append(
            f"| {name} | {one['mean']:.3f} ± {one['sd']:.3f} | {one['p5']:.3f} to {one['p95']:.3f} | {other} |"
        )
    return "\n".join(lines) + "\n"


def _mean_sd(one: Mapping[str, float | int]) -> str:
    return f"{one['mean']:.3f} ± {one['sd']:.3f}"
