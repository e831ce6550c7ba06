"""Reading one name, by all rules in their order."""

import re
from dataclasses import replace

from dosewright.io.tg263.guess import guess_organ
from dosewright.io.tg263.helper import read_helper
from dosewright.io.tg263.margin import read_margin
from dosewright.io.tg263.organ import read_organ, read_words
from dosewright.io.tg263.reading import Reading
from dosewright.io.tg263.spelling import cut, plain
from dosewright.io.tg263.standard import standard_kind
from dosewright.io.tg263.target import read_target

LENGTH_MAX = 128  # of a source; DICOM allows 64
NAME_MAX = 64

_NO_MARGIN = ("External", "Skin", "Musc", "Bone", "Scar", "Scar_Boost", "BoneMarrow")
# Organs that are given a margin as a matter of course.
_CUSTOMARY = ("SpinalCord", "SpinalCanal", "Brainstem", "Optic", "Lens", "Eye", "Retina", "Cochlea", "BrachialPlex")
_SIDE_LAST = re.compile(r"(?<!VB)(_[LR])$")
_PARTIAL = re.compile(r"[\s_.]*(?:(?<![a-z])part(?:ial)?(?![a-z])|~)", re.IGNORECASE)


def read_name(source: str) -> Reading:
    """Return what a structure's name is read as.

    >>> read_name("Lt Lung").name, read_name("Cord PRV 5mm").name, read_name("Brain.partial").name
    ('Lung_L', 'SpinalCord_PRV05', 'Brain~')
    >>> read_name("Brain mets").note, read_name("Heart^Ex").how
    ("speaks of Brain, with 'mets' left over", 'exact')
    """
    if not source.strip():
        return Reading(None, note="empty")
    if len(source) > LENGTH_MAX:
        return Reading(None, note=f"longer than {LENGTH_MAX} characters")
    if kind := standard_kind(source):
        return Reading(source, "exact", 1.0, kind=kind)
    if not source.isprintable():
        return Reading(None, note="has characters that cannot be printed")
    text = plain(source)
    if not any(c.isalpha() for c in text):
        return Reading(None, note="has no letters")
    if text.startswith("-"):
        return Reading(None, note="starts with a minus")
    for read in (_read_qualified, read_organ, read_target, read_helper, _read_partial, _read_margin, guess_organ):
        if (reading := read(text)) is not None:
            return reading
    return Reading(None, note=_left_over(text))


def _read_qualified(text: str) -> Reading | None:
    """Return an organ or target with a custom qualifier behind `^`, which TG-263 keeps as it is."""
    stem, caret, qualifier = text.partition("^")
    qualifier = re.sub(r"[^A-Za-z0-9_.]+", "_", qualifier).strip("_.")
    reading = (read_organ(stem) or read_target(stem)) if caret and qualifier else None
    if reading is None or reading.name is None:
        return reading
    return replace(reading, name=f"{reading.name}^{qualifier}"[:NAME_MAX])


def _read_partial(text: str) -> Reading | None:
    rest = _PARTIAL.sub(" ", text, count=1)
    return _tagged(read_organ(rest), "~") if rest != text else None


def _read_margin(text: str) -> Reading | None:
    margin = read_margin(text)
    if margin is None:
        return None
    reading = read_organ(margin.rest) or guess_organ(margin.rest)
    if reading is None or reading.kind != "organ" or reading.name in _NO_MARGIN:
        return None
    tagged = _tagged(reading, f"_{margin.tag}")
    note = margin.note
    if margin.suffix and not any(name.startswith(_CUSTOMARY) for name in (reading.name, *reading.candidates) if name):
        note = f"the number at its end taken for a margin, {margin.tag}"
    return tagged.guessed(0.8, note) if tagged is not None and note else tagged


def _tagged(reading: Reading | None, tag: str) -> Reading | None:
    """Put a tag into a name where TG-263 wants it, before the side."""
    if reading is None or reading.kind != "organ":
        return None
    names = [_SIDE_LAST.sub(rf"{tag}\1", n) if _SIDE_LAST.search(n) else f"{n}{tag}" for n in reading.candidates if n]
    candidates = (*names, *("" for n in reading.candidates if not n))
    name = reading.name
    if name is not None:
        name = _SIDE_LAST.sub(rf"{tag}\1", name) if _SIDE_LAST.search(name) else f"{name}{tag}"
    return Reading(name, reading.how, reading.confidence, reading.note, reading.kind, candidates)


def _left_over(text: str) -> str:
    """Return which organ a name speaks of, beside words that are not understood."""
    words = cut(text)[:8]
    for length in range(len(words) - 1, 0, -1):
        for start in range(len(words) - length + 1):
            part = words[start : start + length]
            reading = read_words(part)
            if reading is not None and (reading.name or reading.candidates):
                rest = " ".join(words[:start] + words[start + length :])
                organ = reading.name or " or ".join(filter(None, reading.candidates))
                return f"speaks of {organ}, with {rest!r} left over"
    return ""
