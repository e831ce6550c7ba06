"""The Hessian of a penalty at one dose."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.objectives.terms.term import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class Curvature:
    """The (generalised) Hessian with respect to the dose: a diagonal, and terms that couple voxels.

    Symmetric; positive semidefinite where all terms are convex.

    Args:
        dose_gy: Where it is taken.
        diagonal: Of the voxel-wise quadratic terms, priorities included.
        terms: The other terms.
    """

    dose_gy: Float[Tensor, "k n"]
    diagonal: Float[Tensor, "k n"]
    terms: tuple[AbstractTerm, ...]

    @torch.no_grad()
    def product(self, direction: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
        """Return the Hessian times a direction."""
        columns, doses = direction.T.contiguous(), self.dose_gy.T.contiguous()  # voxels first: rows are gathered fast
        result = self.diagonal.T * columns
        for term in self.terms:
            inside = columns.index_select(0, term.rows)
            product = term.hessian_product(doses.index_select(0, term.rows).T, inside.T).T
            result.index_add_(0, term.rows, term.priority * product)
        return result.T
