"""A plan's fluence as apertures: sequenced, their weights optimised anew, and their dose on the case's grid."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.augmented_lagrangian import AugmentedLagrangian, broken
from dosewright.fluence.complexity import complexity, modulation_index, sum_of_positive_gradients, total_variation
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.fluence_map import fluence_maps
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.sequencer import AbstractSequencer
from dosewright.fluence.sequencing import SequencedPlan, reweighted, sequence
from dosewright.fluence.solver import AbstractSolver, StopRule
from dosewright.fluence.status import Violation
from dosewright.objectives.penalty import DosePenalty

REWEIGHT_STEPS = 100


@dataclass(frozen=True)
class Delivery:
    """How a fluence is delivered.

    Args:
        sequencer: Step and shoot, or sliding window.
        reweight: Whether the weights of static apertures are optimised anew, by the same objectives; those of a sweep
            follow from the leaves' speed.
        least_mu: Apertures with less in one fraction are left out.
        mu_per_fluence: Monitor units of a unit of fluence (`fluence.calibration`), were all given in one fraction; None
            where that is not known yet.

    Raises:
        InputError: If `least_mu` is negative, or a number not finite.
    """

    sequencer: AbstractSequencer
    reweight: bool = True
    least_mu: float | int = 0.0
    mu_per_fluence: float | int | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.least_mu) and self.least_mu >= 0):
            raise InputError("must be finite and at least 0", argument="delivery.least_mu", value=self.least_mu)
        units = self.mu_per_fluence
        if units is not None and not (np.isfinite(units) and units > 0):
            raise InputError("must be finite and positive", argument="delivery.mu_per_fluence", value=units)


@dataclass(frozen=True, eq=False)
class Delivered:
    """Apertures and the dose they give.

    Args:
        apertures: Beam by beam, in the order of their delivery.
        fluence: What they give each beamlet.
        dose_gy: Total dose on the case's grid; zero where dose is not scored.
        monitor_units: Of one fraction.
        complexity: Measure → value, see `fluence.complexity`.
        violations: Hard constraints that the apertures' dose does not meet.
    """

    apertures: tuple[Aperture, ...]
    fluence: Float[np.ndarray, " b"]
    dose_gy: FloatVolume
    monitor_units: float
    complexity: Mapping[str, float | int]
    violations: tuple[Violation, ...] = ()


def deliver(
    case: PatientCase,
    influence: DoseInfluence,
    fluence: Float[Tensor, " b"],
    penalty: DosePenalty,
    delivery: Delivery,
    factor: Callable[[FloatVolume], float] | None = None,
) -> Delivered:
    """Return a fluence's apertures and what they give.

    Args:
        case: The patient.
        influence: Dose influence of photon beams.
        fluence: Of each beamlet.
        penalty: What the fluence was optimised for.
        delivery: How it is delivered.
        factor: Dose on the case's grid → what the apertures' weights are multiplied by in the end; None leaves them.

    Raises:
        InputError: If the fluence is zero, the leaves do not reach it, or the monitor units are not known.
    """
    if delivery.mu_per_fluence is None:
        raise InputError("must be given to sequence a fluence", argument="delivery.mu_per_fluence", value=None)
    units = float(delivery.mu_per_fluence) / case.fractions
    plan = sequence(influence, fluence, delivery.sequencer, mu_per_fluence=units)
    if delivery.reweight and all((one.left_mm[0] == one.left_mm[1]).all() for one in plan.apertures):
        plan = reweighted(plan, influence, penalty, _solver(penalty), least_mu=float(delivery.least_mu))
    if factor is not None and not penalty.constraints:
        plan = _scaled(plan, factor(scored_dose(influence, plan.dose_gy, case)))
    delivered = plan.fluence.double().cpu().numpy()
    measures = complexity(
        plan.apertures,
        fluence_maps(delivered, influence.beamlets),
        mu_per_fluence=units,
        dose_per_fraction_gy=max(case.prescription_gy.values()) / case.fractions,
    )
    dose_gy = scored_dose(influence, plan.dose_gy, case)
    violations = broken(penalty.constraints, plan.dose_gy[None], AugmentedLagrangian.tolerance_gy)
    return Delivered(plan.apertures, delivered, dose_gy, plan.monitor_units, measures.to_dict(), violations)


def _scaled(plan: SequencedPlan, factor: float) -> SequencedPlan:
    apertures = tuple(aperture.with_weight(factor * aperture.weight) for aperture in plan.apertures)
    return replace(plan, apertures=apertures, fluence=factor * plan.fluence, dose_gy=factor * plan.dose_gy)


def _solver(penalty: DosePenalty) -> AbstractSolver:
    stop = StopRule(max_steps=REWEIGHT_STEPS)
    return AugmentedLagrangian(stop=stop) if penalty.constraints else ProjectedLbfgs(stop=stop)


def fluence_complexity(influence: DoseInfluence, fluence: Float[np.ndarray, " b"]) -> dict[str, float]:
    """Return the measures of complexity that a fluence alone has; none for protons."""
    if influence.beamlets.energy_mev is not None:
        return {}
    maps = fluence_maps(fluence, influence.beamlets)
    return {
        "sum_of_positive_gradients": sum_of_positive_gradients(maps),
        "total_variation": total_variation(maps),
        "modulation_index": modulation_index(maps),
    }


def scored_dose(influence: DoseInfluence, dose_gy: Float[Tensor, " n"], case: PatientCase) -> FloatVolume:
    """Return a dose of the influence's rows on the case's grid, in Gy; zero where dose is not scored."""
    return np.where(case.scored_mask, influence.on_case_grid(dose_gy, case), 0).astype(np.float32)
