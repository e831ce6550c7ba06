"""From a case to its dose: crop, net, flips, ensemble, and back onto the case's grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError, PatientCase, keys
from dosewright.core.types import FloatVolume
from dosewright.datasets.augmentation import Draw, apply
from dosewright.datasets.sample import Sample, make_sample, padded, place_back, to_item
from dosewright.inference.weights import Model


@dataclass(frozen=True)
class Predictor:
    """Predicts doses with one net or the mean of several.

    Args:
        models: Loaded nets; each uses its own channels.
        flip: Average with the prediction on the left-right flipped patient (test-time augmentation).
        window_zyx: Size of a sliding window in voxels; None predicts the whole volume at once.
        overlap: Of neighbouring windows, in [0, 1).
        device: Torch device.
        precision: "fp32", or "bf16" for autocast.

    Raises:
        InputError: If there is no model, a setting is out of range, or this machine lacks the device.
    """

    models: Sequence[Model]
    flip: bool = True
    window_zyx: tuple[int, int, int] | None = None
    overlap: float = 0.5
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("must hold at least one model", argument="models", value=self.models)
        if not 0.0 <= self.overlap < 1.0:
            raise InputError("must be in [0, 1)", argument="overlap", value=self.overlap)
        if self.precision not in ("fp32", "bf16"):
            raise InputError('must be "fp32" or "bf16"', argument="precision", value=self.precision)
        for model in self.models:
            if self.window_zyx and any(n < 1 or n % model.stride for n in self.window_zyx):
                raise InputError(f"must be multiples of {model.stride}", argument="window_zyx", value=self.window_zyx)
            self._place(model)

    def predict(self, case: PatientCase) -> FloatVolume:
        """Return the dose in Gy on the case's grid: not negative, and zero outside the voxels where dose is allowed."""
        total = np.zeros(case.grid.shape_zyx, np.float32)
        for model in self.models:
            sample = make_sample(case, model.channels)
            dose_gy = self._dose_gy(model, sample)
            if self.flip:
                flipped = apply(sample, Draw(flip=True), model.channels)
                dose_gy = (dose_gy + self._dose_gy(model, flipped).flip(-1)) / 2
            total += place_back(dose_gy.numpy(), sample.box, case.grid)
        return np.maximum(total / len(self.models), 0.0) * case.scored_mask

    def _place(self, model: Model) -> None:
        try:
            model.net.to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch's ways to say that it was built without CUDA
            raise InputError(
                f"must be a device of this machine ({error})", argument="device", value=self.device
            ) from error

    def _dose_gy(self, model: Model, sample: Sample) -> Float[Tensor, "z y x"]:
        """Return the net's dose in Gy on the sample's box, without padding."""
        image = to_item(sample, model.stride)[keys.IMAGE]
        autocast = torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), autocast:
            output = self._run(model, image[None].to(self.device))  # type: ignore[index]
        z, y, x = sample.image.shape[1:]
        return output[0, 0, :z, :y, :x].float().cpu() * model.dose_scale_gy

    def _run(self, model: Model, image: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b 1 z y x"]:
        if self.window_zyx is None:
            return model.net(image)
        from monai.inferers import sliding_window_inference

        # An image smaller than the window is grown here, with each channel's own value for what lies outside.
        z, y, x = image.shape[2:]
        size = [max(n, least) for n, least in zip((z, y, x), self.window_zyx, strict=True)]
        grown = padded(image[0], size, torch.tensor(model.channels.fill))[None]
        output = sliding_window_inference(
            grown, self.window_zyx, sw_batch_size=1, predictor=model.net, overlap=self.overlap, mode="gaussian"
        )
        return output[..., :z, :y, :x]  # type: ignore[call-overload]
