"""A dose limit that must hold."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dosewright.objectives.terms.index_term import IndexTerm
from dosewright.objectives.terms.mean_index import MeanIndex
from dosewright.objectives.terms.quadratic import QuadraticTerm
from dosewright.objectives.terms.term import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class DoseConstraint:
    """g(d) ≤ 0 with g the excess over (upper) or the lack below a limit, per voxel or of the mean.

    Args:
        name: What it says, for reports.
        rows: Voxels of the structure among the n of the dose.
        dose_gy: The limit, per plan or for all.
        upper: Whether it is a most.
        mean: Whether it is about the mean; else about every voxel.
    """

    name: str
    rows: Int[Tensor, " m"]
    dose_gy: Float[Tensor, " p"]
    upper: bool
    mean: bool

    def excess(self, dose_gy: Float[Tensor, "k n"]) -> Float[Tensor, "k c"]:
        """Return g in Gy, positive where violated: c = 1 for a mean, else the structure's m voxels.

        Args:
            dose_gy: Dose in all n voxels.
        """
        inside = dose_gy[:, self.rows]
        if self.mean:
            inside = inside.mean(-1, keepdim=True, dtype=torch.float64).to(dose_gy)
        difference = inside - self.dose_gy.to(dose_gy)[:, None]
        return difference if self.upper else -difference

    def augmented(self, multiplier: Float[Tensor, "k c"], stiffness: Float[Tensor, " s"]) -> AbstractTerm:
        """Return the term whose priority · value is ρ/2 · Σ (g + λ/ρ)₊²: the constraint in an augmented Lagrangian.

        Its gradient is (λ + ρ g)₊, the next multiplier, times that of g. Nocedal & Wright 2006, eq. 17.65, up to a
        constant.

        Args:
            multiplier: λ ≥ 0, one for each entry of `excess`.
            stiffness: ρ > 0, per plan or for all.
        """
        shift = multiplier / stiffness.to(multiplier)[:, None]
        limit = self.dose_gy.to(multiplier)[:, None] + (-shift if self.upper else shift)
        if self.mean:
            return IndexTerm(self.rows, stiffness / 2.0, limit[:, 0], MeanIndex(), self.upper)
        priority = stiffness * (len(self.rows) / 2.0)
        return QuadraticTerm(self.rows, priority, reference_gy=limit, over=self.upper, under=not self.upper)

    def of_plans(self, plans: Int[Tensor, " j"]) -> "DoseConstraint":
        """Return the constraint of some plans of the batch."""
        if len(self.dose_gy) == 1:
            return self
        return DoseConstraint(self.name, self.rows, self.dose_gy[plans], self.upper, self.mean)
