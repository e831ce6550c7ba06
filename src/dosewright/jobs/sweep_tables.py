"""Tables of a preference sweep: preferences.csv, summary.json and summary.md."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core import KNOWN, Role, role_of
from dosewright.core.files import atomic_write
from dosewright.inference.preference_behaviour import (
    MONOTONIC,
    Coverage,
    Response,
    coverages,
    leakages,
    responses,
)
from dosewright.inference.preference_sweep import HOMOGENEITY, MEAN_OUTSIDE, SPARING, CaseSweep, Sweep

WITHIN_PERCENT = 2.0
ROLES = (Role.TARGET, Role.OAR)

Statistics = dict[str, float | int | None]


def write_csv(sweep: Sweep, cases: Sequence[CaseSweep], path: Path) -> Path:
    """Write one row per case, setting, structure and index; numbers have full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case_id", *sweep.space.names, "structure", "metric", "unit", "value"))
    for case in cases:
        for vector, measures in case.measures.items():
            for structure, indices in measures.items():
                for index, value in indices.items():
                    unit = "" if index == "HI" else "Gy"
                    writer.writerow((case.case_id, *vector, structure, index, unit, value))
    return atomic_write(path, text.getvalue())


def summarize(sweep: Sweep, cases: Sequence[CaseSweep], failed: Mapping[str, str]) -> dict[str, Any]:
    """Return the numbers of a sweep: what summary.json holds.

    `responses` is slider → structure → index → statistics over cases; `pairs` counts patient × structure pairs that
    follow the slider (rank correlation at least 0.9 in the expected direction); `leakage` says what else moves.
    """
    found = responses(sweep, cases)
    highest = {case.case_id: next(iter(case.prescription_gy)) for case in cases}
    groups: dict[tuple[str, str, str], list[Response]] = {}
    for r in sorted(found, key=lambda r: rank(r.structure)):
        groups.setdefault((r.slider, r.structure, r.index), []).append(r)
    tables: dict[str, dict[str, dict[str, Statistics]]] = {}
    for (slider, structure, index), some in groups.items():
        tables.setdefault(slider, {}).setdefault(structure, {})[index] = _statistics(some)
    return {
        "cases": [case.case_id for case in cases],
        "failed": dict(failed),
        "sliders": list(sweep.space.names),
        "settings": len(sweep.vectors),
        SPARING: list(sweep.sparing),
        HOMOGENEITY: list(sweep.homogeneity),
        "pairs": _pairs(found, _inside(cases), highest),
        "responses": tables,
        "leakage": {leakage.slider: asdict(leakage) for leakage in leakages(sweep.space, found, highest)},
        "d95": _coverage(coverages(sweep, cases)),
        "inside_targets": [f"{case_id} {name}" for case_id, name in _inside(cases)],
        "outside_percent": {case.case_id: dict(case.outside_percent) for case in cases},
    }


