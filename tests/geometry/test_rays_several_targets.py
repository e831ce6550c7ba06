"""Plates of several targets against those of one at a time."""

import numpy as np
import pytest

from dosewright.core import Beam, Grid, GridMismatchError, InputError
from dosewright.geometry import primary_fluence_plate, primary_fluence_plates

GRID = Grid((24, 30, 32), (5.0, 5.0, 6.0), (-80.0, -75.0, -70.0))
ZERO = (0.0, 0.0, 0.0)
BEAMS = [Beam(0.0), Beam(80.0), Beam(200.0, 20.0)]


def ball(center_xyz_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    z, y, x = np.meshgrid(*(GRID.axis_mm(a) for a in "zyx"), indexing="ij")
    cx, cy, cz = center_xyz_mm
    return (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 <= radius_mm**2


TARGETS = {"PTV_High": ball((10.0, 5.0, 0.0), 18.0), "PTV_Low": ball((-25.0, 0.0, 20.0), 22.0)}
BODY = ball(ZERO, 70.0)


@pytest.mark.parametrize("body", [None, BODY], ids=["whole grid", "body"])
@pytest.mark.parametrize("margin_mm", [0.0, 8.0])
def test_without_ct_they_are_the_single_plates(body, margin_mm):
    plates = primary_fluence_plates(TARGETS, GRID, ZERO, BEAMS, body=body, margin_mm=margin_mm)
    assert list(plates) == list(TARGETS)
    for name, target in TARGETS.items():
        single = primary_fluence_plate(target, GRID, ZERO, BEAMS, body=body, margin_mm=margin_mm)
        np.testing.assert_array_equal(plates[name], single)


def test_with_ct_they_differ_by_interpolation_only():
    rng = np.random.default_rng(0)
    ct = np.where(BODY, rng.integers(-100, 100, GRID.shape_zyx), -1000).astype(np.int16)
    ct[ball((0.0, -40.0, 0.0), 15.0)] = 800
    plates = primary_fluence_plates(TARGETS, GRID, ZERO, BEAMS, body=BODY, ct_hu=ct)
    for name, target in TARGETS.items():
        single = primary_fluence_plate(target, GRID, ZERO, BEAMS, body=BODY, ct_hu=ct)
        np.testing.assert_array_equal(plates[name] > 0, single > 0)
        lit = single > 0
        assert np.abs(plates[name] - single)[lit].mean() < 0.01 * single[lit].mean()
        np.testing.assert_allclose(plates[name][lit], single[lit], rtol=0.03)


def test_one_alone_is_the_single_plate_to_the_bit():
    ct = np.where(BODY, 0, -1000).astype(np.int16)
    plates = primary_fluence_plates({"PTV_Low": TARGETS["PTV_Low"]}, GRID, ZERO, BEAMS, body=BODY, ct_hu=ct)
    single = primary_fluence_plate(TARGETS["PTV_Low"], GRID, ZERO, BEAMS, body=BODY, ct_hu=ct)
    np.testing.assert_array_equal(plates["PTV_Low"], single)


def test_errors_name_the_target():
    with pytest.raises(InputError, match=r"targets must hold at least one target; got \(\)"):
        primary_fluence_plates({}, GRID, ZERO, BEAMS)
    with pytest.raises(InputError, match="PTV_Low must not be empty"):
        primary_fluence_plates({**TARGETS, "PTV_Low": np.zeros(GRID.shape_zyx, bool)}, GRID, ZERO, BEAMS)
    with pytest.raises(GridMismatchError, match=r"PTV_High must have the grid's shape \(24, 30, 32\)"):
        primary_fluence_plates({"PTV_High": TARGETS["PTV_High"][1:]}, GRID, ZERO, BEAMS)
