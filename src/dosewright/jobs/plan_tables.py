"""Tables of a cohort of plans: summary.csv, gaps.csv, summary.json and summary.md, and what the console shows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from dosewright.core import KNOWN, Role, role_of
from dosewright.core.files import atomic_write
from dosewright.jobs.plan_record import Record, criteria_met
from dosewright.jobs.tables import csv_text, markdown_table

MAIN_INDICES = {Role.TARGET: ("D99", "D95", "D1", "HI"), Role.OAR: ("Dmean", "D0.1cc")}
_LARGEST = 10

_COLUMNS = (
    *("case_id", "status", "error_gy", "error_high_gy", "dose_score_wanted_gy", "dose_score_plan_gy"),
    *("dvh_score_wanted_gy", "dvh_score_plan_gy", "criteria_wanted", "criteria_plan", "criteria_reference"),
    *("criteria_that_apply", "segments", "mu", "kkt_residual", "optimisation_s", "total_s"),
    *("score_first", "score_best", "score_sequenced", "score_maximum", "plans"),
)
_GAP_COLUMNS = ("case_id", "structure", "index", "unit", "dose", "value", "gap")


def write_summary(records: Sequence[Record], failed: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Write the tables of a cohort into `folder` and return what summary.json holds.

    Args:
        records: Of the cases that have a plan, in order.
        failed: Case → why it has none.
        folder: Gets summary.csv (a row per case), gaps.csv (a row per case, index and dose), summary.json, summary.md.
    """
    rows = [case_row(record) for record in records]
    atomic_write(folder / "summary.csv", csv_text(_COLUMNS, ([row[name] for name in _COLUMNS] for row in rows)))
    atomic_write(folder / "gaps.csv", csv_text(_GAP_COLUMNS, _gap_rows(records)))
    summary = {
        "cases": rows,
        "means": {name: _mean(row[name] for row in rows) for name in _COLUMNS if name not in ("case_id", "status")},
        "gaps": [_spread(key, values) for key, values in _grouped(records).items()],
        "largest_gaps": [
            dict(zip(("case_id", "structure", "index", "gap_gy"), item)) for item in largest_gaps(records, _LARGEST)
        ],
        "remarks": {record["case_id"]: record["remarks"] for record in records if record["remarks"]},
        "failed": dict(failed),
    }
    atomic_write(folder / "summary.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    atomic_write(folder / "summary.md", markdown(summary))
    return summary


def case_row(record: Record) -> dict[str, Any]:
    """Return one case's line of the summary; None where there is no such number."""
    wanted, final = record["wanted"], record["final"]
    scores, count = record["scores_gy"], criteria_met(record)
    sequencing = record["sequencing"] or {}
    return {
        "case_id": record["case_id"],
        "status": record["solve"]["status"],
        "error_gy": record["errors_gy"][final]["all"],
        "error_high_gy": record["errors_gy"][final].get("high"),
        "dose_score_wanted_gy": scores.get(wanted, {}).get("dose_score"),
        "dose_score_plan_gy": scores.get(final, {}).get("dose_score"),
        "dvh_score_wanted_gy": scores.get(wanted, {}).get("dvh_score"),
        "dvh_score_plan_gy": scores.get(final, {}).get("dvh_score"),
        "criteria_wanted": count[wanted][0] if wanted in count else None,
        "criteria_plan": count[final][0] if final in count else None,
        "criteria_reference": count["reference"][0] if "reference" in count else None,
        "criteria_that_apply": count[final][1] if final in count else None,
        "segments": sequencing.get("segments"),
        "mu": sequencing.get("mu"),
        "kkt_residual": record["solve"]["kkt_residual"],
        "optimisation_s": record["solve"]["seconds"],
        "total_s": record["seconds"].get("in all"),
    } | _iterations(record.get("trace"))


def _iterations(trace: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the scores of an iterative planner's first and best plan; None where there was no iterating."""
    known = trace or {}
    return {
        "score_first": known.get("first_score"),
        "score_best": known.get("best_score"),
        "score_sequenced": (known.get("delivered") or {}).get("score"),
        "score_maximum": known.get("maximum"),
        "plans": None if trace is None else len(trace["steps"]),
    }


def largest_gaps(records: Sequence[Record], count: int) -> list[tuple[str, str, str, float]]:
    """Return (case, structure, index, gap in Gy) of the indices furthest from what was asked for, furthest first."""
    found = [
        (str(record["case_id"]), gap["structure"], gap["index"], float(gap["gaps"][record["final"]]))
        for record in records
        for gap in record["gaps"]
        if gap["unit"] == "Gy"
    ]
    return sorted(found, key=lambda item: -abs(item[3]))[:count]


def markdown(summary: Mapping[str, Any]) -> str:
    """Return the summary as a page of Markdown."""
    rows, means = summary["cases"], summary["means"]
    cells = [[row["case_id"], row["status"], *_numbers(row)] for row in rows]
    if len(rows) > 1:
        cells.append(["**mean**", "", *_numbers(means)])
    parts = [
        f"# Plans of {len(rows)} cases\n\nDoses in Gy. *Error*: mean absolute difference of the plan from the dose "
        "asked for. Scores are OpenKBP's, against the reference: of the dose asked for → of the plan.\n",
        "\n"
        + markdown_table(
            ["case", "status", "error", "error ≥ 50 Gy", "dose score", "DVH score", "criteria met", "segments", "s"],
            cells,
        ),
        "\n## Plan − dose asked for\n\nMean ± SD and largest over cases.\n",
        "\n"
        + markdown_table(
            ["structure", "index", "cases", "gap", "largest"],
            [
                [gap["structure"], gap["index"], str(gap["cases"]), _mean_and_sd(gap), f"{gap['largest']:+.2f}"]
                for gap in summary["gaps"]
            ],
        ),
        "\n## Largest gaps\n",
        *(
            f"- {gap['case_id']}: {gap['structure']} {gap['index']} {gap['gap_gy']:+.2f} Gy\n"
            for gap in summary["largest_gaps"]
        ),
        *_scores([*rows, means | {"case_id": "**mean**"}] if len(rows) > 1 else rows),
    ]
    for heading, lines in (("Remarks", _remark_lines(summary)), ("Failed", _failed_lines(summary))):
        if lines:
            parts += [f"\n## {heading}\n\n", *(f"- {line}\n" for line in lines)]
    return "\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _scores(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if all(row["score_best"] is None for row in rows):
        return []
    names = ("score_first", "score_best", "score_sequenced", "score_maximum", "plans")
    cells = [[row["case_id"], *(_shown(row[name], 0 if name == "plans" else 2) for name in names)] for row in rows]
    heading = "\n## Scorecard\n\nPoints of the first plan, of the best one, and of that sequenced.\n"
    return [heading, "\n" + markdown_table(["case", "first", "best", "sequenced", "of", "plans"], cells)]


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print a line per case, and what the reader should know."""
    table = Table(title=f"Plans of {len(summary['cases'])} cases [Gy]")
    for heading in ("case", "status", "error", "≥ 50 Gy", "dose score", "DVH score", "criteria", "segments", "s"):
        table.add_column(heading, justify="left" if heading in ("case", "status") else "right")
    for row in summary["cases"]:
        table.add_row(row["case_id"], row["status"], *_numbers(row))
    if len(summary["cases"]) > 1:
        table.add_section()
        table.add_row("mean", "", *_numbers(summary["means"]))
    console.print(table)
    for line in (*_remark_lines(summary), *(f"failed: {line}" for line in _failed_lines(summary))):
        console.print(line, style="yellow", markup=False, highlight=False)


def _numbers(row: Mapping[str, Any]) -> list[str]:
    applies = row["criteria_that_apply"]
    met = [row[f"criteria_{dose}"] for dose in ("wanted", "plan")]
    return [
        _shown(row["error_gy"], 2),
        _shown(row["error_high_gy"], 2),
        f"{_shown(row['dose_score_wanted_gy'], 2)} → {_shown(row['dose_score_plan_gy'], 2)}",
        f"{_shown(row['dvh_score_wanted_gy'], 2)} → {_shown(row['dvh_score_plan_gy'], 2)}",
        "–" if applies is None else f"{' → '.join(f'{value:.3g}' for value in met)} of {applies:.3g}",
        _shown(row["segments"], 0),
        _shown(row["total_s"], 0),
    ]


def _shown(value: float | int | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _grouped(records: Sequence[Record]) -> dict[tuple[str, str, str], list[float]]:
    """Return the gaps of the main indices over cases by structure, index and unit; targets first."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        for gap in record["gaps"]:
            if gap["index"] in MAIN_INDICES.get(role_of(gap["structure"]), ()):
                key = (gap["structure"], gap["index"], gap["unit"])
                groups.setdefault(key, []).append(float(gap["gaps"][record["final"]]))
    return dict(sorted(groups.items(), key=lambda pair: _rank(pair[0][0])))


def _rank(structure: str) -> tuple[bool, int, str]:
    known = list(KNOWN)
    return (
        role_of(structure) is not Role.TARGET,
        known.index(structure) if structure in known else len(known),
        structure,
    )


def _spread(key: tuple[str, str, str], values: Sequence[float]) -> dict[str, Any]:
    structure, index, unit = key
    return {
        "structure": structure,
        "index": index,
        "unit": unit,
        "cases": len(values),
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "largest": max(values, key=abs),
    }


def _mean_and_sd(gap: Mapping[str, Any]) -> str:
    text = f"{gap['mean']:+.2f}" + ("" if gap["sd"] is None else f" ± {gap['sd']:.2f}")
    return f"{text} {gap['unit']}".rstrip()


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _remark_lines(summary: Mapping[str, Any]) -> list[str]:
    return [f"{case_id}: {line}" for case_id, lines in summary["remarks"].items() for line in lines]


def _failed_lines(summary: Mapping[str, Any]) -> list[str]:
    return [f"{case_id}: {reason}" for case_id, reason in summary["failed"].items()]


def _gap_rows(records: Sequence[Record]) -> Iterable[Sequence[object]]:
    for record in records:
        for gap in record["gaps"]:
            for label, value in gap["values"].items():
                difference = gap["gaps"].get(label, "")
                yield record["case_id"], gap["structure"], gap["index"], gap["unit"], label, value, difference
