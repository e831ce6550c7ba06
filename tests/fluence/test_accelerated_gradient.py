"""The accelerated gradient finds what projected L-BFGS finds, at the price of products it says."""

import numpy as np
import pytest
import torch

from dense_problems import DenseInfluence, Squares, random_problem
from dosewright.fluence.accelerated_gradient import AcceleratedGradient
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.solver import StopRule, solve
from dosewright.fluence.status import Status

EXACT = StopRule(max_steps=50_000, kkt_tolerance=1e-9, value_tolerance=0.0)


@pytest.mark.parametrize("seed", range(3))
def test_same_optimum_as_projected_lbfgs(seed: int) -> None:
    problem = random_problem(seed=seed, plans=3)
    ours, peer = (solve(problem, method(stop=EXACT)) for method in (AcceleratedGradient, ProjectedLbfgs))
    assert ours.statuses == (Status.CONVERGED,) * 3
    torch.testing.assert_close(ours.fluence, peer.fluence, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.value, peer.value, rtol=1e-10)


def test_closed_form_of_separate_beamlets() -> None:
    goal = torch.tensor([[10.0, -4.0, 60.0, 0.0]])
    problem = FluenceProblem(DenseInfluence(2 * torch.eye(4)), Squares(goal, torch.tensor([[1.0, 5.0, 0.1, 2.0]])))
    found = solve(problem, AcceleratedGradient(stop=StopRule(2000, None, 1e-7, 0.0)))
    torch.testing.assert_close(found.fluence, torch.tensor([[5.0, 0.0, 30.0, 0.0]]), atol=1e-3, rtol=1e-4)


def test_value_never_rises_and_products_are_counted() -> None:
    problem = random_problem(seed=3)
    calls = {"forward": 0, "adjoint": 0}

    class Counting(DenseInfluence):
        def forward(self, x):
            calls["forward"] += 1
            return super().forward(x)

        def adjoint(self, y):
            calls["adjoint"] += 1
            return super().adjoint(y)

    counted = FluenceProblem(Counting(problem.influence.matrix), problem.penalty)
    rule = StopRule(max_steps=60, kkt_tolerance=0.0, value_tolerance=0.0)
    found = solve(counted, AcceleratedGradient(stop=rule), start=torch.ones(25, dtype=torch.float64))
    values = torch.stack([record.value for record in found.history])[:, 0]
    assert found.status is Status.MAX_STEPS
    assert bool((values.diff() <= 1e-6 * values[:-1]).all())
    assert float(values[-1]) < 0.9 * float(values[0])
    assert calls["adjoint"] == 61  # the start and one a step
    assert calls["forward"] == found.evaluations + 1  # and the dose of the result
