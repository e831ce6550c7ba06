"""Accelerated projected gradient (FISTA; Beck & Teboulle 2009) with backtracking and restart.

It keeps nothing but the last two points, which suits GPUs and penalties whose curvature changes fast. The dose of an
extrapolated fluence is the extrapolated dose, so a step costs one product with D and one with Dᵀ.
"""

from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.fluence.line_search import rounding
from dosewright.fluence.problem import FluenceProblem, Point
from dosewright.fluence.projected_lbfgs import steepest
from dosewright.fluence.solver import AbstractSolver, SolverState, StopRule, first_values, next_values

GROWTH = 2.0  # of the curvature when a step is too long
DECAY = 0.95  # of the curvature per step, so that it can fall again
MOST_TRIALS = 30


@dataclass(frozen=True)
class GradientState(SolverState):
    """What the accelerated gradient remembers; `point.gradient` was taken at the last extrapolated fluence.

    Args:
        scaled_before: The fluences before the last step, scaled.
        dose_before: Their doses.
        momentum: t of the recursion, 1 after a restart.
        curvature: Local estimate of the gradient's Lipschitz constant.
    """

    scaled_before: Float[Tensor, "k b"]
    dose_before: Float[Tensor, "k n"]
    momentum: Float[Tensor, " k"]
    curvature: Float[Tensor, " k"]


@final
@dataclass(frozen=True)
class AcceleratedGradient(AbstractSolver[GradientState]):
    """FISTA with backtracking, restarted whenever a step would raise the value (O'Donoghue & Candès 2015).

    Args:
        stop: When to stop.
    """

    stop: StopRule = field(default_factory=lambda: StopRule(max_steps=2000))

    def init(self, problem: FluenceProblem, start: Float[Tensor, "k b"]) -> GradientState:
        """Return the state at a start: three products."""
        point = problem.point(problem.to_scaled(start))
        free = (point.scaled > 0) | (point.gradient < 0)
        along, size = steepest(problem, point, free), torch.linalg.vector_norm(point.gradient * free, dim=1)
        length = torch.linalg.vector_norm(along, dim=1)
        curvature = torch.where(length > 0, size / length, 1.0)
        never = torch.zeros_like(curvature, dtype=torch.bool)
        return GradientState(
            point=point,
            recent=first_values(point, self.stop),
            stalled=never,
            evaluations=2,
            scaled_before=point.scaled,
            dose_before=point.dose,
            momentum=torch.ones_like(curvature),
            curvature=curvature,
        )

    def step(self, problem: FluenceProblem, state: GradientState) -> GradientState:
        """Return the state after a step: two products, and one more for every time the step was too long."""
        point = state.point
        momentum = (1 + (1 + 4 * state.momentum**2).sqrt()) / 2
        share = ((state.momentum - 1) / momentum)[:, None]
        scaled = point.scaled + share * (point.scaled - state.scaled_before)
        dose = point.dose + share * (point.dose - state.dose_before)
        value, slope = problem.penalty.value_and_gradient(dose)
        ahead = problem.finished(scaled, dose, value.double(), slope)
        new, curvature, trials = _backtracked(problem, ahead, state.curvature)
        worse = ~(new.value <= point.value + rounding(point.dose) * point.value.abs())
        kept = _chosen(worse, replace(point, gradient=ahead.gradient, dose_gradient=ahead.dose_gradient), new)
        return GradientState(
            point=kept,
            recent=next_values(state.recent, kept, worse),
            stalled=worse & (state.momentum <= 1),
            evaluations=state.evaluations + trials,
            scaled_before=point.scaled,
            dose_before=point.dose,
            momentum=torch.where(worse, 1.0, momentum),
            curvature=curvature * DECAY,
        )


def _backtracked(
    problem: FluenceProblem, at: Point, curvature: Float[Tensor, " k"]
) -> tuple[Point, Float[Tensor, " k"], int]:
    """Return the projected gradient steps short enough for their quadratic models, their curvatures and the trials."""
    trials = 0
    for trials in range(1, MOST_TRIALS + 1):  # noqa: B007
        scaled = (at.scaled - at.gradient / curvature[:, None]).clamp(min=0)
        dose = problem.scaled_dose(scaled)
        value = problem.value(problem.to_fluence(scaled), dose)
        move = scaled - at.scaled
        model = at.value + (at.gradient * move).sum(1) + curvature / 2 * (move**2).sum(1)
        short = value <= model + rounding(at.dose) * at.value.abs()
        if bool(short.all()):
            break
        curvature = torch.where(short, curvature, curvature * GROWTH)
    return Point(scaled, dose, value, at.gradient, at.dose_gradient), curvature, trials


def _chosen(first: Bool[Tensor, " k"], one: Point, other: Point) -> Point:
    """Return `one` for some plans, `other` for the rest."""
    return Point(
        torch.where(first[:, None], one.scaled, other.scaled),
        torch.where(first[:, None], one.dose, other.dose),
        torch.where(first, one.value, other.value),
        one.gradient,
        one.dose_gradient,
    )
