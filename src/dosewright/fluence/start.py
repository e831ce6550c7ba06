"""Where a solve starts: equal fluence of the best height, or a fluence that is given."""

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.line_search import Ray, search
from dosewright.fluence.problem import FluenceProblem

FIRST_MEAN_GY = 1.0  # of the first trial; the search goes on from there


def default_start(problem: FluenceProblem) -> Float[Tensor, "k b"]:
    """Return equal fluence in every open beamlet, of the height with the least penalty for each plan.

    Costs three products.
    """
    closed = torch.zeros_like(problem.unit).expand(problem.plans, -1)
    ray = Ray(problem, problem.point(closed), problem.to_scaled((problem.unit > 0).to(closed.dtype)).expand_as(closed))
    mean = ray.dose.abs().mean(1).double().clamp(min=torch.finfo(torch.float32).tiny)
    height = search(ray, FIRST_MEAN_GY / mean, torch.full_like(mean, torch.inf)).step
    return problem.to_fluence(height.to(closed.dtype)[:, None] * ray.direction)


def checked_start(problem: FluenceProblem, start: Float[Tensor, "*k b"]) -> Float[Tensor, "k b"]:
    """Return a start as (k, b) on the problem's device, in its precision.

    Raises:
        InputError: If its shape is neither (b,) nor (k, b), or an entry is negative or not finite.
    """
    beamlets = problem.influence.shape[1]
    if tuple(start.shape) not in ((beamlets,), (1, beamlets), (problem.plans, beamlets)):
        shapes = f"({beamlets},) or ({problem.plans}, {beamlets})"
        raise InputError(f"must be {shapes}", argument="start.shape", value=tuple(start.shape))
    if not bool(torch.isfinite(start).all()) or bool((start < 0).any()):
        raise InputError("must be finite and not negative", argument="start", value=float(start.min()))
    return start.detach().to(problem.unit).expand(problem.plans, -1)
