"""Search along a feasible segment z + t p, on which the dose is d + t q: no products with D, penalties only.

One product q = D p serves the whole search, and the gradient of the penalty at the end is what the next step needs
anyway; so a step costs one product with D and one with Dᵀ whatever the number of trials.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.fluence.problem import FluenceProblem, Point

ARMIJO = 1e-4  # least share of the decrease the slope promises (Nocedal & Wright 2006, eq. 3.6a)
FLAT = 0.3  # a search ends where the slope falls to this share of the first: near exact, as trials are cheap
MOST_TRIALS = 8
ROUNDING = 4.0  # a rise of a value by this many units in its last place is none


@dataclass(frozen=True)
class Trial:
    """A step along a ray for each plan: the penalty there (without smoothness in `penalty`, with it in `value`)."""

    step: Float[Tensor, " k"]
    value: Float[Tensor, " k"]
    slope: Float[Tensor, " k"]
    penalty: Float[Tensor, " k"]
    dose: Float[Tensor, "k n"]
    dose_gradient: Float[Tensor, "k n"]

    def where(self, chosen: Bool[Tensor, " k"], other: "Trial") -> "Trial":
        """Return this trial for the chosen plans, the other one for the rest."""
        if bool(chosen.all()):
            return self
        parts = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return Trial(*(torch.where(chosen.reshape(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in parts))


class Ray:
    """The penalty along z + t p; making it costs one product with D.

    Args:
        problem: The problem.
        point: Where the ray starts.
        direction: p (k, b), in scaled units.
    """

    def __init__(self, problem: FluenceProblem, point: Point, direction: Float[Tensor, "k b"]) -> None:
        self.point, self.direction, self._penalty = point, direction, problem.penalty
        self.dose = problem.scaled_dose(direction)
        self._rough, self._tilt, self._bend = problem.along(point.scaled, direction)
        slope = (point.gradient * direction).sum(1).double()
        still = torch.zeros_like(slope)
        self.start = Trial(still, point.value, slope, point.value - self._rough, point.dose, point.dose_gradient)

    def at(self, step: Float[Tensor, " k"]) -> Trial:
        """Return the trial of a step: one evaluation of the penalty."""
        dose = torch.addcmul(self.point.dose, step.to(self.dose.dtype)[:, None], self.dose)
        penalty, gradient = self._penalty.value_and_gradient(dose)
        penalty = penalty.double()
        slope = torch.linalg.vecdot(gradient, self.dose).double() + self._tilt + 2 * step * self._bend
        value = penalty + self._rough + step * self._tilt + step**2 * self._bend
        return Trial(step, value, slope, penalty, dose, gradient)


def search(ray: Ray, first: Float[Tensor, " k"], limit: Float[Tensor, " k"]) -> Trial:
    """Return a step in (0, limit] near the least value along a ray; the start where no trial was lower.

    Brackets the zero of the slope and closes in by secants, which for piecewise quadratic penalties takes two or three
    trials. The first trial is at `first`.
    """
    start = low = best = ray.start
    slack = rounding(start.dose) * start.value.abs()
    high, step = torch.full_like(limit, torch.inf), torch.minimum(first, limit)
    high_slope = torch.full_like(limit, torch.nan)
    for _ in range(MOST_TRIALS):
        trial = ray.at(step)
        enough = trial.value <= start.value + ARMIJO * step * start.slope + slack
        flat = (trial.slope.abs() <= FLAT * start.slope.abs()) | ((trial.slope < 0) & (step >= limit))
        good = enough & flat
        best = trial.where(enough & ((trial.value <= best.value) | good), best)
        if bool(good.all()):
            break
        rising = ~(enough & (trial.slope < 0))  # also where the value is not finite
        high = torch.where(rising & ~good, step, high)
        high_slope = torch.where(rising & ~good, trial.slope, high_slope)
        low, before = trial.where(~rising, low), low
        step = torch.where(good, step, _next(low, before, high, high_slope, limit))
    return best


def rounding(dose: Float[Tensor, "k n"]) -> float:
    """Return the relative error of a penalty of such doses."""
    return ROUNDING * torch.finfo(dose.dtype).eps


def _next(
    low: Trial, before: Trial, high: Float[Tensor, " k"], high_slope: Float[Tensor, " k"], limit: Float[Tensor, " k"]
) -> Float[Tensor, " k"]:
    """Return the next step: the secant's zero, kept off the bracket's ends; up to ten times as far where none is."""
    closed = torch.isfinite(high)
    width = torch.where(closed, high - low.step, 0)
    secant = low.step + width * low.slope / (low.slope - high_slope)
    secant = torch.where(torch.isfinite(secant) & (high_slope > 0), secant, low.step + width / 2)
    inside = torch.clamp(secant, low.step + 0.05 * width, low.step + 0.95 * width)
    moved = low.step - before.step
    beyond = low.step + moved * low.slope / (before.slope - low.slope)
    beyond = torch.where((low.slope > before.slope) & torch.isfinite(beyond), beyond, 10 * low.step)
    beyond = torch.clamp(beyond, 1.1 * low.step, 10 * low.step)
    return torch.minimum(torch.where(closed, inside, beyond), limit)
