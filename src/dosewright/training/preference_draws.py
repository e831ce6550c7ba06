"""Slider values to train on, drawn so that a resumed run sees the same."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.core.preference import PreferenceSpace

STREAM = 2  # keeps these draws apart from those of data (none, 1) of the same seed


class PreferenceDraws:
    """Draws preference vectors: neutral, tied, or each slider on its own. arXiv:2512.08996 publishes no shares: ours.

    A draw follows from seed, step, rank and position in the batch alone: no generator has a state to save.

    Sparing sliders are uniform in their range. Homogeneity, a ratio, is log-uniform below 1 with probability one half,
    else above, so that 1 is its median however lopsided its range.

    Args:
        space: The sliders.
        neutral_share: Probability that nothing is asked for, where the net has to be as good as one without sliders.
        tied_share: Probability that all sparing sliders move as one, the corners that free draws hardly ever reach.
        seed: Of the draws.

    Raises:
        InputError: If the shares are not probabilities that sum up to at most 1, or the seed is negative.
    """

    def __init__(
        self, space: PreferenceSpace, neutral_share: float | int = 0.4, tied_share: float | int = 0.3, seed: int = 0
    ) -> None:
        shares = (neutral_share, tied_share)
        if not (min(shares) >= 0.0 and sum(shares) <= 1.0 + 1e-9):
            raise InputError("must be 0 or more and sum up to at most 1", argument="shares", value=shares)
        _check_natural("seed", seed)
        self.space, self.neutral_share, self.tied_share, self.seed = space, neutral_share, tied_share, seed

    def draw(self, count: int, step: int, rank: int = 0) -> Float[Tensor, "b p"]:
        """Return the slider values of a batch, in the space's order.

        Args:
            count: Samples in the batch.
            step: Batches that this process has trained on before: not optimiser steps, or batches whose gradients
                accumulate would repeat each other's draws.
            rank: Of the process.

        Raises:
            InputError: If an argument is negative.

        >>> draws = PreferenceDraws(PreferenceSpace("global"), seed=7)
        >>> bool((draws.draw(4, step=10) == draws.draw(4, step=10)).all())
        True
        """
        for name, value in (("count", count), ("step", step), ("rank", rank)):
            _check_natural(name, value)
        vectors = [self._vector(np.random.default_rng([self.seed, STREAM, step, rank, i])) for i in range(count)]
        return torch.tensor(vectors, dtype=torch.float32).reshape(count, len(self.space))

    def _vector(self, rng: np.random.Generator) -> list[float]:
        kind = rng.random()
        if kind < self.neutral_share:
            return list(self.space.neutral)
        *sparing_ranges, (least, largest) = self.space.ranges
        sparing = [rng.uniform(low, high) for low, high in sparing_ranges]
        if kind < self.neutral_share + self.tied_share:
            sparing = sparing[:1] * len(sparing)
        homogeneity = math.exp(rng.random() * math.log(least if rng.random() < 0.5 else largest))
        return [*sparing, homogeneity]


def _check_natural(name: str, value: int) -> None:
    if value < 0:
        raise InputError("must be 0 or more", argument=name, value=value)
