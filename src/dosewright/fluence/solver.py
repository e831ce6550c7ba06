"""Solvers as init / step / terminate over explicit state, and the loop that drives them.

A solver holds numbers only; its state is a value with the plan as the first axis of every tensor. Failure is a `Status`
of the plan it befell, and the best fluence found is kept.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.problem import FluenceProblem, Point
from dosewright.fluence.start import checked_start, default_start
from dosewright.fluence.status import Record, Result, Status, Violation


@dataclass(frozen=True)
class StopRule:
    """When a solve ends.

    Args:
        max_steps: Most steps.
        max_seconds: Most wall time, None for no limit.
        kkt_tolerance: A plan has converged when its `kkt_residual` is at most this.
        value_tolerance: Or when its value fell by less than this share of itself over the last `window` steps.
        window: Steps that `value_tolerance` looks back.

    Raises:
        InputError: If a number is out of range.
    """

    max_steps: int = 500
    max_seconds: float | None = None
    kkt_tolerance: float = 1e-5
    value_tolerance: float = 1e-3
    window: int = 10

    def __post_init__(self) -> None:
        for name in ("max_steps", "window"):
            if getattr(self, name) < 1:
                raise InputError("must be at least 1", argument=name, value=getattr(self, name))
        for name in ("kkt_tolerance", "value_tolerance", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError("must not be negative", argument=name, value=value)


@dataclass(frozen=True)
class SolverState:
    """Where a solve stands; solvers add what they remember.

    Args:
        point: The batch's best fluences so far and all that is known there.
        recent: Values of the last steps, newest first (k, window + 1); infinite before the first.
        stalled: Plans that no step of the solver can lower, (k,).
        evaluations: Pairs of products so far.
    """

    point: Point
    recent: Float[Tensor, "k w"]
    stalled: Bool[Tensor, " k"]
    evaluations: int


State = TypeVar("State", bound=SolverState)
Callback = Callable[[SolverState], bool | None]


class AbstractSolver(ABC, Generic[State]):
    """A method for `FluenceProblem`s."""

    stop: StopRule

    @abstractmethod
    def init(self, problem: FluenceProblem, start: Float[Tensor, "k b"]) -> State:
        """Return the state at a start, given in fluence (not scaled)."""

    @abstractmethod
    def step(self, problem: FluenceProblem, state: State) -> State:
        """Return the state after one step of every plan."""

    def terminate(self, problem: FluenceProblem, state: State) -> tuple[Status | None, ...]:
        """Return for every plan how it ended, or None while it goes on."""
        return ended(state, self.stop)

    def violations(self, problem: FluenceProblem, state: State) -> tuple[Violation, ...]:
        """Return the hard constraints that the state's plans break; solvers without constraints know none."""
        return ()


def ended(state: SolverState, stop: StopRule) -> tuple[Status | None, ...]:
    """Return how each plan of a state ended by a rule (time and number of steps apart), or None."""
    value, oldest = state.point.value, state.recent[:, -1]
    settled = (oldest - value) <= stop.value_tolerance * value.abs()
    finite = torch.isfinite(value) & torch.isfinite(state.point.gradient).all(1)
    optimal = kkt_residual(state.point) <= stop.kkt_tolerance
    verdicts = zip(finite.tolist(), (optimal | settled).tolist(), state.stalled.tolist(), strict=True)
    return tuple(
        Status.DIVERGED if not fine else Status.CONVERGED if done else Status.STALLED if stuck else None
        for fine, done, stuck in verdicts
    )


def first_values(point: Point, stop: StopRule) -> Float[Tensor, "k w"]:
    """Return `recent` of a start."""
    recent = torch.full((len(point.value), stop.window + 1), torch.inf, dtype=torch.float64, device=point.value.device)
    recent[:, 0] = point.value
    return recent


def next_values(recent: Float[Tensor, "k w"], point: Point, unmoved: Bool[Tensor, " k"]) -> Float[Tensor, "k w"]:
    """Return `recent` after a step; steps that failed do not count, so that they do not look like convergence."""
    moved = torch.cat([point.value[:, None], recent[:, :-1]], 1)
    return torch.where(unmoved[:, None], recent, moved)


def kkt_residual(point: Point) -> Float[Tensor, " k"]:
    """Return the largest breach of optimality: the cosine between the dose gradient and a beamlet's dose, in [0, 1].

    At an optimum the gradient is 0 for beamlets in use and not negative for those at 0. (The columns have norm 1 in
    scaled units, so that the gradient is at most the norm of the dose gradient.)
    """
    breach = torch.where(point.scaled > 0, point.gradient.abs(), (-point.gradient).clamp(min=0)).amax(1)
    size = torch.linalg.vector_norm(point.dose_gradient, dim=1)
    return torch.where(size > 0, breach / size.clamp(min=torch.finfo(size.dtype).tiny), breach)


