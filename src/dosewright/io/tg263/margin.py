"""Reading a margin off a name: `Cord PRV 5mm`, `BrainStem_03`, `Cord + 0.5cm`."""

import re
from dataclasses import dataclass

MARGIN_MAX_MM = 30.0

_NUMBER = r"(?P<number>\d{1,2}(?:[.,]\d{1,2})?|[.,]\d{1,2})"
_UNIT = r"(?P<unit>mm|cm)"
_GAP = r"[\s_.\-]*"
_END = r"(?![0-9a-z])"
_WORD = r"(?:prv|exp(?:and(?:ed)?|d|ansion)?|margin|plus)"
_SUFFIX = re.compile(r"[\s_.]+(?P<number>0[35])(?P<unit>)(?=$|[\s_])")
# In order; the first that fits is taken.
_WAYS = (
    re.compile(rf"{_GAP}(?<![a-z]){_WORD}{_GAP}\+?{_GAP}(?:{_NUMBER}\s*{_UNIT}?)?{_END}", re.IGNORECASE),
    re.compile(rf"{_GAP}(?<=[a-z])(?-i:PRV){_GAP}(?:{_NUMBER}\s*{_UNIT}?)?{_END}", re.IGNORECASE),
    re.compile(rf"{_GAP}\+{_GAP}{_NUMBER}\s*{_UNIT}?{_END}", re.IGNORECASE),
    re.compile(rf"(?P<bare>[\s_.]+){_NUMBER}\s*(?P<unit>mm|cm){_END}", re.IGNORECASE),
    _SUFFIX,
)


@dataclass(frozen=True)
class Margin:
    """A margin a name speaks of.

    Args:
        rest: The name without it.
        tag: `PRV05` for 5 mm, `PRV` for one of unknown width.
        note: What was assumed; "" when the name says it.
        suffix: Whether nothing but two digits at the end speaks of it, as in `BrainStem_03`.
    """

    rest: str
    tag: str
    note: str
    suffix: bool = False


def read_margin(text: str) -> Margin | None:
    """Return the margin in a name, None if it has none or one that is not whole mm of at most 30.

    >>> read_margin("Cord + 0.5cm").tag, read_margin("BrainStem_03").tag, read_margin("PRV cord").tag
    ('PRV05', 'PRV03', 'PRV')
    >>> read_margin("Cord+3").note, read_margin("SpinalCord")
    ('margin without a unit taken for 3 mm', None)
    """
    for way in _WAYS:
        if not (found := way.search(text)):
            continue
        rest = f"{text[: found.start()]} {text[found.end() :]}".strip()
        if found["number"] is None:
            return Margin(rest, "PRV", "")
        width_mm, note = _width_mm(found)
        if width_mm < 0.5 or width_mm > MARGIN_MAX_MM or abs(width_mm - round(width_mm)) > 1e-6:
            return None
        return Margin(rest, f"PRV{round(width_mm):02d}", note, way is _SUFFIX)
    return None


def _width_mm(found: re.Match[str]) -> tuple[float, str]:
    """Return a width in mm and what was assumed for it: TG-263 writes mm, so whole numbers behind `PRV` are."""
    number, unit = found["number"].replace(",", "."), (found["unit"] or "").lower()
    width_mm = float(number) * 10 if unit == "cm" or (not unit and "." in number) else float(number)
    if not unit and ("+" in found[0] or "." in number):
        return width_mm, f"margin without a unit taken for {width_mm:g} mm"
    bare = found.groupdict().get("bare") is not None
    return width_mm, f"{found[0].strip(' _.')} taken for a margin" if bare else ""
