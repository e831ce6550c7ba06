"""Squared violation of a limit on an index."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dosewright.objectives.terms.index import AbstractIndex
from dosewright.objectives.terms.term import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class IndexTerm(AbstractTerm):
    """(I − D)₊² of an index I of the dose that is to be at most D, or (D − I)₊² where it is to be at least D.

    Convex where the index is convex (upper) or concave (lower).

    Args:
        rows: Voxels of the structure.
        priority: See `AbstractTerm`.
        dose_gy: D.
        index: I, such as the mean dose.
        upper: Whether I is to be at most D.
    """

    rows: Int[Tensor, " m"]
    priority: Float[Tensor, " p"]
    dose_gy: Float[Tensor, " q"]
    index: AbstractIndex
    upper: bool

    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """See `AbstractTerm`."""
        index_gy, gradient = self.index.value_and_gradient(dose_gy)
        excess = self._excess(index_gy)
        return excess.square(), (2.0 * excess).to(dose_gy)[:, None] * gradient

    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """See `AbstractTerm`."""
        index_gy, gradient = self.index.value_and_gradient(dose_gy)
        excess = self._excess(index_gy)[:, None]
        along = (gradient * direction).sum(-1, keepdim=True)
        product = torch.where(excess != 0, 2.0 * along, torch.zeros_like(along)) * gradient
        bending = self.index.hessian_product(dose_gy, direction)
        return product if bending is None else product + (2.0 * excess).to(dose_gy) * bending

    def _excess(self, index_gy: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        difference = index_gy - self.dose_gy.to(index_gy)
        return difference.clamp_min(0.0) if self.upper else difference.clamp_max(0.0)