@torch.no_grad()
def solve(
    problem: FluenceProblem,
    solver: AbstractSolver,
    start: Float[Tensor, "*k b"] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Return the best fluence found for every plan of a problem.

    Args:
        problem: One plan or a batch.
        solver: The method.
        start: Fluence to start from, (b,) for all plans or (k, b); None takes `default_start`.
        callbacks: Called with the state after the start and after every step; one that returns True stops the solve.

    Raises:
        InputError: If the start has another shape than the problem, or is negative or not finite.
    """
    run = _Run(problem, solver, time.perf_counter())
    fluence = default_start(problem) if start is None else checked_start(problem, start)
    state = solver.init(problem, fluence)
    for steps in range(solver.stop.max_steps + 1):
        verdicts = run.note(state)
        wishes = [callback(state) for callback in callbacks]
        if any(wishes):
            verdicts = [verdict or Status.INTERRUPTED for verdict in verdicts]
        elif run.seconds > (solver.stop.max_seconds or float("inf")):
            verdicts = [verdict or Status.MAX_SECONDS for verdict in verdicts]
        elif steps == solver.stop.max_steps:
            verdicts = [verdict or Status.MAX_STEPS for verdict in verdicts]
        state = run.settle(state, verdicts)
        if run.finished:
            break
        state = solver.step(run.problem, state)
    return run.result(state)


class _Run:
    """The books of one solve: which plans still run, what the others ended with, and the history.

    Plans that have ended leave the batch, where the penalty can be split.
    """

    def __init__(self, problem: FluenceProblem, solver: AbstractSolver, began: float) -> None:
        self.whole = self.problem = problem
        self.solver, self.began, self.seconds = solver, began, 0.0
        self.running = list(range(problem.plans))  # plan of each row of the state; a plan may have ended already
        self.statuses: dict[int, Status] = {}
        self.scaled: dict[int, Tensor] = {}
        self.residual: dict[int, Tensor] = {}
        self.broken: list[Violation] = []
        self.value = torch.full((problem.plans,), torch.nan, dtype=torch.float64)
        self.history: list[Record] = []

    @property
    def finished(self) -> bool:
        return len(self.statuses) == self.whole.plans

    def note(self, state: SolverState) -> list[Status | None]:
        """Add a record to the history; return how each row of the state ended, None for those that run."""
        self.seconds = time.perf_counter() - self.began
        for plan, value in zip(self.running, state.point.value.tolist(), strict=True):
            if plan not in self.statuses:
                self.value[plan] = value
        self.history.append(Record(self.seconds, state.evaluations, self.value.clone()))
        return list(self.solver.terminate(self.problem, state))

    def settle(self, state: SolverState, verdicts: Sequence[Status | None]) -> SolverState:
        """Keep what ended; return the state of the plans that still run (all, where the penalty cannot be split)."""
        if not any(verdicts):
            return state
        broken, residual = self.solver.violations(self.problem, state), kkt_residual(state.point)
        for row, (plan, verdict) in enumerate(zip(self.running, verdicts, strict=True)):
            if verdict is not None and plan not in self.statuses:
                self.statuses[plan], self.scaled[plan] = verdict, state.point.scaled[row]
                self.residual[plan] = residual[row]
                self.broken += [replace(found, plan=plan) for found in broken if found.plan == row]
        rows = [row for row, plan in enumerate(self.running) if plan not in self.statuses]
        if self.finished or len(rows) == len(self.running) or not self.problem.can_split:
            return state
        self.running = [self.running[row] for row in rows]
        chosen = torch.tensor(rows, device=state.point.scaled.device)
        self.problem = self.problem.of_plans(chosen)
        return of_plans(state, chosen)

    def result(self, state: SolverState) -> Result:
        """Return what was kept; the doses are computed anew, without the rounding of many steps."""
        plans = range(self.whole.plans)
        fluence = self.whole.to_fluence(torch.stack([self.scaled[plan] for plan in plans]))
        dose = self.whole.dose(fluence)
        return Result(
            fluence=fluence,
            dose=dose,
            value=self.whole.value(fluence, dose),
            kkt_residual=torch.stack([self.residual[plan] for plan in plans]),
            statuses=tuple(self.statuses[plan] for plan in plans),
            evaluations=state.evaluations,
            seconds=time.perf_counter() - self.began,
            history=tuple(self.history),
            violations=tuple(self.broken),
        )


Part = TypeVar("Part")


def of_plans(part: Part, chosen: Int[Tensor, " j"]) -> Part:
    """Return the chosen plans' rows of a tensor, of every tensor in a tuple or dataclass, or of what splits itself."""
    if isinstance(part, Tensor):
        return part[chosen]  # type: ignore[return-value]
    if isinstance(part, tuple):
        return tuple(of_plans(one, chosen) for one in part)  # type: ignore[return-value]
    if hasattr(part, "of_plans"):
        return part.of_plans(chosen)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{f.name: of_plans(getattr(part, f.name), chosen) for f in fields(part)})
    return part
