"""The report of an evaluation: one HTML file with its pictures inside."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from dosewright.core.files import atomic_write
from dosewright.jobs.evaluation import CaseResult, Evaluation
from dosewright.jobs.evaluation_tables import grouped, mean_and_sd, remarks

Pictures = Mapping[str, Sequence[Path]]  # case → PNG files

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2330; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; }
.tiles { display: flex; gap: 1rem; flex-wrap: wrap; }
.tile { border: 1px solid #d5dae3; border-radius: 8px; padding: .7rem 1.2rem; min-width: 9rem; }
.tile b { display: block; font-size: 1.7rem; font-variant-numeric: tabular-nums; } .tile span { color: #5a6475; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .8rem; text-align: right; border-bottom: 1px solid #e4e8ef; }
th { background: #f3f5f9; font-weight: 600; } .text { text-align: left; }
.remarks { background: #fff6e0; border-left: 4px solid #e0a100; padding: .5rem 1rem; overflow-wrap: anywhere; }
.scroll { max-height: 34rem; overflow: auto; display: inline-block; } .scroll th { position: sticky; top: 0; }
img { max-width: 100%; display: block; margin: .6rem 0; } p.note { color: #5a6475; }
details > summary { cursor: pointer; }
"""


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
        _remarks(evaluation),
        "<h2>DVH metrics</h2><p class='note'>Predicted − reference in Gy, mean ± SD over the cases that have the "
        "structure. The DVH score averages the absolute differences of all cases.</p>",
        _dvh_table(evaluation),
        "<h2>Cases</h2><p class='note'>Gy; worst dose score first.</p>",
        _case_table(evaluation.results),
        *(_case_section(result, pictures.get(result.case_id, ())) for result in evaluation.results),
    ]
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Evaluation of predicted doses</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    return atomic_write(path, page)


def _tiles(evaluation: Evaluation) -> str:
    score, results = evaluation.score, evaluation.results
    tiles = (
        (f"{score.dose_score_gy:.3f} Gy", "dose score", mean_and_sd([r.dose_score_gy for r in results])),
        (f"{score.dvh_score_gy:.3f} Gy", "DVH score", mean_and_sd([r.dvh_score_gy for r in results])),
        (str(len(results)), "cases scored", ""),
        (str(len(evaluation.failed)), "failed", ""),
    )
    shown = (
        f"<div class='tile'><b>{value}</b><span>{name}{f'<br>per case {spread}' if spread else ''}</span></div>"
        for value, name, spread in tiles
    )
    return f"<div class='tiles'>{''.join(shown)}</div>"


def _remarks(evaluation: Evaluation) -> str:
    lines = remarks(evaluation)
    if not lines:
        return ""
    return f"<h2>Remarks</h2><div class='remarks'>{'<br>'.join(escape(line) for line in lines)}</div>"


def _dvh_table(evaluation: Evaluation) -> str:
    rows = [
        (structure, metric, str(len(values)), mean_and_sd(np.abs(values).tolist()), mean_and_sd(values, signed=True))
        for (structure, metric, _), values in grouped(evaluation).items()
    ]
    return _table(("structure", "metric", "cases", "|difference|", "difference"), rows, text_columns=2)


def _case_table(results: Sequence[CaseResult]) -> str:
    rows = [
        (r.case_id, f"{r.dose_score_gy:.3f}", f"{r.dvh_score_gy:.3f}", str(r.outside_voxels))
        for r in sorted(results, key=lambda r: -r.dose_score_gy)
    ]
    headings = ("case", "dose score", "DVH score", "voxels outside the dose mask")
    return f"<div class='scroll'>{_table(headings, rows, text_columns=1)}</div>"


def _case_section(result: CaseResult, pictures: Sequence[Path]) -> str:
    if not pictures:
        return ""
    name = escape(result.case_id)
    images = "".join(f"<img alt='{escape(p.stem)}' src='data:image/png;base64,{_base64(p)}'>" for p in pictures)
    rows = [
        (c.structure, c.metric, f"{c.reference:.2f}", f"{c.predicted:.2f}", f"{c.difference:+.2f}", c.unit)
        for c in result.indices
    ]
    table = _table(("structure", "index", "reference", "predicted", "difference", "unit"), rows, text_columns=2)
    scores = f"dose score {result.dose_score_gy:.3f} Gy, DVH score {result.dvh_score_gy:.3f} Gy"
    details = f"<details><summary>Dose-volume indices</summary>{table}</details>"
    return f"<h2>{name}</h2><p class='note'>{scores}</p>{images}{details}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [" class='text'" if at < text_columns else "" for at in range(len(cells))]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells))

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(headings, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
