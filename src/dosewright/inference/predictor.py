"""From a case to its dose: crop, net, flips, ensemble, and back onto the case's grid."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import Grid, InputError, PatientCase, keys
from dosewright.core.types import FloatVolume
from dosewright.datasets.augmentation import Draw, apply
from dosewright.datasets.sample import Box, Sample, make_sample, padded, place_back, to_item
from dosewright.inference.preference import Preference, Vector, vector_of
from dosewright.inference.training_range import unlike_training
from dosewright.inference.weights import Model

log = logging.getLogger(__name__)


class _Input(NamedTuple):
    """What a net sees of a case, padded, and the box of the case's grid that it covers."""

    image: Float[Tensor, "1 c z y x"]
    plan: Float[Tensor, "1 t"]
    box: Box


@dataclass(frozen=True)
class Predictor:
    """Predicts doses with one net or the mean of several.

    A net with the attribute `preference` (its `PreferenceSpace`, or None) is called with the image, slider values and
    the case's plan code; any other with the image alone.

    Args:
        models: Loaded nets; each uses its own channels.
        flip: Average with the prediction on the left-right flipped patient (test-time augmentation).
        window_zyx: Size of a sliding window in voxels; None predicts the whole volume at once. Not for nets that scale
            their dose to the prescription (`PlanNormalisation`): each window would be scaled on its own.
        overlap: Of neighbouring windows, in [0, 1).
        device: Torch device.
        precision: "fp32", or "bf16" for autocast.
        preference: What `predict` asks of the nets' sliders; None asks for nothing, the neutral dose.

    Raises:
        InputError: If there is no model, a setting is out of range, a net needs whole volumes or lacks the sliders the
            preference asks for, or this machine lacks the device.
    """

    models: Sequence[Model]
    flip: bool = True
    window_zyx: tuple[int, int, int] | None = None
    overlap: float = 0.5
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    preference: Preference | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("must hold at least one model", argument="models", value=self.models)
        if not 0.0 <= self.overlap < 1.0:
            raise InputError("must be in [0, 1)", argument="overlap", value=self.overlap)
        if self.precision not in ("fp32", "bf16"):
            raise InputError('must be "fp32" or "bf16"', argument="precision", value=self.precision)
        for model in self.models:
            self._check_window(model)
            vector_of(model, self.preference)
            self._place(model)

    def predict(self, case: PatientCase) -> FloatVolume:
        """Return the dose in Gy on the case's grid: not negative, and zero outside the voxels where dose is allowed."""
        (dose_gy,) = self.predict_many(case, [self.preference])
        return dose_gy

    def predict_many(self, case: PatientCase, preferences: Sequence[Preference | None]) -> Iterator[FloatVolume]:
        """Return the doses of one case for several settings of the sliders, in Gy, each made when it is asked for.

        The nets' inputs are made once; `self.preference` does not count here.

        Raises:
            InputError: If a setting does not fit a net, before anything is predicted.
        """
        settings = [[vector_of(model, preference) for model in self.models] for preference in preferences]
        return self._doses_gy(case, settings)

    def _doses_gy(self, case: PatientCase, settings: Sequence[Sequence[Vector | None]]) -> Iterator[FloatVolume]:
        for doubt in filter(None, (unlike_training(model, case.grid) for model in self.models)):
            log.warning("%s: %s", case.case_id, doubt)
        inputs = [self._inputs(model, make_sample(case, model.channels)) for model in self.models]
        for vectors in settings:
            total = np.zeros(case.grid.shape_zyx, np.float32)
            for model, views, vector in zip(self.models, inputs, vectors, strict=True):
                total += self._mean_gy(model, views, vector, case.grid)
            yield np.maximum(total / len(self.models), 0.0) * case.scored_mask

    def _check_window(self, model: Model) -> None:
        if not self.window_zyx:
            return
        rule = None
        if getattr(model.net, "normalise", None) is not None:
            rule = "must be None for a net that scales its dose to the prescription, which takes the whole target"
        elif any(n < 1 or n % model.stride for n in self.window_zyx):
            rule = f"must be multiples of {model.stride}"
        if rule:
            raise InputError(rule, argument="window_zyx", value=self.window_zyx, path=model.path)

    def _place(self, model: Model) -> None:
        try:
            model.net.to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch's ways to say that it was built without CUDA
            raise InputError(
                f"must be a device of this machine ({error})", argument="device", value=self.device
            ) from error

    def _inputs(self, model: Model, sample: Sample) -> list[_Input]:
        """Return what the net sees of a case: as it is, then flipped where asked for."""
        samples = [sample, apply(sample, Draw(flip=True), model.channels)] if self.flip else [sample]
        items: list[dict[str, Any]] = [to_item(view, model.stride) for view in samples]
        return [
            _Input(item[keys.IMAGE][None].to(self.device), item[keys.PLAN][None].to(self.device), sample.box)
            for item in items
        ]

    def _mean_gy(self, model: Model, views: Sequence[_Input], vector: Vector | None, grid: Grid) -> FloatVolume:
        """Return a net's dose on the whole grid in Gy, the flip undone and averaged over."""
        doses_gy = [self._dose_gy(model, view, vector) for view in views]
        dose_gy = (doses_gy[0] + doses_gy[1].flip(-1)) / 2 if self.flip else doses_gy[0]
        return place_back(dose_gy.numpy(), views[0].box, grid)

    def _dose_gy(self, model: Model, view: _Input, vector: Vector | None) -> Float[Tensor, "z y x"]:
        """Return the net's dose in Gy on the sample's box, without padding."""
        asked = None if vector is None else torch.tensor([vector], device=self.device)
        conditions = {"preference": asked, "plan": view.plan} if hasattr(model.net, "preference") else {}
        autocast = torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), autocast:
            output = self._run(model, view.image, conditions)
        z, y, x = (span.stop - span.start for span in view.box)
        return output[0, 0, :z, :y, :x].float().cpu() * model.dose_scale_gy

    def _run(
        self, model: Model, image: Float[Tensor, "1 c z y x"], conditions: dict[str, Tensor | None]
    ) -> Float[Tensor, "1 1 z y x"]:
        net = partial(model.net, **conditions)
        if self.window_zyx is None:
            return net(image)
        from monai.inferers import sliding_window_inference

        # An image smaller than the window is grown here, with each channel's own value for what lies outside.
        z, y, x = image.shape[2:]
        size = [max(n, least) for n, least in zip((z, y, x), self.window_zyx, strict=True)]
        grown = padded(image[0], size, torch.tensor(model.channels.fill))[None]
        output = sliding_window_inference(
            grown, self.window_zyx, sw_batch_size=1, predictor=net, overlap=self.overlap, mode="gaussian"
        )
        return output[..., :z, :y, :x]  # type: ignore[call-overload]
