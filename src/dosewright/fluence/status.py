"""How a solve ended, and what it found."""

from dataclasses import dataclass
from enum import Enum

from jaxtyping import Float
from torch import Tensor


class Status(Enum):
    """How the solve of one plan ended; everything but `CONVERGED` says why the plan may be short of its optimum."""

    CONVERGED = "converged"
    MAX_STEPS = "most steps taken"
    MAX_SECONDS = "out of time"
    STALLED = "no step lowers the penalty"
    DIVERGED = "the penalty or its gradient is not finite"
    INFEASIBLE = "hard constraints that no fluence meets"
    INTERRUPTED = "stopped by a callback"


@dataclass(frozen=True)
class Violation:
    """A hard constraint that a plan does not meet.

    Args:
        plan: Index in the batch.
        constraint: What it says, in English.
        excess_gy: By how much it is missed where that is worst, Gy.
    """

    plan: int
    constraint: str
    excess_gy: float


@dataclass(frozen=True)
class Record:
    """One step of a solve: seconds since its start, evaluations so far, and the value of each plan."""

    seconds: float
    evaluations: int
    value: Float[Tensor, " k"]


@dataclass(frozen=True)
class Result:
    """The best fluence found for each plan, and how the search ended.

    Args:
        fluence: x ≥ 0 (k, b).
        dose: D x in Gy, (k, n).
        value: Penalty of each plan, smoothness included.
        kkt_residual: Largest breach of the optimality conditions of each plan; see `kkt_residual`.
        statuses: How each plan ended.
        evaluations: Pairs of products with D and Dᵀ during the steps, each for the whole batch.
        seconds: Wall time.
        history: A record of the start and of every step.
        violations: Hard constraints that are not met.
    """

    fluence: Float[Tensor, "k b"]
    dose: Float[Tensor, "k n"]
    value: Float[Tensor, " k"]
    kkt_residual: Float[Tensor, " k"]
    statuses: tuple[Status, ...]
    evaluations: int
    seconds: float
    history: tuple[Record, ...]
    violations: tuple[Violation, ...] = ()

    @property
    def status(self) -> Status:
        """Return how the batch ended: CONVERGED only where all plans did, else what befell the first that did not."""
        return next((status for status in self.statuses if status is not Status.CONVERGED), Status.CONVERGED)
