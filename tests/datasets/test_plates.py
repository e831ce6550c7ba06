"""Beam plates as channels: which beams and targets go in, by closed forms and symmetries."""

from dataclasses import replace

import numpy as np
import pytest

from cases import make_case
from dosewright.core import Beam, PatientCase
from dosewright.datasets.plates import plate_of, ray_plates_of

MU = 0.0051  # per mm of water
HALF = 2**-11  # relative spacing of float16


@pytest.fixture
def centred() -> PatientCase:
    """The water box with its isocentre at the centre of voxel (8, 9, 11), which is in both targets' planes."""
    case = make_case(shape=(16, 20, 24))
    x, y, z = case.grid.position_xyz_mm(np.array([7.0, 9.0, 11.0]))
    return replace(case, isocenter_xyz_mm=(float(x), float(y), float(z)))


def water_mm(case: PatientCase, gantry_deg: int) -> float:
    """Water between the box's face and the centre of voxel (·, 9, 11): the body spans 2…17 in y and 2…21 in x."""
    voxels = {0: 9 - 2, 90: 21 - 11, 180: 17 - 9, 270: 11 - 2}[gantry_deg] + 0.5
    return 3.0 * voxels


@pytest.mark.parametrize("angles", [(0,), (90,), (180,), (270,), (0, 90, 180, 270)])
def test_rays_at_the_isocentre_are_attenuated_by_the_water_before_it(
    centred: PatientCase, angles: tuple[int, ...]
) -> None:
    case = replace(centred, beams=tuple(Beam(angle) for angle in angles))
    high, mid, low = ray_plates_of(case, ["PTV_High", "PTV_Mid", "PTV_Low"])
    expected = np.mean([np.exp(-MU * water_mm(case, angle)) for angle in angles])
    assert high[7, 9, 11] == pytest.approx(expected, rel=0.01)
    assert not mid.any()
    assert low[7, 9, 11] == 0  # outside the lower target's silhouette
    assert low[10, 9, 11] == pytest.approx(expected, rel=0.02)
    assert not high[~case.body].any()


def test_the_angle_plate_shines_from_anterior_on_ten_slices(centred: PatientCase) -> None:
    plate = plate_of(replace(centred, beams=(Beam(0.0),)), "angle")
    assert set(np.unique(plate).tolist()) == {0.0, 1.0}
    assert np.flatnonzero(plate.any(axis=(1, 2))).tolist() == list(range(2, 12))  # 5 below to 4 above slice 7
    assert (plate[7, :9, 11] == 1).all()
    assert not plate[7, 13:].any()  # the line is 4 wide, so it ends within 3 voxels behind the isocentre
    assert not plate[7, :9, :8].any()


def test_the_beam_plate_is_a_mean_over_beams(centred: PatientCase) -> None:
    single = [plate_of(replace(centred, beams=(Beam(angle),)), "gdphmm").astype(float) for angle in (0.0, 120.0)]
    both = plate_of(replace(centred, beams=(Beam(0.0), Beam(120.0))), "gdphmm")
    np.testing.assert_allclose(both, np.mean(single, axis=0), rtol=2 * HALF)
    assert single[0][7, 9, 11] == pytest.approx(1.0, rel=HALF)  # the inverse square is 1 at the isocentre


def test_an_arc_counts_every_second_control_point(centred: PatientCase) -> None:
    arc = replace(centred, technique="VMAT", beams=tuple(Beam(angle) for angle in (0, 40, 80, 120, 160)))
    fixed = replace(centred, beams=tuple(Beam(angle) for angle in (0, 80, 160)))
    np.testing.assert_array_equal(plate_of(arc, "gdphmm"), plate_of(fixed, "gdphmm"))


def test_the_isocentre_of_the_case_is_used(centred: PatientCase) -> None:
    x, y, z = centred.isocenter_xyz_mm
    shifted = replace(centred, isocenter_xyz_mm=(x + 6.0, y, z), beams=(Beam(0.0),))
    plate = plate_of(replace(centred, beams=(Beam(0.0),)), "angle")
    np.testing.assert_array_equal(plate_of(shifted, "angle")[:, :, 2:], plate[:, :, :-2])
