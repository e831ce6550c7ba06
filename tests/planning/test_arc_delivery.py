"""A plan's apertures as arcs."""

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.mlc import Mlc
from dosewright.planning.arc_beams import ArcBeams, PlannedArc
from dosewright.planning.arc_delivery import delivered_arcs
from dosewright.planning.deliver import Delivered

TO_AND_FRO = ArcBeams([PlannedArc(0, 40), PlannedArc(40, 40, clockwise=False)], spacing_deg=20)


def _slit(beam: int, at_mm: float, weight: float) -> Aperture:
    left, right = np.full((2, 2), at_mm), np.full((2, 2), at_mm + 10.0)
    return Aperture(beam, np.array([0.0, 5.0, 10.0]), left, right, (-100.0, 100.0), weight)


def _delivered(*apertures: Aperture) -> Delivered:
    units = 10.0 * sum(one.weight for one in apertures)
    return Delivered(apertures, np.zeros(1), np.zeros((1, 1, 1), np.float32), units, {})


def test_arcs_to_and_fro_share_the_apertures_of_their_beams_and_all_monitor_units():
    delivered = _delivered(_slit(0, 0.0, 1.0), _slit(0, 50.0, 2.0), _slit(1, 5.0, 3.0), _slit(1, 30.0, 4.0))
    there, back = delivered_arcs(TO_AND_FRO, delivered, Mlc())
    assert [(one.gantry_angle_deg, one.aperture.weight) for one in there.points] == [(10.0, 1.0), (30.0, 3.0)]
    assert [(one.gantry_angle_deg, one.aperture.weight) for one in back.points] == [(30.0, 4.0), (10.0, 2.0)]
    assert there.to_plain() == pytest.approx(
        {"control_points": 2, "monitor_units": 40.0, "seconds": 20 / 6, "leaf_travel_mm_per_deg": 5 / 20}
    )
    assert back.seconds == pytest.approx(20 / 6)  # 30 MU take 3 s, 20 mm less than 1 s
    assert there.monitor_units + back.monitor_units == pytest.approx(delivered.monitor_units)


def test_apertures_of_other_beams_are_refused():
    with pytest.raises(InputError, match=r"apertures must be of beams that the arcs pass; got 'of beams \[5\]'"):
        delivered_arcs(TO_AND_FRO, _delivered(_slit(5, 0.0, 1.0)), Mlc())
