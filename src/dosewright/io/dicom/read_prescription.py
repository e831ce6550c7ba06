"""Which target gets how many Gy: from the user, or from the plan where it is beyond doubt."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dosewright.core import CaseError, InputError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.io.dicom.read_plan import DicomPlan


def checked_prescription(given: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Return the user's prescription.

    Raises:
        InputError: If a dose is not a number in (0, 250] Gy, or there is none.
    """
    if given is None:
        return None
    argument = "data.prescription"
    doses = {}
    for name, dose in given.items():
        number = dose if isinstance(dose, (int, float)) and not isinstance(dose, bool) else math.nan
        if not 0 < number <= DOSE_MAX_GY:
            raise InputError(f"must be in (0, {DOSE_MAX_GY:g}] Gy", argument=f"{argument}[{name}]", value=dose)
        doses[str(name)] = float(number)
    if not doses:
        raise InputError("must name a target, such as {PTV: 60}", argument=argument, value={})
    return doses


def given_prescription(
    given: Mapping[str, float], names: Mapping[str, str], targets: Iterable[str]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return what the user prescribes to this case's targets, and notes on what it does not have.

    Args:
        given: TG-263 name, or the source's own, → total dose in Gy.
        names: The source's name → TG-263 name.
        targets: TG-263 names of the case's targets.

    Raises:
        CaseError: If none of them is a target of this case, or two give one target different doses.
    """
    present = list(targets)
    found: dict[str, float] = {}
    notes = []
    for wanted, dose in given.items():
        name = wanted if wanted in present else names.get(wanted, wanted)
        if name not in present:
            notes.append(f"no target {wanted} to prescribe {dose:g} Gy to")
        elif found.setdefault(name, dose) != dose:
            rule = f"must give {name} one dose: two of its names have different ones"
            raise CaseError(rule, argument="data.prescription", value=dict(given))
    if not found:
        rule = f"must name a target of this case; it has {', '.join(present) or 'none'}"
        raise CaseError(rule, argument="data.prescription", value=dict(given))
    return found, tuple(notes)


def planned_prescription(
    plan: DicomPlan | None, numbers: Mapping[int, str], targets: Iterable[str]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return what the plan prescribes, and how it was found.

    Doses of Dose Reference items that refer to a structure come first. A plan often gives one dose to a site or a point
    only, or just what its beams add up to: that is the prescription where the case has one PTV (or one target).

    Args:
        plan: The plan, or None.
        numbers: ROI number → TG-263 name, of the structures read.
        targets: TG-263 names of the case's targets.

    Raises:
        CaseError: If there is no plan, or it leaves open which target gets which dose.
    """
    present = list(targets)
    if plan is None:
        raise _ask("there is no plan", present)
    found: dict[str, float] = {}
    for reference in plan.dose_references:
        name = numbers.get(-1 if reference.roi_number is None else reference.roi_number, "")
        if name in present and found.setdefault(name, reference.dose_gy) != reference.dose_gy:
            raise _ask(f"the plan gives {name} two doses", present)
    if found:
        return found, ()
    ptvs = [name for name in present if name.startswith("PTV")]
    only = ptvs if len(ptvs) == 1 else present
    loose = [r for r in plan.dose_references if r.roi_number is None]
    sites = [r for r in loose if r.structure_type == "SITE"] or loose
    doses = {r.dose_gy for r in sites} or ({plan.beam_dose_gy} if plan.beam_dose_gy else set())
    if len(only) != 1 or len(doses) != 1:
        what = f"the plan has {len(doses)} doses without a structure for {len(only)} targets"
        raise _ask(what, present)
    dose = float(next(iter(doses)))
    source = "to a site or point" if sites else "as the sum of its beams"
    return {only[0]: dose}, (f"the plan gives {dose:g} Gy {source}; taken for {only[0]}, the only target of its kind",)


def _ask(why: str, targets: list[str]) -> CaseError:
    have = f"the case's targets are {', '.join(targets)}" if targets else "and no structure is named as a target"
    return CaseError(
        f"must be given as data.prescription={{PTV: 60}} (Gy, total): {why}; {have}", argument="prescription"
    )
