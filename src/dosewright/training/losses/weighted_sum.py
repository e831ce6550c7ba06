"""Several losses as one."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core.errors import InputError


class WeightedSum(nn.Module):
    """Sum of named losses times their weights.

    `last_parts` holds the unweighted values of the latest call, detached, for logging, and "name/part" for each part of
    a loss that has parts of its own.

    Args:
        losses: Name → loss.
        weights: Name → weight, the same names; a loss of weight 0 is still computed, so that it can be watched.

    Raises:
        InputError: If there is no loss, or names differ.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float | int]) -> None:
        super().__init__()
        if not losses or set(losses) != set(weights):
            raise InputError("must name the losses", argument="weights", value=(sorted(losses), sorted(weights)))
        self.losses = nn.ModuleDict(dict(losses))
        self.weights = {name: float(weight) for name, weight in weights.items()}
        self.last_parts: dict[str, Tensor] = {}

    def parts(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return each loss's own value, unweighted, in Gy."""
        return {name: loss(outputs, batch) for name, loss in self.losses.items()}

    def forward(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the weighted sum.

        Args:
            outputs: Predicted dose in Gy.
            batch: With what the losses need.
        """
        parts = self.parts(outputs, batch)
        self.last_parts = {name: value.detach() for name, value in parts.items()}
        for name, loss in self.losses.items():
            self.last_parts |= {f"{name}/{part}": v for part, v in getattr(loss, "last_parts", {}).items()}
        return torch.stack([self.weights[name] * value for name, value in parts.items()]).sum()
