"""Projected L-BFGS: quasi-Newton steps of the beamlets in use, kept feasible by clipping (Bertsekas 1982).

The inverse Hessian on the free beamlets comes from the last pairs of steps and gradient changes (Byrd, Nocedal &
Schnabel 1994, theorem 2.2, restricted to the free rows). The clipped step is a feasible segment; see `line_search`.
"""

from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.line_search import Ray, search
from dosewright.fluence.preconditioner import Preconditioner
from dosewright.fluence.problem import FluenceProblem, Point
from dosewright.fluence.solver import AbstractSolver, SolverState, StopRule, first_values, next_values

CURVED = 1e-8  # least cosine between a step and the change of the gradient for the pair to count


@dataclass(frozen=True)
class LbfgsState(SolverState):
    """What projected L-BFGS remembers.

    Args:
        pairs: Steps, then changes of the gradient (k, 2m, b), in a ring.
        filled: Which of the m pairs hold something, (k, m).
        newest: Place in the ring of the last pair.
    """

    pairs: Float[Tensor, "k mm b"]
    filled: Bool[Tensor, "k m"]
    newest: int


@final
@dataclass(frozen=True)
class ProjectedLbfgs(AbstractSolver[LbfgsState]):
    """Projected L-BFGS.

    Args:
        memory: m, pairs that are remembered.
        stop: When to stop.
        preconditioner: Inverse Hessian to begin with, shared by all plans; None: the identity, scaled.

    Raises:
        InputError: If the memory is not positive.
    """

    memory: int = 10
    stop: StopRule = field(default_factory=StopRule)
    preconditioner: Preconditioner | None = None

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise InputError("must be at least 1", argument="memory", value=self.memory)

    def init(self, problem: FluenceProblem, start: Float[Tensor, "k b"]) -> LbfgsState:
        """Return the state at a start: two products."""
        point = problem.point(problem.to_scaled(start))
        plans, beamlets = point.scaled.shape
        never = torch.zeros(plans, self.memory, dtype=torch.bool, device=point.scaled.device)
        pairs = point.scaled.new_zeros(plans, 2 * self.memory, beamlets)
        return LbfgsState(point, first_values(point, self.stop), never[:, 0], 1, pairs, never, self.memory - 1)

    def step(self, problem: FluenceProblem, state: LbfgsState) -> LbfgsState:
        """Return the state after a step: two products, three where a plan has no memory."""
        point = state.point
        free = (point.scaled > 0) | (point.gradient < 0)
        if self.preconditioner is None:
            direction = -_product(state, point.gradient * free, free)
        else:
            direction = -preconditioned(state, point.gradient * free, free, self.preconditioner)
        bare = ~state.filled.any(1)
        evaluations = state.evaluations + 1
        if self.preconditioner is None and bool(bare.any()):
            direction = torch.where(bare[:, None], steepest(problem, point, free), direction)
        direction = (point.scaled + direction).clamp(min=0) - point.scaled
        uphill = not_down(point, direction)
        if bool(uphill.any()):
            direction = torch.where(uphill[:, None], steepest(problem, point, free), direction)
            direction = (point.scaled + direction).clamp(min=0) - point.scaled
        ray = Ray(problem, point, direction)
        trial = search(ray, torch.ones_like(point.value), furthest(point.scaled, direction))
        step = trial.step.to(direction.dtype)[:, None] * direction
        new = problem.finished((point.scaled + step).clamp(min=0), trial.dose, trial.penalty, trial.dose_gradient)
        return _remembered(state, new, trial.step <= 0, evaluations)


def not_down(point: Point, direction: Float[Tensor, "k b"]) -> Bool[Tensor, " k"]:
    """Return the plans that a direction does not lead downhill, for their gradient, or that it leads nowhere finite."""
    slope = (point.gradient * direction).sum(1)
    return ~((slope < 0) & torch.isfinite(slope))


def furthest(scaled: Float[Tensor, "k b"], direction: Float[Tensor, "k b"]) -> Float[Tensor, " k"]:
    """Return the longest step along a direction that keeps each plan's fluence at 0 or more."""
    reach = torch.where(direction < 0, scaled / -direction, torch.inf)
    return reach.amin(1).double()


def steepest(problem: FluenceProblem, point: Point, free: Bool[Tensor, "k b"]) -> Float[Tensor, "k b"]:
    """Return the negative gradient of the free beamlets, as long as the penalty falls along it: one product."""
    ray = Ray(problem, point, -point.gradient * free)
    size = torch.linalg.vector_norm(ray.dose, dim=1).double()
    first = torch.where(size > 0, torch.linalg.vector_norm(point.dose, dim=1).double().clamp(min=1.0) * 0.1 / size, 1.0)
    trial = search(ray, first, torch.full_like(first, torch.inf))
    step = torch.where(trial.step > 0, trial.step, first)
    return step.to(ray.direction.dtype)[:, None] * ray.direction


