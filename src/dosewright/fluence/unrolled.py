"""The optimised dose by projected gradient steps that autograd records: slow, hungry, and a check of `implicit`."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.problem import FluenceProblem, LinearOperator

_GROW, _SHRINK = 1.2, 0.5  # of the step: before it is tried, and where it is too long
_TRIES = 60


def unrolled_dose(
    problem: FluenceProblem, start: Float[Tensor, "k b"] | None = None, *, steps: int = 200
) -> Float[Tensor, "k n"]:
    """Return the dose in Gy after projected gradient steps on scaled fluence, differentiable through every step.

    Step lengths are found by backtracking and taken as constants: their derivative is multiplied by the projected
    gradient, which vanishes at the optimum. The derivative tends to the implicit one as the dose converges, and only
    then; every step keeps a batch of fluences and doses in memory.

    Args:
        problem: Its penalty may depend on tensors that require gradients.
        start: Fluence to start from; 0 by default. No gradient flows to it.
        steps: Number of steps.

    Raises:
        InputError: If there is no step.
    """
    if steps < 1:
        raise InputError("must be at least 1", argument="steps", value=steps)
    beamlets = problem.influence.shape[1]
    if start is None:
        start = torch.zeros(problem.plans, beamlets, dtype=problem.unit.dtype, device=problem.unit.device)
    scaled = problem.to_scaled(start.detach())
    length = torch.ones(len(scaled), 1, dtype=scaled.dtype, device=scaled.device)
    for _ in range(steps):
        gradient = _gradient(problem, scaled)
        length = _backtracked(problem, scaled.detach(), gradient.detach(), _GROW * length)
        scaled = (scaled - length * gradient).clamp(min=0)
    return _product(scaled * problem.unit, problem.influence, ahead=True)


def _gradient(problem: FluenceProblem, scaled: Float[Tensor, "k b"]) -> Float[Tensor, "k b"]:
    """Return the gradient with respect to scaled fluence, with a graph through its products."""
    fluence = scaled * problem.unit
    _, slope = problem.penalty.value_and_gradient(_product(fluence, problem.influence, ahead=True))
    gradient = _product(slope, problem.influence, ahead=False)
    if problem.roughness is not None:
        gradient = gradient + problem.roughness.gradient(fluence)
    return gradient * problem.unit


@torch.no_grad()
def _backtracked(
    problem: FluenceProblem,
    scaled: Float[Tensor, "k b"],
    gradient: Float[Tensor, "k b"],
    length: Float[Tensor, "k 1"],
) -> Float[Tensor, "k 1"]:
    """Return the longest of halved steps over which the penalty curves by at most 1 / step, for each plan.

    Gradients are compared, not values: near the optimum values differ by rounding alone.
    """
    for _ in range(_TRIES):
        step = (scaled - length * gradient).clamp(min=0) - scaled
        change = _gradient(problem, scaled + step) - gradient
        fits = length * (change * step).sum(1, keepdim=True) <= (step**2).sum(1, keepdim=True)
        if fits.all():
            break
        length = torch.where(fits, length, length * _SHRINK)
    return length


def _product(vectors: Float[Tensor, "k m"], influence: LinearOperator, *, ahead: bool) -> Float[Tensor, "k l"]:
    return _Product.apply(vectors, influence, ahead)


class _Product(torch.autograd.Function):
    """D x or Dᵀ y of any operator: the derivative of either is the other."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, influence: LinearOperator, ahead: bool) -> Tensor:
        ctx.influence, ctx.ahead = influence, ahead
        return influence.forward(vectors) if ahead else influence.adjoint(vectors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        return (ctx.influence.adjoint if ctx.ahead else ctx.influence.forward)(slope), None, None
