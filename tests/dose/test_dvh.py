"""Dose-volume quantities: closed forms, numpy twins, finite differences and properties that always hold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dosewright.core import GridMismatchError, InputError
from dosewright.dose import (
    dose_at_cc,
    dose_at_volume,
    dvh_curve,
    generalized_eud,
    max_dose,
    mean_dose,
    min_dose,
    volume_at_dose,
)

ONES = torch.ones(101, dtype=torch.bool)
RAMP = torch.arange(101, dtype=torch.float64)  # 0, 1, …, 100 Gy: D_v = 100 − v

doses = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 80, width=32))


def all_of(dose: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(dose, dtype=torch.bool)


def random_volume(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    dose = torch.from_numpy(rng.uniform(0, 70, (5, 6, 7))).to(dtype)
    return dose, torch.from_numpy(rng.random((5, 6, 7)) < 0.4)


@pytest.mark.parametrize("volume_percent", [0.0, 0.1, 2.0, 50.0, 95.0, 98.0, 100.0])
def test_dose_at_volume_of_a_ramp(volume_percent: float) -> None:
    assert dose_at_volume(RAMP, ONES, volume_percent).item() == pytest.approx(100.0 - volume_percent, abs=1e-12)


@pytest.mark.parametrize("volume_percent", [1.0, 5.0, 33.3, 50.0, 95.0, 99.0])
def test_dose_at_volume_is_numpys_percentile(volume_percent: float) -> None:
    dose, mask = random_volume(1)
    expected = np.percentile(dose.numpy()[mask.numpy()], 100 - volume_percent)
    assert dose_at_volume(dose, mask, volume_percent).item() == pytest.approx(expected, rel=1e-15)


def test_a_uniform_dose_gives_itself() -> None:
    dose = torch.full((3, 4, 5), 60.0, dtype=torch.float64)
    mask = all_of(dose)
    values = [
        dose_at_volume(dose, mask, 95.0),
        dose_at_cc(dose, mask, 0.1, 0.03),
        mean_dose(dose, mask),
        max_dose(dose, mask),
        min_dose(dose, mask),
        generalized_eud(dose, mask, 8.0),
        generalized_eud(dose, mask, -10.0),
    ]
    assert [value.item() for value in values] == pytest.approx([60.0] * 7, rel=1e-14)


def test_only_masked_voxels_count() -> None:
    dose = torch.tensor([[10.0, 20.0], [30.0, 1000.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert mean_dose(dose, mask).item() == pytest.approx(20.0, rel=1e-6)
    assert max_dose(dose, mask).item() == 30.0
    assert min_dose(dose, mask).item() == 10.0
    assert volume_at_dose(dose, mask, 20.0).item() == pytest.approx(200 / 3, rel=1e-6)


@pytest.mark.parametrize("voxels", [1, 2, 3, 17, 60])
def test_dose_at_cc_of_k_voxels_is_the_k_th_hottest(voxels: int) -> None:
    dose, mask = random_volume(2)
    hottest = np.sort(dose.numpy()[mask.numpy()])[::-1]
    found = dose_at_cc(dose, mask, voxels * 0.04, 0.04).item()
    assert found == pytest.approx(hottest[voxels - 1], rel=1e-12)


@pytest.mark.parametrize(("voxels", "expected"), [(0.1, 100.0), (1.0, 100.0), (2.5, 98.5), (10.1, 90.9), (200.0, 0.0)])
def test_dose_at_cc_is_interpolated_between_voxels(voxels: float, expected: float) -> None:
    assert dose_at_cc(RAMP, ONES, voxels * 0.5, 0.5).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_dose_at_cc_of_a_small_structure_is_its_minimum() -> None:
    dose = torch.tensor([5.0, 7.0])
    assert dose_at_cc(dose, all_of(dose), 0.1, 0.04).item() == 5.0


def test_volume_at_dose_counts_the_threshold_itself() -> None:
    assert volume_at_dose(RAMP, ONES, 51.0).item() == pytest.approx(100 * 50 / 101, rel=1e-14)


def test_soft_volume_tends_to_the_hard_one_and_is_a_sigmoid() -> None:
    dose = torch.tensor([18.0, 21.0, 25.0], dtype=torch.float64)
    hard, soft = (volume_at_dose(dose, all_of(dose), 20.0, s).item() for s in (0.0, 1e-3))
    assert soft == pytest.approx(hard, rel=1e-12)
    expected = 100 * np.mean(1 / (1 + np.exp(-(dose.numpy() - 20.0) / 2.0)))
    assert volume_at_dose(dose, all_of(dose), 20.0, 2.0).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("a", [-15.0, -1.0, 0.5, 1.0, 2.0, 12.0])
def test_geud_is_the_power_mean(a: float) -> None:
    dose, mask = random_volume(2)
    expected = np.mean((dose.numpy()[mask.numpy()]) ** a) ** (1 / a)
    assert generalized_eud(dose, mask, a).item() == pytest.approx(expected, rel=1e-12)


def test_geud_does_not_overflow_in_float32() -> None:
    dose = torch.tensor([50.0, 70.0], dtype=torch.float32)  # 70^60 is 5e110
    assert generalized_eud(dose, all_of(dose), 60.0).item() == pytest.approx(
        70 * (0.5 * (1 + (5 / 7) ** 60)) ** (1 / 60)
    )


def test_geud_with_cold_voxels() -> None:
    dose = torch.tensor([0.0, 60.0], dtype=torch.float64, requires_grad=True)
    cold = generalized_eud(dose, all_of(dose), -10.0)
    assert cold.item() == pytest.approx(1e-6 * 2**0.1, rel=1e-12)
    assert torch.autograd.grad(cold, dose)[0].isfinite().all()
    zero = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    at_zero = generalized_eud(zero, all_of(zero), 8.0)
    assert at_zero.item() == 0.0
    assert torch.autograd.grad(at_zero, zero)[0].tolist() == [0.25] * 4


def test_geud_counts_negative_doses_as_zero() -> None:
    dose = torch.tensor([-5.0, 10.0], dtype=torch.float64)
    assert generalized_eud(dose, all_of(dose), 2.0).item() == pytest.approx(10 / np.sqrt(2), rel=1e-14)


def test_dvh_curve_counts_each_bin() -> None:
    dose, mask = random_volume(3)
    bins = np.linspace(-1, 75, 39)
    voxels = dose.numpy()[mask.numpy()]
    expected = [100 * np.mean(voxels >= b) for b in bins]
    np.testing.assert_allclose(dvh_curve(dose, mask, torch.from_numpy(bins)).numpy(), expected, rtol=1e-12)


def test_dvh_curve_takes_bins_in_any_order() -> None:
    bins = torch.tensor([90.0, 10.0, 50.0])
    expected = [100 * 11 / 101, 100 * 91 / 101, 100 * 51 / 101]
    np.testing.assert_allclose(dvh_curve(RAMP, ONES, bins).numpy(), expected, rtol=1e-12)


def test_soft_dvh_curve_is_soft_volume_at_each_bin() -> None:
    dose, mask = random_volume(4)
    bins = torch.tensor([5.0, 30.0, 60.0])
    expected = [volume_at_dose(dose, mask, b, 1.5).item() for b in bins.tolist()]
    np.testing.assert_allclose(dvh_curve(dose, mask, bins, 1.5).numpy(), expected, rtol=1e-12)


def test_float32_stays_float32_and_agrees() -> None:
    dose, mask = random_volume(5, torch.float32)
    wide = dose.double()
    for function in (
        mean_dose,
        max_dose,
        lambda d, m: dose_at_volume(d, m, 95.0),
        lambda d, m: generalized_eud(d, m, 4.0),
    ):
        assert function(dose, mask).dtype is torch.float32
        assert function(dose, mask).item() == pytest.approx(function(wide, mask).item(), rel=1e-6)


@pytest.mark.parametrize(
    "quantity",
    [
        lambda d, m: dose_at_volume(d, m, 95.0),
        lambda d, m: dose_at_volume(d, m, 2.0),
        lambda d, m: dose_at_cc(d, m, 0.2, 0.05),
        lambda d, m: volume_at_dose(d, m, 30.0, 4.0),
        mean_dose,
        max_dose,
        min_dose,
        lambda d, m: generalized_eud(d, m, 6.0),
        lambda d, m: generalized_eud(d, m, -6.0),
        lambda d, m: dvh_curve(d, m, torch.tensor([20.0, 40.0]), 5.0),
    ],
    ids=["D95", "D2", "D0.2cc", "soft V", "mean", "max", "min", "gEUD 6", "gEUD -6", "soft DVH"],
)
def test_gradients_match_finite_differences(quantity) -> None:
    dose, mask = random_volume(6)
    assert torch.autograd.gradcheck(lambda d: quantity(d, mask), (dose.requires_grad_(),))


@given(doses, st.floats(0, 100), st.floats(0, 100))
@settings(deadline=None, max_examples=60)
def test_dose_at_volume_falls_with_volume(dose: np.ndarray, one: float, other: float) -> None:
    tensor = torch.from_numpy(dose)
    less, more = sorted((one, other))
    hot, cold = (dose_at_volume(tensor, all_of(tensor), v).item() for v in (less, more))
    assert hot >= cold - 1e-9


@given(doses, st.floats(0, 100), st.floats(-20, 20, width=32))
@settings(deadline=None, max_examples=60)
def test_dose_at_volume_moves_with_the_dose(dose: np.ndarray, volume_percent: float, shift_gy: float) -> None:
    tensor = torch.from_numpy(dose)
    plain, moved = (dose_at_volume(t, all_of(t), volume_percent).item() for t in (tensor, tensor + shift_gy))
    assert moved == pytest.approx(plain + shift_gy, abs=1e-9)


@given(doses, hnp.arrays(np.float64, 12, elements=st.floats(-5, 90, width=32)))
@settings(deadline=None, max_examples=60)
def test_dvh_never_rises_and_starts_at_all(dose: np.ndarray, bins: np.ndarray) -> None:
    tensor = torch.from_numpy(dose)
    curve = dvh_curve(tensor, all_of(tensor), torch.from_numpy(np.sort(bins)))
    assert (curve.diff() <= 0).all()
    assert dvh_curve(tensor, all_of(tensor), torch.zeros(1)).item() == pytest.approx(100.0, rel=1e-14)


@given(doses, st.floats(1, 20), st.floats(0.1, 10))
@settings(deadline=None, max_examples=60)
def test_geud_lies_between_mean_and_maximum_and_scales(dose: np.ndarray, a: float, factor: float) -> None:
    tensor = torch.from_numpy(dose)
    value = generalized_eud(tensor, all_of(tensor), a).item()
    assert dose.mean() * (1 - 1e-9) <= value <= dose.max() * (1 + 1e-9)
    scaled = generalized_eud(tensor * factor, all_of(tensor), a).item()
    assert scaled == pytest.approx(value * factor, rel=1e-9, abs=1e-300)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(InputError, match="mask must not be empty"):
        mean_dose(RAMP, ~ONES)


def test_another_shape_is_refused() -> None:
    with pytest.raises(GridMismatchError, match=r"mask must have the dose's shape \(101,\); got \(3,\)"):
        dose_at_volume(RAMP, torch.ones(3, dtype=torch.bool), 95.0)


@pytest.mark.parametrize("volume_percent", [-0.1, 100.1, float("nan")])
def test_a_percent_out_of_range_is_refused(volume_percent: float) -> None:
    with pytest.raises(InputError, match=r"volume_percent must be in \[0, 100\]"):
        dose_at_volume(RAMP, ONES, volume_percent)


def test_bad_volumes_are_refused() -> None:
    with pytest.raises(InputError, match="volume_cc must be positive and finite; got 0"):
        dose_at_cc(RAMP, ONES, 0.0, 0.1)
    with pytest.raises(InputError, match="voxel_volume_cc must be positive and finite; got inf"):
        dose_at_cc(RAMP, ONES, 0.1, float("inf"))


def test_a_negative_softness_is_refused() -> None:
    with pytest.raises(InputError, match="softness_gy must be zero or more; got -1"):
        volume_at_dose(RAMP, ONES, 20.0, -1.0)
    with pytest.raises(InputError, match="softness_gy must be zero or more; got nan"):
        dvh_curve(RAMP, ONES, RAMP, float("nan"))


@pytest.mark.parametrize("a", [0.0, float("inf"), float("nan")])
def test_a_useless_exponent_is_refused(a: float) -> None:
    with pytest.raises(InputError, match="a must be finite and not 0"):
        generalized_eud(RAMP, ONES, a)
