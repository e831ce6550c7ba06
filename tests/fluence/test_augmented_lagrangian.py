"""Hard constraints: closed forms, scipy's SLSQP, and constraints that contradict each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize

from dense_problems import DenseInfluence, random_problem
from dosewright.core import InputError
from dosewright.fluence.augmented_lagrangian import AugmentedLagrangian
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.solver import StopRule, solve
from dosewright.fluence.status import Status
from dosewright.objectives.compile import compile_objectives
from dosewright.objectives.objective import Objective

EXACT = AugmentedLagrangian(
    stop=StopRule(max_steps=4000, kkt_tolerance=1e-9, value_tolerance=1e-12), tolerance_gy=1e-4, steps_per_update=200
)


def _problem(matrix: torch.Tensor, *objectives: Objective, **structures: list[int]) -> FluenceProblem:
    masks = {}
    for name, rows in structures.items():
        masks[name] = torch.zeros(len(matrix), dtype=torch.bool)
        masks[name][rows] = True
    return FluenceProblem(DenseInfluence(matrix), compile_objectives(objectives, masks))


def test_maximum_dose_of_separate_beamlets_is_the_goal_clipped() -> None:
    # one beamlet a voxel: (d − 60)² under d ≤ 45 in the last two of four
    problem = _problem(
        torch.eye(4, dtype=torch.float64),
        Objective("PTV", "squared_deviation", 60.0),
        Objective("SpinalCord", "max_dose", 45.0, constraint=True),
        PTV=[0, 1, 2, 3],
        SpinalCord=[2, 3],
    )
    found = solve(problem, EXACT)
    assert found.status is Status.CONVERGED
    assert found.violations == ()
    torch.testing.assert_close(found.dose[0], torch.tensor([60.0, 60, 45, 45]).double(), atol=1e-3, rtol=0.0)
    assert float(found.value) == pytest.approx(15.0**2 / 2, rel=1e-4)


def test_mean_dose_takes_the_same_from_every_voxel() -> None:
    # (d − 60)² + (d − 60)² + (d − 20)² + (d − 20)² under a mean of at most 30: all shift by 10
    problem = _problem(
        torch.eye(4, dtype=torch.float64),
        Objective("PTV", "squared_deviation", 60.0),
        Objective("Brainstem", "squared_deviation", 20.0),
        Objective("External", "mean_upper", 30.0, constraint=True),
        PTV=[0, 1],
        Brainstem=[2, 3],
        External=[0, 1, 2, 3],
    )
    found = solve(problem, EXACT)
    assert found.status is Status.CONVERGED
    torch.testing.assert_close(found.dose[0], torch.tensor([50.0, 50, 10, 10]).double(), atol=1e-3, rtol=0.0)


def test_minimum_and_maximum_as_slsqp_finds_them() -> None:
    matrix = random_problem(voxels=14, beamlets=8, seed=1).influence.matrix
    dense = matrix.numpy()
    feasible = dense @ optimize.nnls(dense, np.repeat([60.0, 5.0, 30.0], [4, 5, 5]))[0]
    least, most, mean = (float(x) for x in (feasible[:4].min(), feasible[9:12].max(), feasible[12:].mean()))
    problem = _problem(
        matrix,
        Objective("PTV", "squared_deviation", 60.0),
        Objective("Brainstem", "squared_overdose", 5.0, priority=3.0),
        Objective("PTV", "min_dose", least, constraint=True),
        Objective("SpinalCord", "max_dose", most, constraint=True),
        Objective("Parotid_L", "mean_upper", mean, constraint=True),
        PTV=[0, 1, 2, 3],
        Brainstem=[4, 5, 6, 7, 8],
        SpinalCord=[9, 10, 11],
        Parotid_L=[12, 13],
    )

    def of_numpy(fluence: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem.value_and_gradient(torch.from_numpy(fluence)[None])
        return float(value), gradient[0].numpy()

    limits = [
        {"type": "ineq", "fun": lambda x: dense[:4] @ x - least},
        {"type": "ineq", "fun": lambda x: most - dense[9:12] @ x},
        {"type": "ineq", "fun": lambda x: mean - (dense[12:] @ x).mean(keepdims=True)},
    ]
    options = {"maxiter": 2000, "ftol": 1e-10}
    peer = optimize.minimize(
        of_numpy, np.ones(8), jac=True, method="SLSQP", bounds=[(0, None)] * 8, constraints=limits, options=options
    )
    assert peer.success
    found, free = solve(problem, EXACT), solve(problem, replace(EXACT, tolerance_gy=1e6))
    assert found.status is Status.CONVERGED
    assert float(found.value) == pytest.approx(peer.fun, rel=1e-4)
    assert float(free.value) < 0.99 * peer.fun  # the constraints do bind


def test_infeasible_plan_misses_little_more_than_it_must() -> None:
    matrix = random_problem(voxels=14, beamlets=8, seed=1).influence.matrix
    problem = _problem(
        matrix,
        Objective("PTV", "squared_deviation", 60.0),
        Objective("PTV", "min_dose", 45.0, constraint=True),
        Objective("SpinalCord", "max_dose", 50.0, constraint=True),
        PTV=[0, 1, 2, 3],
        SpinalCord=[9, 10, 11],
    )
    dense = matrix.numpy()
    rows = np.concatenate([-dense[:4], dense[9:12]])
    slack = np.full((7, 1), -1.0)
    peer = optimize.linprog(
        np.append(np.zeros(8), 1.0), np.hstack([rows, slack]), np.repeat([-45.0, 50.0], [4, 3]), bounds=[(0, None)] * 9
    )
    found = solve(problem, EXACT)
    assert peer.fun > 10
    assert found.status is Status.INFEASIBLE
    worst = max(violation.excess_gy for violation in found.violations)
    assert peer.fun <= worst <= 1.5 * peer.fun  # least squares of the violations, not the least maximum


def test_contradictory_constraints_end_infeasible_with_the_best_plan_and_what_it_misses() -> None:
    problem = _problem(
        torch.eye(2, dtype=torch.float64),
        Objective("PTV", "squared_deviation", 60.0),
        Objective("PTV", "min_dose", 57.0, constraint=True),
        Objective("SpinalCord", "max_dose", 45.0, constraint=True),
        Objective("Brainstem", "max_dose", 80.0, constraint=True),
        PTV=[0, 1],
        SpinalCord=[1],
        Brainstem=[0],
    )
    found = solve(problem, replace(EXACT, tolerance_gy=0.1))
    assert found.status is Status.INFEASIBLE
    said = {violation.constraint: violation.excess_gy for violation in found.violations}
    assert set(said) == {"PTV: minimum at least 57 Gy, required", "SpinalCord: maximum at most 45 Gy, required"}
    assert max(said.values()) == pytest.approx(6.0, abs=0.3)  # 51 Gy in the voxel of both misses each by 6
    assert sum(said.values()) == pytest.approx(12.0, abs=1e-6)
    assert float(found.dose[0, 0]) == pytest.approx(60.0, abs=1.0)


def test_batch_where_one_plan_is_infeasible() -> None:
    single = _problem(
        torch.eye(3, dtype=torch.float64),
        Objective("PTV", "squared_deviation", 60.0),
        Objective("PTV", "min_dose", 50.0, constraint=True),
        Objective("SpinalCord", "max_dose", 45.0, constraint=True),
        PTV=[0, 1],
        SpinalCord=[1, 2],
    )
    penalty = single.penalty
    least, most = penalty.constraints
    batch = replace(single, plans=2).with_penalty(
        replace(penalty, constraints=(least, replace(most, dose_gy=torch.tensor([45.0, 55.0]))))
    )
    found = solve(batch, replace(EXACT, tolerance_gy=0.01))
    assert found.statuses == (Status.INFEASIBLE, Status.CONVERGED)
    assert found.status is Status.INFEASIBLE
    assert {violation.plan for violation in found.violations} == {0}
    torch.testing.assert_close(found.dose[1, :2], torch.tensor([60.0, 55.0]).double(), atol=0.02, rtol=0.0)


def test_constraints_that_hold_anyway_change_nothing() -> None:
    parts = {"PTV": [0, 1], "SpinalCord": [2]}
    soft = Objective("PTV", "squared_deviation", 60.0)
    matrix = random_problem(voxels=3, beamlets=2, seed=2).influence.matrix
    loose = _problem(matrix, soft, Objective("SpinalCord", "max_dose", 250.0, constraint=True), **parts)
    plain = _problem(matrix, soft, **parts)
    torch.testing.assert_close(solve(loose, EXACT).value, solve(plain, EXACT).value, rtol=1e-8, atol=1e-8)


def test_penalty_without_constraints_is_refused() -> None:
    with pytest.raises(InputError, match="penalty must have constraints; got 'SplitSquares'"):
        solve(random_problem(), AugmentedLagrangian())


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("steps_per_update must be at least 1; got 0", {"steps_per_update": 0}),
        ("patience must be at least 1; got 0", {"patience": 0}),
        ("memory must be at least 1; got 0", {"memory": 0}),
        ("tolerance_gy must be positive; got 0.0", {"tolerance_gy": 0.0}),
        ("growth must be more than 1; got 1.0", {"growth": 1.0}),
    ],
)
def test_numbers_out_of_range_are_refused(rule: str, fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rule):
        AugmentedLagrangian(**fields)
