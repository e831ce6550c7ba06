import numpy as np
import pytest
import torch
from losses_cases import make_batch, predicted

from dosewright.core import InputError, keys
from dosewright.training.losses import DVHLoss


def _naive(dose: torch.Tensor, batch: dict, width: float, last: float, softness: float) -> float:
    """The definition, voxel by voxel and bin by bin."""
    samples = []
    for p, r, m, structures in zip(dose, batch[keys.DOSE], batch[keys.DOSE_MASK], batch[keys.STRUCTURES], strict=True):
        areas = []
        for structure in structures:
            inside = (structure & m[0]).numpy()
            if inside.any():
                area = 0.0
                for t in np.arange(0, last + 1e-9, width):
                    volumes = [np.mean(1 / (1 + np.exp(-(d[0].numpy()[inside] - t) / softness))) for d in (p, r)]
                    area += width * abs(volumes[0] - volumes[1])
                areas.append(area)
        samples.append(np.mean(areas) if areas else 0.0)
    return float(np.mean(samples))


@pytest.mark.parametrize(("width", "last", "softness"), [(1.0, 80.0, 0.5), (2.5, 60.0, 3.0)])
def test_is_the_numpy_twin(width: float, last: float, softness: float):
    batch = make_batch(seed=5)
    dose = predicted(batch)
    value = DVHLoss(width, last, softness)(dose, batch)
    assert float(value) == pytest.approx(_naive(dose, batch, width, last, softness), rel=1e-6)


@pytest.mark.parametrize("shift_gy", [-3.0, -0.25, 1.0, 6.5])
def test_a_shift_costs_the_shift(shift_gy: float):
    batch = make_batch()
    batch[keys.DOSE] = 20 + 0.5 * batch[keys.DOSE]  # away from the ends of the bins
    value = DVHLoss(softness_gy=1.0)(batch[keys.DOSE] + shift_gy, batch)
    assert float(value) == pytest.approx(abs(shift_gy), rel=1e-6)


def test_is_the_distance_between_sorted_doses_in_the_limit():
    # The area between two DVHs is the 1-Wasserstein distance of their doses, mean |sorted - sorted|.
    batch = make_batch(samples=1)
    batch[keys.STRUCTURES] = batch[keys.STRUCTURES][:, :1]
    dose = predicted(batch)
    inside = (batch[keys.STRUCTURES] & batch[keys.DOSE_MASK])[0, 0]
    expected = (dose[0, 0][inside].sort().values - batch[keys.DOSE][0, 0][inside].sort().values).abs().mean()
    value = DVHLoss(bin_width_gy=0.01, max_dose_gy=90.0, softness_gy=0.005)(dose, batch)
    assert float(value) == pytest.approx(float(expected), rel=2e-3)


def test_where_the_dose_lies_in_a_structure_does_not_matter():
    batch = make_batch(samples=1)
    batch[keys.DOSE_MASK][:] = True
    batch[keys.STRUCTURES] = torch.ones_like(batch[keys.DOSE_MASK])
    assert float(DVHLoss()(batch[keys.DOSE].flip(2, 3, 4), batch)) == pytest.approx(0.0, abs=1e-12)


def test_bins_reach_the_last_dose():
    assert DVHLoss(bin_width_gy=0.1, max_dose_gy=0.7).bins_gy.tolist() == pytest.approx([0.1 * i for i in range(8)])
    assert DVHLoss().state_dict() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bin_width_gy": 0.0}, "bin_width_gy must be positive"),
        ({"softness_gy": -1.0}, "softness_gy must be positive"),
        ({"bin_width_gy": 2.0, "max_dose_gy": 1.0}, r"max_dose_gy must be at least the bin width 2\.0; got 1\.0"),
    ],
)
def test_bins_without_sense_are_refused(arguments: dict, message: str):
    with pytest.raises(InputError, match=message):
        DVHLoss(**arguments)
