"""Mean of the hottest or coldest part of a structure."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.objectives.terms.index import AbstractIndex

_LEAST_COUNTED = 1e-6  # of a voxel; rounding would leave nothing of less


@final
@dataclass(frozen=True)
class CvarIndex(AbstractIndex):
    """Mean dose of the hottest (upper) or coldest v % of the volume: conditional value at risk; convex, or concave.

    Rockafellar & Uryasev 2000 (J Risk 2(3)): where v % is not a whole number of voxels, the last one counts in part;
    less than one voxel gives the extreme dose. Voxels of the very dose at the border share what is left.

    Args:
        volume_percent: v in (0, 100].
        upper: Whether the hottest part is meant.

    >>> CvarIndex(50.0, upper=True).value_and_gradient(torch.tensor([[1.0, 4.0, 2.0]]))[0]
    tensor([3.3333], dtype=torch.float64)
    """

    volume_percent: float
    upper: bool

    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """See `AbstractIndex`."""
        weights = self._weights(dose_gy.detach())
        return (weights * dose_gy).sum(-1, dtype=torch.float64), weights

    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> None:
        """See `AbstractIndex`."""
        return

    def _weights(self, dose_gy: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """Share of each voxel in the mean."""
        voxels = dose_gy.shape[-1]
        counted = max(round(voxels * self.volume_percent / 100.0, 6), _LEAST_COUNTED)
        rank = math.ceil(counted)
        border = dose_gy.kthvalue(voxels - rank + 1 if self.upper else rank, dim=-1, keepdim=True).values
        inside = dose_gy > border if self.upper else dose_gy < border
        at_border = dose_gy == border
        left = counted - inside.sum(-1, keepdim=True, dtype=dose_gy.dtype)
        return (inside + at_border * (left / at_border.sum(-1, keepdim=True))) / counted
