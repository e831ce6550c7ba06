"""Trainings as plain records, sorted by dose score: what the tables, files and figures of a summary show."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dosewright.jobs.evaluation_tables import standard_deviation
from dosewright.jobs.summarize_run import FINISHED, TrainedRun
from dosewright.jobs.summarize_variants import Variant, differences, in_words, variants

SCORES, VALIDATION = "scores", "validation"
Record = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """Runs and variants, the best first.

    Args:
        runs: The trainings.
        told: What sets each apart.
        usual: What the most have where a run is not told apart.
        variants: Finished runs, those that differ in their seed alone together.
        ranked_by: "scores" where every finished run with a score was evaluated, "validation" (the last one in training)
            else: the two are never mixed.
    """

    runs: tuple[TrainedRun, ...]
    told: tuple[dict[str, str], ...]
    usual: dict[str, str]
    variants: tuple[Variant, ...]
    ranked_by: str


def summarize(runs: Sequence[TrainedRun]) -> Summary:
    """Return the runs sorted by dose score; those without one, and those that are not finished, come last."""
    finished = [run for run in runs if run.status == FINISHED and (run.scores or run.last)]
    ranked_by = SCORES if finished and all(run.scores for run in finished) else VALIDATION
    ordered = sorted(runs, key=lambda run: (run.status != FINISHED, *_last_if_nan(scored(run, ranked_by)[0])))
    told, usual = differences([run.recipe for run in ordered])
    groups = variants(ordered, told)
    groups.sort(key=lambda variant: _last_if_nan(_mean(scored(run, ranked_by)[0] for run in variant.runs)))
    return Summary(tuple(ordered), tuple(told), usual, tuple(groups), ranked_by)


def scored(run: TrainedRun, ranked_by: str) -> tuple[float, float]:
    """Return the dose and the DVH score in Gy that a run is ranked by; NaN where it has none."""
    if ranked_by == SCORES:
        return (run.scores.dose_gy, run.scores.dvh_gy) if run.scores else (math.nan, math.nan)
    return (run.last.dose_gy, run.last.dvh_gy) if run.last else (math.nan, math.nan)


def run_record(run: TrainedRun, told: dict[str, str]) -> Record:
    """Return a run as plain data, scores in Gy; what is not known is None."""
    best, last, scores = run.best, run.last, run.scores
    return {
        "name": run.name,
        "folder": str(run.folder),
        "status": run.status,
        "remarks": "; ".join(run.remarks),
        "differences": in_words(told),
        "seed": run.seed,
        "steps": run.steps,
        "epochs": run.epochs,
        "training_seconds": run.seconds,
        "devices": "; ".join(run.timing.devices) if run.timing else None,
        "parameters": run.parameters,
        "best_epoch": best and best.epoch,
        "best_dose_score_gy": best and best.dose_gy,
        "best_dvh_score_gy": best and _finite(best.dvh_gy),
        "last_dose_score_gy": last and _finite(last.dose_gy),
        "last_dvh_score_gy": last and _finite(last.dvh_gy),
        "dose_score_gy": scores and scores.dose_gy,
        "dose_score_sd_gy": scores and scores.dose_sd_gy,
        "dvh_score_gy": scores and scores.dvh_gy,
        "dvh_score_sd_gy": scores and scores.dvh_sd_gy,
        "patients": scores and scores.patients,
        "seconds_per_case": run.seconds_per_case,
    } | {f"last {name}": _finite(value) for name, value in (last.others if last else {}).items()}


def variant_record(variant: Variant) -> Record:
    """Return a variant as plain data: means over its runs, deviations over its seeds, scores in Gy.

    A mean is None unless all of its runs have the value, a deviation unless there are two.
    """
    runs = variant.runs
    values: dict[str, list[float | None]] = {
        "last_dose_score_gy": [run.last.dose_gy if run.last else None for run in runs],
        "last_dvh_score_gy": [run.last.dvh_gy if run.last else None for run in runs],
        "dose_score_gy": [run.scores.dose_gy if run.scores else None for run in runs],
        "dvh_score_gy": [run.scores.dvh_gy if run.scores else None for run in runs],
        "training_seconds": [run.seconds for run in runs],
        "seconds_per_case": [run.seconds_per_case for run in runs],
    }
    record: Record = {"variant": variant.label, "runs": len(runs), "seeds": [run.seed for run in runs]}
    record |= {"steps": runs[0].steps, "parameters": runs[0].parameters}
    for name, all_values in values.items():
        known = [float(value) for value in all_values if value is not None and math.isfinite(value)]
        whole = len(known) == len(runs)
        record[name] = _mean(known) if whole else None
        if name.endswith("_gy"):
            record[name.replace("_gy", "_sd_over_seeds_gy")] = standard_deviation(known) if whole else None
    return record


def _mean(values: Iterable[float]) -> float:
    given = list(values)
    return sum(given) / len(given)


def _last_if_nan(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
