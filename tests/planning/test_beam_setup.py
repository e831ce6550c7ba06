"""Beam setups: angles in closed form, the lung's templates by side, and cases with other beams."""

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import make_case
from dosewright.core import Beam, CaseError, Grid, InputError, PatientCase
from dosewright.jobs.hydra_task import build
from dosewright.planning.arc_beams import ArcBeams, PlannedArc
from dosewright.planning.beam_setup import AbstractBeamSetup, CaseBeams, EquispacedBeams, GivenBeams
from dosewright.planning.lung_beams import LungBeams, mid_sagittal_x_mm, side_of
from tiny import config

SHIPPED = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "beams").glob("*.yaml"))


def shipped(name: str, *overrides: str) -> AbstractBeamSetup:
    return build(config("plan", f"beams={name}", *overrides).beams)


def angles(setup: AbstractBeamSetup, case: PatientCase | None = None) -> list[float]:
    return [beam.gantry_angle_deg for beam in setup.beams(case or make_case())]


def chest(off_mm: float, isocenter_mm: float | None = None) -> PatientCase:
    """A box 200 mm wide, its middle at x = 17 mm, with a target `off_mm` to the left of it."""
    grid = Grid((4, 20, 60), (4.0, 4.0, 4.0), (17.0 - 59 * 2.0, 0.0, 0.0))
    x = grid.axis_mm("x") - 17.0
    body = np.zeros(grid.shape_zyx, bool)
    body[:, 2:18, np.abs(x) <= 100] = True
    body[0, 2:18, x > 60] = True  # an arm beside the chest, in slices without target
    target = np.zeros(grid.shape_zyx, bool)
    target[1:3, 8:12, np.abs(x - off_mm) <= 6] = True
    return PatientCase(
        case_id="chest",
        grid=grid,
        ct_hu=np.zeros(grid.shape_zyx, np.int16),
        body=body,
        structures={"PTV": target},
        prescription_gy={"PTV": 60.0},
        isocenter_xyz_mm=None if isocenter_mm is None else (17.0 + isocenter_mm, 40.0, 6.0),
        site="Lung",
    )


def test_equispaced_angles_are_closed_form():
    assert angles(shipped("nine")) == [40.0 * i for i in range(9)]
    assert angles(shipped("fifteen")) == [24.0 * i for i in range(15)]
    assert angles(EquispacedBeams(3, 300)) == [300.0, 60.0, 180.0]
    assert angles(EquispacedBeams(7)) == pytest.approx([360 / 7 * i for i in range(7)])


def test_the_start_is_a_setting():
    assert angles(shipped("nine", "beams.start_deg=20")) == [20.0 + 40.0 * i for i in range(9)]


def test_the_cases_own_beams_leave_the_case_alone():
    case = make_case()
    assert shipped("case").applied(case) is case
    assert CaseBeams().beams(case) == case.beams


def test_other_beams_take_the_place_of_the_cases_own():
    case = make_case()
    other = shipped("fifteen").applied(case)
    assert other.beams == tuple(Beam(24.0 * i) for i in range(15))
    assert other.technique == "IMRT"
    assert replace(other, beams=case.beams).beams == case.beams
    assert other.structures["PTV_High"] is not None
    np.testing.assert_array_equal(other.dose_gy, case.dose_gy)
    assert EquispacedBeams(9).applied(case) is case  # these are its own


def test_protons_change_the_technique_both_ways():
    protons = shipped("protons").applied(make_case())
    assert protons.technique == "proton"
    assert protons.beams == tuple(Beam(angle, modality="proton") for angle in (60.0, 180.0, 300.0))
    assert shipped("nine").applied(protons).technique == "IMRT"
    assert GivenBeams([10], modality="proton").applied(make_case()).beams == (Beam(10.0, modality="proton"),)


def test_given_angles():
    setup = shipped("given", "beams.gantry_angles_deg=[10,200]", "beams.couch_angles_deg=[0,90]")
    assert setup.beams(make_case()) == (Beam(10.0), Beam(200.0, 90.0))
    assert setup.technique(make_case()) == "IMRT"
    assert GivenBeams([10, 200], [15]).beams(make_case()) == (Beam(10.0, 15.0), Beam(200.0, 15.0))


def test_four_arcs_are_sampled_once_and_delivered_to_and_fro():
    setup = shipped("arcs")
    case, points = setup.applied(make_case()), setup.control_points()
    assert case.technique == "VMAT"
    sector = 358 / 18
    ways = [(181 + (i + 0.5) * sector) % 360 for i in range(18)]
    assert angles(setup) == pytest.approx(ways)
    assert len(points) == 72
    assert [point.collimator_deg for point in points[::18]] == [30.0, 330.0, 30.0, 330.0]
    assert [point.beam for point in points] == [*range(18), *reversed(range(18))] * 2
    for point in points:
        turned = case.beams[point.beam].gantry_angle_deg - point.gantry_angle_deg
        assert math.remainder(turned, 360) == pytest.approx(0, abs=1e-6)


