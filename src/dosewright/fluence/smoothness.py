"""Smoothness of fluence: squared differences between neighbouring beamlets, so that plans can be sequenced."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.beamlets import Beamlets


def neighbour_pairs(beamlets: Beamlets) -> Int[Tensor, "p 2"]:
    """Return the pairs of beamlets of one beam (and energy) whose centres are one beamlet apart in u or in v."""
    layer = list(zip(beamlets.beam.tolist(), _energies(beamlets), strict=True))
    half = beamlets.size_mm / 2  # positions count half beamlets: centres may lie off whole ones
    columns, rows = (np.rint(at / half).astype(int).tolist() for at in (beamlets.u_mm, beamlets.v_mm))
    place = {key: index for index, key in enumerate(zip(layer, columns, rows, strict=True))}
    pairs = [
        (index, place[other])
        for (at, column, row), index in place.items()
        for other in ((at, column + 2, row), (at, column, row + 2))
        if other in place
    ]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def _energies(beamlets: Beamlets) -> list[float]:
    energy = beamlets.energy_mev
    return [0.0] * len(beamlets.beam) if energy is None else energy.tolist()


class Smoothness:
    """The penalty w · Σ (xᵢ − xⱼ)² over pairs of neighbouring beamlets: a convex quadratic form xᵀ w L x.

    Args:
        pairs: Indices of neighbours, each pair once.
        beamlets: Number of beamlets.
        weight: w, per squared unit of fluence; not negative.

    Raises:
        InputError: If the weight is negative or not finite, or a pair names an absent beamlet.
    """

    def __init__(self, pairs: Int[Tensor, "p 2"], beamlets: int, weight: float) -> None:
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError("must be finite and not negative", argument="smoothness", value=weight)
        if pairs.numel() and not (int(pairs.min()) >= 0 and int(pairs.max()) < beamlets):
            raise InputError(f"must name beamlets below {beamlets}", argument="pairs", value=int(pairs.max()))
        self.weight = weight
        self.neighbours = _table(pairs, beamlets)
        self.degree = (self.neighbours < beamlets).sum(1)

    def value(self, fluence: Float[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """Return the penalty of each plan."""
        return (fluence * self.gradient(fluence)).sum(1) / 2

    def gradient(self, fluence: Float[Tensor, "k b"]) -> Float[Tensor, "k b"]:
        """Return its gradient 2 w L x, linear in the fluence."""
        padded = torch.nn.functional.pad(fluence, (0, 1))
        around = padded[:, self.neighbours[:, 0]]
        for side in range(1, self.neighbours.shape[1]):
            around = around + padded[:, self.neighbours[:, side]]
        return (fluence * self.degree - around) * (2 * self.weight)


def _table(pairs: Int[Tensor, "p 2"], beamlets: int) -> Int[Tensor, "b most"]:
    """Return the neighbours of every beamlet; `beamlets` (one past the last) where it has fewer than others."""
    ends = torch.cat([pairs, pairs.flip(1)])
    ends = ends[torch.argsort(ends[:, 0], stable=True)]
    degree = torch.bincount(ends[:, 0], minlength=beamlets)
    most = max(int(degree.max()) if len(degree) else 0, 1)
    table = torch.full((beamlets, most), beamlets, dtype=torch.int64)
    first = torch.cumsum(degree, 0) - degree
    table[ends[:, 0], torch.arange(len(ends)) - first[ends[:, 0]]] = ends[:, 1]
    return table
