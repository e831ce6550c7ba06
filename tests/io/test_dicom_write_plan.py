"""Beams with apertures as RTPLAN."""

from pathlib import Path

import jaxtyping
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_written import check_valid, octant_case
from dosewright.core import InputError
from dosewright.io.dicom.write_plan_types import RtBeam, RtControlPoint, RtPlan
from dosewright.io.dicom.write_study import write_study

CASE = octant_case()
EDGES = (-10.0, -5.0, 0.0, 5.0)


def point(units: float, left: float = -7.0, right: float = 3.0, angle: float = 350.0) -> RtControlPoint:
    leaves = np.array([left, left + 1, left + 2])
    return RtControlPoint(units, angle, leaves, np.full(3, right), (-8.0, 4.0), (-10.0, 5.0))


def plan_of(*beams: RtBeam) -> RtPlan:
    return RtPlan(beams, (1.0, 2.5, -3.0), {"PTV_High": 66.0}, 33, dose_rate_mu_min=600.0)


def written(plan: RtPlan, folder: Path) -> Dataset:
    found = write_study(CASE, folder, plan=plan, doses=())
    assert found.plan is not None
    check_valid(found.plan)
    return pydicom.dcmread(found.plan)


def test_step_and_shoot_is_static_with_two_points_a_segment(tmp_path: Path) -> None:
    points = (point(0.0), point(30.0), point(30.0, -4.0), point(120.0, -4.0))
    one = written(plan_of(RtBeam(350.0, 15.0, EDGES, points)), tmp_path)
    (beam,) = one.BeamSequence
    assert (beam.BeamType, beam.RadiationType, beam.PrimaryDosimeterUnit) == ("STATIC", "PHOTON", "MU")
    assert [p.CumulativeMetersetWeight for p in beam.ControlPointSequence] == [0, 0.25, 0.25, 1]
    assert beam.FinalCumulativeMetersetWeight == 1
    assert one.FractionGroupSequence[0].ReferencedBeamSequence[0].BeamMeterset == 120
    devices = {d.RTBeamLimitingDeviceType: d for d in beam.BeamLimitingDeviceSequence}
    assert list(devices) == ["ASYMX", "ASYMY", "MLCX"]
    assert list(devices["MLCX"].LeafPositionBoundaries) == list(EDGES)
    first, second, third, _ = beam.ControlPointSequence
    assert (first.GantryAngle, first.PatientSupportAngle, first.BeamLimitingDeviceAngle) == (350, 15, 0)
    assert (first.NominalBeamEnergy, first.DoseRateSet, list(first.IsocenterPosition)) == (6, 600, [1, 2.5, -3])
    positions = {d.RTBeamLimitingDeviceType: list(d.LeafJawPositions) for d in first.BeamLimitingDevicePositionSequence}
    assert positions == {"ASYMX": [-8, 4], "ASYMY": [-10, 5], "MLCX": [-7, -6, -5, 3, 3, 3]}
    assert "BeamLimitingDevicePositionSequence" not in second
    (moved,) = third.BeamLimitingDevicePositionSequence  # jaws stay: leaves only
    assert list(moved.LeafJawPositions) == [-4, -3, -2, 3, 3, 3]


def test_leaves_that_move_with_the_beam_on_are_dynamic(tmp_path: Path) -> None:
    one = written(plan_of(RtBeam(350.0, 0.0, EDGES, (point(0.0), point(10.0, -4.0), point(40.0, -2.0)))), tmp_path)
    (beam,) = one.BeamSequence
    assert beam.BeamType == "DYNAMIC"
    assert [p.CumulativeMetersetWeight for p in beam.ControlPointSequence] == [0, 0.25, 1]
    assert "GantryAngle" not in beam.ControlPointSequence[1]


def test_an_arc_says_which_way_it_turns(tmp_path: Path) -> None:
    points = (point(0.0, angle=10.0), point(20.0, angle=0.0), point(50.0, angle=355.0))
    one = written(plan_of(RtBeam(10.0, 0.0, EDGES, points, "CC")), tmp_path)
    (beam,) = one.BeamSequence
    assert beam.BeamType == "DYNAMIC"
    found = [(p.GantryAngle, p.GantryRotationDirection) for p in beam.ControlPointSequence]
    assert found == [(10, "CC"), (0, "CC"), (355, "NONE")]