def _product(state: LbfgsState, gradient: Float[Tensor, "k b"], free: Bool[Tensor, "k b"]) -> Float[Tensor, "k b"]:
    """Return the inverse Hessian on the free beamlets times a gradient, by the compact representation."""
    memory = state.filled.shape[1]
    inside = state.pairs * free[:, None]
    gram = (inside @ state.pairs.mT).double()
    along = (inside @ gradient[..., None])[..., 0].double()
    order = [(state.newest + 1 + i) % memory for i in range(memory)]
    second = [memory + i for i in order]
    ss, sy, yy = gram[:, order][:, :, order], gram[:, order][:, :, second], gram[:, second][:, :, second]
    curve = torch.diagonal(sy, dim1=1, dim2=2)
    norms = (torch.diagonal(ss, dim1=1, dim2=2) * torch.diagonal(yy, dim1=1, dim2=2)).sqrt()
    used = state.filled[:, order] & (curve > CURVED * norms)
    both = used[:, :, None] & used[:, None, :]
    curve = torch.where(used, curve, 0)
    upper = torch.triu(torch.where(both, sy, 0)) + torch.diag_embed((~used).double())
    newest = (used.long() * torch.arange(1, memory + 1, device=used.device)).amax(1) - 1
    pick = newest.clamp(min=0)[:, None]
    gamma = curve.gather(1, pick)[:, 0] / torch.diagonal(yy, dim1=1, dim2=2).gather(1, pick)[:, 0]
    gamma = torch.where(newest >= 0, gamma, 1.0)[:, None]
    s_g, y_g = torch.where(used, along[:, order], 0), torch.where(used, along[:, second], 0) * gamma
    solved = torch.linalg.solve_triangular(upper, s_g[..., None], upper=True)
    middle = torch.diag_embed(curve) + gamma[..., None] * torch.where(both, yy, 0)
    right = (middle @ solved) - y_g[..., None]
    on_s = torch.linalg.solve_triangular(upper.mT, right, upper=False)[..., 0]
    on_y = -solved[..., 0] * gamma
    weights = torch.zeros_like(along)
    weights[:, order], weights[:, second] = on_s, on_y
    return gamma.to(gradient.dtype) * gradient + (weights.to(gradient.dtype)[:, None] @ inside)[:, 0]


def preconditioned(
    state: LbfgsState, gradient: Float[Tensor, "k b"], free: Bool[Tensor, "k b"], first: Preconditioner
) -> Float[Tensor, "k b"]:
    """Return the inverse Hessian on the free beamlets times a gradient, by two loops (Nocedal & Wright, alg. 7.4).

    Args:
        state: The pairs.
        gradient: Zero on the beamlets that are not free.
        free: Beamlets that may move.
        first: Inverse Hessian before the pairs, scaled to fit the last of them.
    """
    memory = state.filled.shape[1]
    right, below = gradient, []
    for place in [(state.newest - i) % memory for i in range(memory)]:
        step, change = state.pairs[:, place] * free, state.pairs[:, memory + place] * free
        curve = _dot(step, change)
        used = state.filled[:, place] & (curve > CURVED * (_dot(step, step) * _dot(change, change)).sqrt())
        inverse = torch.where(used, 1 / curve, 0)
        along = inverse * _dot(step, right)
        right = torch.addcmul(right, along[:, None], change, value=-1)
        below.append((step, change, inverse, along))
    change, inverse = below[0][1:3]
    scale = torch.where(inverse > 0, 1 / (inverse * first.form(change)), 1.0)
    result = first.product(right) * free * scale[:, None]
    for step, change, inverse, along in reversed(below):
        result = torch.addcmul(result, (along - inverse * _dot(change, result))[:, None], step)
    return result


def _dot(one: Float[Tensor, "k b"], other: Float[Tensor, "k b"]) -> Float[Tensor, " k"]:
    return torch.linalg.vecdot(one, other)


def _remembered(state: LbfgsState, new: Point, failed: Bool[Tensor, " k"], evaluations: int) -> LbfgsState:
    """Return the state at a new point, with the step in memory; plans that failed forget, and stall the second time."""
    memory = state.filled.shape[1]
    place = (state.newest + 1) % memory
    step, change = new.scaled - state.point.scaled, new.gradient - state.point.gradient
    state.pairs[:, place], state.pairs[:, memory + place] = step, change
    filled = state.filled.clone()
    filled[:, place] = (step * change).sum(1) > 0
    filled &= ~failed[:, None]
    return LbfgsState(
        point=new,
        recent=next_values(state.recent, new, failed),
        stalled=failed & ~state.filled.any(1),
        evaluations=evaluations,
        pairs=state.pairs,
        filled=filled,
        newest=place,
    )
