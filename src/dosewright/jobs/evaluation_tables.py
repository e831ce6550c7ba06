"""Tables of an evaluation: CSV files, metrics.json, and what is printed on the console."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from dosewright.core import KNOWN, Role, role_of
from dosewright.core.files import atomic_write
from dosewright.jobs.evaluation import CaseResult, Comparison, Evaluation
from dosewright.jobs.tables import csv_text

Rows = Iterable[Sequence[object]]
Groups = dict[tuple[str, str, str], list[float]]  # structure, metric, unit → predicted − reference of each case

_SCORES = ("case_id", "dose_score_gy", "dvh_score_gy", "outside_mask_voxels")
_COMPARISONS = ("case_id", "structure", "metric", "unit", "reference", "predicted", "difference")


def write_tables(evaluation: Evaluation, folder: Path) -> None:
    """Write scores.csv, dvh_metrics.csv, indices.csv and metrics.json into `folder`.

    scores.csv has one row per case; the other two one per case, structure and metric. Numbers have full precision.
    """
    header, scores = (
        list(_SCORES),
        [[r.case_id, r.dose_score_gy, r.dvh_score_gy, r.outside_voxels] for r in evaluation.results],
    )
    if evaluation.gdp_hmm_error_gy is not None:
        header.append("gdp_hmm_error_gy")
        scores = [[*row, r.gdp_hmm_error_gy] for row, r in zip(scores, evaluation.results, strict=True)]
    atomic_write(folder / "scores.csv", csv_text(header, scores))
    for name, pick in (("dvh_metrics", _dvh_metrics), ("indices", _indices)):
        atomic_write(folder / f"{name}.csv", csv_text(_COMPARISONS, _rows(evaluation, pick)))
    atomic_write(folder / "metrics.json", json.dumps(summary(evaluation), indent=2, allow_nan=False) + "\n")


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return the cohort's numbers: what metrics.json holds.

    dose_score and dvh_score are OpenKBP's, gdp_hmm_error (where asked for) GDP-HMM's metric 1, all in Gy; `_sd` are
    sample standard deviations over cases (None for a single one); dvh_differences holds mean absolute differences in Gy
    by structure and metric.
    """
    score, results, metric_1 = evaluation.score, evaluation.results, evaluation.gdp_hmm_error_gy
    per_structure: dict[str, dict[str, float]] = {}
    for (structure, metric, _), differences in grouped(evaluation).items():
        per_structure.setdefault(structure, {})[metric] = float(np.abs(differences).mean())
    return {
        "dose_score": score.dose_score_gy,
        "dvh_score": score.dvh_score_gy,
        **({} if metric_1 is None else {"gdp_hmm_error": metric_1}),
        "dose_score_sd": standard_deviation([r.dose_score_gy for r in results]),
        "dvh_score_sd": standard_deviation([r.dvh_score_gy for r in results]),
        "n_patients": len(results),
        "dvh_differences": per_structure,
        "outside_mask": {r.case_id: r.outside_voxels for r in results if r.outside_voxels},
        "failed": dict(evaluation.failed),
        "missing": list(evaluation.missing),
        "without_reference": list(evaluation.without_reference),
        "unused": list(evaluation.unused),
        "undrawn": dict(evaluation.undrawn),
    }


def grouped(evaluation: Evaluation) -> Groups:
    """Return predicted − reference of each DVH metric over the cases that have it, targets first."""
    groups: Groups = {}
    for result in evaluation.results:
        for item in result.dvh_metrics:
            groups.setdefault((item.structure, item.metric, item.unit), []).append(item.difference)
    return dict(sorted(groups.items(), key=lambda pair: _rank(pair[0][0])))


def _rank(structure: str) -> tuple[bool, int, str]:
    """Return the place of a structure in tables: targets first, then as the package lists them, then by name."""
    known = list(KNOWN)
    place = known.index(structure) if structure in known else len(known)
    return (role_of(structure) is not Role.TARGET, place, structure)


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None for fewer than two values.

    >>> standard_deviation([1.0, 3.0]), standard_deviation([1.0])
    (1.4142135623730951, None)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def mean_and_sd(values: Sequence[float], signed: bool = False) -> str:
    """Return "mean ± SD" with two decimals, "mean" alone for a single value.

    >>> mean_and_sd([1.0, 3.0]), mean_and_sd([2.0], signed=True)
    ('2.00 ± 1.41', '+2.00')
    """
    mean, deviation = f"{np.mean(values):{'+' if signed else ''}.2f}", standard_deviation(values)
    return mean if deviation is None else f"{mean} ± {deviation:.2f}"


def print_tables(evaluation: Evaluation, console: Console) -> None:
    """Print the scores, the DVH differences, and what was left out."""
    score, results = evaluation.score, evaluation.results
    scores = Table(title=f"Scores of {len(results)} cases [Gy, lower is better]")
    for heading in ("", "challenge", "per case, mean ± SD", "worst case"):
        scores.add_column(heading, justify="left" if heading in ("", "worst case") else "right")
    rows: list[tuple[str, float, Callable[[CaseResult], float]]] = [
        ("dose score", score.dose_score_gy, lambda r: r.dose_score_gy),
        ("DVH score", score.dvh_score_gy, lambda r: r.dvh_score_gy),
    ]
    if evaluation.gdp_hmm_error_gy is not None:
        rows.append(("GDP-HMM metric 1", evaluation.gdp_hmm_error_gy, lambda r: r.gdp_hmm_error_gy or 0.0))
    for name, value, of_case in rows:
        worst = max(results, key=of_case)
        per_case = mean_and_sd([of_case(r) for r in results])
        scores.add_row(name, f"{value:.3f}", per_case, f"{of_case(worst):.2f} {worst.case_id}")
    console.print(scores)
    differences = Table(title="DVH metrics, predicted against reference [Gy]")
    for heading in ("structure", "metric", "cases", "|difference|", "difference"):
        differences.add_column(heading, justify="left" if heading in ("structure", "metric") else "right")
    for (structure, metric, _), values in grouped(evaluation).items():
        signed = mean_and_sd(values, signed=True)
        differences.add_row(structure, metric, str(len(values)), mean_and_sd(np.abs(values).tolist()), signed)
    console.print(differences)
    for line in remarks(evaluation):
        console.print(line, style="yellow", markup=False, highlight=False)


def remarks(evaluation: Evaluation) -> list[str]:
    """Return one line for each thing the reader of the scores should know."""
    outside = [f"{r.case_id} ({r.outside_voxels})" for r in evaluation.results if r.outside_voxels]
    lines = [f"failed: {case_id}: {reason}" for case_id, reason in evaluation.failed.items()]
    lines += [f"scored but not drawn: {case_id}: {reason}" for case_id, reason in evaluation.undrawn.items()]
    for what, cases in (
        ("dose outside the possible dose mask, which counts against the dose score (voxels above 0.1 Gy)", outside),
        ("skipped, no prediction", evaluation.missing),
        ("skipped, no reference dose", evaluation.without_reference),
        ("predictions for cases outside the set, not used", evaluation.unused),
    ):
        if cases:
            lines.append(f"{what}: {', '.join(cases)}")
    return lines


def _dvh_metrics(result: CaseResult) -> tuple[Comparison, ...]:
    return result.dvh_metrics


def _indices(result: CaseResult) -> tuple[Comparison, ...]:
    return result.indices


def _rows(evaluation: Evaluation, pick: Callable[[CaseResult], tuple[Comparison, ...]]) -> Rows:
    for result in evaluation.results:
        for c in pick(result):
            yield result.case_id, c.structure, c.metric, c.unit, c.reference, c.predicted, c.difference
