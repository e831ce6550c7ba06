"""Homogeneity, conformity and gradient indices on doses whose volumes can be counted by hand."""

import math

import numpy as np
import pytest
import torch

from dosewright.core import GridMismatchError, InputError
from dosewright.dose import gradient_index, homogeneity_index, paddick_ci, rtog_ci


def box(start: int, stop: int) -> torch.Tensor:
    """Voxels [start, stop) of a row of 20."""
    mask = torch.zeros(20, dtype=torch.bool)
    mask[start:stop] = True
    return mask


def dose_in(mask: torch.Tensor, dose_gy: float = 60.0) -> torch.Tensor:
    return mask.double() * dose_gy


def test_homogeneity_of_a_ramp() -> None:
    ramp = torch.linspace(60, 80, 101, dtype=torch.float64)  # D2 79.6, D98 60.4, D50 70
    expected = (79.6 - 60.4) / 70
    assert homogeneity_index(ramp, torch.ones(101, dtype=torch.bool)).item() == pytest.approx(expected, rel=1e-12)


def test_homogeneity_is_numpys_percentiles() -> None:
    dose = np.random.default_rng(0).normal(70, 2, 500)
    d98, d50, d2 = np.percentile(dose, [2, 50, 98])
    found = homogeneity_index(torch.from_numpy(dose), torch.ones(500, dtype=torch.bool)).item()
    assert found == pytest.approx((d2 - d98) / d50, rel=1e-13)


def test_homogeneity_of_no_dose_is_undefined() -> None:
    assert math.isnan(homogeneity_index(torch.zeros(5), torch.ones(5, dtype=torch.bool)).item())


@pytest.mark.parametrize(
    ("target", "treated", "expected"),
    [
        (box(0, 10), box(0, 10), 1.0),
        (box(0, 10), box(0, 20), 10**2 / (10 * 20)),
        (box(0, 10), box(5, 15), 5**2 / (10 * 10)),
        (box(0, 10), box(2, 6), 4**2 / (10 * 4)),
        (box(0, 10), box(10, 20), 0.0),
        (box(0, 10), box(0, 0), 0.0),
    ],
    ids=["perfect", "too large", "shifted", "too small", "missed", "nothing treated"],
)
def test_paddick(target: torch.Tensor, treated: torch.Tensor, expected: float) -> None:
    assert paddick_ci(dose_in(treated), target, 60.0).item() == pytest.approx(expected, rel=1e-14)


def test_conformity_counts_inside_body_and_target_only() -> None:
    dose, target, body = dose_in(box(0, 20)), box(0, 10), box(2, 15)
    assert paddick_ci(dose, target, 60.0, body).item() == pytest.approx(10**2 / (10 * 15), rel=1e-14)
    assert rtog_ci(dose, target, 60.0, body).item() == pytest.approx(15 / 10, rel=1e-14)


def test_rtog_ignores_location() -> None:
    assert rtog_ci(dose_in(box(10, 20)), box(0, 10), 60.0).item() == pytest.approx(1.0, rel=1e-14)


def test_soft_paddick_tends_to_the_hard_one() -> None:
    dose, target = dose_in(box(5, 15)) + 0.5, box(0, 10)
    assert paddick_ci(dose, target, 60.0, softness_gy=1e-3).item() == pytest.approx(0.25, rel=1e-12)


def test_gradients_match_finite_differences() -> None:
    rng = torch.Generator().manual_seed(0)
    dose = (60 + 8 * torch.randn(20, generator=rng, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: homogeneity_index(d, box(0, 15)), (dose,))
    assert torch.autograd.gradcheck(lambda d: paddick_ci(d, box(0, 10), 60.0, softness_gy=3.0), (dose,))


def test_gradient_index_is_a_ratio_of_volumes() -> None:
    dose = dose_in(box(8, 12)) + dose_in(box(4, 8), 30.0) + dose_in(box(12, 14), 29.9)
    assert gradient_index(dose, 60.0).item() == pytest.approx(8 / 4, rel=1e-14)
    assert gradient_index(dose, 60.0, box(6, 20)).item() == pytest.approx(6 / 4, rel=1e-14)


def test_gradient_index_without_prescription_dose_is_undefined() -> None:
    assert math.isnan(gradient_index(dose_in(box(0, 5), 50.0), 60.0).item())


@pytest.mark.parametrize("function", [paddick_ci, rtog_ci])
def test_an_isodose_that_is_none_is_refused(function) -> None:
    with pytest.raises(InputError, match="isodose_gy must be positive and finite; got 0"):
        function(torch.ones(20), box(0, 5), 0.0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="prescription_gy must be positive and finite; got -1"):
        gradient_index(torch.ones(20), -1.0)
    with pytest.raises(InputError, match="mask must not be empty"):
        paddick_ci(torch.ones(20), box(0, 0), 60.0)
    with pytest.raises(InputError, match="softness_gy must be zero or more"):
        paddick_ci(torch.ones(20), box(0, 5), 60.0, softness_gy=-2.0)
    with pytest.raises(GridMismatchError, match=r"body must have the dose's shape \(20,\); got \(3,\)"):
        paddick_ci(torch.ones(20), box(0, 5), 60.0, torch.ones(3, dtype=torch.bool))
