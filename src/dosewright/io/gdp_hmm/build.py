"""A `PatientCase` from the content of a GDP-HMM file and what the challenge says of its patient."""

from collections.abc import Sequence

import numpy as np

from dosewright.core import Beam, CaseError, Grid, PatientCase
from dosewright.core.case import HU_MIN
from dosewright.core.types import FloatVolume, Mask, Volume
from dosewright.dose.gdphmm import reference_target, scaled_reference
from dosewright.geometry import body_mask
from dosewright.io.gdp_hmm.content import PlanContent
from dosewright.io.gdp_hmm.metadata import PlanRow, TargetEntry
from dosewright.io.gdp_hmm.names import BODY_NAMES, our_names
from dosewright.io.gdp_hmm.parotids import with_sides
from dosewright.io.gdp_hmm.placement import grid_of, isocenter_of_file

FRACTION_GY = 2.0  # the challenge does not say how many fractions there are
LEAST_DOSE_GY = -0.5  # interpolation undershoots by less
_D97_BAND = (0.8, 1.25)  # of the prescription; beyond it a dose is probably in other units

Targets = tuple[dict[str, Mask], dict[str, float]]


def build_case(
    row: PlanRow, content: PlanContent, targets: Sequence[TargetEntry], *, scale_to_d97: bool = False
) -> PatientCase:
    """Return the case; everything that had to be assumed is added to the content's notes.

    Args:
        row: The plan.
        content: Of its file; its masks are taken out.
        targets: Of its patient.
        scale_to_d97: Scale the dose as metric 1 scales the reference.

    Raises:
        InputError: If the file has no mask of PTV_High or breaks a rule of `PatientCase`.
    """
    grid = grid_of(content)
    ct_hu = _ct(content)
    body = _body(content, ct_hu, grid)
    masks, prescription_gy = _take_targets(content, targets)
    masks |= _take_organs(content, masks, body, grid)
    fractions = max(1, round(max(prescription_gy.values()) / FRACTION_GY))
    content.notes.append(f"{fractions} fractions assumed, of {FRACTION_GY:g} Gy to the highest target")
    return PatientCase(
        case_id=row.plan,
        grid=grid,
        ct_hu=ct_hu,
        body=body,
        structures=masks,
        prescription_gy=prescription_gy,
        beams=_beams(content),
        dose_gy=_dose(content, masks, prescription_gy, scale_to_d97),
        isocenter_xyz_mm=isocenter_of_file(content, grid),
        technique="VMAT" if _is_vmat(row, content) else "IMRT",
        site=row.site,
        fractions=fractions,
    )


def _ct(content: PlanContent) -> Volume:
    ct = content.ct_hu
    below = int(np.count_nonzero(ct < HU_MIN))
    if below:
        content.notes.append(f"{below} voxels below {HU_MIN:g} HU set to it")
    if ct.dtype.kind == "f" and not (np.isfinite(ct.max()) and (ct == np.rint(ct)).all()):
        return np.maximum(ct, ct.dtype.type(HU_MIN)).astype(np.float32)
    if int(ct.max()) > np.iinfo(np.int16).max:
        raise CaseError(f"must be at most {np.iinfo(np.int16).max} HU", argument="img", value=int(ct.max()))
    return (ct if ct.dtype.kind == "u" else np.maximum(ct, ct.dtype.type(HU_MIN))).astype(np.int16)


def _body(content: PlanContent, ct_hu: Volume, grid: Grid) -> Mask:
    found = [name for name in BODY_NAMES if name in content.masks]
    if not found:
        content.notes.append("no Body: the outline is found in the CT")
        return body_mask(ct_hu, grid.spacing_zyx_mm)
    if found[0] != BODY_NAMES[0]:
        content.notes.append(f"{found[0]} is taken for Body")
    return {name: content.masks.pop(name) for name in found}[found[0]]


