"""Step and shoot sums to the levelled map, sliding window approaches the map; leaves keep their distance."""

from itertools import pairwise

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture, aperture_fluence
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.fluence_map import FluenceMap, fluence_maps, fluence_vector
from dosewright.fluence.mlc import Mlc
from dosewright.fluence.segmentation import row_complexity
from dosewright.fluence.sliding_window import SlidingWindow
from dosewright.fluence.step_and_shoot import StepAndShoot, levelled

TOUCHING = Mlc(minimum_gap_mm=0.0)


def _field(seed: int = 0, rows: int = 10, columns: int = 14) -> tuple[Beamlets, np.ndarray, FluenceMap]:
    """A smooth field with a notch cut out of its lattice and a closed row inside."""
    rng = np.random.default_rng(seed)
    v, u = np.meshgrid(np.arange(rows) * 5.0 - 22.0, np.arange(columns) * 5.0 - 33.0, indexing="ij")
    fluence = 3 + np.sin(u / 9 + rng.uniform(0, 6)) * np.cos(v / 11) + rng.uniform(0, 0.8, u.shape)
    fluence[4] = 0
    kept = ~((u > 20) & (v > 10)).ravel()
    beamlets = Beamlets(np.zeros(kept.sum(), int), u.ravel()[kept], v.ravel()[kept], 5.0)
    x = fluence.ravel()[kept]
    return beamlets, x, fluence_maps(x, beamlets)[0]


def _check_leaves(apertures: tuple[Aperture, ...], gap_mm: float) -> None:
    for one in apertures:
        assert (one.right_mm - one.left_mm).min() >= gap_mm - 1e-9


@pytest.mark.parametrize("gap_mm", [0.0, 0.5, 8.0])
def test_step_and_shoot_sums_to_the_levelled_map(gap_mm: float) -> None:
    beamlets, x, beam = _field()
    apertures = StepAndShoot(Mlc(minimum_gap_mm=gap_mm), levels=8, least_mu=0.0).apertures(beam, 1.0)
    step, whole = levelled(beam.values, 8)
    if gap_mm > 5:  # two columns at least: single peaks are cut, by numpy's own erosion and dilation
        padded = np.pad(whole, ((0, 0), (2, 2)))
        eroded = np.minimum(padded[:, :-1], padded[:, 1:])
        whole = np.maximum(eroded[:, 1:-2], eroded[:, 2:-1])
    expected = fluence_vector([beam.with_values(step * whole)], len(x))
    np.testing.assert_allclose(aperture_fluence(apertures, beamlets), expected, atol=1e-5)
    assert sum(one.weight for one in apertures) == pytest.approx(step * row_complexity(whole).max())
    _check_leaves(apertures, gap_mm)


def test_levels_are_the_fluence_where_it_has_few_values() -> None:
    values = np.array([[0.0, 0.3, 0.6, 1.2], [0.9, 0.9, 0.0, 0.0]])
    step, whole = levelled(values, 4)
    np.testing.assert_allclose(step * whole, values, atol=1e-12)
    step, whole = levelled(values, 40)
    assert np.abs(step * whole - values).max() < 0.3 / 20
    assert levelled(np.zeros((2, 2)), 4)[1].max() == 0


def test_levelling_is_no_worse_than_equal_parts_of_the_largest() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.exponential(1.0, (8, 8))
        step, whole = levelled(values, 6)
        plain = values.max() / 6
        error = ((step * whole - values) ** 2).sum()
        assert error <= ((plain * np.rint(values / plain) - values) ** 2).sum() + 1e-12
        assert whole.max() <= 6


def test_fewer_segments_and_weak_apertures_on_request() -> None:
    beam = _field()[2]
    free = StepAndShoot(levels=20, least_mu=0.0).apertures(beam, 1.0)
    few = StepAndShoot(levels=20, least_mu=0.0, most_segments=6).apertures(beam, 1.0)
    assert len(free) > 6 >= len(few) >= 4
    strong = StepAndShoot(levels=20, least_mu=2.0).apertures(beam, 4.0)
    assert min(one.weight * 4.0 for one in strong) >= 2.0
    assert StepAndShoot(least_mu=100.0).apertures(beam, 4.0) == ()


def test_a_beam_that_too_few_segments_would_lose_is_refused() -> None:
    beamlets = Beamlets(np.zeros(5, int), np.arange(5) * 5.0 - 10, np.zeros(5), 5.0)
    (comb,) = fluence_maps(np.array([1.0, 0.0, 1.0, 0.0, 1.0]), beamlets)  # three openings, whatever the levels
    with pytest.raises(InputError, match=r"most_segments must allow for the fluence of beam 0, .* more; got 2"):
        StepAndShoot(most_segments=2).apertures(comb, 82.0)
    assert len(StepAndShoot(most_segments=3).apertures(comb, 82.0)) == 3


