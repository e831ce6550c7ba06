"""The shared inverse Hessian against dense algebra, and projected L-BFGS with it against nonnegative least squares."""

import numpy as np
import pytest
import torch
from scipy import optimize

from dense_problems import DenseInfluence, random_problem
from dosewright.core import InputError
from dosewright.fluence.preconditioner import Preconditioner
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.solver import StopRule, solve

EXACT = StopRule(max_steps=2000, kkt_tolerance=1e-10, value_tolerance=0.0)


def _parts(voxels: int, beamlets: int, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    left = torch.randn(voxels, rank, generator=generator).double()
    right = torch.linalg.qr(torch.randn(beamlets, rank, generator=generator).double())[0]
    weight = torch.rand(voxels, generator=generator).double() * (torch.arange(voxels) % 3 > 0)
    return left @ right.T, weight, 0.5 + torch.rand(beamlets, generator=generator).double()


@pytest.mark.parametrize(("rank", "asked"), [(20, 20), (20, 300), (6, 6)])
def test_inverse_is_that_of_the_damped_hessian(rank: int, asked: int) -> None:
    matrix, weight, unit = _parts(90, 20, rank)
    found = Preconditioner(DenseInfluence(matrix), weight, unit, asked)
    hessian = unit[:, None] * (matrix.T @ (weight[:, None] * matrix)) * unit
    expected = torch.linalg.eigvalsh(hessian).flip(0)[:rank]
    torch.testing.assert_close(found.eigenvalues[:rank], expected, rtol=1e-4, atol=1e-4 * float(expected[0]))
    damped = hessian + found.damping * torch.eye(20)
    gradient = torch.randn(4, 20, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(found.product(gradient) @ damped, gradient, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found.form(gradient), (gradient * found.product(gradient)).sum(1))


def test_directions_that_were_not_found_are_damped() -> None:
    # D is diagonal: the two largest are found, the rest are taken for as large as the second
    matrix = torch.diag(torch.tensor([10.0, 5.0, 1e-3, 1e-3], dtype=torch.float64))
    ones = torch.ones(4, dtype=torch.float64)
    found = Preconditioner(DenseInfluence(matrix), ones, ones, 2)
    torch.testing.assert_close(found.eigenvalues, torch.tensor([100.0, 25.0]).double(), rtol=1e-5, atol=0.0)
    inverse = found.product(torch.eye(4).double())
    expected = torch.diag(1 / torch.tensor([125.0, 50.0, 25.0, 25.0]).double())
    torch.testing.assert_close(inverse, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_that_are_not_there_are_left_out(dtype: torch.dtype) -> None:
    # 12 directions asked for, three voxels that weigh: the rows to be made orthonormal have rank 3
    matrix, weight, unit = (part.to(dtype) for part in _parts(90, 20, 20))
    weight = torch.zeros_like(weight)
    weight[:3] = torch.tensor([1.0, 2.0, 0.5])
    found = Preconditioner(DenseInfluence(matrix), weight, unit, 12)
    hessian = unit[:, None] * (matrix.T @ (weight[:, None] * matrix)) * unit
    expected = torch.linalg.eigvalsh(hessian).flip(0)[:3]
    torch.testing.assert_close(found.eigenvalues[:3], expected, rtol=1e-4, atol=0.0)
    damped = hessian + found.damping * torch.eye(20, dtype=dtype)
    gradient = torch.eye(20, dtype=dtype)
    torch.testing.assert_close(found.product(gradient) @ damped, gradient, rtol=0.0, atol=2e-3)


def test_same_optimum_in_fewer_steps() -> None:
    problem = random_problem(plans=3, seed=6)
    squares, matrix = problem.penalty.squares, problem.influence.matrix
    first = Preconditioner(problem.influence, 2 * squares.weight.mean(0), problem.unit[0], 25)
    plain = solve(problem, ProjectedLbfgs(stop=EXACT))
    found = solve(problem, ProjectedLbfgs(stop=EXACT, preconditioner=first))
    assert len(found.history) < 0.7 * len(plain.history)
    for plan in range(3):
        root = squares.weight[plan].sqrt()
        expected = optimize.nnls((root[:, None] * matrix).numpy(), (root * squares.goal[plan]).numpy())[0]
        np.testing.assert_allclose(found.fluence[plan], expected, rtol=1e-6, atol=1e-8)


def test_refusals() -> None:
    influence, ones = DenseInfluence(torch.eye(3)), torch.ones(3)
    with pytest.raises(InputError, match="rank must be at least 1; got 0"):
        Preconditioner(influence, ones, ones, 0)
    with pytest.raises(InputError, match="weight must be positive somewhere"):
        Preconditioner(influence, 0 * ones, ones, 2)
    with pytest.raises(InputError, match="weight must be positive where the influence is not zero; got 1"):
        Preconditioner(DenseInfluence(torch.diag(torch.tensor([0.0, 1.0, 1.0]))), torch.eye(3)[0], ones, 2)
