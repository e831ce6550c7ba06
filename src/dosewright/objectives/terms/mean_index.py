"""Mean dose."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.objectives.terms.index import AbstractIndex


@final
@dataclass(frozen=True)
class MeanIndex(AbstractIndex):
    """The mean dose; linear.

    >>> MeanIndex().value_and_gradient(torch.tensor([[1.0, 3.0]]))
    (tensor([2.], dtype=torch.float64), tensor([[0.5000, 0.5000]]))
    """

    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """See `AbstractIndex`."""
        share = dose_gy.new_full((1, 1), 1.0 / dose_gy.shape[-1])
        return dose_gy.mean(-1, dtype=torch.float64), share.expand_as(dose_gy)

    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> None:
        """See `AbstractIndex`."""
        return