def test_the_spacing_of_control_points_is_a_setting():
    assert len(shipped("arcs", "beams.spacing_deg=4").beams(make_case())) == math.ceil(358 / 4)


def test_arcs_on_other_ways_have_their_own_beams():
    setup = ArcBeams([PlannedArc(0, 90), PlannedArc(0, 90, couch_deg=45), PlannedArc(100, 60)], spacing_deg=30)
    assert setup.beams(make_case()) == (
        *(Beam(angle) for angle in (15.0, 45.0, 75.0)),
        *(Beam(angle, 45.0) for angle in (15.0, 45.0, 75.0)),
        *(Beam(angle) for angle in (115.0, 145.0)),
    )


SIDES = {-80.0: "right", -50.5: "right", -49.5: "central", 0.0: "central", 49.5: "central", 50.5: "left", 80.0: "left"}


@pytest.mark.parametrize("off_mm", SIDES)
def test_the_side_is_told_by_the_isocentre(off_mm):
    case = chest(0.0, isocenter_mm=off_mm)
    assert mid_sagittal_x_mm(case) == pytest.approx(17.0)
    assert side_of(case, 50.0) == SIDES[off_mm]


def test_without_an_isocentre_the_target_tells_the_side():
    assert [side_of(chest(off_mm), 50.0) for off_mm in (-70.0, 4.0, 70.0)] == ["right", "central", "left"]


def test_the_plane_is_that_of_the_body_where_no_slice_of_the_target_has_any():
    case = chest(0.0)
    body, allowed = case.body.copy(), case.structures["PTV"]
    body[1:3] = False
    case = replace(case, body=body, dose_mask=body | allowed)
    weights = np.count_nonzero(body, axis=(0, 1))
    assert mid_sagittal_x_mm(case) == pytest.approx(float(weights @ case.grid.axis_mm("x") / weights.sum()))


def test_the_lung_templates():
    setup = shipped("lung")
    assert angles(setup, chest(70.0)) == [6.0, 34.0, 62.0, 90.0, 118.0, 146.0, 174.0]
    assert angles(setup, chest(-70.0)) == [354.0, 326.0, 298.0, 270.0, 242.0, 214.0, 186.0]
    assert angles(setup, chest(0.0)) == [40.0 * i for i in range(9)]
    for off_mm in (70.0, -70.0):
        lateral = angles(setup, chest(off_mm))
        assert all((one - other) % 360 != 180 for one in lateral for other in lateral)
        assert all((angle < 180) == (off_mm > 0) for angle in lateral)  # 90 shines from the patient's left
    mirrored = [(360 - angle) % 360 for angle in angles(setup, chest(-70.0))]
    assert mirrored == angles(setup, chest(70.0))


def test_the_lung_arcs():
    setup = shipped("lung_arcs")
    left, right, middle = (setup.applied(chest(off_mm)) for off_mm in (70.0, -70.0, 0.0))
    assert [case.technique for case in (left, right, middle)] == ["VMAT"] * 3
    assert [beam.gantry_angle_deg for beam in left.beams] == [(350.0 + 20 * i) % 360 for i in range(10)]
    assert [beam.gantry_angle_deg for beam in right.beams] == [190.0 + 20 * i for i in range(9)] + [10.0]
    assert len(middle.beams) == 18
    assert all(len(setup.chosen(chest(off_mm)).arcs) == 2 for off_mm in (70.0, -70.0, 0.0))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_setups_are_values(name):
    overrides = ("beams.gantry_angles_deg=[1,2]",) if name == "given" else ()
    setup = shipped(name, *overrides)
    assert pickle.loads(pickle.dumps(setup)) == setup == shipped(name, *overrides)


def test_values_out_of_range_are_refused():
    with pytest.raises(InputError, match="count must be in 1 to 360; got 0"):
        EquispacedBeams(0)
    with pytest.raises(CaseError, match=r"gantry_angle_deg must be in \[0, 360\); got 360"):
        EquispacedBeams(9, 360.0)
    with pytest.raises(InputError, match="gantry_angles_deg must hold an angle"):
        GivenBeams(())
    with pytest.raises(InputError, match="couch_angles_deg must be none, one, or 3 as the gantry angles"):
        GivenBeams([0, 1, 2], [0, 1])
    with pytest.raises(InputError, match="gantry_angles_deg must not hold a beam twice"):
        GivenBeams([0, 40, 0])
    with pytest.raises(InputError, match="arcs must hold an arc"):
        ArcBeams(())
    with pytest.raises(InputError, match=r"spacing_deg must be in \(0, 120\]; got 0"):
        ArcBeams([PlannedArc(0)], 0)
    with pytest.raises(InputError, match=r"collimator_deg must be in \[0, 360\); got 360"):
        PlannedArc(0, collimator_deg=360)
    with pytest.raises(InputError, match=r"span_deg must be in \(0, 360\]"):
        PlannedArc(0, 400)
    with pytest.raises(InputError, match="lateral_mm must be positive and finite; got 0"):
        LungBeams(CaseBeams(), CaseBeams(), CaseBeams(), 0.0)
