"""Tables as text, in the two forms that jobs write."""

import csv
import io
from collections.abc import Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars inside cells are kept as text.

    >>> print(markdown_table(("case", "dose"), [("a|b", "1.0")]), end="")
    | case | dose |
    | --- | --- |
    | a&#124;b | 1.0 |
    """
    lines = (headings, ["---"] * len(headings), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def csv_text(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV; None is an empty field.

    >>> print(csv_text(("case", "dose"), [("a,b", None)]), end="")
    case,dose
    "a,b",
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
