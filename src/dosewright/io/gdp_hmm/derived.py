"""The challenge's helper structures, for cases that have none: its own loader sees organs mostly through them.

After arXiv:2501.11803, Table 3: optimised parts of targets keep away from higher ones, organs are taken without the
targets, cord and brainstem with a margin. Rings, which that loader does not read, are not made.
"""

from collections.abc import Mapping

import numpy as np

from dosewright.core import PatientCase
from dosewright.core.types import Mask
from dosewright.geometry import centroid_xyz_mm, targets_mask
from dosewright.geometry.margins import grown
from dosewright.io.gdp_hmm.names import CONTRALATERAL, CROPPED, IPSILATERAL, THEIRS, TOTAL

_PLEXUS_MM = 2.0
_AWAY_MM: Mapping[str, Mapping[str, float]] = {
    "PTV_High": {},
    "PTV_Mid": {"PTV_High": 3.0},
    "PTV_Low": {"PTV_Mid": 3.0, "PTV_High": 6.0},
}
_PRVS = {"SpinalCord_PRV05": ("SpinalCord", 5.0), "Brainstem_PRV03": ("Brainstem", 3.0)}
_PLEXUSES = ("BrachialPlex_L", "BrachialPlex_R", "BrachialPlexs")
_PAIRS = {"Parotids": "Parotid", "Glnd_Submands": "Glnd_Submand"}


def optimised_part(case: PatientCase, level: str, targets: Mapping[str, Mask]) -> Mask:
    """Return the part of a target that is optimised: without higher targets and their surroundings.

    Args:
        case: The patient; a part it brings (`zPTV_High_Opt`…) is taken as it is.
        level: "PTV_High", "PTV_Mid" or "PTV_Low".
        targets: Level → voxels.
    """
    if (own := f"z{level}_Opt") in case.structures:
        return case.structures[own]
    away = {name: mm for name, mm in _AWAY_MM[level].items() if name in targets}
    near = [_grown(case, targets[name], mm) for name, mm in away.items()]
    if level == "PTV_High":
        near = [_grown(case, case.structures[name], _PLEXUS_MM) for name in _PLEXUSES if name in case.structures]
    part = np.logical_and.reduce([targets[level], *(~mask for mask in near)])
    return part if part.any() else targets[level]


def helper_masks(case: PatientCase) -> dict[str, Mask]:
    """Return the helpers that a case lacks, under the challenge's names; empty ones are left out."""
    total = targets_mask(case)
    organs = dict(case.structures) | _pairs(case)
    found = {THEIRS[TOTAL]: total}
    found |= {THEIRS[name]: organs[name] for name in (*_PAIRS, IPSILATERAL, CONTRALATERAL) if name in organs}
    for name, (organ, margin_mm) in _PRVS.items():
        if organ in organs:
            found[THEIRS[name]] = _grown(case, organs[organ], margin_mm)
    found |= {theirs[0]: organs[name] & ~total for name, theirs in CROPPED.items() if name in organs}
    own = {THEIRS.get(name, name) for name in case.structures}
    return {name: mask for name, mask in found.items() if name not in own and mask.any()}


def _pairs(case: PatientCase) -> dict[str, Mask]:
    """Return paired glands as one, and the parotids by the highest target: the ipsilateral one is nearer to it."""
    found: dict[str, Mask] = {}
    for name, gland in _PAIRS.items():
        sides = [case.structures[f"{gland}_{side}"] for side in "LR" if f"{gland}_{side}" in case.structures]
        if sides and name not in case.structures:
            found[name] = np.logical_or.reduce(sides)
    parotids = [case.structures[n] for n in ("Parotid_L", "Parotid_R") if n in case.structures]
    if len(parotids) == 2 and IPSILATERAL not in case.structures:
        target_mm = np.array(centroid_xyz_mm(case.structures[case.targets[0]], case.grid))
        away_mm = [float(np.linalg.norm(target_mm - centroid_xyz_mm(mask, case.grid))) for mask in parotids]
        near = int(away_mm[1] < away_mm[0])
        found |= {IPSILATERAL: parotids[near], CONTRALATERAL: parotids[1 - near]}
    return found


def _grown(case: PatientCase, mask: Mask, margin_mm: float) -> Mask:
    return grown(mask, case.grid.spacing_zyx_mm, (margin_mm, margin_mm, margin_mm))
