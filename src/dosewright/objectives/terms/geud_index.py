"""Generalised equivalent uniform dose."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.dose.dvh import GEUD_FLOOR_GY
from dosewright.objectives.terms.index import AbstractIndex


@final
@dataclass(frozen=True)
class GeudIndex(AbstractIndex):
    """The gEUD (mean of dᵃ)^(1/a), Niemierko 1999 (Med Phys 26, 1100); convex for a ≥ 1, concave for a ≤ 1.

    Formed with logarithms, so that no power overflows; doses under 1e-6 Gy count as that, gradient included.

    Args:
        exponent: a, not 0.

    >>> GeudIndex(2.0).value_and_gradient(torch.tensor([[1.0, 7.0]], dtype=torch.float64))
    (tensor([5.0000], dtype=torch.float64), tensor([[0.1000, 0.7000]], dtype=torch.float64))
    """

    exponent: float

    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """See `AbstractIndex`."""
        floored = _floored(dose_gy)
        logs = self.exponent * floored.log()
        largest = logs.detach().amax(-1, keepdim=True)
        powers = (logs - largest).exp()
        total = powers.sum(-1, dtype=torch.float64)
        geud = (((total / dose_gy.shape[-1]).log() + largest[:, 0]) / self.exponent).exp()
        return geud, powers / floored * (geud / total).to(dose_gy)[:, None]

    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """See `AbstractIndex`."""
        geud, gradient = self.value_and_gradient(dose_gy)
        along = (gradient * direction).sum(-1, keepdim=True) / geud.to(dose_gy)[:, None]
        return (self.exponent - 1.0) * gradient * (direction / _floored(dose_gy) - along)


def _floored(dose_gy: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
    """Doses of at least the floor, with slope 1 below it too."""
    return dose_gy + (GEUD_FLOOR_GY - dose_gy.detach()).clamp_min(0.0)
