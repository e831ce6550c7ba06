"""Metric 1 of the GDP-HMM challenge: masked mean absolute error against a rescaled reference dose.

As the published evaluation computes it, in float64. The target is PTVHighOPT in the head and neck, PTV in the lung.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from dosewright.core import InputError, PatientCase
from dosewright.dose.checks import check_positive, check_shape, finite_float64

AnyDose = Float[np.ndarray, "..."]
AnyMask = Bool[np.ndarray, "..."]

ISODOSE_GY = 5.0
COVERAGE_PERCENTILE = 3  # D97
D97_OFFSET_GY = 1e-5  # added to D97 by the published evaluation
# The first of these that a case has → whose prescription.
_TARGETS = {"zPTV_High_Opt": "PTV_High", "PTV_High": "PTV_High", "PTV": "PTV"}


def reference_target(names: Collection[str], prescription_gy: Mapping[str, float]) -> tuple[str, float]:
    """Return the target the reference is scaled to, and its prescription in Gy.

    It is PTVHighOPT (`zPTV_High_Opt` here), PTV_High where that is not outlined, and PTV in the lung.

    Args:
        names: Structures of the case.
        prescription_gy: Target → Gy.

    Raises:
        InputError: If the case has none of them with a prescription.

    >>> reference_target(["PTV_High", "zPTV_High_Opt"], {"PTV_High": 70.0})
    ('zPTV_High_Opt', 70.0)
    """
    for name, target in _TARGETS.items():
        if name in names and target in prescription_gy:
            return name, prescription_gy[target]
    raise InputError(f"must hold one of {tuple(_TARGETS)}", argument="targets", value=sorted(prescription_gy))


def scaled_reference(reference_gy: AnyDose, target: AnyMask, prescription_gy: float) -> Float[np.ndarray, "..."]:
    """Return the reference dose in Gy, scaled so that D97 of the target is the prescription.

    Args:
        reference_gy: Reference total dose in Gy.
        target: Voxels of the target the plan is normalised to.
        prescription_gy: Its prescription in Gy.

    Raises:
        InputError: If the target is empty, its D97 or the prescription not positive, or the dose not finite.
        GridMismatchError: If shapes differ.

    >>> scaled_reference(np.array([0.0, 50.0]), np.array([False, True]), 60.0).round(4)
    array([ 0., 60.])
    """
    reference = finite_float64("reference_gy", reference_gy)
    check_shape("target", target.shape, reference.shape)
    check_positive("prescription_gy", prescription_gy)
    if not target.any():
        raise InputError("must not be empty", argument="target", value="0 voxels")
    d97_gy = float(np.percentile(reference[target], COVERAGE_PERCENTILE))
    if d97_gy <= 0:
        raise InputError("must give the target a positive D97", argument="reference_gy", value=d97_gy)
    return reference * (prescription_gy / (d97_gy + D97_OFFSET_GY))


def plan_error(predicted_gy: AnyDose, reference_gy: AnyDose, body: AnyMask) -> float:
    """Return one plan's error in Gy: Σ|Δ| where either dose exceeds 5 Gy / number of voxels where the reference does.

    Both are counted inside the body.

    Args:
        predicted_gy: Predicted total dose in Gy.
        reference_gy: Reference total dose in Gy, after `scaled_reference`.
        body: Voxels of the patient.

    Raises:
        InputError: If a dose is not finite, or the reference exceeds 5 Gy nowhere in the body.
        GridMismatchError: If shapes differ.

    >>> plan_error(np.array([8.0, 6.0, 1.0]), np.array([10.0, 4.0, 2.0]), np.array([True, True, True]))
    4.0
    """
    predicted, reference = finite_float64("predicted_gy", predicted_gy), finite_float64("reference_gy", reference_gy)
    check_shape("predicted_gy", predicted.shape, reference.shape)
    check_shape("body", body.shape, reference.shape)
    irradiated = (reference > ISODOSE_GY) & body
    count = int(np.count_nonzero(irradiated))
    if count == 0:
        raise InputError(f"must exceed {ISODOSE_GY:g} Gy somewhere in the body", argument="reference_gy", value=0)
    counted = irradiated | ((predicted > ISODOSE_GY) & body)
    return float(np.abs(reference - predicted)[counted].sum() / count)


def case_error(case: PatientCase, predicted_gy: AnyDose) -> float:
    """Return the error of a case's plan in Gy: its own dose, scaled to the prescription, is the reference.

    Args:
        case: With a dose.
        predicted_gy: Predicted total dose in Gy on its grid.

    Raises:
        InputError: If the case has no dose or no target of the challenge, or as `scaled_reference` and `plan_error`.
    """
    if case.dose_gy is None:
        raise InputError("must have a reference dose", argument=case.case_id, value=None)
    target, wanted_gy = reference_target(case.structures, case.prescription_gy)
    return plan_error(predicted_gy, scaled_reference(case.dose_gy, case.structures[target], wanted_gy), case.body)


def challenge_error(plan_errors_gy: Sequence[float]) -> float:
    """Return metric 1 in Gy, the mean of the plans' errors.

    Raises:
        InputError: If there is no plan.
    """
    if not plan_errors_gy:
        raise InputError("must hold at least one plan", argument="plan_errors_gy", value=0)
    return float(np.mean(plan_errors_gy))
