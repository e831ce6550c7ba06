"""Projected L-BFGS for many plans at once: on the voxels that bend a penalty only, as a dense matrix in half precision.

Each step minimises a model of the problem by some steps of projected L-BFGS, as `sketched_lbfgs` does, and goes along
the way found as far as the true dose says. The model has the true value and gradient where it is made (Alexandrov et
al. 1998); changes of the dose go through the rows of D near or past the level of some objective of some plan, rounded.
Nothing is known to change in the others, and where that proves wrong the next model has them, too.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.dense_influence import DenseInfluence
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.preconditioner import Preconditioner
from dosewright.fluence.problem import FluenceProblem, LinearOperator, Penalty, Point
from dosewright.fluence.projected_lbfgs import LbfgsState, ProjectedLbfgs
from dosewright.fluence.sketched_lbfgs import along_model
from dosewright.fluence.solver import AbstractSolver, SolverState, StopRule, first_values, next_values
from dosewright.objectives.curvature import Curvature

MISSING = 0.002  # share of a screen's rows that may be bent beside it before a new one is made
IDLE = 0.8  # share of a screen's rows that must be near their levels


@runtime_checkable
class ScreenedPenalty(Penalty, Protocol):
    """A penalty that knows which voxels bend it."""

    def bent_rows(self, dose: Float[Tensor, "k n"], margin_gy: float) -> Bool[Tensor, " n"]:
        """Return the voxels where the Hessian may differ from zero, for doses that change by less than the margin."""

    def of_rows(self, rows: Int[Tensor, " m"]) -> Penalty:
        """Return what the doses of some voxels cost by terms that bend there."""


@runtime_checkable
class CurvedPenalty(Penalty, Protocol):
    """A penalty whose Hessian is known; `diagonal` is that of its voxel-wise terms."""

    def curvature(self, dose_gy: Float[Tensor, "k n"]) -> Curvature:
        """Return the Hessian at a dose."""


class Screen:
    """Rows of D that models are made of: their numbers, the matrix of them, and the penalty on them.

    Args:
        problem: The whole problem; its influence must be a `DoseInfluence`.
        bent: Rows to take, (n,).
        preconditioner: Of an earlier screen of the problem.
    """

    def __init__(
        self, problem: FluenceProblem, bent: Bool[Tensor, " n"], preconditioner: Preconditioner | None = None
    ) -> None:
        assert isinstance(problem.influence, DoseInfluence)
        self.bent, self.rows, self.preconditioner = bent, bent.nonzero()[:, 0], preconditioner
        self.operator: LinearOperator = DenseInfluence(problem.influence, rows=self.rows)
        self._of: tuple[Penalty, Penalty] | None = None

    def model(self, problem: FluenceProblem, point: Point) -> tuple[FluenceProblem, Point]:
        """Return the problem's model at a point, and the point in it."""
        if self._of is None or self._of[0] is not problem.penalty:
            assert isinstance(problem.penalty, ScreenedPenalty)
            self._of = problem.penalty, problem.penalty.of_rows(self.rows)
        dose, slope = (_of_rows(part, self.rows) for part in (point.dose, point.dose_gradient))
        inside = replace(point, dose=dose, dose_gradient=slope)
        model = problem.corrected(self.operator, inside, self._of[1])
        return model, replace(inside, dose_gradient=torch.zeros_like(slope))

    def precondition(self, model: FluenceProblem, point: Point, rank: int) -> None:
        """Make the preconditioner from the mean curvature of all plans at a point of the model, where there is any."""
        assert self._of is not None
        if not isinstance(self._of[1], CurvedPenalty):
            return
        weight = self._of[1].curvature(point.dose).diagonal.mean(0)
        if bool((weight > 0).any()):
            self.preconditioner = Preconditioner(self.operator, weight, model.unit.amax(0), rank)


@dataclass(frozen=True)
class ScreenedState(SolverState):
    """What the method remembers: the state of projected L-BFGS on the last model, and the rows that was made of."""

    inner: LbfgsState
    screen: Screen