def test_what_the_plan_says_of_itself(tmp_path: Path) -> None:
    plan = RtPlan((), (0.0, 0.0, 0.0), {"PTV_High": 50.5}, 25, comment="Of a test.")
    one = written(plan, tmp_path)
    assert one.RTPlanDescription.startswith("RESEARCH USE ONLY - NOT FOR TREATMENT.")
    assert one.RTPlanDescription.endswith("Of a test.")
    assert one.DoseReferenceSequence[0].TargetPrescriptionDose == 50.5
    with pytest.raises(InputError, match="comment must leave the description at most 1024"):
        write_study(CASE, tmp_path / "a", plan=RtPlan((), (0.0, 0.0, 0.0), {"PTV_High": 1.0}, 1, comment="x" * 1000))
    with pytest.raises(InputError, match=r"plan\.prescription_gy must be to structures of the case; got \['PTV_Mid'\]"):
        write_study(CASE, tmp_path / "b", plan=RtPlan((), (0.0, 0.0, 0.0), {"PTV_Mid": 1.0}, 1))


def test_control_points_that_cannot_be_are_refused() -> None:
    leaves = np.zeros(2)
    jaws = (-1.0, 1.0)
    with pytest.raises(InputError, match="control point must be finite"):
        RtControlPoint(float("nan"), 0.0, leaves, leaves, jaws, jaws)
    with pytest.raises(InputError, match=r"gantry angle in \[0, 360\)"):
        RtControlPoint(0.0, 360.0, leaves, leaves, jaws, jaws)
    with pytest.raises(InputError, match="must have monitor units of at least 0"):
        RtControlPoint(-1.0, 0.0, leaves, leaves, jaws, jaws)
    with pytest.raises(InputError, match="must not have leaves or jaws pass each other"):
        RtControlPoint(0.0, 0.0, leaves + 1, leaves, jaws, jaws)
    with pytest.raises(InputError, match="must not have leaves or jaws pass each other"):
        RtControlPoint(0.0, 0.0, leaves, leaves, (1.0, -1.0), jaws)


def test_beams_and_plans_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"gantry_angle_deg must be in \[0, 360\)"):
        RtBeam(-1.0)
    with pytest.raises(InputError, match="edges_mm must be at least two and ascend"):
        RtBeam(0.0, 0.0, (5.0, 0.0), (point(0.0), point(1.0)))
    with pytest.raises(InputError, match="points must have 2 leaf pairs each"):
        RtBeam(0.0, 0.0, EDGES[:3], (point(0.0), point(1.0)))
    for units in ((0.0,), (1.0, 2.0), (0.0, 0.0), (0.0, 2.0, 1.0)):
        with pytest.raises(InputError, match="must be at least two whose monitor units start at 0"):
            RtBeam(0.0, 0.0, EDGES, tuple(point(one) for one in units))
    with pytest.raises(InputError, match="isocenter_xyz_mm must be three finite"):
        RtPlan((), (0.0, 0.0, float("inf")), {"PTV": 1.0}, 1)
    with pytest.raises(InputError, match="prescription_gy must name at least one target"):
        RtPlan((), (0.0, 0.0, 0.0), {}, 1)
    with pytest.raises(InputError, match="fractions must be finite and positive"):
        RtPlan((), (0.0, 0.0, 0.0), {"PTV": 1.0}, 0)
    with pytest.raises(InputError, match="dose_rate_mu_min must be finite and positive"):
        RtPlan((), (0.0, 0.0, 0.0), {"PTV": 1.0}, 1, dose_rate_mu_min=0.0)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match='rotation must be "NONE", "CW" or "CC"'):
        RtBeam(0.0, rotation="CCW")
    with pytest.raises(InputError, match=r"right_mm must be of shape \(2,\)"):
        RtControlPoint(0.0, 0.0, np.zeros(2), np.zeros(3), (0.0, 0.0), (0.0, 0.0))
