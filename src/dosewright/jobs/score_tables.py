"""Tables of `dosewright score`: per case CSV, JSON and Markdown; for the cohort the same, and what is printed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dosewright.core.files import atomic_write
from dosewright.jobs.evaluation_tables import mean_and_sd
from dosewright.jobs.score_cohort import CohortScores, ItemSummary
from dosewright.jobs.score_record import CaseScore, ItemRow
from dosewright.jobs.tables import csv_text, markdown_table

RECORD, CASE_CSV, CASE_MARKDOWN = "score.json", "score.csv", "score.md"
SUMMARY, SCORES, ITEMS, SUMMARY_MARKDOWN = "summary.json", "scores.csv", "items.csv", "summary.md"

_ITEM_COLUMNS = ("structure", "metric", "value", "score", "maximum", "measured_on", "left_out", "reason")
_CASE_COLUMNS = (
    *("case_id", "total", "maximum", "card_maximum", "common_total", "items_scored"),
    *("dose_scale", "missing", "left_out"),
)
CASE_HEADINGS = ("item", "value", "score", "of", "measured on", "remark")
COHORT_HEADINGS = ("item", "cases", "value", "score", "of", "least", "in")


def write_case(folder: Path, case: CaseScore, made_with: dict[str, Any], card: str, dose: str) -> None:
    """Write score.csv, score.md and last score.json, which vouches for the others.

    Args:
        folder: The case's folder.
        case: Its scores.
        made_with: What they were made with.
        card: The card's name.
        dose: What the dose is, in words.
    """
    atomic_write(folder / CASE_CSV, csv_text(_ITEM_COLUMNS, map(_csv_row, case.items)))
    atomic_write(folder / CASE_MARKDOWN, _case_page(case, card, dose))
    content = {"card": card, "dose": dose, "made_with": made_with, "result": case.to_plain()}
    atomic_write(folder / RECORD, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def stored_case(folder: Path, made_with: dict[str, Any]) -> CaseScore | None:
    """Return a case's scores if its files are whole and were made with the same; else None."""
    try:
        content = json.loads((folder / RECORD).read_text())
        whole = all((folder / name).is_file() for name in (CASE_CSV, CASE_MARKDOWN))
        return CaseScore.from_plain(content["result"]) if whole and content["made_with"] == made_with else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_cohort(out: Path, cohort: CohortScores) -> dict[str, Any]:
    """Write scores.csv, items.csv, summary.md and summary.json; return what the last holds."""
    cases = [_case_row(cohort, case) for case in cohort.cases]
    items = ((case.case_id, *_csv_row(row)) for case in cohort.cases for row in case.items)
    atomic_write(out / SCORES, csv_text(_CASE_COLUMNS, cases))
    atomic_write(out / ITEMS, csv_text(("case_id", *_ITEM_COLUMNS), items))
    atomic_write(out / SUMMARY_MARKDOWN, _cohort_page(cohort))
    plain = cohort.to_plain()
    atomic_write(out / SUMMARY, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return plain


def case_cells(case: CaseScore) -> list[tuple[str, ...]]:
    """Return the rows of a case's table, as people read it; columns as in `CASE_HEADINGS`."""
    return [
        (
            row.label,
            "" if row.value is None else f"{row.value:.2f}",
            "" if row.score is None else f"{row.score:.2f}",
            f"{row.maximum:g}",
            row.measured_on if row.measured_on != row.structure else "",
            _remark(row),
        )
        for row in case.items
    ]


def cohort_cells(cohort: CohortScores) -> list[tuple[str, ...]]:
    """Return the rows of the cohort's table of items; columns as in `COHORT_HEADINGS`."""
    return [_summary_cells(item) for item in cohort.items]


def remarks(cohort: CohortScores) -> list[str]:
    """Return one line for each thing the reader of the scores should know."""
    lines = [f"failed: {case_id}: {reason}" for case_id, reason in cohort.failed.items()]
    lines += _grouped("not there, so not scored", cohort.missing, len(cohort.cases))
    lines += _grouped("not there, and built structures measured without", cohort.left_out, len(cohort.cases))
    lines += [f"there, but not scored: {label}: {reason}" for label, reason in cohort.unmeasurable.items()]
    if any(case.scored != len(cohort.common) for case in cohort.cases):
        lines.append(
            f"cases lack different structures: compare them by the {len(cohort.common)} items that all have "
            f"(at most {cohort.common_maximum:g} points)"
        )
    scales = [case.dose_scale for case in cohort.cases if case.dose_scale != 1.0]
    if scales:
        lines.append(f"doses were multiplied by {min(scales):.4f} to {max(scales):.4f}")
    return lines


def _grouped(what: str, names: Mapping[str, Sequence[str]], cases: int) -> list[str]:
    """Return one line per set of cases, with all names that are of it."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, case_ids in names.items():
        groups.setdefault(tuple(case_ids), []).append(name)
    return [
        f"{what} ({f'all {cases} cases' if len(case_ids) == cases > 1 else ', '.join(case_ids)}): {', '.join(listed)}"
        for case_ids, listed in groups.items()
    ]


def print_tables(cohort: CohortScores, console: Console) -> None:
    """Print the items, the totals, and what could not be scored."""
    if not cohort.cases:
        return
    single = len(cohort.cases) == 1
    headings = CASE_HEADINGS if single else COHORT_HEADINGS
    rows = case_cells(cohort.cases[0]) if single else [_without_sd(row) for row in cohort_cells(cohort)]
    table = Table(title=f"{cohort.card}: {cohort.cases[0].case_id if single else f'{len(cohort.cases)} cases'}")
    for heading in headings:
        text = heading in ("item", "measured on", "remark", "in")
        table.add_column(heading, justify="left" if text else "right", no_wrap=heading in ("item", "in"))
    for row in rows:
        if single or row[1] != "0":
            table.add_row(*row)
    console.print(table)
    for line in remarks(cohort):
        console.print(line, style="yellow", markup=False, highlight=False)
    console.print(headline(cohort), markup=False, highlight=False)


def headline(cohort: CohortScores) -> str:
    """Return the result in one line."""
    if not cohort.cases:
        return "no case was scored"
    totals, most = [case.total for case in cohort.cases], [case.maximum for case in cohort.cases]
    text = f"total {mean_and_sd(totals)} of {mean_and_sd(most)} points that could be scored"
    text += f" ({cohort.card_maximum:g} on the card)"
    if len(cohort.cases) > 1:
        common = [cohort.common_total(case) for case in cohort.cases]
        text += f"; {mean_and_sd(common)} of {cohort.common_maximum:g} on the {len(cohort.common)} items of all cases"
    return text


def _summary_cells(item: ItemSummary) -> tuple[str, ...]:
    name = f"{item.structure} {item.metric}"
    if not item.scores:
        return (name, "0", "", "", f"{item.maximum:g}", "", "")
    return (
        name,
        str(len(item.scores)),
        mean_and_sd(item.values),
        mean_and_sd(item.scores),
        f"{item.maximum:g}",
        f"{min(item.scores):.2f}",
        item.lowest_case,
    )


def _without_sd(row: tuple[str, ...]) -> tuple[str, ...]:
    """Return a row of the cohort's table with means alone, which fits a narrow console."""
    return tuple(cell.partition(" ±")[0] for cell in row)


def _remark(row: ItemRow) -> str:
    without = f"without {', '.join(row.left_out)}, not there" if row.left_out else ""
    return "; ".join(filter(None, (row.reason, without)))


def _case_row(cohort: CohortScores, case: CaseScore) -> tuple[object, ...]:
    return (
        case.case_id,
        case.total,
        case.maximum,
        case.card_maximum,
        cohort.common_total(case),
        case.scored,
        case.dose_scale,
        "; ".join(case.missing),
        "; ".join(dict.fromkeys(name for row in case.items for name in row.left_out)),
    )


def _csv_row(row: ItemRow) -> tuple[object, ...]:
    number = ("" if row.value is None else row.value, "" if row.score is None else row.score)
    return (row.structure, row.metric, *number, row.maximum, row.measured_on, "; ".join(row.left_out), row.reason)


def _case_page(case: CaseScore, card: str, dose: str) -> str:
    percent = "" if case.percent is None else f", {case.percent:.1f} %"
    scale = "" if case.dose_scale == 1.0 else f", multiplied by {case.dose_scale:.4f}"
    missing = f"Not there, so not scored: {', '.join(case.missing)}.\n\n" if case.missing else ""
    return (
        f"# Scores of {case.case_id}: {card}\n\nDose: {dose}{scale}. Total {case.total:.2f} of {case.maximum:g} "
        f"points that could be scored{percent}; {case.card_maximum:g} on the card.\n\n{missing}"
        f"{markdown_table(CASE_HEADINGS, case_cells(case))}"
    )


def _cohort_page(cohort: CohortScores) -> str:
    rows = [
        (c.case_id, f"{c.total:.2f}", f"{c.maximum:g}", f"{cohort.common_total(c):.2f}", str(c.scored))
        for c in sorted(cohort.cases, key=cohort.common_total)
    ]
    lines = "".join(f"- {line}\n" for line in remarks(cohort))
    return (
        f"# Scores of {len(cohort.cases)} cases: {cohort.card}\n\nDose: {cohort.dose}. {headline(cohort)}.\n\n{lines}\n"
        f"## Items\n\n{markdown_table(COHORT_HEADINGS, cohort_cells(cohort))}\n"
        f"## Cases\n\n{markdown_table(('case', 'total', 'of', 'on the items of all cases', 'items scored'), rows)}"
    )
