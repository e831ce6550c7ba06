"""The report of names, as a CSV and as a table for the console."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from dosewright.core.files import atomic_write
from dosewright.io.tg263.name_cells import cell
from dosewright.io.tg263.report import NameReport

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("source", "name", "how", "confidence", "note")
_STYLES = {"override": "cyan", "exact": "", "synonym": "", "fuzzy": "yellow", "unmatched": "red"}


def write_names(path: str | Path, report: NameReport) -> Path:
    """Write a report as CSV with the columns source, name, how, confidence and note; `read_overrides` reads it back.

    Raises:
        StorageError: If the file cannot be written.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for m in report.matches:
        writer.writerow((cell(m.source), m.name or "", m.how, f"{m.confidence:.2f}", cell(m.note)))
    return atomic_write(path, stream.getvalue())


def names_table(report: NameReport) -> "Table":
    """Return a report as a table for a rich console: what needs a look first, markup in names left alone."""
    from rich.table import Table
    from rich.text import Text

    counts = ", ".join(f"{count} {how}" for how, count in report.counts().items() if count)
    table = Table("source", "name", "how", "confidence", "note", title=f"Structure names: {counts or 'none'}")
    order = ("unmatched", "fuzzy", "override", "synonym", "exact")
    for m in sorted(report.matches, key=lambda match: order.index(match.how)):
        cells = (_printable(m.source), m.name or "", m.how, f"{m.confidence:.2f}", _printable(m.note))
        table.add_row(*(Text(text, style=_STYLES[m.how]) for text in cells))
    return table


def _printable(text: str, length_max: int = 80) -> str:
    """Return a text for a terminal: control characters as escapes, and shortened."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: length_max + 1])
    return shown if len(text) <= length_max else shown[: length_max - 1] + "…"
