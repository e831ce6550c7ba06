"""Sorted voxels: percentiles as numpy defines them, and the ways to misuse them."""

import numpy as np
import pytest
import torch

from dosewright.core import InputError
from dosewright.dose.voxels import percent_at_or_above, percentile, sorted_voxels


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1001])
def test_percentile_is_numpys_to_the_last_digit(count: int) -> None:
    voxels = np.sort(np.random.default_rng(count).uniform(0, 70, count))
    for percent in (0.0, 1.0, 5.0, 50.0, 99.0, 100.0, *np.linspace(0.3, 99.7, 61).tolist()):
        assert percentile(torch.from_numpy(voxels), percent).item() == np.percentile(voxels, percent)


def test_sorting_keeps_gradients() -> None:
    dose = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
    sorted_voxels(dose, torch.tensor([True, False, True]))[0].backward()
    assert dose.grad is not None
    assert dose.grad.tolist() == [0.0, 0.0, 1.0]


def test_thresholds_of_any_shape() -> None:
    voxels = torch.tensor([1.0, 2.0, 2.0, 4.0])
    assert percent_at_or_above(voxels, torch.tensor([[2.0], [4.1]])).tolist() == [[75.0], [0.0]]


@pytest.mark.parametrize("percent", [-1.0, 101.0, float("nan")])
def test_a_percent_out_of_range_is_refused(percent: float) -> None:
    with pytest.raises(InputError, match=r"percent must be in \[0, 100\]"):
        percentile(torch.ones(3), percent)
