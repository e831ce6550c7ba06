"""From fluence to a deliverable plan: apertures, the dose they give, and their weights optimised anew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture, aperture_matrix
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.fluence_map import fluence_maps
from dosewright.fluence.problem import FluenceProblem, LinearOperator, Penalty
from dosewright.fluence.sequencer import AbstractSequencer
from dosewright.fluence.solver import AbstractSolver, solve


class Influence(LinearOperator, Protocol):
    """A dose influence that knows where its beamlets stand."""

    @property
    def beamlets(self) -> Beamlets:
        """Return the beamlets."""


@final
class ApertureInfluence:
    """Dose per unit weight of apertures: the small dense operator D A, in Gy, n voxels × s apertures.

    Args:
        influence: D, Gy per unit fluence.
        apertures: Columns of A.
    """

    def __init__(self, influence: Influence, apertures: Sequence[Aperture]) -> None:
        matrix = torch.from_numpy(aperture_matrix(apertures, influence.beamlets))
        with torch.no_grad():
            self.dose_gy = influence.forward(matrix.T.contiguous())  # (s, n)
        self.shape = (int(self.dose_gy.shape[1]), len(apertures))

    def forward(self, x: Float[Tensor, "*k s"]) -> Float[Tensor, "*k n"]:
        """Return the dose in Gy of weights."""
        return x.to(self.dose_gy) @ self.dose_gy

    def adjoint(self, y: Float[Tensor, "*k n"]) -> Float[Tensor, "*k s"]:
        """Return the gradient with respect to weights of one with respect to dose."""
        return y.to(self.dose_gy) @ self.dose_gy.T

    @property
    def column_norms(self) -> Float[Tensor, " s"]:
        """Return the Euclidean norm of the dose of each aperture."""
        return self.dose_gy.norm(dim=1)


@dataclass(frozen=True, eq=False)
class SequencedPlan:
    """Apertures of all beams and what they deliver.

    Args:
        apertures: Beam by beam, in the order of their delivery; weights in the unit of the influence's fluence.
        fluence: What they give each beamlet on average.
        dose_gy: Total dose in the influence's voxels.
        mu_per_fluence: Monitor units of one fraction per unit of fluence.
    """

    apertures: tuple[Aperture, ...]
    fluence: Float[Tensor, " b"]
    dose_gy: Float[Tensor, " n"]
    mu_per_fluence: float

    @property
    def weights(self) -> Float[np.ndarray, " s"]:
        """Weights of the apertures, in units of fluence."""
        return np.array([aperture.weight for aperture in self.apertures], float)

    @property
    def monitor_units(self) -> float:
        """Monitor units of one fraction."""
        return float(self.weights.sum()) * self.mu_per_fluence


def sequence(
    influence: Influence, fluence: Float[Tensor, " b"], sequencer: AbstractSequencer, *, mu_per_fluence: float
) -> SequencedPlan:
    """Return the apertures that deliver a fluence and the dose they give by the same influence.

    Args:
        influence: Dose influence of photon beams.
        fluence: Of each beamlet, not negative.
        sequencer: Step and shoot or sliding window.
        mu_per_fluence: Monitor units of one fraction per unit of fluence (`calibration`).

    Raises:
        InputError: If the fluence is zero, negative or does not fit, the leaves do not reach it, a beam takes more
            segments than the sequencer may use, or `mu_per_fluence` is not positive.
    """
    if not (math.isfinite(mu_per_fluence) and mu_per_fluence > 0):
        raise InputError("must be finite and positive", argument="mu_per_fluence", value=mu_per_fluence)
    maps = fluence_maps(fluence.detach().cpu().double().numpy(), influence.beamlets)
    apertures = tuple(one for beam in maps for one in sequencer.apertures(beam, mu_per_fluence))
    if not apertures:
        raise InputError("must not be zero everywhere, nor below what one aperture can give", argument="fluence")
    return _delivered(influence, apertures, mu_per_fluence)


def reweighted(
    plan: SequencedPlan,
    influence: Influence,
    penalty: Penalty,
    solver: AbstractSolver,
    *,
    least_mu: float = 0.0,
) -> SequencedPlan:
    """Return the plan with the apertures' weights optimised anew, from where they are; useless apertures are left out.

    Args:
        plan: A sequenced plan.
        influence: The influence it was made with.
        penalty: Of the dose, that of the fluence optimisation as a rule.
        solver: Any fluence solver: weights are few and not negative.
        least_mu: Apertures that end with less in one fraction are left out and the others optimised once more.

    Raises:
        InputError: If no aperture keeps a weight.
    """
    operator = ApertureInfluence(influence, plan.apertures)
    weights = _solved(operator, penalty, solver, plan.weights)
    while True:
        kept = np.flatnonzero(weights * plan.mu_per_fluence >= max(least_mu, 1e-9))
        if len(kept) == 0:
            raise InputError("leaves no aperture", argument="penalty", value=f"{len(weights)} weights of zero")
        apertures = tuple(plan.apertures[i].with_weight(float(weights[i])) for i in kept)
        if len(kept) == len(plan.apertures) or least_mu == 0:
            return _delivered(influence, apertures, plan.mu_per_fluence)
        plan = replace(plan, apertures=apertures)
        operator = ApertureInfluence(influence, apertures)
        weights = _solved(operator, penalty, solver, plan.weights)


def _solved(
    operator: ApertureInfluence, penalty: Penalty, solver: AbstractSolver, start: Float[np.ndarray, " s"]
) -> Float[np.ndarray, " s"]:
    at = torch.from_numpy(start)[None].to(operator.dose_gy)
    found = solve(FluenceProblem(operator, penalty), solver, start=at)
    return found.fluence[0].double().cpu().numpy()


def _delivered(influence: Influence, apertures: tuple[Aperture, ...], mu_per_fluence: float) -> SequencedPlan:
    weights = torch.tensor([aperture.weight for aperture in apertures], dtype=torch.float32)
    fluence = torch.from_numpy(aperture_matrix(apertures, influence.beamlets)) @ weights
    with torch.no_grad():
        return SequencedPlan(apertures, fluence, influence.forward(fluence), mu_per_fluence)
