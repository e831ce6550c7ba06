"""The challenge's structure names and ours.

An explicit table: the published lists, and every other spelling seen in them or in the challenge's own loader.
What is no anatomy but an optimisation helper starts with `z` or `Ring` here, as TG-263 asks, so that it counts neither
as an organ nor as a target. A name the table does not hold goes through `io.tg263`, and keeps its own name where that
does not know it either.
"""

import re
from collections.abc import Iterable, Mapping

from dosewright.core import KNOWN, Role, role_of
from dosewright.core.errors import InputError
from dosewright.io.tg263 import TG263Matcher

BODY_NAMES = ("Body", "BODY", "body", "External", "EXTERNAL")
TOTAL = "zPTV_Total"
IPSILATERAL, CONTRALATERAL = "zParotid_Ipsi", "zParotid_Contra"
MINUS_PTV = "-PTV"

#: Ours → theirs, the spelling written first.
ORGANS: Mapping[str, tuple[str, ...]] = {
    "Brain": ("Brain",),
    "Brainstem": ("BrainStem", "Brainstem"),
    "Brainstem_PRV03": ("BrainStem_03",),
    "SpinalCord": ("SpinalCord",),
    "SpinalCord_PRV05": ("SpinalCord_05",),
    "OpticChiasm": ("Chiasm", "Chiasim"),
    "OpticNrv_L": ("OpticNerve_L",),
    "OpticNrv_R": ("OpticNerve_R",),
    "Cochlea_L": ("Cochlea_L",),
    "Cochlea_R": ("Cochlea_R",),
    "Lens_L": ("Lens_L",),
    "Lens_R": ("Lens_R",),
    "Eyes": ("Eyes",),
    "Glnd_Lacrimal": ("LacrimalGlands",),
    "Pituitary": ("Pituitary",),
    "Lips": ("Lips",),
    "Cavity_Oral": ("OralCavity", "OCavity"),
    "Bone_Mandible": ("Mandible",),
    "Larynx": ("Larynx",),
    "Musc_Constrict": ("PharynxConst", "PharConst"),
    "Glnd_Thyroid": ("Thyroid",),
    "Parotids": ("Parotids",),
    IPSILATERAL: ("ParotidIps", "Parotidlps", "ParotdIps"),
    CONTRALATERAL: ("ParotidCon", "ParotdCon"),
    "Glnd_Submands": ("Submandibular", "Submand"),
    "Glnd_Submand_L": ("SubmandL",),
    "Glnd_Submand_R": ("SubmandR",),
    "Esophagus": ("Esophagus",),
    "Trachea": ("Trachea",),
    "Shoulders": ("Shoulders",),
    "Posterior_Neck": ("Posterior_Neck",),
    "BrachialPlexs": ("BrachialPlexus",),
    "Lungs": ("Lungs",),
    "Lungs-GTV": ("Total Lung-GTV",),
    "Heart": ("Heart",),
    "A_LAD": ("LAD",),
    "GreatVes": ("GreatVessels",),
}
#: The organs that have a part outside the targets, under these names of theirs.
CROPPED: Mapping[str, tuple[str, ...]] = {
    "Larynx": ("Larynx-PTV",),
    "Bone_Mandible": ("Mandible-PTV",),
    "Cavity_Oral": ("OCavity-PTV", "OralCavity-PTV"),
    "Musc_Constrict": ("PharConst-PTV", "PharynxConst-PTV", "PharCost-PTV"),
    "Glnd_Thyroid": ("Thyroid-PTV",),
    "Parotids": ("Parotids-PTV",),
    IPSILATERAL: ("ParotidIps-PTV", "Parotidlps-PTV", "ParotdIps-PTV"),
    CONTRALATERAL: ("ParotidCon-PTV", "ParotdCon-PTV"),
    "Glnd_Submands": ("Submand-PTV", "Submandibular-PTV"),
    "Glnd_Submand_L": ("SubmandL-PTV",),
    "Glnd_Submand_R": ("SubmandR-PTV",),
}
HELPERS: Mapping[str, tuple[str, ...]] = {
    TOTAL: ("PTV_Total",),
    "zPTV_High_Opt": ("PTVHighOPT",),
    "zPTV_Mid_Opt": ("PTVMidOPT",),
    "zPTV_Low_Opt": ("PTVLowOPT",),
    "zPTV_Mid-PTV_High": ("PTVMid-PTVHigh",),
    "zPTV_Low-PTV_Mid": ("PTVLow-PTVMid",),
    "zPTV_Low-PTV_High": ("PTVLow-PTVHigh",),
    "Ring_PTV_High": ("RingPTVHigh",),
    "Ring_PTV_Mid": ("RingPTVMid",),
    "Ring_PTV_Low": ("RingPTVLow",),
    "Ring_PTV": ("PTV_Ring.3-2",),
    "zBody_Ring": ("Body_Ring0-3",),
}


def _cropped(name: str) -> str:
    return f"z{name.removeprefix('z')}{MINUS_PTV}"


_TABLES = (ORGANS, {_cropped(name): theirs for name, theirs in CROPPED.items()}, HELPERS)
#: Theirs → ours.
OURS: Mapping[str, str] = {theirs: ours for table in _TABLES for ours, names in table.items() for theirs in names}
#: Ours → the name written.
THEIRS: Mapping[str, str] = {ours: names[0] for table in _TABLES for ours, names in table.items()}


def our_names(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return for each of the challenge's names ours, and a note where the table does not hold it.

    Several may get the same name of ours; targets are not among them (`targets`).

    >>> our_names(["Chiasim", "OCavity-PTV", "Total Lung-GTV"])["OCavity-PTV"]
    ('zCavity_Oral-PTV', '')
    """
    names = list(names)
    matched = TG263Matcher().match([name for name in names if name not in OURS and name not in KNOWN])
    found = {match.source: match for match in matched.matches}
    answer: dict[str, tuple[str, str]] = {}
    for name in names:
        if name in OURS or name in KNOWN:
            answer[name] = (OURS.get(name, name), "")
        elif (match := found[name]).name and match.how in ("exact", "synonym") and _is_organ(match.name):
            answer[name] = (match.name, "" if match.name == name else f"{name} is taken for {match.name} ({match.how})")
        else:
            kept = _legal(name)
            answer[name] = (kept, f"{name} is a name nobody knows: kept as {kept}")
    return answer


def _is_organ(name: str) -> bool:
    return role_of(name) is Role.OAR


def _legal(name: str) -> str:
    """Return a legal structure name; a helper's for what claims to be a target, which only PTV_DICT can say."""
    legal = re.sub(r"[^A-Za-z0-9_.&~^+\-!]", "_", name)[:60]
    if not legal[:1].isalpha() or not legal[:1].isascii():
        legal = f"z{legal}"
    try:
        return f"z{legal}" if role_of(legal) in (Role.TARGET, Role.EXTERNAL) else legal
    except InputError:
        return "zUnknown"
