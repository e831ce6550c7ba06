"""Squared violation of a dose level, voxel by voxel."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.objectives.terms.term import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class QuadraticTerm(AbstractTerm):
    """Mean over voxels of (d − D)², of the doses above D only, below only, or both; convex.

    D is one dose per plan, or a reference dose per voxel (mimicking).

    Args:
        rows: Voxels of the structure.
        priority: See `AbstractTerm`.
        dose_gy: D, or None when there is a reference.
        reference_gy: D of each voxel, for all plans (1, m) or each (k, m).
        over: Whether doses above D count.
        under: Whether doses below D count.

    Raises:
        InputError: If neither side counts, or not exactly one of dose and reference is given.
    """

    rows: Int[Tensor, " m"]
    priority: Float[Tensor, " p"]
    dose_gy: Float[Tensor, " q"] | None = None
    reference_gy: Float[Tensor, "r m"] | None = None
    over: bool = True
    under: bool = False

    def __post_init__(self) -> None:
        if not (self.over or self.under):
            raise InputError("must be true for one side at least", argument="over, under", value=(False, False))
        if (self.dose_gy is None) == (self.reference_gy is None):
            raise InputError("must be given, exactly one of them", argument="dose_gy, reference_gy")

    @property
    def level_gy(self) -> Float[Tensor, "p m_or_1"]:
        """D as (plans, voxels), either of length 1 when shared."""
        if self.reference_gy is not None:
            return self.reference_gy
        assert self.dose_gy is not None
        return self.dose_gy[:, None]

    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """See `AbstractTerm`."""
        excess = self._excess(dose_gy)
        return excess.square().mean(-1, dtype=torch.float64), excess * (2.0 / dose_gy.shape[-1])

    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """See `AbstractTerm`; a voxel on the kink does not count."""
        factor = 2.0 / dose_gy.shape[-1]
        if self.over and self.under:
            return factor * direction.expand_as(dose_gy)
        return torch.where(self._excess(dose_gy) != 0, factor * direction, torch.zeros_like(direction))

    def _excess(self, dose_gy: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        difference = dose_gy - self.level_gy.to(dose_gy)
        if self.over and self.under:
            return difference
        return difference.clamp_min(0.0) if self.over else difference.clamp_max(0.0)
