"""The optimised dose as a differentiable function of what the penalty is made of: doses, priorities, a mimicked dose.

At the optimum x*(θ) of penalty(D x; θ) + xᵀ S x over x ≥ 0 the gradient vanishes on the free set F = {x* > 0}, and F
stays as it is for small changes of θ. Differentiating that condition (implicit function theorem) gives for a loss with
gradient ḡ with respect to the dose

    H_F v = D_Fᵀ ḡ,   H = Dᵀ P″ D + 2 S,   dL/dθ = −(D_F v)ᵀ ∂(∇_d penalty)/∂θ,

one linear system whatever the number of parameters, solved by conjugate gradients in the scaled fluences of the
problem. Where a beamlet sits at zero with zero gradient the optimised dose has a kink, and this is the derivative of
one side. `fluence.unrolled` computes the same by differentiating the iterations, as a check.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.solver import AbstractSolver, Result, solve

Product = Callable[[Float[Tensor, "k b"]], Float[Tensor, "k b"]]


def optimised_dose(
    problem: FluenceProblem,
    solver: AbstractSolver,
    start: Float[Tensor, "k b"] | None = None,
    *,
    damping: float = 1e-6,
    tolerance: float = 1e-5,
    max_steps: int = 200,
) -> tuple[Float[Tensor, "k n"], Result]:
    """Return the dose in Gy of the optimal fluence, differentiable, and the solver's result.

    Gradients flow to the tensors the penalty was built from, where its `value_and_gradient` is differentiable with
    respect to them; not to the influence, the smoothness or the start. They are as exact as the optimum: solve to a
    tight tolerance. Terms that are not convex (DVH points) enter with the curvature the penalty reports.
    The result of `AugmentedLagrangian` holds constraints this derivative knows nothing of.

    Args:
        problem: Its penalty may depend on tensors that require gradients.
        solver: Of the forward pass.
        start: Fluence to start from; the solver's own start by default.
        damping: Added to the diagonal of H_F, relative to its Rayleigh quotient at the right-hand side; fluence that
            hardly changes the penalty then does not blow up.
        tolerance: Of the conjugate gradients: residual over right-hand side.
        max_steps: Of the conjugate gradients.

    Raises:
        InputError: If a number is out of range.
    """
    if not damping >= 0:
        raise InputError("must not be negative", argument="damping", value=damping)
    if not 0 < tolerance < 1:
        raise InputError("must be in (0, 1)", argument="tolerance", value=tolerance)
    if max_steps < 1:
        raise InputError("must be at least 1", argument="max_steps", value=max_steps)
    with torch.autocast(problem.unit.device.type, enabled=False):
        with torch.no_grad():
            result = solve(problem, solver, start)
        _, slope = problem.penalty.value_and_gradient(result.dose.detach())
    dose = _Sensitivity.apply(slope, problem, result, (damping, tolerance, max_steps))
    return dose, result


class _Sensitivity(torch.autograd.Function):
    """The optimal dose, as a function of the penalty's dose gradient at it."""

    @staticmethod
    def forward(
        ctx: Any, slope: Tensor, problem: FluenceProblem, result: Result, settings: tuple[float, float, int]
    ) -> Tensor:
        ctx.slope, ctx.problem, ctx.result, ctx.settings = slope.detach(), problem, result, settings
        return result.dose.detach().clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dose_bar: Tensor) -> tuple[Tensor, None, None, None]:
        problem, dose = ctx.problem, ctx.result.dose.detach()
        damping, tolerance, max_steps = ctx.settings
        with torch.autocast(dose_bar.device.type, enabled=False):
            right = problem.influence.adjoint(dose_bar) * problem.unit
            free = free_beamlets(problem, ctx.result.fluence, ctx.slope, right)
            product = free_hessian(problem, dose, free)
            change = conjugate_gradients(
                product, torch.where(free, right, 0), damping=damping, tolerance=tolerance, max_steps=max_steps
            )
            return -problem.scaled_dose(change), None, None, None


