"""Groups of plans: the same as all together, by the method that fits."""

import numpy as np
import pytest
import torch

from batch_problems import planned_row
from dense_problems import random_problem
from dosewright.core import InputError
from dosewright.fluence.batch import batch_bytes, batch_solver, solve_batch
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.screened_lbfgs import ScreenedLbfgs
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import StopRule, solve


@pytest.mark.parametrize("at_once", [4, 8, 100])
def test_groups_find_every_plan_s_optimum(at_once: int) -> None:
    problem = planned_row(10)
    results = solve_batch(problem, StopRule(max_steps=60, value_tolerance=1e-4), at_once=at_once)
    assert [len(result.value) for result in results] == {4: [4, 4, 2], 8: [8, 2], 100: [10]}[at_once]
    best = solve(problem, ProjectedLbfgs(stop=StopRule(2000, None, 1e-6, 1e-8, 20))).value
    np.testing.assert_allclose(torch.cat([result.value for result in results]), best, rtol=3e-3)


def test_method_goes_by_the_number_of_plans_the_memory_and_the_influence() -> None:
    assert isinstance(batch_solver(planned_row(8)), ScreenedLbfgs)
    assert isinstance(batch_solver(planned_row(7)), SketchedLbfgs)
    assert isinstance(batch_solver(planned_row(8), memory_gb=1e-5), SketchedLbfgs)
    assert isinstance(batch_solver(random_problem(plans=9)), SketchedLbfgs)
    assert batch_bytes(planned_row(1).influence, 2) == 4 * 600 * 40 + 4 * 2 * (30 * 600 + 40 * 40)


def test_little_memory_makes_small_groups() -> None:
    problem = planned_row(20)
    some = StopRule(max_steps=2)
    enough = batch_bytes(problem.influence, 10) / 1e9
    assert [len(result.value) for result in solve_batch(problem, some, memory_gb=enough, at_once=20)] == [10, 10]


def test_starts_go_with_their_plans() -> None:
    problem = planned_row(5)
    rule = StopRule(max_steps=60, value_tolerance=1e-5)
    first = solve_batch(problem, rule, at_once=3)
    start = torch.cat([result.fluence for result in first])
    again = solve_batch(problem, StopRule(max_steps=1), start, at_once=2)
    found = torch.cat([result.history[0].value for result in again])
    np.testing.assert_allclose(found, torch.cat([result.value for result in first]), rtol=1e-5)
    shared = solve_batch(problem, StopRule(max_steps=1), start[0], at_once=2)
    assert float(shared[0].history[0].value[0]) == pytest.approx(float(first[0].value[0]), rel=1e-5)


def test_refusals() -> None:
    problem = planned_row(3)
    with pytest.raises(InputError, match="at_once must be at least 1; got 0"):
        solve_batch(problem, at_once=0)
    with pytest.raises(InputError, match="memory_gb must be positive; got 0"):
        solve_batch(problem, memory_gb=0.0)
    whole = random_problem(plans=3)
    whole = whole.with_penalty(whole.penalty.squares)
    with pytest.raises(InputError, match="penalty must be able to split into plans; got 'Squares'"):
        solve_batch(whole, at_once=2)
