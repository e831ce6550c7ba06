"""Dose influence as a dense matrix in half precision, for many plans at once."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_influence import DoseInfluence

_COLUMNS_AT_ONCE = 512  # turned dense together; bounds the memory beside the matrix


@final
class DenseInfluence:
    """A dose influence as one dense matrix, which processors with bfloat16 units multiply faster than a sparse one.

    Worth it for some dozens of plans together; entries, fluence and slopes are rounded to three digits.

    Args:
        influence: The matrix; its device is kept.
        dtype: What entries are rounded to.
    """

    def __init__(self, influence: DoseInfluence, dtype: torch.dtype = torch.bfloat16) -> None:
        self.shape = influence.shape
        self.beamlets: Beamlets = influence.beamlets
        self.column_norms = influence.column_norms
        self.dtype, self.device = influence.dtype, influence.device
        self._transposed = torch.empty(self.shape[::-1], dtype=dtype, device=self.device)
        csc = influence.csc
        for first in range(0, self.shape[1], _COLUMNS_AT_ONCE):
            columns = torch.from_numpy(csc[:, first : first + _COLUMNS_AT_ONCE].T.toarray())
            self._transposed[first : first + len(columns)] = columns.to(self.device, dtype)

    def forward(self, fluence: Float[Tensor, "*k b"]) -> Float[Tensor, "*k n"]:
        """Return the dose D x in Gy, in the influence's precision."""
        return (fluence.detach().to(self.device, self._transposed.dtype) @ self._transposed).to(self.dtype)

    def adjoint(self, slope: Float[Tensor, "*k n"]) -> Float[Tensor, "*k b"]:
        """Return Dᵀ y."""
        return (slope.detach().to(self.device, self._transposed.dtype) @ self._transposed.T).to(self.dtype)
