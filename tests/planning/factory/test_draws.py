"""Draws depend on nothing but their place, and fill their ranges."""

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.planning.factory.draws import GROUPS, Draw, DrawSettings, draw


def some(count: int, settings: DrawSettings) -> list[Draw]:
    return [draw(settings, 0, "pt_1", "nine", index) for index in range(count)]


def test_a_draw_depends_on_its_place_only() -> None:
    settings = DrawSettings()
    assert some(3, settings)[2] == draw(settings, 0, "pt_1", "nine", 2)
    others = [(1, "pt_1", "nine", 2), (0, "pt_2", "nine", 2), (0, "pt_1", "case", 2), (0, "pt_1", "nine", 3)]
    values = {draw(settings, *place).coverage for place in [(0, "pt_1", "nine", 2), *others]}
    assert len(values) == 5


def test_draws_fill_their_ranges_evenly() -> None:
    settings = DrawSettings(sparing=(0.5, 1.5), organ_weight=(0.1, 10.0), coverage=(0.9, 1.1))
    draws = some(4000, settings)
    error = 5 / np.sqrt(12 * 4000)  # five standard errors of a uniform mean, in units of the range
    for group in GROUPS:
        values = np.array([one.sparing[group] for one in draws])
        assert 0.5 <= values.min() < 0.505 < 1.495 < values.max() <= 1.5
        assert abs(values.mean() - 1.0) < error
    weights = np.log10([one.organ_weight for one in draws])
    assert -1.0 <= weights.min() < -0.99 < 0.99 < weights.max() <= 1.0
    assert abs(weights.mean()) < 2 * error
    table = np.array([[*one.sparing.values(), one.organ_weight, one.target_weight, one.coverage] for one in draws])
    assert np.abs(np.corrcoef(table.T) - np.eye(table.shape[1])).max() < 5 / np.sqrt(4000)  # drawn apart


@pytest.mark.parametrize("values", [(1.0,), (0.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)])
def test_ranges_that_are_none_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"draws\.sparing must be two positive numbers, the least first"):
        DrawSettings(sparing=values)
