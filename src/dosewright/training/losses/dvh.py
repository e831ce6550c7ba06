"""Difference of dose-volume histograms that gradients pass through."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core.errors import InputError
from dosewright.training.losses.reference import mean_over_structures


class DVHLoss(nn.Module):
    """Area between the predicted and the reference DVH, mean over present structures, then over samples.

    The volume at dose t is softened to V(t) = mean over voxels of σ((d - t) / softness) as in Nguyen et al. 2020 (Med
    Phys 47(3), "Incorporating human and learned domain knowledge…"). They take the mean square over bins; the area
    Σ |ΔV(t)| · bin width is in Gy like the other losses: shifting a structure's dose by δ costs |δ|.

    Args:
        bin_width_gy: Step between the doses t.
        max_dose_gy: Last t; the curves are not compared above it.
        softness_gy: Scale of σ. Under half a bin width voxels between bins go unseen.

    Raises:
        InputError: If a value is not positive, or the range holds no bin.
    """

    bins_gy: Tensor

    def __init__(self, bin_width_gy: float = 1.0, max_dose_gy: float = 80.0, softness_gy: float = 0.5) -> None:
        super().__init__()
        for name, value in (("bin_width_gy", bin_width_gy), ("softness_gy", softness_gy)):
            if not value > 0:
                raise InputError("must be positive", argument=name, value=value)
        if not max_dose_gy >= bin_width_gy:
            raise InputError(
                f"must be at least the bin width {bin_width_gy}", argument="max_dose_gy", value=max_dose_gy
            )
        self.bin_width_gy, self.softness_gy = bin_width_gy, softness_gy
        bins = bin_width_gy * torch.arange(int(max_dose_gy / bin_width_gy + 1e-6) + 1, dtype=torch.float64)
        self.register_buffer("bins_gy", bins.to(torch.get_default_dtype()), persistent=False)

    def forward(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the loss in Gy.

        Args:
            outputs: Predicted dose in Gy.
            batch: With the dose, the dose mask and the structures.

        Raises:
            InputError: If one of them is missing or of another shape.
        """
        return mean_over_structures(outputs, batch, self._area_between)

    def _area_between(self, predicted_gy: Float[Tensor, " n"], reference_gy: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        difference = self._volume_at_dose(predicted_gy) - self._volume_at_dose(reference_gy)
        return self.bin_width_gy * difference.abs().sum()

    def _volume_at_dose(self, dose_gy: Float[Tensor, " n"]) -> Float[Tensor, " bins"]:
        """Fraction of the structure at each bin's dose or more."""
        bins = self.bins_gy.to(dose_gy).unsqueeze(1) / self.softness_gy
        return (dose_gy / self.softness_gy - bins).sigmoid_().mean(dim=1)
