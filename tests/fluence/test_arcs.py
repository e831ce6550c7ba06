"""Arcs as sampled control points."""

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.arcs import Arc, control_points, leaf_travel_mm_per_deg


def _slit(beam: int, at_mm: float) -> Aperture:
    left, right = np.full((2, 2), float(at_mm)), np.full((2, 2), at_mm + 10.0)
    return Aperture(beam, np.array([0.0, 5.0, 10.0]), left, right, (-100.0, 100.0), 1.0)


def test_a_full_arc_samples_the_circle_evenly() -> None:
    angles = np.array([beam.gantry_angle_deg for beam in Arc(180.0).beams(10.0)])
    assert len(angles) == 36
    assert angles[0] == 185
    np.testing.assert_allclose(np.diff(np.sort(angles)), 10.0)
    back = [beam.gantry_angle_deg for beam in Arc(5.0, 30.0, clockwise=False, couch_angle_deg=10.0).beams(15.0)]
    np.testing.assert_allclose(back, [357.5, 342.5])
    assert Arc(0.0, 100.0).sectors(30.0) == 4


def test_apertures_spread_over_their_sectors_and_sweep_back_and_forth() -> None:
    slits = [_slit(2, 20), _slit(2, -20), _slit(3, -5), _slit(3, 30), _slit(0, 0)]
    points = control_points(Arc(0.0, 40.0), slits, sectors=2, first_beam=2)
    assert [one.gantry_angle_deg for one in points] == [5.0, 15.0, 25.0, 35.0]
    assert [one.aperture.left_mm[0, 0] for one in points] == [-20, 20, 30, -5]
    assert leaf_travel_mm_per_deg(points) == pytest.approx(4.0)  # 40 mm in 10°


def test_bad_arcs_are_refused() -> None:
    with pytest.raises(InputError, match=r"start_deg must be in \[0, 360\); got 360"):
        Arc(360.0)
    with pytest.raises(InputError, match=r"span_deg must be in \(0, 360\]; got 0"):
        Arc(0.0, 0.0)
    with pytest.raises(InputError, match="spacing_deg must be positive"):
        Arc(0.0).beams(0.0)
