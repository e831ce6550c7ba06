import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosewright.core import InputError
from dosewright.scorecards import Curve, ScorePoint

FALLING = Curve((ScorePoint(10.0, 8.0), ScorePoint(16.0, 7.0), ScorePoint(20.0, 4.0), ScorePoint(22.0, 0.0)))


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (-5.0, 8.0),
        (10.0, 8.0),
        (13.0, 7.5),
        (16.0, 7.0),
        (17.0, 6.25),
        (20.0, 4.0),
        (21.5, 1.0),
        (22.0, 0.0),
        (99.0, 0.0),
    ],
)
def test_falling_curve_by_hand(value: float, score: float) -> None:
    assert FALLING.score(value) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "slope"),
    [(9.0, 0.0), (10.0, -1 / 6), (12.0, -1 / 6), (16.0, -0.75), (21.0, -2.0), (22.0, -2.0), (23.0, 0.0)],
)
def test_slopes_take_the_steeper_side_at_corners(value: float, slope: float) -> None:
    assert FALLING.slope(value) == pytest.approx(slope, abs=1e-12)


def test_rising_curve_by_hand() -> None:
    curve = Curve((ScorePoint(94.5, 0), ScorePoint(95, 8), ScorePoint(97, 13.5), ScorePoint(100, 15)))
    assert [curve.score(v) for v in (94.0, 94.75, 95.0, 96.0, 98.5, 100.0, 101.0)] == [0, 4, 8, 10.75, 14.25, 15, 15]
    assert (curve.maximum, curve.minimum, curve.best_value) == (15.0, 0.0, 100.0)
    assert curve.slope(94.75) == pytest.approx(16.0)


def test_best_value_of_falling_plateau_and_peak() -> None:
    assert FALLING.best_value == 10.0
    plateau = Curve((ScorePoint(0, 5), ScorePoint(3, 5), ScorePoint(9, 1)))
    assert (plateau.best_value, plateau.score(2.0)) == (3.0, 5.0)
    assert Curve((ScorePoint(0, 0), ScorePoint(4, 9), ScorePoint(6, 9), ScorePoint(8, 0))).best_value == 4.0


def test_one_point_gives_its_own_score_everywhere() -> None:
    curve = Curve((ScorePoint(20.0, 3.5),))
    assert [curve.score(v) for v in (-1e9, 20.0, 1e9)] == [3.5] * 3
    assert (curve.slope(20.0), curve.maximum, curve.best_value) == (0.0, 3.5, 20.0)


def test_order_means_nothing_and_is_kept() -> None:
    points = (ScorePoint(20.0, 4.0), ScorePoint(10.0, 8.0), ScorePoint(22.0, 0.0), ScorePoint(16.0, 7.0))
    mixed = Curve(points)
    assert mixed.points == points
    assert [mixed.score(v) for v in (5.0, 13.0, 21.0)] == [FALLING.score(v) for v in (5.0, 13.0, 21.0)]


def test_a_point_said_twice_counts_once() -> None:
    twice = Curve((*FALLING.points, ScorePoint(16.0, 7.0)))
    assert len(twice.points) == 5
    assert [twice.score(v) for v in (12.0, 16.0, 18.0)] == [FALLING.score(v) for v in (12.0, 16.0, 18.0)]


def test_two_scores_at_one_value_are_refused() -> None:
    with pytest.raises(InputError, match=r"points must give one score per value, not two at 16; got \(7\.0, 6\.0\)"):
        Curve((*FALLING.points, ScorePoint(16.0, 6.0)))


def test_no_points_score_nothing() -> None:
    empty = Curve(())
    assert (empty.maximum, empty.minimum) == (0.0, 0.0)
    for use in (lambda: empty.score(1.0), lambda: empty.slope(1.0), lambda: empty.best_value):
        with pytest.raises(InputError, match="points must have a point to score anything"):
            use()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="value must be finite"):
        FALLING.score(bad)
    with pytest.raises(InputError, match="value must be finite"):
        FALLING.slope(bad)
    with pytest.raises(InputError, match="value must be finite"):
        ScorePoint(bad, 1.0)
    with pytest.raises(InputError, match="score must be finite"):
        ScorePoint(1.0, bad)


def test_rounding_does_not_leave_a_plateau() -> None:
    curve = Curve((ScorePoint(32, 4.625), ScorePoint(33, 0.0), ScorePoint(-1, 4.625)))
    assert curve.score(0.0) == 4.625


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(-50, 50), st.floats(-20, 20), min_size=1, max_size=6), st.floats(-60, 60))
def test_against_a_naive_scan(corners: dict[int, float], value: float) -> None:
    curve = Curve(tuple(ScorePoint(x, y) for x, y in corners.items()))
    xs = sorted(corners)
    expected = corners[xs[0]] if value <= xs[0] else corners[xs[-1]]
    for low, high in itertools.pairwise(xs):
        if low < value <= high:
            expected = corners[low] + (corners[high] - corners[low]) * (value - low) / (high - low)
    assert curve.score(value) == pytest.approx(expected, abs=1e-9)
    assert curve.minimum <= curve.score(value) <= curve.maximum
