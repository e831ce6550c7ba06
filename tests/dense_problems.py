"""Small dense problems for the tests of solvers: a matrix as the influence, weighted squares as the penalty."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.fluence.problem import FluenceProblem


@dataclass(frozen=True)
class DenseInfluence:
    """A matrix as a linear operator."""

    matrix: Float[Tensor, "n b"]

    @property
    def shape(self) -> tuple[int, int]:
        return tuple(self.matrix.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    @property
    def column_norms(self) -> Float[Tensor, " b"]:
        return torch.linalg.vector_norm(self.matrix, dim=0)

    def forward(self, x: Float[Tensor, "*k b"]) -> Float[Tensor, "*k n"]:
        return x @ self.matrix.T

    def adjoint(self, y: Float[Tensor, "*k n"]) -> Float[Tensor, "*k b"]:
        return y @ self.matrix


@dataclass(frozen=True)
class Squares:
    """Σ weight (d − goal)², and the same above `ceiling` only; every field (k or 1, n)."""

    goal: Float[Tensor, "k n"]
    weight: Float[Tensor, "k n"]
    ceiling: Float[Tensor, "k n"] | None = None
    ceiling_weight: float = 0.0

    def value_and_gradient(self, dose: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
        gap = dose - self.goal
        value, gradient = (self.weight * gap**2).sum(1), 2 * self.weight * gap
        if self.ceiling is not None:
            excess = (dose - self.ceiling).clamp(min=0)
            value, gradient = (
                value + self.ceiling_weight * (excess**2).sum(1),
                gradient + 2 * self.ceiling_weight * excess,
            )
        return value, gradient


@dataclass(frozen=True)
class SplitSquares:
    """`Squares` whose plans can be solved apart."""

    squares: Squares

    def value_and_gradient(self, dose: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
        return self.squares.value_and_gradient(dose)

    def of_plans(self, chosen: Tensor) -> "SplitSquares":
        parts = [part if len(part) == 1 else part[chosen] for part in (self.squares.goal, self.squares.weight)]
        return SplitSquares(Squares(*parts))


def random_problem(voxels: int = 60, beamlets: int = 25, plans: int = 1, seed: int = 0) -> FluenceProblem:
    """A nonnegative matrix and random goals, double precision; at the optimum several beamlets are at 0."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(voxels, beamlets, generator=generator, dtype=torch.float64) ** 3
    matrix = matrix * torch.logspace(-1, 1, beamlets, dtype=torch.float64)
    goal = torch.rand(plans, voxels, generator=generator, dtype=torch.float64) * 60
    weight = torch.rand(plans, voxels, generator=generator, dtype=torch.float64) + 0.1
    return FluenceProblem(DenseInfluence(matrix), SplitSquares(Squares(goal, weight)), plans=plans)
