"""TG-263 structure names and the role each plays.

Names follow AAPM TG-263 (Mayo et al. 2018): targets start with PTV, CTV, GTV, ITV, ICTV or IGTV; laterality is a
trailing `_L` or `_R`; helper structures made for planning start with `z` or `Ring`; the patient outline is `External`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from dosewright.core.errors import InputError

EXTERNAL = "External"


class Role(StrEnum):
    """What a structure is for in planning."""

    TARGET = "target"
    OAR = "oar"
    HELPER = "helper"
    EXTERNAL = "external"


@dataclass(frozen=True)
class KnownStructure:
    """A structure the package knows by name: role, and the preference group it belongs to."""

    name: str
    role: Role
    group: str


_GROUPS: dict[str, tuple[Role, tuple[str, ...]]] = {
    "target": (Role.TARGET, ("PTV_High", "PTV_Mid", "PTV_Low", "PTV", "CTV", "GTV", "ITV")),
    "external": (Role.EXTERNAL, (EXTERNAL,)),
    "salivary": (Role.OAR, ("Parotid_L", "Parotid_R", "Glnd_Submand_L", "Glnd_Submand_R")),
    "neural": (Role.OAR, ("Brainstem", "SpinalCord", "SpinalCanal", "Brain", "OpticChiasm", "Cochlea_L", "Cochlea_R")),
    "swallowing": (Role.OAR, ("Larynx", "Esophagus", "Cavity_Oral", "Musc_Constrict", "Glnd_Thyroid", "Trachea")),
    "optic": (Role.OAR, ("Eye_L", "Eye_R", "Lens_L", "Lens_R", "OpticNrv_L", "OpticNrv_R")),
    "bone": (Role.OAR, ("Bone_Mandible",)),
    "thorax": (Role.OAR, ("Lung_L", "Lung_R", "Lungs", "Heart", "BrachialPlex_L", "BrachialPlex_R", "Shoulders")),
}

KNOWN: dict[str, KnownStructure] = {
    name: KnownStructure(name, role, group) for group, (role, names) in _GROUPS.items() for name in names
}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.&~^+\-!]{0,63}")
_TARGET = re.compile(r"(PTV|I?CTV|I?GTV|ITV)")
_SIDE = re.compile(r"(?<!^VB)_(?P<side>[LR])(?=$|[-^])")


def role_of(name: str) -> Role:
    """Return the role of a TG-263 structure name.

    Names the package does not list count as targets by their prefix, helpers by a leading `z` or `Ring`, else as OARs.

    Raises:
        InputError: If the name is not a legal structure name.

    >>> role_of("PTV_High"), role_of("Parotid_L"), role_of("zRing")
    (<Role.TARGET: 'target'>, <Role.OAR: 'oar'>, <Role.HELPER: 'helper'>)
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            "must be a structure name: a letter, then letters, digits or _.&~^+-!", argument="name", value=name
        )
    if name in KNOWN:
        return KNOWN[name].role
    if _TARGET.match(name):
        return Role.TARGET
    if name.startswith(("z", "Ring")):
        return Role.HELPER
    return Role.OAR


def mirrored(name: str) -> str:
    """Return the name after a left-right flip of the patient.

    >>> mirrored("Parotid_L"), mirrored("zParotid_R-PTV"), mirrored("Larynx"), mirrored("VB_L")  # the lumbar vertebrae
    ('Parotid_R', 'zParotid_L-PTV', 'Larynx', 'VB_L')
    """
    return _SIDE.sub(lambda match: "_R" if match["side"] == "L" else "_L", name)
