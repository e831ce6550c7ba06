"""Projected L-BFGS on a cheap stand-in for the influence, corrected by the true one: few of the large products.

Each step minimises a model of the problem that has a sketch of D in its place and the true value and gradient at the
current point (Alexandrov et al. 1998), by some steps of projected L-BFGS; the true dose then decides how far to go
along the way found. What is minimised is the true problem; the sketch only makes the directions.
"""

from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.line_search import Ray, search
from dosewright.fluence.problem import FluenceProblem, LinearOperator, Point
from dosewright.fluence.projected_lbfgs import LbfgsState, ProjectedLbfgs, furthest, not_down, steepest
from dosewright.fluence.sketch import sketch_of
from dosewright.fluence.solver import AbstractSolver, SolverState, StopRule, first_values, next_values


@dataclass(frozen=True)
class SketchedState(SolverState):
    """What the method remembers: the state of projected L-BFGS on the last model, whose pairs serve the next."""

    inner: LbfgsState


@final
@dataclass(frozen=True)
class SketchedLbfgs(AbstractSolver[SketchedState]):
    """Projected L-BFGS on first-order consistent models.

    Args:
        sketch: The operator to use in D's place; None makes `sketch_of` a `DoseInfluence`, once per influence.
        inner_steps: Steps of projected L-BFGS on each model.
        memory: Of projected L-BFGS.
        stop: When to stop. `max_steps` counts models; `window` is in steps of projected L-BFGS, as elsewhere.

    Raises:
        InputError: If a number is not positive.
    """

    sketch: LinearOperator | None = None
    inner_steps: int = 12
    memory: int = 10
    stop: StopRule = field(default_factory=StopRule)

    def __post_init__(self) -> None:
        for name in ("inner_steps", "memory"):
            if getattr(self, name) < 1:
                raise InputError("must be at least 1", argument=name, value=getattr(self, name))

    def init(self, problem: FluenceProblem, start: Float[Tensor, "k b"]) -> SketchedState:
        """Return the state at a start: two products, and the sketch where there is none yet.

        Raises:
            InputError: If no sketch is given, and none can be made of the influence.
        """
        self._operator(problem)
        inner = self._lbfgs.init(problem, start)
        window = max(1, round(self.stop.window / self.inner_steps))
        recent = first_values(inner.point, replace(self.stop, window=window))
        return SketchedState(inner.point, recent, inner.stalled, inner.evaluations, inner)

    def step(self, problem: FluenceProblem, state: SketchedState) -> SketchedState:
        """Return the state after one model: two products, three where a model leads nowhere."""
        point = state.point
        model = problem.corrected(self._operator(problem), point)
        inner = replace(state.inner, point=replace(point, dose_gradient=torch.zeros_like(point.dose_gradient)))
        for _ in range(self.inner_steps):
            inner = self._lbfgs.step(model, inner)
        new, failed = along_model(problem, point, inner.point.scaled - point.scaled, state.inner.stalled)
        inner = replace(inner, stalled=failed, filled=inner.filled & ~failed[:, None])
        recent = next_values(state.recent, new, failed)
        return SketchedState(new, recent, failed & state.inner.stalled, state.evaluations + 1, inner)

    @property
    def _lbfgs(self) -> ProjectedLbfgs:
        return ProjectedLbfgs(memory=self.memory, stop=self.stop)

    def _operator(self, problem: FluenceProblem) -> LinearOperator:
        if self.sketch is not None:
            return self.sketch
        if not isinstance(problem.influence, DoseInfluence):
            rule = "must be given for an influence other than a DoseInfluence"
            raise InputError(rule, argument="sketch", value=type(problem.influence).__name__)
        return sketch_of(problem.influence)


def along_model(
    problem: FluenceProblem, point: Point, direction: Float[Tensor, "k b"], stuck: Bool[Tensor, " k"]
) -> tuple[Point, Bool[Tensor, " k"]]:
    """Return the point as far along a model's way as the true dose says, and which plans it does not lower.

    Costs two products; three where a way leads uphill and is replaced by the steepest one.

    Args:
        problem: The true problem.
        point: Where the model was made.
        direction: To the model's best point, scaled.
        stuck: Plans whose last model led nowhere; these take the steepest way.
    """
    astray = not_down(point, direction) | stuck
    if bool(astray.any()):
        free = (point.scaled > 0) | (point.gradient < 0)
        plain = (point.scaled + steepest(problem, point, free)).clamp(min=0) - point.scaled
        direction = torch.where(astray[:, None], plain, direction)
    trial = search(Ray(problem, point, direction), torch.ones_like(point.value), furthest(point.scaled, direction))
    scaled = (point.scaled + trial.step.to(direction.dtype)[:, None] * direction).clamp(min=0)
    return problem.finished(scaled, trial.dose, trial.penalty, trial.dose_gradient), trial.step <= 0
