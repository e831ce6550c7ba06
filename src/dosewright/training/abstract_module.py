"""What every training shares: the optimiser and its schedule, OpenKBP scores on validation cases, checkpoint checks."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from dosewright.core import CheckpointError, InputError, keys, role_of
from dosewright.core.structures import Role
from dosewright.datasets.channels import ChannelSet
from dosewright.datasets.dataset import REPEATED
from dosewright.dose.openkbp import dose_score, dvh_differences

Batch = Mapping[str, Any]


class AbstractDoseModule(pl.LightningModule):
    """Base of the Lightning modules: `net` is what is saved, validated and shipped.

    A subclass calls `save_hyperparameters()` with plain data only, so that a checkpoint carries its configuration and
    `predict` rebuilds the net from it alone; `model`, `channels`, `optimizer` and `scheduler` are among them.

    Args:
        net: The net.
        channels: Channels of its image, and the structures of the batches.
        dose_scale_gy: Dose that the net calls 1.
        channels_last: Keep volumes in channels-last memory order.
    """

    def __init__(self, net: nn.Module, channels: ChannelSet, dose_scale_gy: float, channels_last: bool) -> None:
        super().__init__()
        if channels_last:
            net = net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.net, self.channels, self.dose_scale_gy = net, channels, dose_scale_gy
        self.validated_step: int | None = None

    @abstractmethod
    def dose_gy(self, batch: Batch) -> Float[Tensor, "b 1 z y x"]:
        """Return the net's dose in Gy for validation (not clamped, not masked)."""

    @abstractmethod
    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of a batch."""

    def trained_parameters(self) -> Iterable[Any]:
        """Return every parameter, or parameter group, that is not frozen; a discriminator's are among them."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def validation_step(self, batch: Batch, batch_index: int) -> Float[Tensor, "b 1 z y x"]:
        """Log the OpenKBP scores of a batch; return its dose in Gy, clamped and masked.

        Every process logs both scores at every step, a repeated case or one without structures with weight 0.
        """
        dose_gy = self.dose_gy(batch).clamp_min(0.0) * batch[keys.DOSE_MASK]
        scores = [self._scores(batch, dose_gy, i) for i in range(len(dose_gy))]
        if batch.get(REPEATED):
            scores = []
        gaps = [gap for s in scores for gap in s[1]]
        for name, values in (("val/dose_score", [s[0] for s in scores]), ("val/dvh_score", gaps)):
            mean = sum(values) / max(1, len(values))
            # A float: the trainer averages weights over processes, and whole numbers would be cut off there.
            weight: Any = float(len(values))
            self.log(name, float(mean), prog_bar=True, batch_size=weight, sync_dist=True)
        return dose_gy

    def on_validation_epoch_end(self) -> None:
        """Remember at which step the weights were scored."""
        if not self.trainer.sanity_checking:
            self.validated_step = self.trainer.global_step

    def configure_optimizers(self) -> Any:
        """Return the optimiser, with its scheduler where one is configured.

        Raises:
            InputError: If the scheduler needs to know the length of an endless training.
        """
        optimizer = instantiate(self.hparams["optimizer"])(self.trained_parameters())
        node = self.hparams["scheduler"]
        if node is None:
            return optimizer
        extra = {}
        if "total_steps" in node:
            steps = self.trainer.estimated_stepping_batches
            if not math.isfinite(steps):
                raise InputError("must have an end: set max_epochs or max_steps", argument="trainer", value=steps)
            extra["total_steps"] = int(steps)
        scheduler = instantiate(node, **extra)(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint whose net or channels differ from this module's.

        Raises:
            CheckpointError: Naming the first difference.
        """
        theirs = checkpoint.get("hyper_parameters", {})
        for key in ("model", "channels", "dose_scale_gy"):
            if key in theirs and theirs[key] != self.hparams[key]:
                raise CheckpointError(
                    f"must be the one the checkpoint was trained with ({theirs[key]})",
                    argument=key,
                    value=self.hparams[key],
                )

    def log_training(self, batch: Batch, loss: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Log a step's loss and its parts as means over the epoch."""
        how: dict[str, Any] = {"batch_size": len(batch[keys.CASE_ID]), "sync_dist": True}
        values = {"train/loss": loss} | {f"train/{name}": value for name, value in parts.items()}
        for name, value in values.items():
            self.log(name, value, on_step=False, on_epoch=True, prog_bar=name == "train/loss", **how)

    def to_gy(self, output: Tensor) -> Tensor:
        """Return a net's output in Gy, in float32."""
        return output.float() * self.dose_scale_gy

    def scaled_dose(self, batch: Batch) -> Float[Tensor, "b 1 z y x"]:
        """Return a batch's dose as a codec sees it: divided by the dose scale, zero outside the mask."""
        return batch[keys.DOSE] * batch[keys.DOSE_MASK] / self.dose_scale_gy

    def _scores(self, batch: Batch, dose_gy: Tensor, i: int) -> tuple[float, list[float]]:
        """Return the dose score and all DVH differences of one case of a batch."""
        predicted, reference = (d[i, 0].float().cpu().numpy() for d in (dose_gy, batch[keys.DOSE]))
        mask = batch[keys.DOSE_MASK][i, 0].cpu().numpy()
        masks = batch[keys.STRUCTURES][i].cpu().numpy()
        present = {n: m for n, m in zip(self.channels.structures, masks, strict=True) if m.any() and _scored(n)}
        volume_mm3 = float(batch[keys.SPACING][i].prod())
        gaps = dvh_differences(predicted, reference, present, volume_mm3)
        return dose_score(predicted, reference, mask), list(gaps.values())


def latent_cells(batch: Batch, stride: int) -> Bool[Tensor, "b 1 k j i"]:
    """Return the positions of a latent, `stride` voxels apart, that meet a batch's dose mask."""
    return max_pool3d(batch[keys.DOSE_MASK].float(), stride) > 0


def _scored(name: str) -> bool:
    return role_of(name) in (Role.TARGET, Role.OAR)
