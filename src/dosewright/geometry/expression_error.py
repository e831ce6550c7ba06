"""The error of a structure expression: what must hold, and a caret under the place where it does not."""

from pathlib import Path

from dosewright.core.errors import InputError

_SHOWN = 60  # characters of the text shown before and after the place


class ExpressionError(InputError):
    """A structure expression that cannot be read.

    Args:
        rule: See `InputError`, as `argument`, `value` and `path`.
        argument: See above.
        value: See above.
        path: See above.
        text: The expression; where it is given, the part around the place is shown.
        start: Index of the first character of the place in the text.
        end: Index after the last.

    >>> print(ExpressionError("must have a unit", text="A + 3 | B", start=4, end=5))
    expression must have a unit:
      A + 3 | B
          ^
    """

    def __init__(
        self,
        rule: str,
        *,
        argument: str | None = "expression",
        value: object = InputError._nothing,
        path: str | Path | None = None,
        text: str | None = None,
        start: int = 0,
        end: int = 0,
    ) -> None:
        self.start, self.end = start, end
        shown = rule if text is None else f"{rule}:\n{_pointed_at(text, start, end)}"
        super().__init__(shown, argument=argument, value=value, path=path)


def _pointed_at(text: str, start: int, end: int) -> str:
    """Return two lines: the text around a place, and carets under it."""
    first, last = max(start - _SHOWN, 0), min(max(end, start + 1) + _SHOWN, len(text))
    before, after = "…" if first else "", "…" if last < len(text) else ""
    line = "".join(c if c.isprintable() else " " for c in text[first:last])
    carets = "^" * max(min(end, last) - start, 1)
    return f"  {before}{line}{after}\n  {' ' * (len(before) + start - first)}{carets}"
