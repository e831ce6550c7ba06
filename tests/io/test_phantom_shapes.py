"""Implicit shapes against closed forms."""

import math

import numpy as np
import pytest

from dosewright.io.phantom.shapes import (
    AbstractShape,
    Ellipsoid,
    Inflated,
    Loft,
    Slabs,
    Tube,
    Union,
    Within,
    shell,
    spline_tube,
)

STEP_MM = 1.0


def _points(half_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axis = np.arange(-half_mm, half_mm + STEP_MM / 2, STEP_MM)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


def _volume_mm3(shape: AbstractShape, half_mm: float) -> float:
    return float((shape.level_mm(*_points(half_mm)) <= 0).sum()) * STEP_MM**3


def test_level_of_a_sphere_is_the_distance_to_it() -> None:
    x, y, z = _points(20)
    away = np.sqrt((x - 3) ** 2 + (y + 2) ** 2 + z**2)
    level = Ellipsoid((3, -2, 0), (10, 10, 10)).level_mm(x, y, z)
    assert level[away > 0] == pytest.approx(away[away > 0] - 10, abs=1e-4)


@pytest.mark.parametrize("turn", [{}, {"tilt_deg": 30.0}, {"roll_deg": -40.0}])
def test_ellipsoid_volume(turn: dict[str, float]) -> None:
    shape = Ellipsoid((1, 0, -2), (8, 12, 17), **turn)
    assert _volume_mm3(shape, 22) == pytest.approx(4 / 3 * math.pi * 8 * 12 * 17, rel=0.01)


@pytest.mark.parametrize("exponent", [2.5, 4.0])
def test_superellipsoid_volume(exponent: float) -> None:
    closed_form = 8 * 8 * 9 * 10 * math.gamma(1 + 1 / exponent) ** 3 / math.gamma(1 + 3 / exponent)
    assert _volume_mm3(Ellipsoid((0.3, 0.2, 0.4), (8, 9, 10), exponent), 15) == pytest.approx(closed_form, rel=0.02)


def test_tilt_turns_posterior_towards_cranial() -> None:
    needle = Ellipsoid((0, 0, 0), (2, 20, 2), tilt_deg=90)
    top, back = (np.array([[[v]]]) for v in (15.0, 0.0))
    assert needle.level_mm(back, back, top).item() < 0 < needle.level_mm(back, top, back).item()


def test_capsule_volume_and_squash() -> None:
    capsule = Tube(((0, 0, -10), (0, 0, 10)), (5, 5))
    closed_form = math.pi * 25 * 20 + 4 / 3 * math.pi * 125
    assert _volume_mm3(capsule, 20) == pytest.approx(closed_form, rel=0.02)
    wide = Tube(((0, 0, -10), (0, 0, 10)), (5, 5), (2.0, 1.0, 1.0))
    assert _volume_mm3(wide, 20) == pytest.approx(2 * closed_form, rel=0.02)


def test_cone_tube_radius_is_linear() -> None:
    cone = Tube(((0, 0, 0), (0, 0, 20)), (4, 8))
    at = np.array([[[0.0]]])
    assert cone.level_mm(at, at, at + 10).item() == pytest.approx(-6)


def test_spline_tube_passes_through_its_points() -> None:
    points = [(0.0, 0.0, 0.0), (10.0, 5.0, 20.0), (0.0, -5.0, 45.0)]
    tube = spline_tube(points, [3, 4, 5], step_mm=0.5)
    for (x, y, z), radius in zip(points, [3, 4, 5]):
        here = tube.level_mm(*(np.array([[[v]]]) for v in (x, y, z))).item()
        assert here == pytest.approx(-radius, abs=0.3)


def test_loft_cross_section_is_the_ellipse_of_its_station() -> None:
    loft = Loft(((-10, 10, -20, 0), (10, 14, -10, 10)), exponent=2)
    x, y, z = _points(25)
    section = loft.level_mm(x, y, z)[np.isclose(z[:, 0, 0], 10)][0] <= 0
    assert section.sum() == pytest.approx(math.pi * 14 * 10, rel=0.01)
    assert loft.level_mm(*(np.array([[[v]]]) for v in (0.0, -20.0, -30.0))).item() == pytest.approx(0, abs=1e-3)


def test_slabs_fill_their_share_of_space() -> None:
    z = np.linspace(0, 200, 100_001)[:, None, None]
    inside = Slabs((0, 0, 1), 20, 5, 3).level_mm(z * 0, z * 0, z) <= 0
    assert inside.mean() == pytest.approx(5 / 20, rel=0.01)
    assert inside[np.argmin(np.abs(z - 23))].all()


def test_margins_and_logic() -> None:
    ball, other = Ellipsoid((0, 0, 0), (10, 10, 10)), Ellipsoid((30, 0, 0), (10, 10, 10))

    def volume(r: float) -> float:
        return 4 / 3 * math.pi * r**3

    assert _volume_mm3(Inflated(ball, 4), 20) == pytest.approx(volume(14), rel=0.01)
    assert _volume_mm3(Union((ball, other)), 42) == pytest.approx(2 * volume(10), rel=0.01)
    assert _volume_mm3(shell(ball, 0, -3), 20) == pytest.approx(volume(10) - volume(7), rel=0.02)
    assert _volume_mm3(Within(ball, inside=(other,)), 42) == 0
    assert _volume_mm3(Within(ball, outside=(Inflated(ball, -5),)), 20) == pytest.approx(
        volume(10) - volume(5), rel=0.02
    )


@pytest.mark.parametrize(
    "shape",
    [
        Ellipsoid((3, -4, 5), (6, 9, 14), exponent=2.5, tilt_deg=35, roll_deg=20),
        Ellipsoid((3, -4, 5), (6, 9, 14), exponent=4),
        spline_tube([(0, 0, -15), (5, 9, 0), (-4, 2, 15)], [3, 5, 4], squash_xyz=(0.7, 1.3, 1.5)),
        Inflated(Ellipsoid((0, 0, 0), (4, 9, 16)), 4.0),
        Union((Ellipsoid((9, 0, 0), (5, 5, 5)), Ellipsoid((-9, 3, 0), (5, 5, 5)))),
        Within(Ellipsoid((0, 0, 0), (12, 12, 12)), inside=(Ellipsoid((5, 0, 0), (12, 12, 12)),)),
        Loft(((-10, 10, -20, 0), (10, 14, -10, 10))),
    ],
)
def test_bounds_hold_the_shape(shape: AbstractShape) -> None:
    points = _points(30)
    inside = shape.level_mm(*points) <= 0
    assert inside.sum() > 500
    for axis, low, high in zip(points, *shape.bounds):
        assert low <= axis[inside].min()
        assert axis[inside].max() <= high
