"""Stage II: an image encoder that learns to reach the latents of a frozen dose decoder, and to follow the sliders."""

from typing import Any, final

import torch
from hydra.utils import instantiate
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core import CheckpointError, InputError, keys
from dosewright.core.preference import PreferenceSpace
from dosewright.datasets.channels import ChannelSet
from dosewright.nets.dose_codec import DoseCodec
from dosewright.nets.two_stage import TwoStageNet
from dosewright.training.abstract_module import AbstractDoseModule, Batch, latent_cells
from dosewright.training.adversary import Adversary
from dosewright.training.preference_draws import PreferenceDraws

EPOCH_STRIDE = 1_000_003  # more than batches in an epoch


@final
class TwoStageModule(AbstractDoseModule):
    """Trains Stage II: L_II = |x − x̂| + ‖z − ẑ‖ + L_adv + L_obj (arXiv:2512.08996).

    Sliders are drawn per sample and put into the batch, where L_obj (`losses.ObjectiveLoss`, part of `loss`) finds
    them. |x − x̂| and the latent match compare with the reference plan, whatever was asked for. In ‖z − ẑ‖, z is what
    Stage I's encoder gives before it is quantised: a step is shorter so, and the decoder does a little better on such
    latents. The latent match is relative to the mean |z| and so has no unit; all else is in Gy.

    Args:
        model: Hydra node of a two-stage net; receives `in_channels`.
        channels: Hydra node of the `ChannelSet`.
        loss: Hydra node of the image loss, L_obj included.
        optimizer: Hydra node, partial.
        scheduler: As in `DoseModule`.
        dose_scale_gy: Dose that the net calls 1.
        channels_last: Keep volumes in channels-last memory order.
        stage1: Weights file of Stage I, whose decoder is taken over; None trains the decoder with the rest. The caller
            reads the file and hands the codec to `attach_codec`.
        freeze_decoder: Leave Stage I's decoder as it is.
        latent_weight: Of the latent match, in Gy; without Stage I there is no latent to match.
        draws: Arguments of `PreferenceDraws` without the space.
        adversary: Arguments of `Adversary`, or None for no L_adv.

    Raises:
        InputError: If the weight is negative, or the net is to read the prescription from a channel that is another.
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
        stage1: str | None = None,
        freeze_decoder: bool = True,
        latent_weight: float | int = 1.0,
        draws: dict[str, Any] | None = None,
        adversary: dict[str, Any] | None = None,
    ) -> None:
        if not latent_weight >= 0:
            raise InputError("must not be negative", argument="latent_weight", value=latent_weight)
        channel_set: ChannelSet = instantiate(channels, _convert_="all")
        _require_prescription(model.get("prescription_channel"), channel_set)
        net = instantiate(model, in_channels=len(channel_set))
        super().__init__(net, channel_set, dose_scale_gy, channels_last)
        self.save_hyperparameters()
        self.space: PreferenceSpace | None = net.preference
        self.draws = PreferenceDraws(self.space, **(draws or {})) if self.space else None
        self.loss: nn.Module = instantiate(loss)
        self.latent_weight = float(latent_weight)
        self.adversary = Adversary(**adversary) if adversary else None
        self.wants_codec, self.freeze_decoder = stage1 is not None, freeze_decoder
        self._codec: list[DoseCodec] = []  # in a list: no part of this module, its averages or its checkpoints

    def attach_codec(self, codec: DoseCodec) -> None:
        """Take over Stage I's decoder, and its encoder as the source of latents to match.

        Raises:
            CheckpointError: If its decoder is another one than the net's.
        """
        try:
            self.net.decoder.load_state_dict(codec.decoder.state_dict())  # type: ignore[union-attr]
        except RuntimeError as error:
            raise CheckpointError(
                "must hold a decoder like that of `model` (latent_channels, decoder)",
                argument="stage1",
                value=str(error),
            ) from error
        self.net.decoder.requires_grad_(not self.freeze_decoder)
        self._codec = [codec.eval().requires_grad_(False)]

    def on_fit_start(self) -> None:
        """Move the codec to where training runs.

        Raises:
            CheckpointError: If there should be one and none was attached.
        """
        if self.wants_codec and not self._codec:
            raise CheckpointError("must be attached before training", argument="stage1", value=self.hparams["stage1"])
        for codec in self._codec:
            codec.to(self.device)

    def on_train_end(self) -> None:
        """Put the frozen decoder's own weights back: averaging them with themselves has rounded them."""
        if self._codec and self.freeze_decoder:
            self.net.decoder.load_state_dict(self._codec[0].decoder.state_dict())  # type: ignore[union-attr]

    def forward(
        self,
        image: Float[Tensor, "b c z y x"],
        preference: Float[Tensor, "b p"] | None = None,
        plan: Float[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b 1 z y x"]:
        """Return the predicted dose in Gy (not clamped, not masked)."""
        return self.to_gy(self.net(image, preference=preference, plan=plan))

    def dose_gy(self, batch: Batch) -> Float[Tensor, "b 1 z y x"]:
        """Return the dose of a batch in Gy: the neutral one unless the batch asks for another."""
        return self(batch[keys.IMAGE], batch.get(keys.PREFERENCE), batch[keys.PLAN])

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        batch = self._with_preferences(batch, batch_index)
        net: TwoStageNet = self.net  # type: ignore[assignment]
        dose, latent = net.predict_with_latent(batch[keys.IMAGE], batch.get(keys.PREFERENCE), batch[keys.PLAN])
        dose_gy = self.to_gy(dose)
        total = self.loss(dose_gy, batch)
        parts = dict(getattr(self.loss, "last_parts", {}))
        if self._codec and self.latent_weight:
            parts["latent"] = self._latent_mismatch(latent, batch)
            total = total + self.latent_weight * parts["latent"]
        if self.adversary is not None:
            fooling, telling = self.adversary(
                self.scaled_dose(batch), dose.float(), batch[keys.DOSE_MASK], self.global_step
            )
            parts |= {"adversarial": fooling, "discriminator": telling}
            total = total + fooling + telling
        self.log_training(batch, total, {name: value.detach() for name, value in parts.items()})
        return total

    def _with_preferences(self, batch: Batch, batch_index: int) -> Batch:
        if self.draws is None:
            return batch
        step = self.current_epoch * EPOCH_STRIDE + batch_index  # a function of progress: a resumed run draws the same
        drawn = self.draws.draw(len(batch[keys.CASE_ID]), step, self.global_rank)
        return {**batch, keys.PREFERENCE: drawn.to(batch[keys.IMAGE])}

    def _latent_mismatch(self, latent: Tensor, batch: Batch) -> Float[Tensor, ""]:
        """Mean |z − ẑ| over the latent positions inside the dose mask, relative to the mean |z|; z is unquantised."""
        codec = self._codec[0]
        with torch.no_grad():
            wanted = codec.encode(self.scaled_dose(batch)).float()
        inside = latent_cells(batch, codec.stride)
        count = inside.sum().clamp(min=1) * latent.shape[1]
        gap = torch.where(inside, (latent.float() - wanted).abs(), 0.0).sum() / count
        size = torch.where(inside, wanted.abs(), 0.0).sum() / count
        return gap / size.clamp(min=1e-6)


def _require_prescription(channel: int | None, channels: ChannelSet) -> None:
    if channel is None:
        return
    there = dict(enumerate(channels.names)).get(channel)
    if there != "prescription":
        names = list(channels.names)
        right = names.index("prescription") if "prescription" in names else None
        raise InputError(
            f"must be the channel `prescription` ({right}); this one is {there!r}",
            argument="prescription_channel",
            value=channel,
        )
