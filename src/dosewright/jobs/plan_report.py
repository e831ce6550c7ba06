"""The report of one plan: an HTML page with its pictures inside, made of the plan's record and nothing else."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from dosewright.core import Role, role_of
from dosewright.jobs import report_page
from dosewright.jobs.plan_record import RESEARCH_NOTE, criteria_met
from dosewright.jobs.plan_trace import item_headings, item_rows

Record = Mapping[str, Any]

NOTABLE_GY, LARGE_GY = 1.0, 3.0  # gaps from here on are marked
_STYLE = """
td.first { border-top: 2px solid #b9c0cd; }
td.worse { background: #fde3de; } td.much-worse { background: #f8b9ad; } td.better { background: #e2f1e3; }
td.missed { color: #b3261e; font-weight: 600; } td.met { color: #1b6e32; }
.research { border: 1px solid #d5dae3; border-radius: 8px; padding: .5rem 1rem; color: #5a6475; }
"""
_CAPTIONS = {
    "trace": "Score of every plan on the way, and of the items that changed most.",
    "dvh": "Cumulative dose-volume histograms.",
    "slices": "Isodoses in percent of the highest prescription, and the difference from the dose asked for.",
    "reference": "The same against the reference dose.",
    "fluence": "Fluence in the beam's eye view, all beams on one scale.",
}


def write_report(record: Record, pictures: Mapping[str, Path], path: Path) -> Path:
    """Write the report and return its path.

    Args:
        record: What `plan_record.make_record` returns, or report.json holds.
        pictures: Name (see `plan_figures.save_figures`) → file.
        path: The HTML file.
    """
    case_id = str(record["case_id"])
    parts = [
        f"<h1>Plan of {escape(case_id)}</h1><p class='note'>{escape(_subtitle(record))}</p>",
        f"<p class='research'>{escape(RESEARCH_NOTE)}</p>",
        report_page.tiles(_tiles(record)),
        report_page.remarks(record["remarks"]),
        _iterations(record, pictures),
        "<h2>Dose-volume histograms</h2>" + _picture("dvh", pictures),
        "<h2>Slices</h2>" + _picture("slices", pictures),
        _folded("Against the reference", _picture("reference", pictures)),
        "<h2>Dose, structure by structure</h2>" + _gap_table(record),
        "<h2>Clinical criteria</h2>" + _criteria_table(record),
        "<h2>Scores</h2>" + _score_table(record),
        "<h2>Objectives</h2>" + _objective_table(record),
        "<h2>Fluence and delivery</h2>" + _pairs(record["complexity"]) + _picture("fluence", pictures),
        "<h2>Optimisation and times</h2>" + _solve_table(record),
        "<h2>Provenance</h2>" + _provenance(record),
    ]
    return report_page.write_page(path, f"Plan of {case_id}", parts, _STYLE)


def _subtitle(record: Record) -> str:
    prescription = ", ".join(f"{name} {dose_gy:g} Gy" for name, dose_gy in record["prescription_gy"].items())
    return f"Dose asked for: {record['dose_source']}. Prescription: {prescription}. {record['beams']}."


def _tiles(record: Record) -> list[tuple[str, str, str]]:
    wanted, final = record["wanted"], record["final"]
    errors = record["errors_gy"][final]
    high = f"{errors['high']:.2f} Gy from 50 Gy on" if "high" in errors else ""
    found = [(f"{errors['all']:.2f} Gy", f"{final} − {wanted}, mean absolute", high)]
    scores = record["scores_gy"]
    if final in scores:
        own = f"{wanted}: {scores[wanted]['dose_score']:.2f} Gy" if wanted in scores else ""
        found.append((f"{scores[final]['dose_score']:.2f} Gy", "dose score of the plan", own))
    count = criteria_met(record)
    if count:
        others = ", ".join(f"{label} {met} of {total}" for label, (met, total) in count.items() if label != final)
        found.append((f"{count[final][0]} of {count[final][1]}", "criteria met", others))
    found.append((f"{record['solve']['seconds']:.1f} s", "to optimise", str(record["solve"]["status"])))
    if record["sequencing"]:
        found.append((f"{record['sequencing']['segments']}", "segments", f"{record['sequencing']['mu']:.0f} MU"))
    if "trace" in record:
        trace = record["trace"]
        found.append(
            (f"{trace['best_score']:.1f}", f"points of {trace['maximum']:g}", f"{trace['gain']:+.1f} by iterating")
        )
    return found


def _iterations(record: Record, pictures: Mapping[str, Path]) -> str:
    trace = record.get("trace")
    if trace is None:
        return ""
    note = (
        f"<p class='note'>{len(trace['steps'])} plans, from {trace['first_score']:.2f} to {trace['best_score']:.2f} "
        f"points of {trace['maximum']:g} (plan {trace['best_iteration']}). {escape(trace['stopped'])}.</p>"
    )
    items = report_page.table(item_headings(trace), item_rows(trace), 2)
    return f"<h2>Iterations</h2>{note}{_picture('trace', pictures)}{_folded('Scorecard, item by item', items)}"


def _gap_table(record: Record) -> str:
    labels, planned = list(record["labels"]), list(record["planned"])
    headings = ["structure", "index", *labels, *(f"{label} − {record['wanted']}" for label in planned), "unit"]
    rows: list[list[str]] = []
    classes: list[list[str]] = []
    above = ""
    for gap in record["gaps"]:
        values = [f"{gap['values'][label]:.2f}" for label in labels]
        differences = [f"{gap['gaps'][label]:+.2f}" for label in planned]
        first = not rows or gap["structure"] != above
        above = gap["structure"]
        rows.append([above if first else "", gap["index"], *values, *differences, gap["unit"]])
        marks = ["", "", *([""] * len(labels)), *(_mark(gap, label) for label in planned), ""]
        classes.append([f"{mark} first".strip() if first else mark for mark in marks])
    note = (
        f"<p class='note'>Marked: organs at risk from {NOTABLE_GY:g} Gy off, red above and green below what was asked "
        f"for; targets from {NOTABLE_GY:g} Gy off either way; from {LARGE_GY:g} Gy on in a stronger red.</p>"
    )
    return note + report_page.table(headings, rows, 2, classes)


def _mark(gap: Mapping[str, Any], label: str) -> str:
    difference = float(gap["gaps"][label])
    if gap["unit"] != "Gy" or abs(difference) < NOTABLE_GY:
        return ""
    if role_of(gap["structure"]) is not Role.TARGET and difference < 0:
        return "better"
    return "worse" if abs(difference) < LARGE_GY else "much-worse"


def _criteria_table(record: Record) -> str:
    labels, rows, classes = list(record["labels"]), [], []
    for item in record["criteria"]:
        rows.append([item["criterion"], *(_value(item, label) for label in labels)])
        classes.append(["", *("met" if item["met"][label] else "missed" for label in labels)])
    if not rows:
        return "<p class='note'>None of the criteria concerns a structure of this case.</p>"
    return report_page.table(["criterion", *labels], rows, 1, classes)


def _value(item: Mapping[str, Any], label: str) -> str:
    return f"{item['values'][label]:.2f} {item['unit']} {'✓' if item['met'][label] else '✗'}"


def _score_table(record: Record) -> str:
    rows = [
        [f"{label} against {record['wanted']}, where dose is scored", f"{errors['all']:.3f}", "—"]
        for label, errors in record["errors_gy"].items()
    ]
    rows += [
        [f"{label} against {record['wanted']}, where 50 Gy or more were asked for", f"{errors['high']:.3f}", "—"]
        for label, errors in record["errors_gy"].items()
        if "high" in errors
    ]
    rows += [
        [f"{label} against the reference", f"{scores['dose_score']:.3f}", f"{scores['dvh_score']:.3f}"]
        for label, scores in record["scores_gy"].items()
    ]
    note = "<p class='note'>Gy, lower is better; the scores are OpenKBP's.</p>"
    return note + report_page.table(["", "dose score (mean absolute difference)", "DVH score"], rows, 1)


def _objective_table(record: Record) -> str:
    rows = [[item["description"], f"{item['value']:.4g}"] for item in record["objectives"]]
    headings = ["objective", "penalty before its priority"]
    return f"<div class='scroll'>{report_page.table(headings, rows, 1)}</div>"


def _solve_table(record: Record) -> str:
    solve = record["solve"]
    rows = {
        "status": solve["status"],
        "penalty": f"{solve['value']:.5g}",
        "KKT residual": f"{solve['kkt_residual']:.3g}",
        "evaluations": solve["evaluations"],
        "beamlets": solve["beamlets"],
        "voxels": solve["voxels"],
        "entries of the dose influence": f"{solve['entries'] / 1e6:.1f} million",
    }
    rows |= {f"{name} [s]": f"{seconds:.1f}" for name, seconds in record["seconds"].items()}
    if record.get("peak_memory_gb") is not None:
        rows["greatest memory of the process so far [GB]"] = f"{record['peak_memory_gb']:.2f}"
    return _pairs(rows)


def _provenance(record: Record) -> str:
    settings = [[name, str(value)] for name, value in _flat(record["made_with"])]
    folded = _folded("All settings", report_page.table(["setting", "value"], settings, 2))
    return _pairs(record["versions"]) + folded


def _flat(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Return nested settings as dotted names and values.

    >>> _flat({"a": {"b": 1}, "c": 2})
    [('a.b', 1), ('c', 2)]
    """
    found: list[tuple[str, object]] = []
    for name, value in node.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found


def _pairs(values: Mapping[str, Any]) -> str:
    rows = [[name, f"{value:.4g}" if isinstance(value, float) else str(value)] for name, value in values.items()]
    return report_page.table(["", ""], rows, 1) if rows else ""


def _picture(name: str, pictures: Mapping[str, Path]) -> str:
    if name not in pictures:
        return ""
    return f"<p class='note'>{escape(_CAPTIONS[name])}</p>{report_page.picture(pictures[name])}"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>" if content else ""
