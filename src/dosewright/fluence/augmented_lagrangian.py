"""Hard dose constraints by an augmented Lagrangian (Nocedal & Wright 2006, algorithm 17.4), for a batch at once.

Projected L-BFGS lowers the penalty plus ρ/2 Σ (g + λ/ρ)₊² of the constraints g ≤ 0; every time it has settled, or has
had enough steps, the multipliers become (λ + ρ g)₊ and ρ grows where the constraints came no closer. The first round is
without constraints, and sets the scale of ρ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.problem import FluenceProblem, Penalty, Point
from dosewright.fluence.projected_lbfgs import LbfgsState, ProjectedLbfgs
from dosewright.fluence.solver import AbstractSolver, SolverState, StopRule, ended, next_values
from dosewright.fluence.status import Status, Violation
from dosewright.objectives.constraint import DoseConstraint
from dosewright.objectives.terms.term import AbstractTerm

STIFFNESS_RANGE = (1e-6, 1e6)  # of the first ρ
CLOSER = 0.5  # an update that leaves more of the violation makes ρ grow
PROBE = 0.1  # share of the dose over which the penalty's curvature is taken
NO_CLOSER = 0.9  # an update that leaves this share of the violation has not helped


@runtime_checkable
class ConstrainedPenalty(Penalty, Protocol):
    """A penalty that comes with constraints, as `objectives.DosePenalty` does."""

    @property
    def constraints(self) -> tuple[DoseConstraint, ...]:
        """Return the limits that must hold."""

    def with_terms(self, *terms: AbstractTerm) -> Penalty:
        """Return the penalty with more terms."""


@dataclass(frozen=True)
class LagrangianState(SolverState):
    """What the augmented Lagrangian remembers; `point` is the best plan so far, its gradient the Lagrangian's.

    Args:
        inner: State of projected L-BFGS on `problem`.
        problem: The penalty with the constraints' terms.
        multipliers: λ of every constraint, (k, c) each.
        stiffness: ρ; 0 before the first update.
        worst_gy: Largest violation of `point` in Gy.
        breach_gy: Largest violation of constraints and complementarity at the last update that helped.
        stuck: Updates since then.
        since: Steps since the last update.
        optimal: Plans that have converged.
    """

    inner: LbfgsState
    problem: FluenceProblem
    multipliers: tuple[Float[Tensor, "k _"], ...]
    stiffness: Float[Tensor, " k"]
    worst_gy: Float[Tensor, " k"]
    breach_gy: Float[Tensor, " k"]
    stuck: Int[Tensor, " k"]
    since: int
    optimal: Bool[Tensor, " k"]


@final
@dataclass(frozen=True)
class AugmentedLagrangian(AbstractSolver[LagrangianState]):
    """Least penalty under hard constraints.

    Args:
        stop: When to stop; its steps are those of projected L-BFGS, summed over all rounds.
        tolerance_gy: A constraint holds when it is missed by no more than this.
        steps_per_update: Most steps between updates of the multipliers.
        growth: Factor of ρ where an update did not help.
        patience: Updates in a row that do not help before a plan counts as infeasible.
        memory: Of projected L-BFGS.

    Raises:
        InputError: If a number is out of range.
    """

    stop: StopRule = field(default_factory=lambda: StopRule(max_steps=1000))
    tolerance_gy: float = 0.1
    steps_per_update: int = 30
    growth: float = 5.0
    patience: int = 5
    memory: int = 10

    def __post_init__(self) -> None:
        for name, least in {"steps_per_update": 1, "patience": 1, "memory": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"must be at least {least}", argument=name, value=getattr(self, name))
        if not self.tolerance_gy > 0:
            raise InputError("must be positive", argument="tolerance_gy", value=self.tolerance_gy)
        if not self.growth > 1:
            raise InputError("must be more than 1", argument="growth", value=self.growth)

    def init(self, problem: FluenceProblem, start: Float[Tensor, "k b"]) -> LagrangianState:
        """Return the state at a start.

        Raises:
            InputError: If the penalty cannot take constraints.
        """
        if not isinstance(problem.penalty, ConstrainedPenalty):
            raise InputError("must have constraints", argument="penalty", value=type(problem.penalty).__name__)
        inner = self._lbfgs.init(problem, start)
        point = inner.point
        still = torch.zeros_like(point.value)
        gaps = _gaps(problem, point.dose)
        return LagrangianState(
            point=point,
            recent=inner.recent,
            stalled=still > 0,
            evaluations=inner.evaluations,
            inner=inner,
            problem=problem,
            multipliers=tuple(torch.zeros_like(gap) for gap in gaps),
            stiffness=still,
            worst_gy=_worst(gaps, still),
            breach_gy=torch.full_like(still, torch.inf),
            stuck=torch.zeros_like(still, dtype=torch.int64),
            since=0,
            optimal=still > 0,
        )

    def step(self, problem: FluenceProblem, state: LagrangianState) -> LagrangianState:
        """Return the state after one step of projected L-BFGS, and after an update of λ and ρ where it is due."""
        inner = self._lbfgs.step(state.problem, state.inner)
        gaps = _gaps(problem, inner.point.dose)
        worst = _worst(gaps, inner.point.value)
        now = _plain(problem, inner.point)
        point, worst_gy = _better(now, worst, state.point, state.worst_gy, self.tolerance_gy)
        state = LagrangianState(
            **{
                **vars(state),
                "inner": inner,
                "point": point,
                "worst_gy": worst_gy,
                "recent": next_values(state.recent, point, torch.zeros_like(state.stalled)),
                "evaluations": state.evaluations + inner.evaluations - state.inner.evaluations,
                "since": state.since + 1,
            }
        )
        settled = torch.tensor([one is not None for one in ended(inner, self.stop)], device=worst.device)
        if bool(settled.all()) or state.since >= self.steps_per_update:
            return self._updated(problem, state, gaps, settled)
        return state

    def terminate(self, problem: FluenceProblem, state: LagrangianState) -> tuple[Status | None, ...]:
        """Return for every plan how it ended, or None while it goes on."""
        finite = torch.isfinite(state.inner.point.value) & torch.isfinite(state.inner.point.gradient).all(1)
        hopeless = (state.stuck >= self.patience) & (state.worst_gy > self.tolerance_gy)
        verdicts = zip(finite.tolist(), state.optimal.tolist(), hopeless.tolist(), strict=True)
        return tuple(
            Status.DIVERGED if not fine else Status.CONVERGED if done else Status.INFEASIBLE if never else None
            for fine, done, never in verdicts
        )

    def violations(self, problem: FluenceProblem, state: LagrangianState) -> tuple[Violation, ...]:
        """Return the constraints that the best plans miss by more than the tolerance."""
        return broken(problem.penalty.constraints, state.point.dose, self.tolerance_gy)  # type: ignore[attr-defined]

    @property
    def _lbfgs(self) -> ProjectedLbfgs:
        return ProjectedLbfgs(memory=self.memory, stop=self.stop)

    def _updated(
        self, problem: FluenceProblem, state: LagrangianState, gaps: tuple[Tensor, ...], settled: Bool[Tensor, " k"]
    ) -> LagrangianState:
        """Return the state with new multipliers and stiffness, and projected L-BFGS started afresh where it stood."""
        first = state.stiffness == 0
        stiffness = torch.where(first, _first_stiffness(problem, gaps, state.inner.point), state.stiffness)
        slack = [-multiplier / stiffness.to(multiplier)[:, None] for multiplier in state.multipliers]
        breach = _worst([torch.maximum(gap, low).abs() for gap, low in zip(gaps, slack, strict=True)], stiffness)
        optimal = settled & (breach <= self.tolerance_gy)
        helped = breach <= NO_CLOSER * state.breach_gy
        fine = first | (breach <= self.tolerance_gy) | (breach <= CLOSER * state.breach_gy)
        multipliers = tuple(
            torch.where(first[:, None], 0, (old + state.stiffness.to(old)[:, None] * gap).clamp(min=0))
            for old, gap in zip(state.multipliers, gaps, strict=True)
        )
        stiffness = torch.where(fine, stiffness, stiffness * self.growth)
        augmented = _augmented(problem, multipliers, stiffness)
        inner = self._lbfgs.init(augmented, augmented.to_fluence(state.inner.point.scaled))
        return LagrangianState(
            **{
                **vars(state),
                "inner": inner,
                "problem": augmented,
                "evaluations": state.evaluations + inner.evaluations,
                "multipliers": multipliers,
                "stiffness": stiffness,
                "breach_gy": torch.where(helped, breach, state.breach_gy),
                "stuck": torch.where(helped, 0, state.stuck + 1),
                "since": 0,
                "optimal": optimal,
            }
        )


def broken(
    constraints: Sequence[DoseConstraint], dose: Float[Tensor, "k n"], tolerance_gy: float
) -> tuple[Violation, ...]:
    """Return the constraints that plans' doses miss by more than a tolerance."""
    worst = [(constraint.name, constraint.excess(dose).amax(1).tolist()) for constraint in constraints]
    return tuple(
        Violation(plan, name, excess)
        for name, of_plan in worst
        for plan, excess in enumerate(of_plan)
        if excess > tolerance_gy
    )


