"""The dose of a plan from one RTDOSE, or from one per beam."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dosewright.core import CaseError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.io.dicom.read_dose import MAX_DOSE_BYTES, OFFSET_TOLERANCE_MM, DoseVolume, read_dose
from dosewright.io.dicom.read_elements import read_dataset
from dosewright.io.dicom.read_plan import DicomPlan
from dosewright.io.dicom.read_scan import Instance

_SUMMATION = "DoseSummationType (3004,000A)"


def read_total_dose(doses: Sequence[Instance], plan: DicomPlan | None, frame_uid: str) -> DoseVolume:
    """Return the total dose of a plan.

    A dose of the whole plan is taken as it is, and so is that of its only fraction group; doses of beams are added when
    together they have each treatment beam of the plan once.

    Args:
        doses: One RTDOSE, or those of the beams.
        plan: The plan, needed for doses of beams.
        frame_uid: Frame of reference of the CT.

    Raises:
        CaseError: If they do not make up the plan's dose, do not fit each other, or one is refused (`read_dose`).
    """
    kind = doses[0].summation.upper()
    if kind == "BEAM":
        _check_beams(doses, plan)
    elif kind not in ("PLAN", "FRACTION"):
        rule = "must be PLAN, FRACTION or BEAM: sums over plans and parts of fractions have no plan they belong to"
        raise CaseError(rule, argument=_SUMMATION, value=kind or "nothing", path=doses[0].path)
    elif len(doses) != 1:
        rule = (
            f"must be of one file: there are {len(doses)} doses of fraction groups, and plans of several are not read"
        )
        raise CaseError(rule, argument=_SUMMATION, value=kind, path=doses[1].path)
    volumes = [read_dose(dose.path, frame_uid) for dose in doses]
    return volumes[0] if len(volumes) == 1 else _sum(volumes, doses)


def _check_beams(doses: Sequence[Instance], plan: DicomPlan | None) -> None:
    if plan is None:
        rule = "must be PLAN where there is no plan: which beams make it up is unknown"
        raise CaseError(rule, argument=_SUMMATION, value="BEAM", path=doses[0].path)
    counts = Counter(number for dose in doses for number in _beams_of(dose))
    if counts != Counter(plan.beam_numbers):
        rule = f"must have each treatment beam of {plan.path.name} once, {sorted(plan.beam_numbers)}"
        raise CaseError(rule, argument="doses of beams", value=sorted(counts.elements()), path=doses[0].path)


def _beams_of(dose: Instance) -> list[int]:
    data = read_dataset(dose.path, MAX_DOSE_BYTES, ("ReferencedRTPlanSequence",))
    return [
        beam.integer("ReferencedBeamNumber")
        for plan in data.items("ReferencedRTPlanSequence")
        for group in plan.items("ReferencedFractionGroupSequence")
        for beam in group.items("ReferencedBeamSequence")
    ]


def _sum(doses: Sequence[DoseVolume], instances: Sequence[Instance]) -> DoseVolume:
    first = doses[0]
    total = first.dose_gy.astype(np.float64)
    for dose, instance in zip(doses[1:], instances[1:]):
        axes = [(a, b) for a, b in zip((first.x_mm, first.y_mm, first.z_mm), (dose.x_mm, dose.y_mm, dose.z_mm))]
        same = all(a.size == b.size and np.allclose(a, b, rtol=0, atol=OFFSET_TOLERANCE_MM) for a, b in axes)
        if not same or dose.kind != first.kind:
            rule = f"must be on the grid, and of the type, of {instances[0].path.name} to be summed with it"
            raise CaseError(rule, argument="dose", value=(dose.dose_gy.shape, dose.kind), path=instance.path)
        total += dose.dose_gy
    if total.max() > DOSE_MAX_GY:
        rule = f"must add up to at most {DOSE_MAX_GY:g} Gy"
        raise CaseError(rule, argument="doses", value=f"{total.max():g} Gy", path=instances[0].path)
    quantum = max(dose.quantum_gy for dose in doses)
    return DoseVolume(total.astype(np.float32), first.x_mm, first.y_mm, first.z_mm, first.kind, quantum)
