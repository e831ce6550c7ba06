"""Scaling a predicted dose to its prescription, as planners do with a plan."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core.errors import InputError

_SAME = 0.98  # of the highest prescription: interpolated prescriptions belong to it too
_LEAST, _LARGEST = 0.8, 1.25


class PlanNormalisation(nn.Module):
    """Multiplies a dose so that the mean of the target with the highest prescription becomes what plans give it.

    Clinical plans keep that mean within a few percent of the prescription, while a net that normalises its features
    knows the level of a dose less well than its shape. The ratio to the prescription is learnt: a constant and a little
    from the features of the whole patient. The factor stays in [0.8, 1.25]; an image without a prescription is left
    as it is. The image has to hold the whole target: a window of it would be scaled by the part it sees.

    Args:
        channel: Of the image, with the prescription divided by the dose scale in targets, zero elsewhere.
        context_channels: Channels of the features.
        ratio: Mean target dose over prescription to start from.

    Raises:
        InputError: If the channel is negative.
    """

    def __init__(self, channel: int, context_channels: int, ratio: float = 1.02) -> None:
        super().__init__()
        if channel < 0:
            raise InputError("must not be negative", argument="prescription_channel", value=channel)
        self.channel = channel
        self.ratio = nn.Parameter(torch.tensor(ratio))
        self.own = nn.Linear(context_channels, 1, bias=False)
        nn.init.zeros_(self.own.weight)

    def forward(
        self,
        image: Float[Tensor, "b c z y x"],
        dose: Float[Tensor, "b 1 z y x"],
        context: Float[Tensor, "b f k j i"],
        spread: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b 1 z y x"]:
        """Return the scaled dose, in float32.

        Args:
            image: With the prescription.
            dose: Divided by the dose scale.
            context: Features of the whole patient.
            spread: Factor on how far the dose in that target strays from its mean; None leaves it as it is.

        Raises:
            InputError: If the image has no such channel.
        """
        if self.channel >= image.shape[1]:
            rule = f"must be one of the {image.shape[1]} of the image"
            raise InputError(rule, argument="prescription_channel", value=self.channel)
        with torch.autocast(dose.device.type, enabled=False):
            dose = dose.float()
            prescription = image[:, self.channel : self.channel + 1].float()
            highest = prescription.amax(dim=(2, 3, 4), keepdim=True)
            target = ((prescription >= _SAME * highest) & (highest > 0)).float()
            count = target.sum(dim=(2, 3, 4), keepdim=True)
            mean = (dose * target).sum(dim=(2, 3, 4), keepdim=True) / count.clamp(min=1)
            own = self.own(context.float().mean(dim=(2, 3, 4))).reshape(-1, 1, 1, 1, 1)
            wanted = (self.ratio + 0.05 * own.tanh()) * highest
            factor = (wanted / mean.clamp(min=0.2)).clamp(_LEAST, _LARGEST)
            factor = torch.where(count > 0, factor, torch.ones_like(factor))
            if spread is None:
                return dose * factor
            # mean + s (dose − mean) in the target: its mean stays, D2 − D98 becomes s times as large.
            stray = (spread.float().reshape(-1, 1, 1, 1, 1) - 1.0) * target * (dose - mean)
            return (dose + stray) * factor
