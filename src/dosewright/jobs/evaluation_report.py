"""The report of an evaluation: one HTML file with its pictures inside."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from dosewright.jobs import report_page
from dosewright.jobs.evaluation import CaseResult, Evaluation
from dosewright.jobs.evaluation_tables import grouped, mean_and_sd, remarks

Pictures = Mapping[str, Sequence[Path]]  # case → PNG files


def write_report(evaluation: Evaluation, pictures: Pictures, path: Path, source: str = "") -> Path:
    """Write the report and return its path: scores, tables, remarks and the pictures of some cases.

    Args:
        evaluation: What to report.
        pictures: Case → PNG files to embed.
        path: The HTML file.
        source: What was evaluated, shown under the title.
    """
    parts = [
        f"<h1>Evaluation of predicted doses</h1><p class='note'>{escape(source)}</p>",
        _tiles(evaluation),
        report_page.remarks(remarks(evaluation)),
        "<h2>DVH metrics</h2><p class='note'>Predicted − reference in Gy, mean ± SD over the cases that have the "
        "structure. The DVH score averages the absolute differences of all cases.</p>",
        _dvh_table(evaluation),
        "<h2>Cases</h2><p class='note'>Gy; worst dose score first.</p>",
        _case_table(evaluation.results),
        *(_case_section(result, pictures.get(result.case_id, ())) for result in evaluation.results),
    ]
    return report_page.write_page(path, "Evaluation of predicted doses", parts)


def _tiles(evaluation: Evaluation) -> str:
    score, results = evaluation.score, evaluation.results
    tiles = (
        (f"{score.dose_score_gy:.3f} Gy", "dose score", mean_and_sd([r.dose_score_gy for r in results])),
        (f"{score.dvh_score_gy:.3f} Gy", "DVH score", mean_and_sd([r.dvh_score_gy for r in results])),
        (str(len(results)), "cases scored", ""),
        (str(len(evaluation.failed)), "failed", ""),
    )
    return report_page.tiles((value, name, f"per case {spread}" if spread else "") for value, name, spread in tiles)


def _dvh_table(evaluation: Evaluation) -> str:
    rows = [
        (structure, metric, str(len(values)), mean_and_sd(np.abs(values).tolist()), mean_and_sd(values, signed=True))
        for (structure, metric, _), values in grouped(evaluation).items()
    ]
    return report_page.table(("structure", "metric", "cases", "|difference|", "difference"), rows, text_columns=2)


def _case_table(results: Sequence[CaseResult]) -> str:
    rows = [
        (r.case_id, f"{r.dose_score_gy:.3f}", f"{r.dvh_score_gy:.3f}", str(r.outside_voxels))
        for r in sorted(results, key=lambda r: -r.dose_score_gy)
    ]
    headings = ("case", "dose score", "DVH score", "voxels outside the dose mask")
    return f"<div class='scroll'>{report_page.table(headings, rows, text_columns=1)}</div>"


def _case_section(result: CaseResult, pictures: Sequence[Path]) -> str:
    if not pictures:
        return ""
    name = escape(result.case_id)
    images = "".join(report_page.picture(path) for path in pictures)
    rows = [
        (c.structure, c.metric, f"{c.reference:.2f}", f"{c.predicted:.2f}", f"{c.difference:+.2f}", c.unit)
        for c in result.indices
    ]
    table = report_page.table(
        ("structure", "index", "reference", "predicted", "difference", "unit"), rows, text_columns=2
    )
    scores = f"dose score {result.dose_score_gy:.3f} Gy, DVH score {result.dvh_score_gy:.3f} Gy"
    details = f"<details><summary>Dose-volume indices</summary>{table}</details>"
    return f"<h2>{name}</h2><p class='note'>{scores}</p>{images}{details}"
