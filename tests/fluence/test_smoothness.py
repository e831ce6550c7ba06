"""Smoothness against plain loops, and its place in a problem."""

import numpy as np
import pytest
import torch

from dense_problems import DenseInfluence, Squares
from dosewright.core import InputError
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.smoothness import Smoothness, neighbour_pairs


def _beamlets(energy: bool = False) -> Beamlets:
    """Two beams: an L of three beamlets off whole steps, and a row of three with a gap."""
    beam = np.array([0, 0, 0, 1, 1, 1])
    u, v = np.array([2.5, 7.5, 2.5, 0.0, 5.0, 15.0]), np.array([2.5, 2.5, 7.5, 0.0, 0.0, 0.0])
    mev = np.array([100.0, 100.0, 110.0, 100.0, 100.0, 100.0]) if energy else None
    return Beamlets(beam, u, v, 5.0, mev)


def test_neighbours_are_of_one_beam_and_one_beamlet_apart() -> None:
    assert {tuple(pair) for pair in neighbour_pairs(_beamlets()).tolist()} == {(0, 1), (0, 2), (3, 4)}


def test_neighbours_are_of_one_energy() -> None:
    assert {tuple(pair) for pair in neighbour_pairs(_beamlets(energy=True)).tolist()} == {(0, 1), (3, 4)}


def test_value_and_gradient_are_those_of_plain_loops() -> None:
    pairs = neighbour_pairs(_beamlets())
    rough = Smoothness(pairs, 6, 0.3)
    fluence = torch.rand(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for plan in range(2):
        x, gradient = fluence[plan].tolist(), [0.0] * 6
        for i, j in pairs.tolist():
            gradient[i] += 0.6 * (x[i] - x[j])
            gradient[j] -= 0.6 * (x[i] - x[j])
        value = 0.3 * sum((x[i] - x[j]) ** 2 for i, j in pairs.tolist())
        assert float(rough.value(fluence)[plan]) == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(rough.gradient(fluence)[plan], gradient, rtol=1e-12, atol=1e-14)


def test_problem_with_smoothness_has_the_gradient_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    influence = DenseInfluence(torch.rand(9, 6, generator=generator, dtype=torch.float64))
    object.__setattr__(influence, "beamlets", _beamlets())
    goal = torch.rand(1, 9, generator=generator, dtype=torch.float64) * 10
    problem = FluenceProblem(influence, Squares(goal, torch.ones_like(goal)), smoothness=0.7)
    x = torch.rand(1, 6, generator=generator, dtype=torch.float64)
    _, gradient = problem.value_and_gradient(x)
    for i, step in enumerate(torch.eye(6, dtype=torch.float64) * 1e-5):
        up, down = (problem.value_and_gradient(x + sign * step)[0] for sign in (1, -1))
        assert float(gradient[0, i]) == pytest.approx(float((up - down) / 2e-5), rel=1e-6)
    point = problem.point(problem.to_scaled(x))
    torch.testing.assert_close(point.gradient / problem.unit, gradient)
    assert float(point.value) == pytest.approx(float(problem.value(x, problem.dose(x))), rel=1e-12)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="smoothness must be finite and not negative"):
        Smoothness(torch.zeros(0, 2, dtype=torch.int64), 3, weight)


def test_pair_of_an_absent_beamlet_is_refused() -> None:
    with pytest.raises(InputError, match="pairs must name beamlets below 3; got 3"):
        Smoothness(torch.tensor([[0, 3]]), 3, 1.0)


def test_smoothness_without_known_beamlets_is_refused() -> None:
    squares = Squares(torch.zeros(1, 2), torch.ones(1, 2))
    with pytest.raises(InputError, match=r"smoothness must be 0 for an influence without beamlet positions; got 0\.1"):
        FluenceProblem(DenseInfluence(torch.eye(2)), squares, smoothness=0.1)


def test_batch_sizes_that_do_not_fit_are_refused() -> None:
    squares = Squares(torch.zeros(1, 2), torch.ones(1, 2))
    with pytest.raises(InputError, match="plans must be at least 1; got 0"):
        FluenceProblem(DenseInfluence(torch.eye(2)), squares, plans=0)
    with pytest.raises(InputError, match=r"open_beamlets.shape must be \(3 or 1, 2\); got \(2, 2\)"):
        FluenceProblem(DenseInfluence(torch.eye(2)), squares, plans=3, open_beamlets=torch.ones(2, 2, dtype=torch.bool))
