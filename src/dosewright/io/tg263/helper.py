"""Reading the names of structures that are made for planning: rings, optimisation targets, organs without targets."""

import re

from dosewright.io.tg263.match import Kind
from dosewright.io.tg263.organ import read_organ
from dosewright.io.tg263.reading import RULES, Reading
from dosewright.io.tg263.spelling import cut
from dosewright.io.tg263.target import TYPES, read_target
from dosewright.io.tg263.vocabulary import marks

LENGTH_MAX = 63

# Organs that are evaluated without a target: no mere helpers. The standard lists most of them.
EVALUATED = re.compile(r"(?:Brain|Liver|Lungs|Lung_[LR]|Kidneys|Kidney_[LR]|Kidney|Bladder)-[GCIP]TV")

_RINGS = marks("ring")
_OPTIMISED = marks("optimised")
_HELPERS = marks("helper")
_MINUS = re.compile(r"\s*(?:-|–|−|(?<![a-z])minus(?![a-z]))\s*(?=\s*_*I?[GCPI]TV)", re.IGNORECASE)
_RING_NUMBER = re.compile(r"(?:ring|shell|donut|doughnut|halo)s?[\s_.]*\d(?!\d*[\s_]*[GCPI]TV)", re.IGNORECASE)
_LEADING_Z = re.compile(r"z[A-Z_ .\-]")


def read_helper(text: str) -> Reading | None:
    """Return what a name is read as if it is a planning structure's, else None.

    >>> read_helper("PTVHighOPT").name, read_helper("RingPTVLow").name, read_helper("Mandible-PTV").name
    ('zPTV_High_Opt', 'Ring_PTV_Low', 'zBone_Mandible-PTV')
    >>> read_helper("Dose 95[%]").name, read_helper("PTVMid-PTVHigh").name, read_helper("Brain")
    ('zDose_95', 'zPTV_Mid-PTV_High', None)
    """
    if minus := _read_minus(text):
        return minus
    words = cut(TYPES.sub(r" \g<0> ", text))
    rings = [w for w in words if w in _RINGS]
    optimised = [w for w in words if w in _OPTIMISED]
    if len(rings) + len(optimised) == 1:
        rest = _cut_out(text, (rings or optimised)[0])
        target = read_target(rest) if not (rings and _RING_NUMBER.search(text)) else None
        if target and target.name and target.how == "synonym":
            name = f"Ring_{target.name}" if rings else f"z{target.name}_Opt"
            return Reading(name, "synonym", RULES, kind="helper")
        organ = read_organ(rest) if optimised else None
        if organ and organ.name and organ.how == "synonym":
            return Reading(f"z{organ.name}_Opt", "synonym", RULES, kind="helper")
    is_helper = bool(rings) or any(w in _HELPERS for w in words) or bool(_LEADING_Z.match(text))
    if is_helper or (optimised and TYPES.search(text)):
        return _as_it_stands(text)
    return None


def _cut_out(text: str, word: str) -> str:
    """Return a text without one of its words: "PTVHighOPT", "opt" → "PTVHigh"."""
    start = text.lower().rfind(word)
    return f"{text[:start]} {text[start + len(word) :]}".strip(" _-.")


def _read_minus(text: str) -> Reading | None:
    """Return what a structure without a target is: `Larynx - PTV` → zLarynx-PTV."""
    parts = _MINUS.split(text)
    if len(parts) != 2 or not parts[0]:
        return None
    target = read_target(re.sub(r"(?i)(TV)s\b", r"\1", parts[1]))
    whole = read_target(parts[0]) or read_organ(parts[0])
    if target is None or whole is None or target.name is None or target.how != "synonym":
        return None
    if whole.name is None:
        candidates = tuple(without(c, target.name) if c else "" for c in whole.candidates)
        note = f"{whole.note}, without {target.name}"
        return Reading(None, note=note, kind=minus_kind(candidates[0]), candidates=candidates) if candidates else None
    name = without(whole.name, target.name)
    return Reading(name, whole.how, whole.confidence, whole.note, minus_kind(name))


def without(whole: str, target: str) -> str:
    """Return the name of a structure without a target: TG-263's own, else one that says it is made for planning.

    >>> without("Lungs", "GTV"), without("Larynx", "PTV"), without("PTV_Mid", "PTV_High")
    ('Lungs-GTV', 'zLarynx-PTV', 'zPTV_Mid-PTV_High')
    """
    name = f"{whole}-{target}"
    return name if EVALUATED.fullmatch(name) else f"z{name}"


def minus_kind(name: str) -> Kind:
    """Return the kind of a name that `without` gave."""
    return "organ" if EVALUATED.fullmatch(name) else "helper"


def _as_it_stands(text: str) -> Reading:
    """Return a helper's own name with a leading z and without what names must not have."""
    name = re.sub(r"[^A-Za-z0-9.+\-~^]+", "_", text)
    name = re.sub(r"_*-_*", "-", name).strip("_.-")
    name = name if re.match(r"z[A-Z_0-9]", name) else f"z{name}"
    return Reading(name[:LENGTH_MAX], "synonym", RULES, "planning structure, its name kept", "helper")
