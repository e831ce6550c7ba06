"""Parts of a report: one HTML page that needs nothing but itself, with pictures inside it."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from dosewright.core.files import atomic_write

STYLE = """
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
_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def write_page(path: Path, title: str, parts: Iterable[str], style: str = "") -> Path:
    """Write an HTML page and return its path.

    Args:
        path: The file.
        title: Of the browser's window, plain text.
        parts: HTML of the body.
        style: CSS added to `STYLE`.
    """
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{STYLE}{style}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    return atomic_write(path, page)


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """Return a row of (large value, what it is, detail); an empty detail is left out."""
    shown = (
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(name)}"
        f"{f'<br>{escape(detail)}' if detail else ''}</span></div>"
        for value, name, detail in items
    )
    return f"<div class='tiles'>{''.join(shown)}</div>"


def remarks(lines: Sequence[str], heading: str = "Remarks") -> str:
    """Return a box of what the reader should know, nothing where there is none."""
    if not lines:
        return ""
    return f"<h2>{escape(heading)}</h2><div class='remarks'>{'<br>'.join(escape(line) for line in lines)}</div>"


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    text_columns: int,
    classes: Sequence[Sequence[str]] | None = None,
) -> str:
    """Return a table; its first `text_columns` columns are text, the others numbers.

    Args:
        headings: Of the columns.
        rows: Cells as plain text.
        text_columns: How many columns are aligned to the left.
        classes: CSS class of each cell of each row, "" for none; None gives none.

    >>> table(["a", "b"], [["x", "1"]], 1)[-64:]
    "tbody><tr><td class='text'>x</td><td>1</td></tr></tbody></table>"
    """

    def line(cells: Sequence[str], tag: str, extra: Sequence[str]) -> str:
        kinds = [" ".join(filter(None, ("text" if at < text_columns else "", kind))) for at, kind in enumerate(extra)]
        attributes = [f" class='{kind}'" if kind else "" for kind in kinds]
        return "".join(f"<{tag}{text}>{escape(cell)}</{tag}>" for text, cell in zip(attributes, cells, strict=True))

    plain = [""] * len(headings)
    kinds = iter(classes) if classes is not None else None
    body = "".join(f"<tr>{line(row, 'td', next(kinds) if kinds else plain)}</tr>" for row in rows)
    return f"<table><thead><tr>{line(headings, 'th', plain)}</tr></thead><tbody>{body}</tbody></table>"


def picture(path: Path) -> str:
    """Return a PNG or SVG file as an image inside the page."""
    code = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"<img alt='{escape(path.stem)}' src='data:{_TYPES[path.suffix]};base64,{code}'>"
