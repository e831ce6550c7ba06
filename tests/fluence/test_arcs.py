"""Arcs as sampled control points."""

from dataclasses import replace

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture, aperture_fluence
from dosewright.fluence.arcs import Arc, control_points, delivery_seconds, leaf_travel_mm_per_deg
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.mlc import Mlc


def _slit(beam: int, at_mm: float, weight: float = 1.0) -> Aperture:
    left, right = np.full((2, 2), float(at_mm)), np.full((2, 2), at_mm + 10.0)
    return Aperture(beam, np.array([0.0, 5.0, 10.0]), left, right, (-200.0, 200.0), weight)


def _sweep(beam: int, start_mm: float, end_mm: float) -> Aperture:
    left = np.repeat([[float(start_mm)], [float(end_mm)]], 2, axis=1)
    return replace(_slit(beam, 0), left_mm=left, right_mm=left + 10.0)


def test_a_full_arc_samples_the_circle_evenly() -> None:
    angles = np.array([beam.gantry_angle_deg for beam in Arc(180.0).beams(10.0)])
    assert len(angles) == 36
    assert angles[0] == 185
    np.testing.assert_allclose(np.diff(np.sort(angles)), 10.0)
    back = [beam.gantry_angle_deg for beam in Arc(5.0, 30.0, clockwise=False, couch_angle_deg=10.0).beams(15.0)]
    np.testing.assert_allclose(back, [357.5, 342.5])
    assert Arc(0.0, 100.0).sectors(30.0) == 4


def test_rounding_never_makes_a_full_turn_of_zero() -> None:
    assert Arc(0.3, 1.0, clockwise=False).angle_deg(0.1 + 0.2) == 0.0  # -5.6e-17 % 360.0 is 360.0


def test_apertures_spread_over_their_sectors_and_sweep_back_and_forth() -> None:
    slits = [_slit(2, 20), _slit(2, -20), _slit(3, -5), _slit(3, 30)]
    (points,) = control_points([Arc(0.0, 40.0)], [[2, 3]], slits)
    assert [one.gantry_angle_deg for one in points] == [5.0, 15.0, 25.0, 35.0]
    assert [one.aperture.left_mm[0, 0] for one in points] == [-20, 20, 30, -5]
    assert leaf_travel_mm_per_deg(points) == pytest.approx(4.0)  # 40 mm in 10°


def test_a_moving_aperture_moves_the_way_of_its_sweep_and_gives_the_same_fluence() -> None:
    sweeps = [_sweep(0, -10, 0), _sweep(0, 0, 10), _sweep(1, -10, 0), _sweep(1, 0, 10)]
    (points,) = control_points([Arc(0.0, 40.0)], [range(2)], sweeps)
    assert [one.aperture.left_mm[:, 0].tolist() for one in points] == [[-10, 0], [0, 10], [10, 0], [0, -10]]
    u, v = (axis.ravel() for axis in np.meshgrid(np.arange(-12.5, 25.0, 5.0), [2.5, 7.5]))
    beam = np.repeat([0, 1], len(u))
    beamlets = Beamlets(beam, np.tile(u, 2), np.tile(v, 2), 5.0)
    there, wanted = (aperture_fluence(one, beamlets) for one in ([point.aperture for point in points], sweeps))
    assert wanted.max() > 0.4
    np.testing.assert_allclose(there, wanted, atol=1e-6)


def test_arcs_that_pass_the_same_beams_share_their_apertures() -> None:
    slits = [_slit(0, 10), _slit(0, -20), _slit(0, -10), _slit(1, 0), _slit(1, 5)]
    there, back = control_points([Arc(0.0, 40.0), Arc(40.0, 40.0, clockwise=False)], [[0, 1], [1, 0]], slits)
    assert [(one.gantry_angle_deg, one.aperture.left_mm[0, 0]) for one in there] == [(10, -20), (30, 0)]
    assert [(one.gantry_angle_deg, one.aperture.left_mm[0, 0]) for one in back] == [(30, 5), (15, 10), (5, -10)]


def test_the_slowest_of_gantry_leaves_and_dose_rate_tells_the_time() -> None:
    mlc = Mlc(leaf_speed_mm_s=25.0, dose_rate_mu_min=600.0)
    slits = [_slit(0, 0, 1.0), _slit(0, 1, 1.0), _slit(0, 101, 1.0), _slit(0, 102, 3.0)]
    (points,) = control_points([Arc(0.0, 40.0)], [[0]], slits)
    # The gantry's 10° take 10/6 s, 100 mm 4 s, and 20 MU, the mean of 10 and 30, 2 s.
    assert delivery_seconds(points, 10.0, mlc) == pytest.approx(10 / 6 + 100 / 25 + 20 / 10)
    assert delivery_seconds(points, 10.0, mlc, gantry_deg_s=1.0) == pytest.approx(3 * 10.0)
    assert delivery_seconds(points[:1], 10.0, mlc) == 0.0


def test_bad_arcs_are_refused() -> None:
    with pytest.raises(InputError, match=r"start_deg must be in \[0, 360\); got 360"):
        Arc(360.0)
    with pytest.raises(InputError, match=r"span_deg must be in \(0, 360\]; got 0"):
        Arc(0.0, 0.0)
    with pytest.raises(InputError, match="spacing_deg must be positive"):
        Arc(0.0).beams(0.0)


def test_beams_and_apertures_that_do_not_fit_are_refused() -> None:
    arc = Arc(0.0, 40.0)
    with pytest.raises(InputError, match="beams must be 1, one for each arc; got 2"):
        control_points([arc], [[0], [1]], [])
    with pytest.raises(InputError, match=r"beams must be different ones, at least one for each arc; got \[\]"):
        control_points([arc], [[]], [])
    with pytest.raises(InputError, match=r"beams must be different ones, at least one for each arc; got \[1, 1\]"):
        control_points([arc], [[1, 1]], [])
    with pytest.raises(InputError, match=r"apertures must be of beams that the arcs pass; got 'of beams \[7\]'"):
        control_points([arc], [[0]], [_slit(7, 0)])
    points = control_points([arc], [[0]], [_slit(0, 0)])[0]
    with pytest.raises(InputError, match="mu_per_fluence must be finite and positive; got 0"):
        delivery_seconds(points, 0.0, Mlc())
    with pytest.raises(InputError, match="gantry_deg_s must be finite and positive; got -1"):
        delivery_seconds(points, 1.0, Mlc(), gantry_deg_s=-1.0)