def _augmented(
    problem: FluenceProblem, multipliers: tuple[Tensor, ...], stiffness: Float[Tensor, " k"]
) -> FluenceProblem:
    penalty = problem.penalty
    terms = [
        constraint.augmented(multiplier, stiffness)
        for constraint, multiplier in zip(penalty.constraints, multipliers, strict=True)  # type: ignore[attr-defined]
    ]
    return problem.with_penalty(penalty.with_terms(*terms))  # type: ignore[attr-defined]


def _plain(problem: FluenceProblem, point: Point) -> Point:
    """Return a point of the augmented problem with the value it has without constraints."""
    value = problem.value(problem.to_fluence(point.scaled), point.dose)
    return Point(point.scaled, point.dose, value, point.gradient, point.dose_gradient)


def _gaps(problem: FluenceProblem, dose: Float[Tensor, "k n"]) -> tuple[Tensor, ...]:
    constraints = problem.penalty.constraints  # type: ignore[attr-defined]
    return tuple(constraint.excess(dose) for constraint in constraints)


def _worst(gaps: tuple[Tensor, ...] | list[Tensor], like: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Return the largest entry of each plan, at least 0."""
    return torch.stack([gap.amax(1).to(like) for gap in gaps] + [torch.zeros_like(like)]).amax(0)


def _better(
    new: Point, new_gy: Tensor, old: Point, old_gy: Tensor, tolerance_gy: float
) -> tuple[Point, Float[Tensor, " k"]]:
    """Return of each plan the better point: the lower value where both are feasible, else the lesser violation."""
    both = torch.maximum(new_gy, old_gy) <= tolerance_gy
    better = torch.where(both, new.value <= old.value, new_gy <= old_gy)
    parts = []
    for name in ("scaled", "dose", "value", "gradient", "dose_gradient"):
        one, other = getattr(new, name), getattr(old, name)
        parts.append(torch.where(better.reshape(-1, *(1,) * (one.ndim - 1)), one, other))
    return Point(*parts), torch.where(better, new_gy, old_gy)


def _first_stiffness(problem: FluenceProblem, gaps: tuple[Tensor, ...], point: Point) -> Float[Tensor, " k"]:
    """Return a ρ at which the constraints weigh as much as the penalty, by its value or by its curvature.

    By value as in Birgin & Martínez 2014, eq. 12.1; by curvature along the dose, as the value may be nearly 0.
    """
    dose = point.dose
    plain, lower = (problem.penalty.value_and_gradient(part)[1] for part in (dose, (1 - PROBE) * dose))
    length = torch.linalg.vector_norm(dose, dim=1).clamp(min=torch.finfo(dose.dtype).tiny)
    curvature = (torch.linalg.vector_norm(plain - lower, dim=1) / length / PROBE).to(point.value)
    zero = torch.zeros_like(point.value)
    squares = torch.stack([(gap.clamp(min=0) ** 2).sum(1).to(zero) for gap in gaps] + [zero]).sum(0)
    by_value = torch.where(squares > 0, 2 * point.value.abs() / squares.clamp(min=1e-30), 0)
    return torch.maximum(by_value, curvature).clamp(*STIFFNESS_RANGE)
