"""Difference of dose moments (generalised equivalent uniform doses)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core.errors import InputError
from dosewright.training.losses.reference import mean_over_structures


class MomentLoss(nn.Module):
    """Mean |ΔM_a| over exponents, present structures, and samples, with M_a = (mean of d^a)^(1/a), in Gy.

    M_1 is the mean dose, large a approach the maximum, negative a the minimum. Jhanwar et al. 2022 (Phys Med Biol 67
    185017) choose a = 1, 2, 10 and sum squares over structures; the mean of absolute values keeps the unit, and one
    weight for any number of structures.

    Args:
        exponents: The a, none of them 0.
        floor_gy: Doses below count as this much, without gradient: powers of negative doses are undefined.

    Raises:
        InputError: If there is no exponent, one is 0, or the floor is not positive.
    """

    def __init__(self, exponents: Sequence[float | int] = (1.0, 2.0, 10.0), floor_gy: float = 1e-3) -> None:
        super().__init__()
        self.exponents = tuple(float(a) for a in exponents)
        if not self.exponents or 0.0 in self.exponents:
            raise InputError("must be one or more numbers other than 0", argument="exponents", value=self.exponents)
        if not floor_gy > 0:
            raise InputError("must be positive", argument="floor_gy", value=floor_gy)
        self.floor_gy = floor_gy

    def forward(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the loss in Gy.

        Args:
            outputs: Predicted dose in Gy.
            batch: With the dose, the dose mask and the structures.

        Raises:
            InputError: If one of them is missing or of another shape.
        """
        return mean_over_structures(outputs, batch, self._distance)

    def _distance(self, predicted_gy: Float[Tensor, " n"], reference_gy: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        return (self._moments(predicted_gy) - self._moments(reference_gy)).abs().mean()

    def _moments(self, dose_gy: Float[Tensor, " n"]) -> Float[Tensor, " a"]:
        """Moments in Gy; through logarithms, so that no power over- or underflows."""
        log_dose, log_count = dose_gy.clamp(min=self.floor_gy).log(), math.log(len(dose_gy))
        return torch.stack([((torch.logsumexp(a * log_dose, dim=0) - log_count) / a).exp() for a in self.exponents])
