"""One approximate inverse Hessian for many plans of a patient: what beamlets have in common, whatever the priorities.

Most of the curvature of a fluence problem lies in few directions (beamlets that overlap). A randomised singular value
decomposition (Halko, Martinsson & Tropp 2011, algorithm 4.1 and 5.1) of the weighted influence finds them by two
products with some hundred columns; the inverse is damped where the decomposition ends (Frangella, Tropp & Udell 2023).
"""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.problem import LinearOperator

SEED = 0
_LEAST = 1e-3  # of the largest eigenvalue; what is smaller is not known well enough from rounded entries


@final
class Preconditioner:
    """An approximation of the inverse of H = U Dᵀ W D U: (Uᵣ Λᵣ Uᵣᵀ + μ I)⁻¹ with μ = λᵣ, the last one,
    or a thousandth of the first where that is more.

    Args:
        influence: D, or some of its rows.
        weight: Diagonal of W, the penalty's second derivatives, not negative, of the rows of D.
        unit: Diagonal of U, fluence per scaled fluence.
        rank: r, directions.

    Raises:
        InputError: If the rank is not positive, or no row has both a weight and an entry.
    """

    def __init__(
        self, influence: LinearOperator, weight: Float[Tensor, " n"], unit: Float[Tensor, " b"], rank: int
    ) -> None:
        if rank < 1:
            raise InputError("must be at least 1", argument="rank", value=rank)
        if not bool((weight > 0).any()):
            raise InputError("must be positive somewhere", argument="weight", value=0.0)
        rank = min(rank, *influence.shape)
        generator = torch.Generator().manual_seed(SEED)
        probes = torch.randn(rank, len(unit), generator=generator, dtype=unit.dtype).to(unit.device)
        root = weight.to(unit).sqrt()
        seen = _orthonormal(influence.forward(probes * unit) * root)
        if not len(seen):
            rule = "must be positive where the influence is not zero"
            raise InputError(rule, argument="weight", value=float(weight.max()))
        mapped = influence.adjoint(seen * root) * unit
        eigenvalues, vectors = torch.linalg.eigh(mapped @ mapped.T)
        size = eigenvalues.clamp(min=_LEAST * float(eigenvalues[-1]))
        self.eigenvalues = size.flip(0)
        self.damping = float(size[0])
        self._basis = ((vectors.T @ mapped) / size.sqrt()[:, None]).contiguous()
        self._change = 1 / (size + self.damping) - 1 / self.damping

    def product(self, gradient: Float[Tensor, "k b"]) -> Float[Tensor, "k b"]:
        """Return the inverse times the gradient of each plan."""
        inside = gradient @ self._basis.T
        return torch.addmm(gradient, inside * self._change, self._basis, beta=1 / self.damping)

    def form(self, change: Float[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """Return yᵀ P y of each plan's y, P being the inverse."""
        inside = change @ self._basis.T
        return change.square().sum(1) / self.damping + inside.square() @ self._change


def _orthonormal(rows: Float[Tensor, "r n"]) -> Float[Tensor, "m n"]:
    """Return rows that span the same space, but for what rounding makes up, and are orthonormal, but for rounding."""
    rows = rows.contiguous()
    sizes, vectors = torch.linalg.eigh((rows @ rows.T).double())
    kept = sizes > len(rows) * torch.finfo(rows.dtype).eps * sizes[-1]
    return (vectors[:, kept] / sizes[kept].sqrt()).T.to(rows.dtype) @ rows
