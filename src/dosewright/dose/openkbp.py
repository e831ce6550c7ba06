"""The OpenKBP challenge's dose score and DVH score, as its published evaluation defines them.

Computed in float64 numpy so that both agree with the published evaluation to rounding. (Babier et al. 2021, "OpenKBP:
The open-access knowledge-based planning grand challenge", Med. Phys. 48.)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dosewright.core import InputError, Role, role_of
from dosewright.dose.checks import check_positive, check_shape, finite_float64

AnyDose = Float[np.ndarray, "..."]
AnyMask = Bool[np.ndarray, "..."]
Metrics = dict[tuple[str, str], float]

OAR_METRICS = ("D_0.1_cc", "mean")
TARGET_METRICS = ("D_99", "D_95", "D_1")
TARGET_PERCENTILES = (1, 5, 99)


@dataclass(frozen=True)
class PatientScore:
    """What one patient adds to a cohort's scores.

    Args:
        dose_score_gy: The patient's dose score in Gy.
        dvh_differences_gy: (structure, metric) → absolute difference in Gy, present structures only.
    """

    dose_score_gy: float
    dvh_differences_gy: Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class CohortScore:
    """The two challenge scores in Gy, lower is better."""

    dose_score_gy: float
    dvh_score_gy: float


def dose_score(predicted_gy: AnyDose, reference_gy: AnyDose, possible_dose_mask: AnyMask) -> float:
    """Return Σ|Δ| / |mask| in Gy, the sum over *every* voxel and the count over the mask.

    Dose predicted outside the mask therefore counts against the prediction.

    Args:
        predicted_gy: Predicted total dose in Gy.
        reference_gy: Reference total dose in Gy.
        possible_dose_mask: Voxels that can receive dose.

    Raises:
        InputError: If the mask is empty or a dose is not finite.
        GridMismatchError: If shapes differ.

    >>> dose_score(np.array([1.0, 4.0, 1.0]), np.array([1.0, 2.0, 0.0]), np.array([True, True, False]))
    1.5
    """
    predicted, reference = _pair(predicted_gy, reference_gy)
    check_shape("possible_dose_mask", possible_dose_mask.shape, reference.shape)
    count = int(np.count_nonzero(possible_dose_mask))
    if count == 0:
        raise InputError("must not be empty", argument="possible_dose_mask", value="0 voxels")
    return float(np.abs(reference - predicted).sum() / count)


def dvh_metrics(dose_gy: AnyDose, structures: Mapping[str, AnyMask], voxel_volume_mm3: float) -> Metrics:
    """Return (structure, metric) → value in Gy: OARs mean and D_0.1_cc, targets D_99, D_95 and D_1.

    0.1 cc is the nearest whole number of voxels, at least one; a structure no larger than that gives its minimum.
    Empty masks, helper structures and the patient outline are left out.

    Args:
        dose_gy: Total dose in Gy.
        structures: TG-263 name → mask; names set the roles.
        voxel_volume_mm3: Volume of one voxel in mm³.

    Raises:
        InputError: If a name is not legal, the dose not finite or the voxel volume not positive.
        GridMismatchError: If shapes differ.
    """
    dose = finite_float64("dose_gy", dose_gy)
    tenth_cc = voxels_in_tenth_cc(voxel_volume_mm3)
    metrics: Metrics = {}
    for name, mask in structures.items():
        check_shape(name, mask.shape, dose.shape)
        voxels = dose[mask]
        role = role_of(name)
        if voxels.size == 0:
            continue
        if role is Role.OAR:
            values = (np.percentile(voxels, max(0.0, 100 - tenth_cc / voxels.size * 100)), voxels.mean())
            metrics |= _named(name, OAR_METRICS, values)
        elif role is Role.TARGET:
            metrics |= _named(name, TARGET_METRICS, np.percentile(voxels, TARGET_PERCENTILES))
    return metrics


def voxels_in_tenth_cc(voxel_volume_mm3: float) -> int:
    """Return the whole number of voxels nearest to 0.1 cc (halves to even), at least 1.

    Raises:
        InputError: If the volume is not positive and finite.

    >>> voxels_in_tenth_cc(3.906 * 3.906 * 2.5)
    3
    """
    check_positive("voxel_volume_mm3", voxel_volume_mm3)
    return max(1, round(100 / voxel_volume_mm3))


def dvh_differences(
    predicted_gy: AnyDose, reference_gy: AnyDose, structures: Mapping[str, AnyMask], voxel_volume_mm3: float
) -> Metrics:
    """Return (structure, metric) → absolute difference in Gy between prediction and reference; see `dvh_metrics`.

    Raises:
        InputError: If a name is not legal, a dose not finite or the voxel volume not positive.
        GridMismatchError: If shapes differ.
    """
    predicted = dvh_metrics(predicted_gy, structures, voxel_volume_mm3)
    reference = dvh_metrics(reference_gy, structures, voxel_volume_mm3)
    return metric_differences(predicted, reference)


def metric_differences(predicted: Metrics, reference: Metrics) -> Metrics:
    """Return the absolute differences in Gy of two doses' `dvh_metrics` on the same structures.

    >>> metric_differences({("Larynx", "mean"): 41.0}, {("Larynx", "mean"): 43.5})
    {('Larynx', 'mean'): 2.5}
    """
    return {key: abs(reference[key] - predicted[key]) for key in reference}


def dvh_score(
    predicted_gy: AnyDose, reference_gy: AnyDose, structures: Mapping[str, AnyMask], voxel_volume_mm3: float
) -> float:
    """Return one patient's DVH score in Gy, the mean of `dvh_differences`.

    A cohort's score is not the mean of these when patients lack structures: see `cohort_score`.

    Raises:
        InputError: As `dvh_differences`, or if no structure is present.
        GridMismatchError: If shapes differ.
    """
    return _mean_difference(dvh_differences(predicted_gy, reference_gy, structures, voxel_volume_mm3).values())


def patient_score(
    predicted_gy: AnyDose,
    reference_gy: AnyDose,
    possible_dose_mask: AnyMask,
    structures: Mapping[str, AnyMask],
    voxel_volume_mm3: float,
) -> PatientScore:
    """Return one patient's part of the cohort scores, for `cohort_score`.

    Raises:
        InputError: As `dose_score` and `dvh_differences`.
        GridMismatchError: If shapes differ.
    """
    return PatientScore(
        dose_score(predicted_gy, reference_gy, possible_dose_mask),
        dvh_differences(predicted_gy, reference_gy, structures, voxel_volume_mm3),
    )


def cohort_score(patients: Sequence[PatientScore]) -> CohortScore:
    """Return the challenge scores in Gy: patients' mean dose score, and the mean of all their DVH differences pooled.

    Every present (structure, metric) of every patient weighs the same, so a patient with more structures weighs more.

    Raises:
        InputError: If there is no patient or no structure at all.
    """
    if not patients:
        raise InputError("must hold at least one patient", argument="patients", value=0)
    pooled = [value for patient in patients for value in patient.dvh_differences_gy.values()]
    return CohortScore(float(np.mean([patient.dose_score_gy for patient in patients])), _mean_difference(pooled))


def _named(name: str, metrics: Sequence[str], values: Iterable[float]) -> Metrics:
    return {(name, metric): float(value) for metric, value in zip(metrics, values, strict=True)}


def _mean_difference(differences: Iterable[float]) -> float:
    values = list(differences)
    if not values:
        raise InputError("must hold at least one non-empty OAR or target", argument="structures", value=0)
    return float(np.mean(values))


def _pair(predicted_gy: AnyDose, reference_gy: AnyDose) -> tuple[AnyDose, AnyDose]:
    reference = finite_float64("reference_gy", reference_gy)
    check_shape("predicted_gy", predicted_gy.shape, reference.shape)
    return finite_float64("predicted_gy", predicted_gy), reference
