import numpy as np
import pytest
import torch
from losses_cases import make_batch, predicted

from dosewright.core import InputError, keys
from dosewright.training.losses import MomentLoss


def _one_structure(doses_gy: list[float], reference_gy: list[float]) -> tuple[torch.Tensor, dict]:
    def volume(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, 1, -1)

    reference = volume(reference_gy)
    everywhere = torch.ones_like(reference, dtype=torch.bool)
    return volume(doses_gy), {keys.DOSE: reference, keys.DOSE_MASK: everywhere, keys.STRUCTURES: everywhere}


def test_is_the_numpy_twin():
    exponents = (1.0, 2.0, 10.0, -4.0)
    batch = make_batch(seed=9)
    dose = predicted(batch)
    samples = []
    for p, r, m, structures in zip(dose, batch[keys.DOSE], batch[keys.DOSE_MASK], batch[keys.STRUCTURES], strict=True):
        gaps = []
        for structure in structures:
            inside = (structure & m[0]).numpy()
            if inside.any():
                gaps += [
                    abs(np.subtract(*[np.mean(np.maximum(d[0].numpy()[inside], 1e-3) ** a) ** (1 / a) for d in (p, r)]))
                    for a in exponents
                ]
        samples.append(np.mean(gaps) if gaps else 0.0)
    assert float(MomentLoss(exponents)(dose, batch)) == pytest.approx(float(np.mean(samples)), rel=1e-10)


def test_first_moment_is_the_mean_dose():
    dose, batch = _one_structure([10.0, 20.0, 60.0], [10.0, 10.0, 10.0])
    assert float(MomentLoss((1,))(dose, batch)) == pytest.approx(20.0, rel=1e-12)


def test_second_moment_by_hand():
    dose, batch = _one_structure([3.0, 5.0], [1.0, 1.0])
    assert float(MomentLoss((2,))(dose, batch)) == pytest.approx(17**0.5 - 1, rel=1e-12)


@pytest.mark.parametrize(("exponent", "extreme_gy"), [(5000.0, 60.0), (-5000.0, 10.0)])
def test_large_exponents_reach_the_extremes(exponent: float, extreme_gy: float):
    dose, batch = _one_structure([10.0, 20.0, 60.0], [1.0, 1.0, 1.0])
    assert float(MomentLoss((exponent,))(dose, batch)) == pytest.approx(extreme_gy - 1, rel=1e-3)


@pytest.mark.parametrize("exponents", [(1,), (2, 10), (-3,)])
def test_scales_with_the_dose(exponents: tuple[float, ...]):
    dose, batch = _one_structure([10.0, 20.0, 60.0], [12.0, 25.0, 50.0])
    double = {**batch, keys.DOSE: 2 * batch[keys.DOSE]}
    loss = MomentLoss(exponents)
    assert float(loss(2 * dose, double)) == pytest.approx(2 * float(loss(dose, batch)), rel=1e-12)


def test_uniform_doses_differ_by_their_difference():
    dose, batch = _one_structure([30.0] * 4, [22.0] * 4)
    assert float(MomentLoss((1, 2, 10, -6))(dose, batch)) == pytest.approx(8.0, rel=1e-12)


@pytest.mark.parametrize("exponents", [(), (1.0, 0.0)])
def test_exponents_must_be_there_and_not_zero(exponents: tuple[float, ...]):
    with pytest.raises(InputError, match="exponents must be one or more numbers other than 0"):
        MomentLoss(exponents)


def test_floor_must_be_positive():
    with pytest.raises(InputError, match=r"floor_gy must be positive; got 0\.0"):
        MomentLoss(floor_gy=0.0)
