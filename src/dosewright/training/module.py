"""The Lightning module of direct prediction: a net and a loss."""

from typing import Any, final

from hydra.utils import instantiate
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core import keys
from dosewright.datasets.channels import ChannelSet
from dosewright.training.abstract_module import AbstractDoseModule, Batch


@final
class DoseModule(AbstractDoseModule):
    """Trains a net to predict dose divided by `dose_scale_gy`.

    All arguments are plain data, so that a checkpoint carries them and `predict` rebuilds the net from it alone.

    Args:
        model: Hydra node of the net; receives `in_channels`.
        channels: Hydra node of the `ChannelSet`.
        loss: Hydra node of the loss.
        optimizer: Hydra node, partial; receives the parameters.
        scheduler: Hydra node of a partial learning-rate scheduler stepped once per batch, or None; receives the
            optimiser and, where its node holds the key, `total_steps`.
        dose_scale_gy: Dose that the net calls 1.
        channels_last: Keep volumes in channels-last memory order.
    """

    def __init__(
        self,
        model: dict[str, Any],
        channels: dict[str, Any],
        loss: dict[str, Any],
        optimizer: dict[str, Any],
        scheduler: dict[str, Any] | None = None,
        dose_scale_gy: float = 70.0,
        channels_last: bool = False,
    ) -> None:
        channel_set: ChannelSet = instantiate(channels, _convert_="all")
        super().__init__(instantiate(model, in_channels=len(channel_set)), channel_set, dose_scale_gy, channels_last)
        self.save_hyperparameters()
        self.loss: nn.Module = instantiate(loss)

    def forward(self, image: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b 1 z y x"]:
        """Return the predicted dose in Gy (not clamped, not masked)."""
        output = self.net(image)
        return self.to_gy(output[0] if isinstance(output, tuple) else output)

    def dose_gy(self, batch: Batch) -> Float[Tensor, "b 1 z y x"]:
        """Return the dose of a batch in Gy."""
        return self(batch[keys.IMAGE])

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        outputs = self.net(batch[keys.IMAGE])
        gy = tuple(self.to_gy(o) for o in outputs) if isinstance(outputs, tuple) else self.to_gy(outputs)
        loss = self.loss(gy, batch)
        self.log_training(batch, loss, getattr(self.loss, "last_parts", {}))
        return loss