def free_beamlets(
    problem: FluenceProblem, fluence: Float[Tensor, "k b"], slope: Float[Tensor, "k n"], probe: Float[Tensor, "k b"]
) -> Bool[Tensor, "k b"]:
    """Return the beamlets that a small change of the penalty would move.

    Iterations stop with some beamlets just above 0 that a gradient step would clip to it: those count as fixed
    (Bertsekas 1982). The step is 1 / the Hessian's Rayleigh quotient at `probe`.
    """
    scaled = problem.to_scaled(fluence)
    gradient = problem.influence.adjoint(slope)
    if problem.roughness is not None:
        gradient = gradient + problem.roughness.gradient(fluence)
    gradient = gradient * problem.unit
    positive = (scaled > 0) & (problem.unit > 0)
    probe = torch.where(positive, probe, 0)
    bent = _dot(probe, free_hessian(problem, problem.dose(fluence), positive)(probe))
    step = torch.where(bent > 0, _dot(probe, probe) / torch.where(bent > 0, bent, 1), 0)
    return positive & (scaled > step * gradient)


def free_hessian(problem: FluenceProblem, dose: Float[Tensor, "k n"], free: Bool[Tensor, "k b"]) -> Product:
    """Return the product of the Hessian with respect to scaled fluence at a dose, on the free beamlets.

    Args:
        problem: Its penalty's `curvature(dose).product(direction)` is used; one without is differentiated twice.
        dose: In Gy.
        free: Beamlets that may move; rows and columns of the others are zero.
    """
    curvature = getattr(problem.penalty, "curvature", None)
    curved = None if curvature is None else curvature(dose)

    def product(scaled: Float[Tensor, "k b"]) -> Float[Tensor, "k b"]:
        direction = problem.scaled_dose(scaled)
        bent = _second_derivative(problem, dose, direction) if curved is None else curved.product(direction)
        out = problem.influence.adjoint(bent)
        if problem.roughness is not None:
            out = out + problem.roughness.gradient(scaled * problem.unit)
        return torch.where(free, out * problem.unit, 0)

    return product


def conjugate_gradients(
    product: Product, right: Float[Tensor, "k b"], *, damping: float, tolerance: float, max_steps: int
) -> Float[Tensor, "k b"]:
    """Return v of (A + λ) v = `right` for each plan, A symmetric and positive semidefinite.

    λ is `damping` times the Rayleigh quotient of `right`. A plan that has met the tolerance, or along whose direction A
    does not curve upwards, stays as it is while the others go on.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    direction = right.clone()
    squared = _dot(residual, residual)
    enough = squared * tolerance**2
    curved = product(right)
    tiny = torch.finfo(right.dtype).tiny
    shift = damping * _dot(right, curved) / squared.clamp(min=tiny)
    for step in range(max_steps):
        curved = (curved if step == 0 else product(direction)) + shift * direction
        bend = _dot(direction, curved)
        active = (squared > enough) & (bend > 0)
        if not active.any():
            break
        length = torch.where(active, squared / torch.where(active, bend, 1), 0)
        solution = solution + length * direction
        residual = residual - length * curved
        before, squared = squared, torch.where(active, _dot(residual, residual), squared)
        direction = torch.where(active, residual + squared / before.clamp(min=tiny) * direction, direction)
    return solution


def _dot(left: Float[Tensor, "k b"], right: Float[Tensor, "k b"]) -> Float[Tensor, "k 1"]:
    return (left * right).sum(1, keepdim=True)


def _second_derivative(
    problem: FluenceProblem, dose: Float[Tensor, "k n"], direction: Float[Tensor, "k n"]
) -> Float[Tensor, "k n"]:
    with torch.enable_grad():
        at = dose.detach().requires_grad_()
        _, slope = problem.penalty.value_and_gradient(at)
        return torch.autograd.grad(slope, at, direction)[0]
