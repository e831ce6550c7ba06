"""Every kind of term against formulas written out, finite differences and limits known beforehand."""

import math

import numpy as np
import pytest
import torch
from objective_samples import ALL, CONVEX, MASKS, NOT_CONVEX, REFERENCE, VOXELS, penalty_of, random_dose

from dosewright.core import InputError
from dosewright.objectives import Objective
from dosewright.objectives.terms.cvar_index import CvarIndex
from dosewright.objectives.terms.dvh_term import DvhTerm
from dosewright.objectives.terms.geud_index import GeudIndex
from dosewright.objectives.terms.mean_term import MeanTerm
from dosewright.objectives.terms.quadratic import QuadraticTerm

STEP_GY = 1e-5


def naive(objective: Objective, dose: np.ndarray, reference: np.ndarray) -> float:
    """The value of one term for one structure's doses, voxel by voxel, from its definition."""
    limit, volume = objective.dose_gy or 0.0, (objective.volume_percent or 0.0) / 100
    count = len(dose)
    hottest = np.sort(dose)[::-1]

    def mean_of_extreme(ordered: np.ndarray) -> float:
        whole = math.floor(round(volume * count, 9))
        rest = volume * count - whole
        return float((ordered[:whole].sum() + (rest * ordered[whole] if rest > 1e-9 else 0.0)) / (volume * count))

    def geud() -> float:
        return float(np.mean(dose**objective.exponent) ** (1 / objective.exponent))

    match objective.kind:
        case "squared_overdose":
            return sum(max(d - limit, 0) ** 2 for d in dose) / count
        case "squared_underdose":
            return sum(max(limit - d, 0) ** 2 for d in dose) / count
        case "squared_deviation":
            return sum((d - limit) ** 2 for d in dose) / count
        case "mean":
            return sum(dose) / count
        case "mean_upper":
            return max(sum(dose) / count - limit, 0) ** 2
        case "mean_lower":
            return max(limit - sum(dose) / count, 0) ** 2
        case "max_dvh":
            quantile = np.percentile(dose, 100 - 100 * volume)
            return sum((d - limit) ** 2 for d in dose if limit <= d <= quantile) / count
        case "min_dvh":
            quantile = np.percentile(dose, 100 - 100 * volume)
            return sum((d - limit) ** 2 for d in dose if quantile <= d <= limit) / count
        case "geud_upper":
            return max(geud() - limit, 0) ** 2
        case "geud_lower":
            return max(limit - geud(), 0) ** 2
        case "cvar_upper":
            return max(mean_of_extreme(hottest) - limit, 0) ** 2
        case "cvar_lower":
            return max(limit - mean_of_extreme(hottest[::-1]), 0) ** 2
        case "mimic" if objective.structure == "PTV":
            return sum((dose - reference) ** 2) / count
        case "mimic":
            return sum(np.maximum(dose - reference, 0) ** 2) / count
    raise AssertionError(objective.kind)


def label(objective: Objective) -> str:
    return objective.describe().replace(" ", "_")


