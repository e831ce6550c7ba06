"""One loss on each output of a cascade or of a deeply supervised net."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from dosewright.core import keys
from dosewright.core.errors import InputError


class DeepSupervisionLoss(nn.Module):
    """Weighted sum of one loss over a net's outputs; coarser outputs meet a batch made as coarse.

    Args:
        loss: Applied to each output.
        weights: One per output, the final one first. With a single output (a net in evaluation) only the first counts.

    Raises:
        InputError: If there is no weight.
    """

    def __init__(self, loss: nn.Module, weights: Sequence[float | int]) -> None:
        super().__init__()
        if not len(weights):
            raise InputError("must hold at least one weight", argument="weights", value=tuple(weights))
        self.loss = loss
        self.weights = tuple(float(weight) for weight in weights)

    @property
    def last_parts(self) -> dict[str, Tensor]:
        """Parts of the loss of the final output, where the loss has parts."""
        return getattr(self.loss, "last_parts", {})

    def forward(
        self, outputs: Float[Tensor, "b 1 z y x"] | Sequence[Float[Tensor, "b 1 ..."]], batch: Mapping[str, Any]
    ) -> Float[Tensor, ""]:
        """Return the sum over outputs of weight times loss.

        Args:
            outputs: Predicted doses in Gy, the final one first.
            batch: With what the loss needs, at the resolution of the final output.

        Raises:
            InputError: If the outputs are not as many as the weights, or do not divide the batch's sizes.
        """
        if isinstance(outputs, Tensor):
            return self.weights[0] * self.loss(outputs, batch)
        if len(outputs) != len(self.weights):
            raise InputError(f"must be {len(self.weights)}, one per weight", argument="outputs", value=len(outputs))
        # The final output last: what the loss remembers of its latest call is then about the final output.
        pairs = list(zip(self.weights, outputs, strict=True))[::-1]
        return torch.stack([weight * self.loss(dose, coarsened(batch, dose.shape[2:])) for weight, dose in pairs]).sum()


def coarsened(batch: Mapping[str, Any], sizes: Sequence[int]) -> Mapping[str, Any]:
    """Return the batch on a grid of `sizes` (z, y, x) over the same extent.

    The dose of a coarse voxel is the mean over its part of the dose mask; a mask holds a coarse voxel when it holds
    half of it or more, so small structures may vanish.

    Raises:
        InputError: If the sizes do not divide the batch's.
    """
    fine = batch[keys.DOSE].shape[2:]
    if tuple(fine) == tuple(sizes):
        return batch
    if any(a % b for a, b in zip(fine, sizes, strict=True)):
        raise InputError(f"must divide the sizes {tuple(fine)} of the batch", argument="sizes", value=tuple(sizes))
    factors = tuple(a // b for a, b in zip(fine, sizes, strict=True))
    dose_gy = batch[keys.DOSE]
    allowed = _shares(batch[keys.DOSE_MASK], factors, dose_gy.dtype)
    inside_gy = avg_pool3d(torch.where(batch[keys.DOSE_MASK], dose_gy, dose_gy.new_zeros(())), factors)
    coarse = {
        **batch,
        keys.DOSE: torch.where(allowed > 0, inside_gy / allowed.clamp(min=1e-6), inside_gy),
        keys.DOSE_MASK: allowed >= 0.5,
    }
    if keys.STRUCTURES in batch:
        coarse[keys.STRUCTURES] = _shares(batch[keys.STRUCTURES], factors, dose_gy.dtype) >= 0.5
    if keys.SPACING in batch:
        coarse[keys.SPACING] = batch[keys.SPACING] * torch.tensor(factors).to(batch[keys.SPACING])
    return coarse


def _shares(masks: Bool[Tensor, "b s z y x"], factors: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Share of each coarse voxel that a mask holds, in [0, 1]."""
    return avg_pool3d(masks.to(dtype), factors)