def _take_targets(content: PlanContent, targets: Sequence[TargetEntry]) -> Targets:
    """Return masks and prescriptions of the targets; the lung's one is called PTV, as in its file."""
    masks: dict[str, Mask] = {}
    prescription_gy: dict[str, float] = {}
    for entry in targets:
        name = "PTV" if entry.opt_name == "PTV" else entry.level
        plain = entry.opt_name.removesuffix("OPT")
        found = next((n for n in (entry.struct_name, plain, entry.opt_name) if n and n in content.masks), None)
        if found is None:
            if entry.level == "PTV_High":
                rule = f"must hold {entry.opt_name} or {plain}, the target of the highest dose"
                raise CaseError(rule, argument="masks", value=sorted(content.masks)[:60])
            content.notes.append(f"{entry.level} has no mask ({entry.struct_name or plain}): left out")
            continue
        if found == entry.opt_name != plain:
            content.notes.append(f"{name} is {found}, the part that was optimised: the file has no {plain}")
        masks[name] = content.masks.pop(found)
        prescription_gy[name] = entry.dose_gy
        masks |= _take_parts(content, entry)
    return masks, prescription_gy


def _take_parts(content: PlanContent, entry: TargetEntry) -> dict[str, Mask]:
    """Return what else the entry names, under our names, where the table of names would not know it."""
    upper = {"PTV_Mid": "PTV_High", "PTV_Low": "PTV_Mid"}.get(entry.level, "")
    parts = {
        entry.opt_name: f"z{entry.level}_Opt",
        entry.ring_name: f"Ring_{'PTV' if entry.opt_name == 'PTV' else entry.level}",
        entry.minus_name: f"z{entry.level}-{upper}",
    }
    return {ours: content.masks.pop(theirs) for theirs, ours in parts.items() if theirs and theirs in content.masks}


def _take_organs(content: PlanContent, taken: dict[str, Mask], body: Mask, grid: Grid) -> dict[str, Mask]:
    masks: dict[str, Mask] = {}
    for theirs, (ours, note) in our_names(content.masks).items():
        mask = content.masks.pop(theirs)
        if note:
            content.notes.append(note)
        if ours not in masks and ours not in taken:
            masks[ours] = mask
        elif (differing := int(np.count_nonzero(mask != (masks | taken)[ours]))) > 0:
            content.notes.append(
                f"{theirs} is {ours}, too, which is there already and differs in {differing} voxels: left out"
            )
    masks, notes = with_sides(masks, body, grid)
    content.notes.extend(notes)
    return masks


def _beams(content: PlanContent) -> tuple[Beam, ...]:
    if not content.angles_deg:
        content.notes.append("no angle_list: the case has no beams, and its plates are empty")
    return tuple(Beam(angle % 360.0) for angle in content.angles_deg)


def _is_vmat(row: PlanRow, content: PlanContent) -> bool:
    if content.is_vmat is None and row.is_vmat is None:
        raise CaseError("must be in the file or in meta_data.csv", argument="isVMAT", value=None)
    if content.is_vmat is not None and row.is_vmat is not None and content.is_vmat != row.is_vmat:
        content.notes.append(
            f"isVMAT is {content.is_vmat} in the file, which counts, and {row.is_vmat} in meta_data.csv"
        )
    return bool(row.is_vmat if content.is_vmat is None else content.is_vmat)


def _dose(
    content: PlanContent, masks: dict[str, Mask], prescription_gy: dict[str, float], scale_to_d97: bool
) -> FloatVolume | None:
    dose = content.dose_gy
    if dose is None:
        return None
    least = float(dose.min())
    if least < LEAST_DOSE_GY:
        raise CaseError("must not be negative", argument="dose", value=least)
    if least < 0:
        content.notes.append(f"{int(np.count_nonzero(dose < 0))} voxels with up to {least:g} Gy set to 0")
        dose = np.maximum(dose, 0)
    target, wanted = reference_target(masks, prescription_gy)
    scaled = scaled_reference(dose, masks[target], wanted).astype(np.float32)
    ratio = float(dose.max()) / float(scaled.max())
    if not _D97_BAND[0] <= ratio <= _D97_BAND[1]:
        content.notes.append(f"D97 of {target} is {ratio * wanted:.1f} Gy, {ratio:.0%} of its prescription: units?")
    return scaled if scale_to_d97 else dose
