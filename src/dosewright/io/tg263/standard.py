"""Whether a name is TG-263's as it stands."""

import re

from dosewright.core.errors import InputError
from dosewright.core.structures import EXTERNAL, role_of
from dosewright.io.tg263.helper import EVALUATED
from dosewright.io.tg263.match import Kind
from dosewright.io.tg263.target import read_target
from dosewright.io.tg263.vocabulary import vocabulary

_PRV = re.compile(r"_PRV\d{0,2}(?=_[LR]$|$)")
_PARTIAL = re.compile(r"~(?=_[LR]$|_PRV|$)")
_VERTEBRA = re.compile(r"VB_(?:C[1-7]|T(?:0[1-9]|1[0-2])|L[1-5]|S[1-5])")
_RIB = re.compile(r"Rib(?:0[1-9]|1[0-2])_[LR]")
_HELPER = re.compile(r"z[A-Z0-9_].*|Ring(?:_.+)?")
_LEVELLED = re.compile(r"(PTV|CTV)_Mid\d\d")
_CROPPED = re.compile(r"-\d\d$")


def standard_kind(name: str) -> Kind:
    """Return the kind of a name that follows TG-263 to the letter, "" for any other name.

    >>> [standard_kind(n) for n in ("Parotid_L", "OpticNrv_PRV03_L", "Lung~_L", "Lungs-GTV", "PTVn1_5040", "zRing")]
    ['organ', 'organ', 'organ', 'organ', 'target', 'helper']
    >>> standard_kind("parotid_l"), standard_kind("VB_T03"), standard_kind("Brain^Old"), standard_kind("PTV 70")
    ('', 'organ', 'organ', '')
    """
    if not is_legal(name):
        return ""
    stem, caret, qualifier = name.partition("^")
    if caret and not re.fullmatch(r"[A-Za-z0-9_.]+", qualifier):
        return ""
    if _HELPER.fullmatch(stem):
        return "helper"
    return "organ" if EVALUATED.fullmatch(stem) else _kind(stem)


def is_legal(name: str) -> bool:
    """Return whether a structure of a case may have a name, listed in TG-263 or not.

    >>> is_legal("Neck_Posterior"), is_legal("Lt Lung")
    (True, False)
    """
    try:
        role_of(name)
    except InputError:
        return False
    return True


def _kind(name: str) -> Kind:
    if name == EXTERNAL:
        return "external"
    plain = _PARTIAL.sub("", _PRV.sub("", name))
    structure = vocabulary().names.get(plain)
    if structure is not None:
        return structure.kind if plain == name or structure.kind == "organ" else ""
    if _VERTEBRA.fullmatch(name) or _RIB.fullmatch(name):
        return "organ"
    target = _CROPPED.sub("", name).replace("TV!", "TV", 1)
    if _LEVELLED.fullmatch(target):
        return "target"
    reading = read_target(target)
    return "target" if reading is not None and reading.name == target and reading.how == "synonym" else ""
