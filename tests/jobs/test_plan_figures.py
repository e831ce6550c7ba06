import numpy as np
import pytest

from dosewright.core import Beam
from dosewright.fluence.beamlets import Beamlets
from dosewright.jobs.plan_figures import draw_fluence


def beamlets(energy_mev: np.ndarray | None = None) -> Beamlets:
    """An L of three beamlets in the first beam, one in the second."""
    beam, u, v = np.array([0, 0, 0, 1]), np.array([-5.0, 0.0, -5.0, 2.5]), np.array([0.0, 0.0, 5.0, 0.0])
    return Beamlets(beam, u, v, 5.0, energy_mev)


def test_each_beam_is_a_map_in_millimetres() -> None:
    figure = draw_fluence((Beam(0), Beam(90, 15.0)), beamlets(), np.array([1.0, 2.0, 3.0, 4.0]))
    first, second = (axes for axes in figure.axes if axes.get_title().startswith("gantry"))
    image = first.images[0]
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), [[1.0, 2.0], [3.0, np.nan]])
    assert tuple(image.get_extent()) == (-7.5, 2.5, -2.5, 7.5)
    assert image.origin == "lower"
    assert {axes.images[0].get_clim() for axes in (first, second)} == {(0.0, 4.0)}
    assert (first.get_title(), second.get_title()) == ("gantry 0°", "gantry 90°, couch 15°")


def test_energies_at_one_place_are_summed() -> None:
    spots = Beamlets(np.zeros(3, int), np.zeros(3), np.zeros(3), 5.0, np.array([100.0, 120.0, 140.0]))
    figure = draw_fluence((Beam(0, modality="proton"),), spots, np.array([1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), [[7.0]])


@pytest.mark.parametrize("fluence", [0.0, 1.0])
def test_a_beam_without_beamlets_is_left_empty(fluence: float) -> None:
    figure = draw_fluence((Beam(0), Beam(90), Beam(180)), beamlets(), np.full(4, fluence))
    third = next(axes for axes in figure.axes if axes.get_title() == "gantry 180°")
    assert list(third.images) == []