def test_closed_rows_stand_behind_a_jaw() -> None:
    beam = _field()[2]
    for one in StepAndShoot(Mlc(minimum_gap_mm=2.0)).apertures(beam, 1.0):
        shut = one.opening_mm < 1e-6
        assert (one.left_mm[:, shut] >= one.jaws_mm[1] - 1e-9).all()
        assert not shut[[0, -1]].any()


def test_sliding_window_beam_on_is_travel_and_positive_gradients() -> None:
    beam = _field()[2]
    mlc = Mlc(minimum_gap_mm=0.0, leaf_speed_mm_s=20.0, dose_rate_mu_min=600.0)
    apertures = SlidingWindow(mlc, 30).apertures(beam, 2.5)
    assert len(apertures) == 30
    width = beam.u_edges_mm[-1] - beam.u_edges_mm[0]
    travel = width / 20.0 * 10.0 / 2.5  # seconds, times MU a second, over MU per fluence
    assert sum(one.weight for one in apertures) == pytest.approx(travel + row_complexity(beam.values).max())


def test_sliding_window_nears_the_map_with_its_control_points() -> None:
    beamlets, x, beam = _field()
    errors = []
    for points in (25, 100, 400):
        apertures = SlidingWindow(TOUCHING, points).apertures(beam, 10.0)
        errors.append(float(np.abs(aperture_fluence(apertures, beamlets) - x).mean()))
        for one, following in pairwise(apertures):
            np.testing.assert_array_equal(one.left_mm[1], following.left_mm[0])
            assert (np.diff(one.left_mm, axis=0) >= 0).all()
            assert (np.diff(one.right_mm, axis=0) >= 0).all()
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < 0.25 * errors[1]
    assert errors[2] < 0.001 * x.mean()


def test_sliding_window_keeps_within_the_leaf_speed() -> None:
    beam = _field()[2]
    mlc = Mlc(leaf_speed_mm_s=25.0, dose_rate_mu_min=600.0)
    for one in SlidingWindow(mlc, 50).apertures(beam, 3.0):
        seconds = one.weight * 3.0 / 10.0
        moved = np.concatenate([np.diff(one.left_mm, axis=0), np.diff(one.right_mm, axis=0)])
        assert moved.max() <= 25.0 * seconds + mlc.minimum_gap_mm + 1e-9


def test_sliding_window_keeps_the_minimum_gap_for_a_small_cost() -> None:
    beamlets, x, beam = _field()
    mlc = Mlc(minimum_gap_mm=1.0)
    apertures = SlidingWindow(mlc, 200).apertures(beam, 10.0)
    _check_leaves(apertures, 1.0)
    got = aperture_fluence(apertures, beamlets)
    dark = x == 0
    # a gap of 1 mm that passes at full speed leaves 0.4 MU: 0.04 units of fluence; row 4 is not used and stays dark
    assert got[dark].max() == pytest.approx(0.0, abs=1e-9)
    assert np.abs(got - x).mean() < 0.02


def test_a_notch_of_no_fluence_gets_what_the_gap_lets_through() -> None:
    beamlets = Beamlets(np.zeros(5, int), np.arange(5) * 5.0 - 10, np.zeros(5), 5.0)
    (beam,) = fluence_maps(np.array([2.0, 2.0, 0.0, 2.0, 2.0]), beamlets)
    apertures = SlidingWindow(Mlc(minimum_gap_mm=1.0), 2000).apertures(beam, 10.0)
    got = aperture_fluence(apertures, beamlets)
    # both leaves cross the notch at 2.5 mm a MU, 25 mm a unit: 1 mm / 25 mm
    assert got[2] == pytest.approx(1 / 25, rel=0.3)
    np.testing.assert_allclose(got[[0, 1, 3, 4]], 2.0, atol=0.02)


def test_dark_beams_give_nothing() -> None:
    beamlets, x, _ = _field()
    (dark,) = fluence_maps(np.zeros_like(x), beamlets)
    assert SlidingWindow().apertures(dark, 1.0) == ()
    assert StepAndShoot().apertures(dark, 1.0) == ()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="levels must be at least 1; got 0"):
        StepAndShoot(levels=0)
    with pytest.raises(InputError, match="most_segments must be at least 1, or None"):
        StepAndShoot(most_segments=0)
    with pytest.raises(InputError, match="least_mu must be finite and not negative"):
        StepAndShoot(least_mu=-1.0)
    with pytest.raises(InputError, match="control_points must be at least 1"):
        SlidingWindow(control_points=0)
