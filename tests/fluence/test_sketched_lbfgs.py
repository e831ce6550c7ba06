"""The sketch keeps sums; projected L-BFGS on corrected models finds the true optimum however bad the sketch."""

import numpy as np
import pytest
import torch
from scipy import sparse

from dense_problems import DenseInfluence, random_problem
from dosewright.core import Beam, Grid, InputError
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.sketch import sketch_of, thin
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import StopRule, solve
from dosewright.fluence.status import Status

EXACT = StopRule(max_steps=2000, kkt_tolerance=1e-9, value_tolerance=0.0)


def _influence(columns: int = 40) -> DoseInfluence:
    """Columns that fall off from a peak, as beamlets do, and one that is empty."""
    rng = np.random.default_rng(0)
    place = np.arange(600)[:, None] - rng.uniform(100, 500, columns)
    dense = np.exp(-np.abs(place) / 15) * (np.abs(place) < 90) * rng.uniform(0.5, 2, columns)
    dense[:, 3] = 0
    grid = Grid((6, 10, 10), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0))
    beamlets = Beamlets(np.zeros(columns, int), 5.0 * np.arange(columns), np.zeros(columns), 5.0)
    return DoseInfluence(sparse.csc_array(dense.astype(np.float32)), [Beam(0.0)], beamlets, grid, np.arange(600))


def test_thinning_keeps_large_entries_and_one_in_so_many_of_the_small() -> None:
    values = np.array([1.0, 0.05, 0.05, 0.05, 0.05, 0.5, 0.05, 0.05, 2.0, 0.2, 0.01], np.float32)
    kept, raised = thin(values, np.array([8, 0, 3]), 0.1)
    # shares of the thresholds 0.1 and 0.2: 1 ½ ½ ½ ½ 1 ½ ½ | 1 1 0.05; kept where the sum passes n + ½
    np.testing.assert_array_equal(kept, [True, True, False, True, False, True, True, False, True, True, False])
    np.testing.assert_allclose(raised[kept], [1.0, 0.1, 0.1, 0.5, 0.1, 2.0, 0.2], rtol=1e-6)


def test_sketch_is_sparse_and_keeps_sums() -> None:
    influence = _influence()
    sketch = sketch_of(influence, 0.2)
    full, thinned = influence.csc.toarray(), sketch.csc.toarray()
    assert sketch.nnz < 0.5 * influence.nnz
    most = full.max(0)
    large = full >= 0.2 * most
    np.testing.assert_array_equal(thinned[large], full[large])
    assert np.abs(full.sum(0) - thinned.sum(0)).max() <= 0.2 * most.max() * (1 + 1e-5)  # one threshold a column
    assert sketch_of(influence, 0.2) is sketch
    assert float(sketch.forward(torch.eye(40)[3]).abs().max()) == 0.0


@pytest.mark.parametrize("threshold", [0.0, 1.0, float("nan")])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match=r"threshold must be in \(0, 1\)"):
        sketch_of(_influence(), threshold)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_same_optimum_as_without_a_sketch(noise: float) -> None:
    problem = random_problem(plans=3, seed=1)
    matrix = problem.influence.matrix
    generator = torch.Generator().manual_seed(5)
    sketch = DenseInfluence(matrix * (1 + noise * torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype)))
    found = solve(problem, SketchedLbfgs(sketch=sketch, stop=EXACT))
    expected = solve(problem, ProjectedLbfgs(stop=EXACT))
    assert found.statuses == (Status.CONVERGED,) * 3
    torch.testing.assert_close(found.fluence, expected.fluence, rtol=1e-5, atol=1e-6)
    if noise == 0.0:
        assert found.evaluations < 0.4 * expected.evaluations


def test_sketch_is_made_of_a_dose_influence() -> None:
    influence = _influence()
    base = random_problem(voxels=600, beamlets=40, seed=2)
    squares = base.penalty.squares
    penalty = type(squares)(squares.goal.float(), squares.weight.float())
    problem = FluenceProblem(influence, penalty, smoothness=0.05)
    stop = StopRule(max_steps=500, kkt_tolerance=1e-6, value_tolerance=0.0)
    found, expected = (solve(problem, method(stop=stop)) for method in (SketchedLbfgs, ProjectedLbfgs))
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-5)
    torch.testing.assert_close(found.dose, expected.dose, rtol=1e-2, atol=0.1)


def test_model_has_the_true_value_and_gradient_where_it_is_made() -> None:
    problem = random_problem(plans=2, seed=3)
    point = problem.point(problem.to_scaled(torch.ones(2, 25, dtype=torch.float64)))
    other = DenseInfluence(problem.influence.matrix.flip(0))
    model = problem.corrected(other, point)
    same = model.point(point.scaled, point.dose)
    torch.testing.assert_close(same.value, point.value)
    torch.testing.assert_close(same.gradient, point.gradient)
    for plan in range(2):
        step = 1e-5 * torch.eye(25, dtype=torch.float64)[plan : plan + 1].expand(2, -1)
        up, down = (model.point(point.scaled + s, point.dose + model.scaled_dose(s)) for s in (step, -step))
        slope = (up.value - down.value) / 2e-5
        torch.testing.assert_close(slope, point.gradient[:, plan], rtol=1e-5, atol=1e-4)


def test_sketch_must_be_given_where_none_can_be_made() -> None:
    with pytest.raises(InputError, match="sketch must be given for an influence other than a DoseInfluence"):
        solve(random_problem(), SketchedLbfgs())


@pytest.mark.parametrize("name", ["inner_steps", "memory"])
def test_numbers_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be at least 1; got 0"):
        SketchedLbfgs(**{name: 0})