def differences(function, dose: torch.Tensor) -> torch.Tensor:
    steps = STEP_GY * torch.eye(dose.shape[1], dtype=dose.dtype)
    columns = [(function(dose + step) - function(dose - step)) / (2 * STEP_GY) for step in steps]
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("objective", ALL, ids=label)
def test_value_is_its_definition(objective: Objective) -> None:
    dose = random_dose(3)
    rows = MASKS[objective.structure] if objective.structure in MASKS else torch.ones(VOXELS, dtype=torch.bool)
    expected = [naive(objective, plan[rows].numpy(), REFERENCE[rows].numpy()) for plan in dose]
    assert min(expected) > 0.01  # violated, so that the test says something
    np.testing.assert_allclose(penalty_of(objective).values(dose)[:, 0].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("objective", ALL, ids=label)
def test_gradient_is_the_value_s_slope(objective: Objective) -> None:
    penalty, dose = penalty_of(objective), random_dose(2)
    expected = differences(penalty.value, dose)
    torch.testing.assert_close(penalty.gradient(dose), expected, rtol=1e-5, atol=1e-6)
    assert expected.abs().amax() > 1e-3


@pytest.mark.parametrize("objective", ALL, ids=label)
def test_hessian_is_the_gradient_s_slope(objective: Objective) -> None:
    penalty, dose = penalty_of(objective), random_dose(2)
    direction = torch.randn(2, VOXELS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ahead, behind = dose + STEP_GY * direction, dose - STEP_GY * direction
    expected = (penalty.gradient(ahead) - penalty.gradient(behind)) / (2 * STEP_GY)
    torch.testing.assert_close(penalty.hessian_product(dose, direction), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("objective", ALL, ids=label)
def test_autograd_of_the_value_is_the_gradient(objective: Objective) -> None:
    penalty, dose = penalty_of(objective), random_dose(2).requires_grad_()
    value, gradient = penalty.value_and_gradient(dose)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), dose)[0], gradient.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", CONVEX, ids=label)
def test_convex_kinds_lie_below_their_chords(objective: Objective) -> None:
    assert objective.convex
    penalty, left, right = penalty_of(objective), random_dose(200, seed=4), random_dose(200, seed=5)
    chord = (penalty.value(left) + penalty.value(right)) / 2
    assert (penalty.value((left + right) / 2) <= chord + 1e-9).all()


@pytest.mark.parametrize("objective", NOT_CONVEX, ids=label)
def test_other_kinds_rise_above_a_chord(objective: Objective) -> None:
    assert not objective.convex
    penalty = penalty_of(objective)
    left = random_dose(200, seed=4)
    right = left[:, torch.randperm(VOXELS, generator=torch.Generator().manual_seed(6))]
    chord = (penalty.value(left) + penalty.value(right)) / 2
    assert (penalty.value((left + right) / 2) > chord + 1e-6).any()


def test_dvh_point_that_is_met_costs_nothing() -> None:
    dose = torch.linspace(0.0, 100.0, 101, dtype=torch.float64)[None]
    rows = torch.arange(101)
    one = torch.ones(1, dtype=torch.float64)
    met = DvhTerm(rows, one, torch.tensor([70.0], dtype=torch.float64), 30.0, upper=True)
    missed = DvhTerm(rows, one, torch.tensor([69.0], dtype=torch.float64), 30.0, upper=True)
    assert met.value(dose).item() == 0.0
    assert missed.value(dose).item() == pytest.approx(1.0 / 101)  # the voxel at 70, where D30 stands


def test_cvar_between_maximum_and_mean() -> None:
    dose = torch.tensor([[1.0, 5.0, 3.0, 7.0]], dtype=torch.float64)
    for volume, upper, expected in ((1.0, True, 7.0), (25.0, True, 7.0), (50.0, True, 6.0), (100.0, True, 4.0)):
        assert CvarIndex(volume, upper=upper).value_and_gradient(dose)[0].item() == pytest.approx(expected)
    assert CvarIndex(50.0, upper=False).value_and_gradient(dose)[0].item() == pytest.approx(2.0)
    assert CvarIndex(37.5, upper=True).value_and_gradient(dose)[0].item() == pytest.approx((7 + 0.5 * 5) / 1.5)


@pytest.mark.parametrize("volume_percent", [1e-6, 0.1, 50.0, 100.0])
@pytest.mark.parametrize("upper", [True, False])
def test_cvar_of_one_voxel_is_its_dose(volume_percent: float, upper: bool) -> None:
    value, weights = CvarIndex(volume_percent, upper=upper).value_and_gradient(torch.tensor([[3.0], [7.0]]))
    assert value.tolist() == [3.0, 7.0]
    assert weights.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("volume_percent", [0.5, 50.0, 99.5])
def test_dvh_point_of_one_voxel_is_about_that_voxel(volume_percent: float, upper: bool) -> None:
    one = torch.ones(1, dtype=torch.float64)
    term = DvhTerm(torch.arange(1), one, 5 * one, volume_percent, upper)
    values = term.value(torch.tensor([[3.0], [5.0], [8.0]], dtype=torch.float64)).tolist()
    assert values == ([0.0, 0.0, 9.0] if upper else [4.0, 0.0, 0.0])


def test_cvar_shares_ties_evenly() -> None:
    value, weights = CvarIndex(50.0, upper=True).value_and_gradient(torch.tensor([[2.0, 2.0, 2.0, 5.0]]))
    assert value.item() == pytest.approx(3.5)
    torch.testing.assert_close(weights, torch.tensor([[1 / 6, 1 / 6, 1 / 6, 0.5]]))


@pytest.mark.parametrize("exponent", [100.0, 12.0, 1.0, 0.3, -0.3, -15.0, -100.0])
def test_geud_neither_overflows_nor_loses_digits_in_single_precision(exponent: float) -> None:
    dose = 1.0 + random_dose(1, 4000)
    exact = np.mean((dose.numpy() / 60) ** exponent) ** (1 / exponent) * 60
    value, gradient = GeudIndex(exponent).value_and_gradient(dose.float())
    assert value.item() == pytest.approx(exact, rel=1e-6)
    # gEUD is homogeneous of degree one: Euler's Σ dᵢ ∂gEUD/∂dᵢ = gEUD
    assert (gradient.double() * dose).sum().item() == pytest.approx(exact, rel=2e-5)


def test_geud_of_no_dose_has_a_slope() -> None:
    value, gradient = GeudIndex(-10.0).value_and_gradient(torch.zeros(1, 8))
    assert value.item() == pytest.approx(1e-6)
    torch.testing.assert_close(gradient, torch.full((1, 8), 1 / 8), rtol=1e-5, atol=0.0)


def test_term_refuses_parameters_it_has_no_use_for() -> None:
    one, rows = torch.ones(1), torch.arange(3)
    with pytest.raises(InputError, match="dose_gy must not be given"):
        MeanTerm(rows, one).with_parameters(dose_gy=one)
    with pytest.raises(InputError, match="one side at least"):
        QuadraticTerm(rows, one, one, over=False, under=False)
    with pytest.raises(InputError, match="exactly one of them"):
        QuadraticTerm(rows, one)
    with pytest.raises(InputError, match="exactly one of them"):
        QuadraticTerm(rows, one, one, reference_gy=torch.ones(1, 3))