def write_summary(summary: Mapping[str, Any], folder: Path, pictures: Sequence[Path] = ()) -> None:
    """Write summary.json and summary.md into a folder; pictures lie below it."""
    atomic_write(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    parts = [_head(summary), _pairs_table(summary), _organs_table(summary), _targets_table(summary)]
    parts += [_leakage_table(summary), _d95_table(summary), _remarks(summary)]
    parts += ["\n".join(f"![{path.stem}]({path.relative_to(folder).as_posix()})\n" for path in pictures)]
    atomic_write(folder / "summary.md", "\n\n".join(part for part in parts if part).rstrip() + "\n")


def _statistics(some: Sequence[Response]) -> Statistics:
    changes, correlations = [r.change for r in some], [r.spearman for r in some]
    expected = some[0].expected
    return {
        "cases": len(some),
        "change_mean": float(np.mean(changes)),
        "change_median": float(np.median(changes)),
        "change_least": min(changes),
        "change_largest": max(changes),
        "spearman_median": float(np.median(correlations)),
        "share_follows": float(np.mean([r.follows for r in some])) if expected else None,
    }


def _pairs(
    found: Sequence[Response], inside: Sequence[tuple[str, str]], highest: Mapping[str, str]
) -> dict[str, Statistics]:
    """Return, of the pairs that ought to follow a slider, how many there are and which share does."""

    def share(some: Sequence[Response]) -> Statistics:
        return {"pairs": len(some), "share_follows": float(np.mean([r.follows for r in some])) if some else None}

    means = [r for r in found if r.slider == SPARING and r.index == "Dmean" and role_of(r.structure) is Role.OAR]
    his = {slider: [r for r in found if r.slider == slider and r.index == "HI"] for slider in (SPARING, HOMOGENEITY)}
    kept = {"organ means fall with sparing": means}
    kept["organ means fall with sparing, without organs inside targets"] = [
        r for r in means if (r.case_id, r.structure) not in inside
    ]
    kept["organ means outside targets fall with sparing"] = [
        r for r in found if r.slider == SPARING and r.index == MEAN_OUTSIDE
    ]
    for slider, what in ((SPARING, "HI rises with stronger sparing"), (HOMOGENEITY, "HI follows homogeneity")):
        kept[f"{what}, all targets"] = his[slider]
        kept[f"{what}, highest target"] = [r for r in his[slider] if highest[r.case_id] == r.structure]
    return {what: share(some) for what, some in kept.items()}


def _coverage(found: Sequence[Coverage]) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for key in ("sweep", "neutral", "from_neutral", "reference"):
        pairs = [(getattr(c, key), c) for c in found if getattr(c, key) is not None]
        if pairs:
            worst, where = max(pairs, key=lambda pair: pair[0])
            values = [value for value, _ in pairs]
            table[key] = {
                "worst_percent": worst,
                "worst_case": where.case_id,
                "worst_structure": where.structure,
                "median_percent": float(np.median(values)),
                "share_within_2_percent": float(np.mean([value <= WITHIN_PERCENT for value in values])),
                "pairs": len(values),
            }
    return table


def _inside(cases: Sequence[CaseSweep]) -> list[tuple[str, str]]:
    """Return the organs without a voxel outside the targets."""
    return [(c.case_id, name) for c in cases for name, percent in c.outside_percent.items() if percent == 0.0]


def _head(summary: Mapping[str, Any]) -> str:
    values = {name: ", ".join(f"{v:g}" for v in summary[name]) for name in (SPARING, HOMOGENEITY)}
    return (
        "# What the preference sliders do\n\n"
        f"{len(summary['cases'])} cases, {summary['settings']} settings of the sliders "
        f"{', '.join(summary['sliders'])}. Sparing {values[SPARING]} at neutral homogeneity, homogeneity "
        f"{values[HOMOGENEITY]} at neutral sparing; 1 is neutral.\n\n"
        "A range is the index at a slider's largest value minus that at its least, mean (least to largest) over cases. "
        f"A pair follows where Spearman's rank correlation is at least {MONOTONIC} in the expected direction; an index "
        "that does not move counts as 0."
    )


def _pairs_table(summary: Mapping[str, Any]) -> str:
    rows = [(what, str(p["pairs"]), _share(p["share_follows"])) for what, p in summary["pairs"].items()]
    return "## Monotonicity\n\n" + _table(("patient × structure", "pairs", "follow"), rows)


def _organs_table(summary: Mapping[str, Any]) -> str:
    rows, still = [], summary["responses"][HOMOGENEITY]
    for name, indices in summary["responses"][SPARING].items():
        if role_of(name) is Role.OAR:
            mean = indices["Dmean"]
            rows.append(
                (
                    *(name, str(mean["cases"]), _range(mean), _range(indices.get(MEAN_OUTSIDE))),
                    *(_range(indices["D0.1cc"]), f"{mean['spearman_median']:.2f}", _share(mean["share_follows"])),
                    _range(still[name]["Dmean"]),
                )
            )
    headings = (
        *("organ", "cases", "mean dose [Gy]", "mean outside targets [Gy]", "D0.1cc [Gy]"),
        *("median Spearman", "follow", "mean dose over homogeneity [Gy]"),
    )
    return "## Organs over sparing\n\n" + _table(headings, rows)


def _targets_table(summary: Mapping[str, Any]) -> str:
    rows = []
    for slider, tables in summary["responses"].items():
        for name, indices in tables.items():
            if role_of(name) is Role.TARGET and "HI" in indices:
                hi = indices["HI"]
                cells = (_range(indices[index]) for index in ("D98", "D95", "D2", "Dmean"))
                numbers = (f"{hi['spearman_median']:.2f}", _share(hi["share_follows"]))
                rows.append((slider, name, str(hi["cases"]), _range(hi, 4), *numbers, *cells))
    headings = ("slider", "target", "cases", "HI", "median Spearman of HI", "follow")
    return "## Targets\n\n" + _table((*headings, "D98 [Gy]", "D95 [Gy]", "D2 [Gy]", "mean [Gy]"), rows)


def _leakage_table(summary: Mapping[str, Any]) -> str:
    keys = (
        *("own_span_gy", "other_span_gy", "other_ratio", "hi_ratio", "target_mean_span_gy", "target_mean_ratio"),
        *("d95_span_gy", "d95_ratio"),
    )
    rows = [(slider, *(_number(values[key]) for key in keys)) for slider, values in summary["leakage"].items()]
    headings = (
        *("slider moved alone", "own organs [Gy]", "other organs [Gy]", "relative to sparing", "HI relative"),
        *("target mean [Gy]", "relative", "target D95 [Gy]", "relative"),
    )
    return (
        "## Disentanglement\n\nMedian distance between the largest and the least value along one slider; relative: to "
        "that of the same index along the homogeneity slider, or for organs along all sparing sliders together.\n\n"
        + _table(headings, rows)
    )


def _d95_table(summary: Mapping[str, Any]) -> str:
    names = {
        "sweep": "any setting, from prescription",
        "neutral": "neutral setting, from prescription",
        "from_neutral": "any setting, from the neutral one",
        "reference": "reference dose, from prescription",
    }
    rows = []
    for key, d in summary["d95"].items():
        worst = f"{d['worst_percent']:.2f} ({d['worst_case']} {d['worst_structure']})"
        rows.append((names[key], worst, f"{d['median_percent']:.2f}", _share(d["share_within_2_percent"])))
    return "## D95 of the targets\n\n" + _table(("deviation", "worst [%]", "median [%]", "within 2 %"), rows)


def _remarks(summary: Mapping[str, Any]) -> str:
    lines = [f"- failed: {case_id}: {reason}" for case_id, reason in summary["failed"].items()]
    if summary["inside_targets"]:
        lines.append(f"- organs without a voxel outside the targets: {', '.join(summary['inside_targets'])}")
    return "## Remarks\n\n" + "\n".join(lines) if lines else ""


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(statistics: Mapping[str, Any] | None, digits: int = 2) -> str:
    if statistics is None:
        return "–"
    mean, least, largest = (statistics[f"change_{key}"] for key in ("mean", "least", "largest"))
    return f"{mean:+.{digits}f} ({least:+.{digits}f} to {largest:+.{digits}f})"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def rank(structure: str) -> tuple[int, int, str]:
    """Return the place of a structure: targets first, then organs, each as the package lists them."""
    known = list(KNOWN)
    place = known.index(structure) if structure in known else len(known)
    role = role_of(structure)
    return (ROLES.index(role) if role in ROLES else len(ROLES), place, structure)
