"""Squared violation of a DVH point."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.objectives.terms.term import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class DvhTerm(AbstractTerm):
    """Mean over voxels of (d − D)² of the voxels that make the DVH miss the point (D, v); not convex.

    Upper (at most v % above D): voxels above D, but not the hottest v %, which may be. Lower (at least v % at D or
    more): voxels below D, but not the coldest 100 − v %. Wu & Mohan 2000 (Med Phys 27(4), eq. 5); which voxels stand at
    the percentile is taken as pyRadPlan does: d ≤ the linear (100 − v)-th percentile, or ≥ for lower. Continuous; as
    gradient the set of voxels is held.

    Args:
        rows: Voxels of the structure.
        priority: See `AbstractTerm`.
        dose_gy: D.
        volume_percent: v.
        upper: Whether the volume is to be at most v.
    """

    rows: Int[Tensor, " m"]
    priority: Float[Tensor, " p"]
    dose_gy: Float[Tensor, " q"]
    volume_percent: float
    upper: bool

    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """See `AbstractTerm`."""
        excess = self._excess(dose_gy)
        return excess.square().mean(-1, dtype=torch.float64), excess * (2.0 / dose_gy.shape[-1])

    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """See `AbstractTerm`; the set of voxels is held."""
        held = self._excess(dose_gy) != 0
        return torch.where(held, direction * (2.0 / dose_gy.shape[-1]), torch.zeros_like(direction))

    def _excess(self, dose_gy: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        difference = dose_gy - self.dose_gy.to(dose_gy)[:, None]
        difference = difference.clamp_min(0.0) if self.upper else difference.clamp_max(0.0)
        return torch.where(self._counted(dose_gy.detach()), difference, torch.zeros_like(difference))

    def _counted(self, dose_gy: Float[Tensor, "k m"]) -> Bool[Tensor, "k m"]:
        """Voxels not excused by the volume."""
        position = round((dose_gy.shape[-1] - 1) * (1.0 - self.volume_percent / 100.0), 6)
        if self.upper:
            return dose_gy <= dose_gy.kthvalue(math.floor(position) + 1, dim=-1, keepdim=True).values
        return dose_gy >= dose_gy.kthvalue(math.ceil(position) + 1, dim=-1, keepdim=True).values
