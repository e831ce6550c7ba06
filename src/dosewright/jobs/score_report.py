"""The HTML report of `dosewright score`: one file that needs nothing but itself."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from dosewright.jobs import report_page
from dosewright.jobs.evaluation_tables import mean_and_sd
from dosewright.jobs.score_cohort import CohortScores
from dosewright.jobs.score_record import CaseScore
from dosewright.jobs.score_tables import CASE_HEADINGS, COHORT_HEADINGS, case_cells, cohort_cells, remarks

_STYLE = "td.text { max-width: 30rem; overflow-wrap: anywhere; }"
NOTE = (
    "A scorecard says how a dose does by one list of wishes and weights. It does not say whether a plan may be given, "
    "and totals of different items cannot be compared."
)


def write_report(path: Path, cohort: CohortScores, pictures: Mapping[str, Path], overview: Path | None) -> Path:
    """Write the report and return its path.

    Args:
        path: The HTML file.
        cohort: The scores.
        pictures: Case → its picture, for the cases that have one.
        overview: The cohort's picture, None where there is none.
    """
    several = len(cohort.cases) > 1
    parts = [
        f"<h1>Scores: {escape(cohort.card)}</h1><p class='note'>Dose: {escape(cohort.dose)}. {escape(NOTE)}</p>",
        report_page.tiles(_tiles(cohort)),
        report_page.remarks(remarks(cohort)),
        report_page.picture(overview) if overview is not None else "",
    ]
    if several:
        parts += ["<h2>Items</h2>", report_page.table(COHORT_HEADINGS, cohort_cells(cohort), text_columns=1)]
        parts += ["<h2>Cases</h2>", _case_table(cohort)]
    parts += [_case_section(case, pictures.get(case.case_id), folded=several) for case in cohort.cases]
    return report_page.write_page(path, f"Scores: {cohort.card}", parts, _STYLE)


def _tiles(cohort: CohortScores) -> list[tuple[str, str, str]]:
    cases = cohort.cases
    if not cases:
        return [("0", "cases scored", f"{len(cohort.failed)} failed")]
    total, most = (mean_and_sd(values) for values in ([c.total for c in cases], [c.maximum for c in cases]))
    found = [
        (total, "total", f"of {most} points that could be scored"),
        (f"{cohort.card_maximum:g}", "points on the card", ""),
    ]
    if len(cases) > 1:
        common = mean_and_sd([cohort.common_total(case) for case in cases])
        found.append(
            (common, f"on the {len(cohort.common)} items of all cases", f"of {cohort.common_maximum:g} points")
        )
    failed = f"{len(cohort.failed)} failed" if cohort.failed else ""
    return [*found, (str(len(cases)), "cases scored", failed)]


def _case_table(cohort: CohortScores) -> str:
    rows = [
        (
            case.case_id,
            f"{case.total:.2f}",
            f"{case.maximum:g}",
            "" if case.percent is None else f"{case.percent:.1f}",
            f"{cohort.common_total(case):.2f}",
            str(case.scored),
        )
        for case in sorted(cohort.cases, key=cohort.common_total)
    ]
    headings = ("case", "total", "of", "%", "on the items of all cases", "items scored")
    return f"<div class='scroll'>{report_page.table(headings, rows, text_columns=1)}</div>"


def _case_section(case: CaseScore, picture: Path | None, folded: bool) -> str:
    cells = [(row[0], row[4], row[5], *row[1:4]) for row in case_cells(case)]
    headings = (CASE_HEADINGS[0], *CASE_HEADINGS[4:], *CASE_HEADINGS[1:4])
    table = report_page.table(headings, cells, text_columns=3)
    if folded:
        table = f"<details><summary>Items</summary>{table}</details>"
    total = f"{case.total:.2f} of {case.maximum:g} points that could be scored, {case.card_maximum:g} on the card"
    image = report_page.picture(picture) if picture is not None else ""
    return f"<h2>{escape(case.case_id)}</h2><p class='note'>{escape(total)}</p>{image}{table}"
