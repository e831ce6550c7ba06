"""Huber-like dose difference inside the dose mask."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from dosewright.core.errors import InputError
from dosewright.training.losses.reference import masked_mean, reference_of


class MaskedSmoothL1(nn.Module):
    """Mean over the dose mask of Δ²/2β where |Δ| < β and |Δ| - β/2 elsewhere, then over samples.

    Args:
        beta_gy: β in Gy: half-width of the quadratic part. The β = 0.25 of GDP-HMM entries applies to dose / 10 Gy,
            that is 2.5 Gy.

    Raises:
        InputError: If β is not positive.
    """

    def __init__(self, beta_gy: float = 2.5) -> None:
        super().__init__()
        if not beta_gy > 0:
            raise InputError("must be positive", argument="beta_gy", value=beta_gy)
        self.beta_gy = beta_gy

    def forward(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the loss in Gy.

        Args:
            outputs: Predicted dose in Gy.
            batch: With the dose and the dose mask.

        Raises:
            InputError: If one of them is missing or of another shape.
        """
        reference_gy, mask = reference_of(outputs, batch)
        return masked_mean(smooth_l1_loss(outputs, reference_gy, reduction="none", beta=self.beta_gy), mask)