@final
@dataclass(frozen=True)
class ScreenedLbfgs(AbstractSolver[ScreenedState]):
    """Projected L-BFGS on models of the rows that matter; made for dozens of plans of one `DoseInfluence`.

    Args:
        inner_steps: Steps of projected L-BFGS on each model.
        first_steps: Steps on the first model, which is made far from the optimum and not preconditioned.
        rank: Of the preconditioner of the later models; 0 makes none.
        margin_gy: Voxels this far below the level of an objective that looks upwards (or above, downwards) are left
            out of a model. The first model, which goes furthest, takes three times as much.
        memory: Of projected L-BFGS.
        stop: When to stop. `max_steps` counts models; `window` is in steps of projected L-BFGS, as elsewhere.

    Raises:
        InputError: If a number is not positive.
    """

    inner_steps: int = 25
    first_steps: int = 12
    rank: int = 500
    margin_gy: float = 2.5
    memory: int = 6
    stop: StopRule = field(default_factory=StopRule)

    def __post_init__(self) -> None:
        for name, least in (("inner_steps", 1), ("first_steps", 1), ("memory", 1), ("rank", 0)):
            if getattr(self, name) < least:
                raise InputError(f"must be at least {least}", argument=name, value=getattr(self, name))
        if not self.margin_gy > 0:
            raise InputError("must be positive", argument="margin_gy", value=self.margin_gy)

    def init(self, problem: FluenceProblem, start: Float[Tensor, "k b"]) -> ScreenedState:
        """Return the state at a start: two products, and the first rows.

        Raises:
            InputError: If the influence is no `DoseInfluence`, or the penalty does not know which voxels bend it.
        """
        if not isinstance(problem.influence, DoseInfluence):
            raise InputError("must be a DoseInfluence", argument="influence", value=type(problem.influence).__name__)
        if not isinstance(problem.penalty, ScreenedPenalty):
            raise InputError("must know which voxels bend it", argument="penalty", value=type(problem.penalty).__name__)
        inner = ProjectedLbfgs(memory=self.memory, stop=self.stop).init(problem, start)
        screen = Screen(problem, problem.penalty.bent_rows(inner.point.dose, 3 * self.margin_gy))
        window = max(1, round(self.stop.window / self.inner_steps))
        recent = first_values(inner.point, replace(self.stop, window=window))
        return ScreenedState(inner.point, recent, inner.stalled, inner.evaluations, inner, screen)

    def step(self, problem: FluenceProblem, state: ScreenedState) -> ScreenedState:
        """Return the state after one model: two products with D, three where a model leads nowhere."""
        point = state.point
        screen = self._screen(problem, state)
        model, at = screen.model(problem, point)
        first = state.screen.preconditioner is None and state.evaluations == 1
        if self.rank and not first and screen.preconditioner is None:
            screen.precondition(model, at, self.rank)
        lbfgs = ProjectedLbfgs(memory=self.memory, stop=self.stop, preconditioner=screen.preconditioner)
        inner = replace(state.inner, point=at)
        for _ in range(self.first_steps if first else self.inner_steps):
            inner = lbfgs.step(model, inner)
        new, failed = along_model(problem, point, inner.point.scaled - point.scaled, state.inner.stalled)
        inner = replace(inner, stalled=failed, filled=inner.filled & ~failed[:, None])
        recent = next_values(state.recent, new, failed)
        return ScreenedState(new, recent, failed & state.inner.stalled, state.evaluations + 1, inner, screen)

    def _screen(self, problem: FluenceProblem, state: ScreenedState) -> Screen:
        """Return the last rows, or new ones where some others have become bent, or few of the last are still near."""
        penalty, dose = problem.penalty, state.point.dose
        assert isinstance(penalty, ScreenedPenalty)
        wanted = penalty.bent_rows(dose, self.margin_gy)
        missing = penalty.bent_rows(dose, 0.0) & ~state.screen.bent
        rows = len(state.screen.rows)
        if int(missing.sum()) > MISSING * rows or int(wanted.sum()) < IDLE * rows:
            return Screen(problem, wanted, state.screen.preconditioner)
        return state.screen


def _of_rows(dose: Float[Tensor, "k n"], rows: Int[Tensor, " m"]) -> Float[Tensor, "k m"]:
    """Return the doses of some voxels, plans last in memory."""
    return dose.T.contiguous().index_select(0, rows).T
