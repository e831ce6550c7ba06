"""Mean absolute dose difference inside the dose mask."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dosewright.training.losses.reference import masked_mean, reference_of


class MaskedL1(nn.Module):
    """Mean |Δ| in Gy over the dose mask of each sample, then over samples: OpenKBP's dose score."""

    def forward(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the loss in Gy.

        Args:
            outputs: Predicted dose in Gy.
            batch: With the dose and the dose mask.

        Raises:
            InputError: If one of them is missing or of another shape.
        """
        reference_gy, mask = reference_of(outputs, batch)
        return masked_mean((outputs - reference_gy).abs(), mask)
