"""Projected L-BFGS on problems with known optima: scipy's nonnegative least squares, closed forms, L-BFGS-B."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize

from dense_problems import DenseInfluence, Squares, random_problem
from dosewright.core import InputError
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.solver import SolverState, StopRule, kkt_residual, solve
from dosewright.fluence.status import Status

EXACT = StopRule(max_steps=2000, kkt_tolerance=1e-10, value_tolerance=0.0)


def _nnls(problem: FluenceProblem, plan: int) -> np.ndarray:
    squares, matrix = problem.penalty.squares, problem.influence.matrix
    root = squares.weight[plan].sqrt()
    return optimize.nnls((root[:, None] * matrix).numpy(), (root * squares.goal[plan]).numpy())[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("memory", [1, 10])
def test_nonnegative_least_squares_as_scipy_solves_them(seed: int, memory: int) -> None:
    problem = random_problem(seed=seed)
    found = solve(problem, ProjectedLbfgs(memory=memory, stop=EXACT))
    expected = _nnls(problem, 0)
    assert found.status is Status.CONVERGED
    assert 0 < (expected == 0).sum() < len(expected)
    np.testing.assert_allclose(found.fluence[0], expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(found.fluence[0].numpy() == 0, expected == 0)
    torch.testing.assert_close(found.dose, problem.dose(found.fluence))


def test_one_sided_penalty_as_lbfgsb_solves_it() -> None:
    base = random_problem(seed=7)
    squares = base.penalty.squares
    penalty = Squares(squares.goal, squares.weight, ceiling=squares.goal * 0.5 + 10, ceiling_weight=3.0)
    problem = base.with_penalty(penalty)

    def of_numpy(fluence: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem.value_and_gradient(torch.from_numpy(fluence)[None])
        return float(value), gradient[0].numpy()

    options = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-10}
    bounds = [(0, None)] * 25
    peer = optimize.minimize(of_numpy, np.ones(25), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    found = solve(problem, ProjectedLbfgs(stop=EXACT))
    assert float(found.value) == pytest.approx(peer.fun, rel=1e-8)
    np.testing.assert_allclose(found.fluence[0], peer.x, rtol=1e-3, atol=1e-5)


def test_closed_form_of_separate_beamlets() -> None:
    # one beamlet a voxel, dose 2 x: w (2 x - g)² is least at x = g / 2, or 0 where the goal is negative
    goal = torch.tensor([[10.0, -4.0, 60.0, 0.0]])
    problem = FluenceProblem(DenseInfluence(2 * torch.eye(4)), Squares(goal, torch.tensor([[1.0, 5.0, 0.01, 2.0]])))
    found = solve(problem, ProjectedLbfgs(stop=StopRule(kkt_tolerance=1e-7, value_tolerance=0.0)))
    torch.testing.assert_close(found.fluence, torch.tensor([[5.0, 0.0, 30.0, 0.0]]), atol=1e-4, rtol=1e-5)
    assert float(found.value) == pytest.approx(80.0, rel=1e-6)  # 5 · (−4)²


def test_batch_finds_what_one_by_one_finds() -> None:
    batch = random_problem(plans=5, seed=3)
    together = solve(batch, ProjectedLbfgs(stop=EXACT))
    assert together.statuses == (Status.CONVERGED,) * 5
    for plan in range(5):
        alone = solve(batch.of_plans(torch.tensor([plan])), ProjectedLbfgs(stop=EXACT))
        torch.testing.assert_close(together.fluence[plan], alone.fluence[0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(together.fluence[plan], _nnls(batch, plan), rtol=1e-6, atol=1e-8)


def test_batch_whose_penalty_cannot_be_split_finds_the_same() -> None:
    batch = random_problem(plans=3, seed=5)
    whole = batch.with_penalty(batch.penalty.squares)
    assert not whole.can_split
    ends = solve(whole, ProjectedLbfgs(stop=EXACT))
    torch.testing.assert_close(ends.fluence, solve(batch, ProjectedLbfgs(stop=EXACT)).fluence, rtol=1e-6, atol=1e-8)


def test_plans_of_a_batch_use_their_own_beamlets() -> None:
    base = random_problem(seed=2)
    masks = torch.ones(2, 25, dtype=torch.bool)
    masks[1, ::2] = False
    batch = FluenceProblem(base.influence, base.penalty, plans=2, open_beamlets=masks)
    found = solve(batch, ProjectedLbfgs(stop=EXACT))
    assert float(found.fluence[1, ::2].abs().max()) == 0.0
    np.testing.assert_allclose(found.fluence[0], _nnls(base, 0), rtol=1e-6, atol=1e-8)
    narrow = FluenceProblem(DenseInfluence(base.influence.matrix[:, 1::2]), base.penalty)
    np.testing.assert_allclose(found.fluence[1, 1::2], _nnls(narrow, 0), rtol=1e-6, atol=1e-8)


def test_scaling_changes_the_path_and_not_the_optimum() -> None:
    problem = random_problem(seed=1)
    plain = FluenceProblem(problem.influence, problem.penalty, scaling=False)
    scaled, unscaled = (solve(p, ProjectedLbfgs(stop=replace(EXACT, max_steps=5000))) for p in (problem, plain))
    torch.testing.assert_close(scaled.fluence, unscaled.fluence, rtol=1e-5, atol=1e-7)
    assert scaled.evaluations < unscaled.evaluations


def test_warm_start_at_the_optimum_ends_at_once() -> None:
    problem = random_problem()
    cold = solve(problem, ProjectedLbfgs(stop=EXACT))
    warm = solve(problem, ProjectedLbfgs(stop=replace(EXACT, kkt_tolerance=1e-8)), start=cold.fluence)
    assert warm.status is Status.CONVERGED
    assert len(warm.history) == 1
    torch.testing.assert_close(warm.fluence, cold.fluence)


def test_residual_is_the_largest_cosine_between_the_dose_gradient_and_a_beamlet() -> None:
    problem = random_problem(seed=4)
    point = problem.point(problem.to_scaled(torch.ones(1, 25, dtype=torch.float64)))
    slope, matrix = point.dose_gradient[0], problem.influence.matrix
    cosines = (matrix.T @ slope) / matrix.norm(dim=0) / slope.norm()
    assert float(kkt_residual(point)) == pytest.approx(float(cosines.abs().max()), rel=1e-10)


def test_value_falls_at_every_step_and_is_recorded() -> None:
    problem = random_problem(seed=6)
    found = solve(problem, ProjectedLbfgs(stop=EXACT))
    values = torch.stack([record.value for record in found.history])[:, 0]
    assert bool((values.diff() <= 1e-9 * values[:-1]).all())
    assert float(values[-1]) == pytest.approx(float(found.value), rel=1e-12)
    assert [r.evaluations for r in found.history] == sorted({r.evaluations for r in found.history})


def test_most_steps_and_most_seconds_are_named() -> None:
    problem = random_problem()
    assert solve(problem, ProjectedLbfgs(stop=replace(EXACT, max_steps=2))).status is Status.MAX_STEPS
    assert solve(problem, ProjectedLbfgs(stop=replace(EXACT, max_seconds=1e-9))).status is Status.MAX_SECONDS


def test_callback_stops_the_solve_and_sees_every_state() -> None:
    seen: list[float] = []

    def stop_at_third(state: SolverState) -> bool:
        seen.append(float(state.point.value))
        return len(seen) == 3

    found = solve(random_problem(), ProjectedLbfgs(stop=EXACT), callbacks=[stop_at_third])
    assert found.status is Status.INTERRUPTED
    assert [float(record.value) for record in found.history] == seen
    assert float(found.value) == pytest.approx(seen[-1], rel=1e-12)


def test_penalty_that_is_not_finite_is_divergence() -> None:
    problem = random_problem()
    goal = torch.full_like(problem.penalty.squares.goal, torch.inf)
    broken = problem.with_penalty(Squares(goal, problem.penalty.squares.weight))
    found = solve(broken, ProjectedLbfgs(), start=torch.ones(25, dtype=torch.float64))
    assert found.status is Status.DIVERGED
    torch.testing.assert_close(found.fluence, torch.ones(1, 25, dtype=torch.float64))


def test_gradient_that_points_uphill_stalls_and_keeps_the_start() -> None:
    class Wrong(Squares):
        def value_and_gradient(self, dose):
            value, gradient = super().value_and_gradient(dose)
            return value, -gradient

    problem = random_problem()
    squares = problem.penalty.squares
    wrong = problem.with_penalty(Wrong(squares.goal, squares.weight))
    start = torch.ones(25, dtype=torch.float64)
    found = solve(wrong, ProjectedLbfgs(stop=EXACT), start=start)
    assert found.status is Status.STALLED
    torch.testing.assert_close(found.fluence[0], start)


@pytest.mark.parametrize("entry", [float("nan"), float("inf"), -1.0])
def test_start_that_is_no_fluence_is_refused(entry: float) -> None:
    start = torch.ones(25, dtype=torch.float64)
    start[3] = entry
    with pytest.raises(InputError, match="start must be finite and not negative"):
        solve(random_problem(), ProjectedLbfgs(), start=start)


def test_start_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"start.shape must be \(25,\) or \(1, 25\); got \(24,\)"):
        solve(random_problem(), ProjectedLbfgs(), start=torch.ones(24, dtype=torch.float64))


def test_default_start_is_the_best_equal_fluence() -> None:
    problem = random_problem(plans=3, seed=8)
    record = solve(problem, ProjectedLbfgs(stop=replace(EXACT, max_steps=1))).history[0]
    flat, squares = problem.influence.matrix.sum(1), problem.penalty.squares
    best = (squares.weight * squares.goal * flat).sum(1) / (squares.weight * flat**2).sum(1)
    value, _ = problem.penalty.value_and_gradient(best[:, None] * flat)
    np.testing.assert_allclose(record.value, value, rtol=0.02)


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("max_steps must be at least 1; got 0", {"max_steps": 0}),
        ("window must be at least 1; got 0", {"window": 0}),
        ("kkt_tolerance must not be negative; got -1.0", {"kkt_tolerance": -1.0}),
        ("value_tolerance must not be negative; got nan", {"value_tolerance": float("nan")}),
        ("max_seconds must not be negative; got -2.0", {"max_seconds": -2.0}),
    ],
)
def test_stop_rules_out_of_range_are_refused(rule: str, fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rule):
        StopRule(**fields)


def test_memory_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="memory must be at least 1; got 0"):
        ProjectedLbfgs(memory=0)
