"""Stage I: a dose codec that learns which doses there are, before it sees a patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from hydra.utils import instantiate
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dosewright.core import InputError, keys
from dosewright.datasets.dataset import REPEATED
from dosewright.nets.dose_codec import CodecOutput, DoseCodec
from dosewright.training.abstract_module import AbstractDoseModule, Batch, latent_cells
from dosewright.training.adversary import Adversary
from dosewright.training.code_statistic import CodeStatistic
from dosewright.training.crop import random_crop
from dosewright.training.losses.reference import masked_mean
from dosewright.training.uniformity import drawn_rows, uniformity


@dataclass(frozen=True)
class UniformityTerm:
    """λ · uniformity of latents, of positions drawn inside the dose mask.

    Args:
        weight: λ, in Gy.
        temperature: t, of latents scaled to length 1.
        positions: Positions drawn per step, from all volumes of the batch together.

    Raises:
        InputError: If the weight is negative.
    """

    weight: float | int = 0.01
    temperature: float | int = 2.0
    positions: int = 512

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise InputError("must not be negative", argument="uniformity.weight", value=self.weight)

    def of(self, latent: Float[Tensor, "b d z y x"], cells: Bool[Tensor, "b 1 z y x"]) -> Float[Tensor, ""]:
        """Return the uniformity, unweighted; 0 where fewer than two positions can be drawn."""
        if int(cells.sum()) < 2:
            return latent.sum() * 0.0
        rows = drawn_rows(latent, cells, self.positions, torch.default_generator)  # seeded anew every epoch
        return uniformity(rows, float(self.temperature))


@final
class CodecModule(AbstractDoseModule):
    """Trains Stage I: L_I = |x − x̂| + β·L_vq + L_adv + λ·uniformity of latents (arXiv:2512.08996).

    Everything is weighed in Gy: |x − x̂| is measured in Gy, and each other term, which has no unit, comes with a weight
    in Gy. Dose outside the mask is taken as zero, for the codec as for its loss. `val/dose_score` is the mean absolute
    reconstruction error inside the mask. `train/usage` and `train/perplexity` (see `CodeStatistic`) are the least over
    the codebooks, counted at the latent's positions that meet the dose mask; `train/usage_0`… are those of each.

    Args:
        model: Hydra node of a `DoseCodec`.
        channels: Hydra node of the `ChannelSet`; the codec sees none of its channels, validation its structures.
        loss: Hydra node of the image loss.
        optimizer: Hydra node, partial.
        scheduler: As in `DoseModule`.
        dose_scale_gy: Dose that the codec calls 1.
        channels_last: Keep volumes in channels-last memory order.
        vq_weight: β, of the quantiser's commitment loss, in Gy.
        outside_weight: Of the mean |x̂| outside the mask (padding included), so that the decoder learns zero there.
        uniformity: Arguments of `UniformityTerm`, or None for no such term.
        adversary: Arguments of `Adversary`, or None for no L_adv.
        quantise_from: First step whose latents are quantised. Codes that start at the clusters of an encoder that has
            learnt something fill from the beginning; those of a fresh one collapse while it moves.
        crop_zyx: Voxels of a random box to train on instead of whole volumes (see `random_crop`), or None.

    Raises:
        InputError: If a weight is negative, or the box does not fit the codec.
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
        vq_weight: float | int = 0.25,
        outside_weight: float | int = 0.1,
        uniformity: dict[str, Any] | None = None,
        adversary: dict[str, Any] | None = None,
        quantise_from: int = 0,
        crop_zyx: Sequence[int] | None = None,
    ) -> None:
        weights = (("vq_weight", vq_weight), ("outside_weight", outside_weight), ("quantise_from", quantise_from))
        for name, value in weights:
            if not value >= 0:
                raise InputError("must not be negative", argument=name, value=value)
        codec: DoseCodec = instantiate(model)
        super().__init__(codec, instantiate(channels, _convert_="all"), dose_scale_gy, channels_last)
        self.save_hyperparameters()
        self.loss: nn.Module = instantiate(loss)
        self.vq_weight, self.outside_weight = float(vq_weight), float(outside_weight)
        self.uniformity = UniformityTerm(**uniformity) if uniformity else None
        self.adversary = Adversary(**adversary) if adversary else None
        self.quantise_from = quantise_from
        self.stride, self.crop_zyx = codec.stride, _fitting(crop_zyx, codec.stride)
        sizes: tuple[int, ...] = codec.quantiser.codebook_sizes  # type: ignore[assignment]
        self.train_codes = nn.ModuleDict(_statistics(sizes) if sizes else {})
        self.validation_codes = nn.ModuleDict({"usage": CodeStatistic(sizes)} if sizes else {})

    @property
    def quantises(self) -> bool:
        """Whether latents are quantised yet; a module outside of any training always does."""
        return self._trainer is None or self.global_step >= self.quantise_from

    def forward(self, dose_gy: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b 1 z y x"]:
        """Return a dose in Gy after its way through the codec (not clamped, not masked)."""
        return self.to_gy(self.net(dose_gy / self.dose_scale_gy, self.quantises).dose)

    def dose_gy(self, batch: Batch) -> Float[Tensor, "b 1 z y x"]:
        """Return the reconstruction of a batch's own dose in Gy, and count the codes it took."""
        output: CodecOutput = self.net(self.scaled_dose(batch), self.quantises)
        self._count("val", self.validation_codes, output, batch)
        return self.to_gy(output.dose)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of a batch."""
        if self.crop_zyx is not None:
            batch = random_crop(batch, self.crop_zyx)
        scaled = self.scaled_dose(batch)
        output: CodecOutput = self.net(scaled, self.quantises)
        dose_gy = self.to_gy(output.dose)
        mask = batch[keys.DOSE_MASK]
        reconstruction, outside = self.loss(dose_gy, batch), masked_mean(dose_gy.abs(), ~mask)
        commitment = output.quantised.loss
        total = reconstruction + self.outside_weight * outside + self.vq_weight * commitment
        parts = {"reconstruction": reconstruction, "outside": outside, "commitment": commitment}
        if self.uniformity is not None:
            parts["uniformity"] = self.uniformity.of(output.latent, latent_cells(batch, self.stride))
            total = total + self.uniformity.weight * parts["uniformity"]
        if self.adversary is not None:
            fooling, telling = self.adversary(scaled, output.dose.float(), mask, self.global_step)
            parts |= {"adversarial": fooling, "discriminator": telling}
            total = total + fooling + telling
        parts |= getattr(self.loss, "last_parts", {})
        self.log_training(batch, total, {name: value.detach() for name, value in parts.items()})
        self._count("train", self.train_codes, output, batch)
        return total

    def _count(self, stage: str, statistics: nn.ModuleDict, output: CodecOutput, batch: Batch) -> None:
        """Count codes, but not those of a case that another process counts; log at every step on every process."""
        if not self.quantises:
            return
        cells = latent_cells(batch, self.stride) & (not batch.get(REPEATED))
        for name, statistic in statistics.items():
            statistic.update(output.quantised.indices, cells)  # type: ignore[operator]
            self.log(f"{stage}/{name}", statistic, on_step=False, on_epoch=True)  # type: ignore[arg-type]


def _statistics(sizes: Sequence[int]) -> dict[str, nn.Module]:
    levels: dict[str, nn.Module] = {f"usage_{level}": CodeStatistic(sizes, level=level) for level in range(len(sizes))}
    return {"usage": CodeStatistic(sizes), "perplexity": CodeStatistic(sizes, "perplexity")} | levels


def _fitting(crop_zyx: Sequence[int] | None, stride: int) -> tuple[int, ...] | None:
    if crop_zyx is None:
        return None
    size = tuple(int(n) for n in crop_zyx)
    if len(size) != 3 or any(n < 1 or n % stride for n in size) or max(size) <= stride:
        rule = f"must be three multiples of {stride}, one of them larger"
        raise InputError(rule, argument="crop_zyx", value=size)
    return size
