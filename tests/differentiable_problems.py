"""Small dense fluence problems in double precision whose penalties are made of tensors one can differentiate."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DenseInfluence:
    """A dense matrix as a linear operator."""

    matrix: Tensor  # (n, b)
    dtype: torch.dtype = torch.float64

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self.matrix.shape)

    @property
    def column_norms(self) -> Tensor:
        return self.matrix.norm(dim=0)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrix


@dataclass(frozen=True)
class PlainPenalty:
    """p₀ mean (D₀ − d)₊² over `target` + p₁ mean (d − D₁)₊² over `organ` + p₂ mean (d − r)²; without curvature.

    `dose_gy` and `priority` are (k, 2) and (k, 3), the reference (k, n).
    """

    target: Tensor
    organ: Tensor
    dose_gy: Tensor
    priority: Tensor
    reference_gy: Tensor

    def value_and_gradient(self, dose: Tensor) -> tuple[Tensor, Tensor]:
        short = (self.dose_gy[:, :1] - dose).clamp(min=0) * self.target / self.target.sum()
        hot = (dose - self.dose_gy[:, 1:]).clamp(min=0) * self.organ / self.organ.sum()
        off = (dose - self.reference_gy) / dose.shape[1]
        parts = [short, hot, off]
        squares = [
            (part**2).sum(1) * size for part, size in zip(parts, (self.target.sum(), self.organ.sum(), dose.shape[1]))
        ]
        value = sum(self.priority[:, i] * square for i, square in enumerate(squares))
        slope = 2 * (-self.priority[:, :1] * short + self.priority[:, 1:2] * hot + self.priority[:, 2:] * off)
        return value, slope


@dataclass(frozen=True)
class Diagonal:
    """A diagonal curvature."""

    weight: Tensor  # (k, n)

    def product(self, direction: Tensor) -> Tensor:
        return self.weight * direction


@dataclass(frozen=True)
class CurvedPenalty(PlainPenalty):
    """The same, with its curvature."""

    def curvature(self, dose: Tensor) -> Diagonal:
        under = (dose < self.dose_gy[:, :1]) * self.target / self.target.sum()
        over = (dose > self.dose_gy[:, 1:]) * self.organ / self.organ.sum()
        weight = self.priority[:, :1] * under + self.priority[:, 1:2] * over + self.priority[:, 2:] / dose.shape[1]
        return Diagonal(2 * weight)
