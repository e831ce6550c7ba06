"""A running mean of the weights that short trainings can use as well as long ones."""

from typing import Any

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from dosewright.core import InputError


class WarmedAverage(WeightAveraging):
    """Exponential moving average of the weights whose memory grows with the training.

    Before update t (from 0) the mean keeps min(`decay`, (1 + t) / (10 + t)) of itself, as TensorFlow's
    `ExponentialMovingAverage` does with `num_updates`. A mean of fixed decay remembers the weights that training began
    with: 41 % of them after 439 steps at 0.998. From some 9 / (1 − decay) steps on the two are alike.

    Args:
        decay: Share that the mean keeps of itself, in [0, 1).

    Raises:
        InputError: If the decay is not in [0, 1).
    """

    def __init__(self, decay: float = 0.998) -> None:
        if not 0 <= decay < 1:
            raise InputError("must be in [0, 1)", argument="callbacks.ema.decay", value=decay)
        self.decay = decay
        super().__init__(use_buffers=True, avg_fn=self._mean)

    def _mean(self, mean: Tensor, latest: Tensor, updates: Any) -> Tensor:
        if not mean.is_floating_point():
            return latest  # counters
        keep = min(self.decay, (1.0 + float(updates)) / (10.0 + float(updates)))
        return torch.lerp(latest, mean, keep)
