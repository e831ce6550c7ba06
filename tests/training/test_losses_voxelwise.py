import numpy as np
import pytest
from losses_cases import filled, make_batch, predicted

from dosewright.core import InputError, keys
from dosewright.training.losses import MaskedL1, MaskedSmoothL1
from dosewright.training.losses.reference import reference_of


def test_l1_of_a_shift_is_the_shift():
    batch = make_batch()
    assert float(MaskedL1()(batch[keys.DOSE] - 2.5, batch)) == pytest.approx(2.5, rel=1e-12)


def test_l1_counts_samples_not_voxels():
    batch = make_batch()
    batch[keys.DOSE_MASK][0] = False
    batch[keys.DOSE_MASK][0, 0, 0, 0, 0] = True
    dose = batch[keys.DOSE].clone()
    dose[0] += 4.0
    assert float(MaskedL1()(dose, batch)) == pytest.approx(2.0, rel=1e-12)  # (4 + 0) / 2, though one voxel of many


def test_l1_is_the_numpy_twin():
    batch = make_batch(seed=3)
    dose = predicted(batch)
    expected = np.mean(
        [
            np.abs(p.numpy()[m.numpy()] - r.numpy()[m.numpy()]).mean()
            for p, r, m in zip(dose, batch[keys.DOSE], batch[keys.DOSE_MASK], strict=True)
        ]
    )
    assert float(MaskedL1()(dose, batch)) == pytest.approx(expected, rel=1e-12)


# Δ²/2β below β, |Δ| - β/2 above.
@pytest.mark.parametrize(("shift_gy", "expected"), [(0.5, 0.5**2 / 4), (-1.0, 0.25), (2.0, 1.0), (-7.0, 6.0)])
def test_smooth_l1_of_a_shift(shift_gy: float, expected: float):
    batch = make_batch()
    value = MaskedSmoothL1(beta_gy=2.0)(batch[keys.DOSE] + shift_gy, batch)
    assert float(value) == pytest.approx(expected, rel=1e-12)


def test_smooth_l1_nears_l1_as_beta_vanishes():
    batch = make_batch()
    dose = predicted(batch)
    assert float(MaskedSmoothL1(beta_gy=1e-9)(dose, batch)) == pytest.approx(float(MaskedL1()(dose, batch)), rel=1e-9)


@pytest.mark.parametrize("beta_gy", [0.0, -1.0, float("nan")])
def test_smooth_l1_wants_a_positive_beta(beta_gy: float):
    with pytest.raises(InputError, match="beta_gy must be positive"):
        MaskedSmoothL1(beta_gy=beta_gy)


def test_several_outputs_want_deep_supervision():
    batch = make_batch()
    with pytest.raises(InputError, match="outputs must be one tensor; wrap the loss in DeepSupervisionLoss"):
        reference_of((batch[keys.DOSE], filled(0.0, batch[keys.DOSE])), batch)
