"""A loss that compares structures with the reference plan only where the reference plan was asked for."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core import keys
from dosewright.core.preference import NEUTRAL


class NeutralOnly(nn.Module):
    """A structure-wise loss (moments, DVH) for samples whose sliders are neutral; others add nothing.

    A reference DVH contradicts a slider that was moved; there `ObjectiveLoss` says what is wanted. The mean stays one
    over all samples of the batch.

    Args:
        loss: A loss over structures; it sees none of a moved sample.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the loss in Gy.

        Args:
            outputs: Predicted dose in Gy.
            batch: With what the loss needs; without `keys.PREFERENCE` all samples are neutral.
        """
        if keys.PREFERENCE in batch and keys.STRUCTURES in batch:
            neutral = (batch[keys.PREFERENCE] == NEUTRAL).all(dim=1)
            batch = {**batch, keys.STRUCTURES: batch[keys.STRUCTURES] & neutral[:, None, None, None, None]}
        return self.loss(outputs, batch)
