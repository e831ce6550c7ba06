"""Complexity measures against closed forms."""

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.complexity import (
    complexity,
    edge_metric_per_mm,
    modulation_complexity_score,
    modulation_index,
    small_aperture_score,
    sum_of_positive_gradients,
    total_variation,
)
from dosewright.fluence.fluence_map import FluenceMap, fluence_maps


def _maps(*values: list[list[float]]) -> tuple[FluenceMap, ...]:
    beams = []
    for index, rows in enumerate(values):
        array = np.array(rows, float)
        v, u = np.meshgrid(np.arange(array.shape[0]) * 5.0, np.arange(array.shape[1]) * 5.0, indexing="ij")
        beams.append((np.full(array.size, index), u.ravel(), v.ravel(), array.ravel()))
    beam, u_mm, v_mm, x = (np.concatenate(part) for part in zip(*beams, strict=True))
    return fluence_maps(x, Beamlets(beam, u_mm, v_mm, 5.0))


def _aperture(
    left: list[float], right: list[float], weight: float = 1.0, beam: int = 0, width: float = 10.0
) -> Aperture:
    ends = [np.tile(np.array(side, float), (2, 1)) for side in (left, right)]
    edges = np.arange(len(left) + 1) * width
    return Aperture(beam, edges, ends[0], ends[1], (-100.0, 100.0), weight)


def test_sum_of_positive_gradients_is_the_largest_row_of_each_beam() -> None:
    # rows: falls to the right 3 + 2, 4; beam 2: 1
    assert sum_of_positive_gradients(_maps([[1, 3, 0, 2], [4, 4, 4, 4]], [[1, 1]])) == 5 + 1


def test_total_variation_counts_neighbours_both_ways() -> None:
    # along: 2 + 3 + 2; across: 3 + 1 + 4 + 2
    assert total_variation(_maps([[1, 3, 0, 2], [4, 4, 4, 4]])) == 7 + 10
    assert total_variation(_maps([[5.0, 5.0], [5.0, 5.0]])) == 0


def test_absent_beamlets_are_no_neighbours() -> None:
    (one,) = fluence_maps(np.array([1.0, 9.0]), Beamlets(np.zeros(2, int), np.array([0.0, 10.0]), np.zeros(2), 5.0))
    assert total_variation([one]) == 0


def test_modulation_index_is_the_integral_over_thresholds() -> None:
    rng = np.random.default_rng(0)
    (one,) = _maps(rng.normal(5, 1, (9, 12)).tolist())
    deviation, total = one.values.std(), 0.0
    for axis in (0, 1):  # Webb's sum over thresholds of the share of neighbours that differ by more
        steps = np.abs(np.diff(one.values, axis=axis)).ravel()
        thresholds = (np.arange(5000) + 0.5) / 10000
        total += np.mean([(steps > f * deviation).mean() for f in thresholds]) * 0.5
    assert modulation_index([one]) == pytest.approx(total / 2, abs=1e-4)
    assert modulation_index(_maps([[2.0, 2.0, 2.0]])) == 0
    assert modulation_index(()) == 0
    # 0 and 2 in turn: every neighbour differs by two standard deviations
    assert modulation_index(_maps([[0.0, 2.0, 0.0, 2.0]])) == 0.5


def test_an_open_rectangle_is_the_simplest() -> None:
    assert modulation_complexity_score([_aperture([-20, -20, -20], [20, 20, 20])]) == pytest.approx(1.0)


def test_modulation_complexity_score_of_two_apertures() -> None:
    first = _aperture([0, 0, 0], [40, 40, 40], weight=3.0)
    second = _aperture([0, 10, 20], [40, 40, 40], weight=1.0)
    # second: left bank spread 20, steps of 10: variability 1/2; right 1; area 90 of 120
    assert modulation_complexity_score([first, second]) == pytest.approx((3 * 1 + 1 * 0.5 * 90 / 120) / 4)
    # another beam has its own extent
    other = _aperture([0, 0], [10, 10], weight=4.0, beam=1)
    assert modulation_complexity_score([first, second, other]) == pytest.approx((3.375 + 4) / 8)


def test_edge_metric_is_leaf_sides_over_area() -> None:
    # one pair open 30: two sides of 30; area 300
    assert edge_metric_per_mm([_aperture([0], [30])]) == pytest.approx(60 / 300)
    # staggered pairs: outer sides 30 + 30, between them 10 + 10; apart: 30 + 60 + 30
    staggered, apart = _aperture([0, 10], [30, 40]), _aperture([0, 50], [30, 80], weight=3.0)
    assert edge_metric_per_mm([staggered]) == pytest.approx(80 / 600)
    assert edge_metric_per_mm([staggered, apart]) == pytest.approx((80 / 600 + 3 * 120 / 600) / 4)


def test_small_aperture_score_is_the_share_of_open_pairs() -> None:
    first, second = _aperture([0, 0, 0, 5], [5, 10, 20, 5]), _aperture([0], [30], weight=2.0)
    assert small_aperture_score([first, second]) == pytest.approx((1 / 3) / 3)
    assert small_aperture_score([first], below_mm=15.0) == pytest.approx(2 / 3)


def test_all_measures_of_a_plan() -> None:
    apertures = [_aperture([0, 0], [10, 10], 2.0), _aperture([0, 0], [10, 20], 1.0)]
    found = complexity(apertures, _maps([[3.0, 1.0]]), mu_per_fluence=50.0, dose_per_fraction_gy=2.0)
    assert (found.segments, found.monitor_units, found.mu_per_gy) == (2, 150.0, 75.0)
    assert found.mean_area_cm2 == pytest.approx((2 * 2 + 3) / 3)
    assert found.to_dict()["sum_of_positive_gradients"] == 3.0
    with pytest.raises(InputError, match="dose_per_fraction_gy must be positive"):
        complexity(apertures, _maps([[3.0]]), mu_per_fluence=50.0, dose_per_fraction_gy=0.0)
    with pytest.raises(InputError, match="apertures must have a weight; got '1 of weight 0'"):
        edge_metric_per_mm([apertures[0].with_weight(0.0)])
