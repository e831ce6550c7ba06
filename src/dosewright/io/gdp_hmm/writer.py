"""Cases written in the challenge's layout: an NPZ per plan, and the three tables its own loader reads beside them."""

from pathlib import Path
from typing import Any, final

import numpy as np

from dosewright.core import CaseError, PatientCase
from dosewright.core.files import atomic_path
from dosewright.core.types import Mask
from dosewright.geometry import isocenter_of
from dosewright.io.gdp_hmm.content import GEOMETRY, KEYS
from dosewright.io.gdp_hmm.derived import helper_masks, optimised_part
from dosewright.io.gdp_hmm.metadata import LEVELS
from dosewright.io.gdp_hmm.names import BODY_NAMES, THEIRS
from dosewright.io.gdp_hmm.plates import plates_of
from dosewright.io.gdp_hmm.tables import PlanEntry, add_to_tables
from dosewright.io.writer import AbstractWriter, Origin

SITE_CODES = {"HeadNeck": 1, "Lung": 2}
_RESERVED = {*KEYS, *GEOMETRY, *BODY_NAMES}
_OWN_SUFFIX = "DW"


@final
class GdpHmmWriter(AbstractWriter):
    """Writes `<PID>+<PlanID>+<suffix>.npz`, and enters the plan in the challenge's three tables (see `tables`).

    `np.load(file, allow_pickle=True)["arr_0"].item()` reads a file. Dose is total Gy with `dose_scale` 1; the isocentre
    keeps its fractions of a voxel; the mask where dose is allowed is not part of the layout. A case id with a "+" names
    the file, another one becomes `<case_id>+<beams>Ag+DW` (VMAT: `<case_id>+Arc+DW`).

    Args:
        helpers: Whether to add the challenge's helper structures the case lacks (see `derived`), through which its
            loader sees most organs.
        split: What `dev_split` says: "train", "validation" or "test"; None: train with a dose, test without.
    """

    shared = ("meta_data.csv", "PTV_DICT.json", "Pat_Obj_DICT.json")

    def __init__(self, helpers: bool = True, split: str | None = None) -> None:
        if split not in (None, "train", "validation", "test"):
            raise CaseError("must be train, validation, test or null", argument="split", value=split)
        self.helpers, self.split = helpers, split

    def write(self, case: PatientCase, folder: Path, origin: Origin | None = None) -> tuple[Path, ...]:
        """Write one case; see `AbstractWriter.write`. The tables come last."""
        levels = _levels(case)
        _check(case)
        plan = plan_name(case)
        masks = _masks(case, levels, self.helpers)
        path = folder / f"{plan}.npz"
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, _dictionary(case, masks))  # type: ignore[arg-type]
        split = self.split or ("test" if case.dose_gy is None else "train")
        entry = PlanEntry(plan, case.technique == "VMAT", SITE_CODES[case.site], split, _ptv_dict(case, levels, masks))
        targets = {name for level in entry.targets.values() for name in level.values()}
        optimised = [name for name in masks if name not in (*BODY_NAMES, "PTV_Total") or name in targets]
        return (path, *add_to_tables(folder, entry, optimised))


def plan_name(case: PatientCase) -> str:
    """Return the name of a case's file without `.npz`."""
    if "+" in case.case_id:
        return case.case_id
    plan = "Arc" if case.technique == "VMAT" else f"{len(case.beams)}Ag"
    return f"{case.case_id}+{plan}+{_OWN_SUFFIX}"


def _levels(case: PatientCase) -> dict[str, str]:
    """Return level → target; targets of other names get the levels by dose."""
    if case.targets == ("PTV",):
        return {"PTV_High": "PTV"}
    if len(case.targets) > len(LEVELS):
        raise CaseError(f"must be at most {len(LEVELS)} for GDP-HMM", argument="targets", value=case.targets)
    named = {name: name for name in LEVELS if name in case.targets}
    if len(named) == len(case.targets) and "PTV_High" in named:
        return named
    levels = LEVELS if len(case.targets) != 2 else ("PTV_High", "PTV_Low")
    return dict(zip(levels, case.targets))


def _check(case: PatientCase) -> None:
    if case.site not in SITE_CODES:
        raise CaseError(f"must be one of {tuple(SITE_CODES)} for GDP-HMM", argument="site", value=case.site)
    if case.technique == "proton":
        raise CaseError("must be IMRT or VMAT for GDP-HMM", argument="technique", value=case.technique)
    if couch := [beam.couch_angle_deg for beam in case.beams if beam.couch_angle_deg]:
        raise CaseError("must be 0 for GDP-HMM, which has none", argument="couch_angle_deg", value=couch[0])


def _masks(case: PatientCase, levels: dict[str, str], helpers: bool) -> dict[str, Mask]:
    """Return all masks under the challenge's names, the body first."""
    targets = {level: case.structures[name] for level, name in levels.items()}
    masks = {BODY_NAMES[0]: case.body}
    for level, name in levels.items():
        plain = _target_name(level, name)
        masks[plain] = targets[level]
        if plain != "PTV":
            masks[f"{plain}OPT"] = optimised_part(case, level, targets)
    for name, mask in case.structures.items():
        theirs = THEIRS.get(name, name)
        if name in levels.values() or (theirs in masks and theirs.endswith("OPT")):
            continue
        if theirs in _RESERVED or theirs in masks:
            raise CaseError("must not have a name the layout uses", argument="structures", value=name)
        masks[theirs] = mask
    return masks | ({n: mask for n, mask in helper_masks(case).items() if n not in masks} if helpers else {})


def _target_name(level: str, target: str) -> str:
    return "PTV" if target == "PTV" else level.replace("_", "")


def _ptv_dict(case: PatientCase, levels: dict[str, str], masks: dict[str, Mask]) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for level, target in levels.items():
        plain, dose = _target_name(level, target), case.prescription_gy[target]
        names = {"OPTName": plain if plain == "PTV" else f"{plain}OPT", "StructName": plain}
        ring = THEIRS.get(f"Ring_{'PTV' if plain == 'PTV' else level}")
        minus = {"PTVMid": "PTVMid-PTVHigh", "PTVLow": "PTVLow-PTVMid"}.get(plain)
        optional = {"RingName": ring, "MinusName": minus}
        names |= {key: name for key, name in optional.items() if name in masks}
        entries[level] = {"PDose": int(dose) if dose == int(dose) else dose, **names}
    return entries


def _dictionary(case: PatientCase, masks: dict[str, Mask]) -> dict[str, Any]:
    index = case.grid.index_zyx(np.array(isocenter_of(case)))
    angle_plate, beam_plate = plates_of(case)
    content: dict[str, Any] = {name: mask.view(np.uint8) for name, mask in masks.items()}
    content |= {"all_mask": list(masks), "img": np.ascontiguousarray(case.ct_hu)}
    if case.dose_gy is not None:
        content |= {"dose": np.ascontiguousarray(case.dose_gy, np.float32), "dose_scale": 1.0}
    content |= {"isVMAT": case.technique == "VMAT", "isocenter": [float(i) for i in index]}
    if case.beams:
        content["angle_list"] = np.array([beam.gantry_angle_deg for beam in case.beams], np.float32)
    return content | {
        "angle_plate": angle_plate,
        "beam_plate": beam_plate,
        "origin": [float(v) for v in case.grid.origin_xyz_mm],
        "spacing": tuple(float(v) for v in case.grid.spacing_xyz_mm),
        "direction": tuple(float(v) for v in np.eye(3).ravel()),
        "size": tuple(case.grid.shape_zyx),
    }
