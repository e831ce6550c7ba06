"""Mean dose as it is."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dosewright.objectives.terms.mean_index import MeanIndex
from dosewright.objectives.terms.term import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class MeanTerm(AbstractTerm):
    """The mean dose in Gy, not squared; linear.

    Args:
        rows: Voxels of the structure.
        priority: See `AbstractTerm`.
        dose_gy: Always None.
    """

    rows: Int[Tensor, " m"]
    priority: Float[Tensor, " p"]
    dose_gy: None = None

    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """See `AbstractTerm`."""
        return MeanIndex().value_and_gradient(dose_gy)

    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """See `AbstractTerm`."""
        return torch.zeros_like(direction)
