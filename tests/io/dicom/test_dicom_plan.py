"""RTPLAN: angles for every patient position, arcs, isocentre, technique, and what is refused; prescriptions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset

from dicom_files import DicomPhantom, PlanBeam, save
from dosewright.core import Beam, CaseError, InputError
from dosewright.geometry import beam_frame
from dosewright.io.dicom.read_plan import DicomPlan, DoseReference, read_plan
from dosewright.io.dicom.read_prescription import checked_prescription, given_prescription, planned_prescription

PHANTOM = DicomPhantom()


def read(
    folder: Path, *beams: PlanBeam, change: Callable[[FileDataset], object] | None = None, **fields: object
) -> DicomPlan:
    data = replace(PHANTOM, beams=beams, **fields).plan()
    if change is not None:
        change(data)
    return read_plan(save(data, folder / "plan.dcm"), PHANTOM.frame_uid, "HFS")


def test_static_beams_are_as_written(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        PlanBeam((40.0,), 10.0, isocenter_xyz_mm=(1.0, -2.0, 3.5)),
        PlanBeam((0.0,), isocenter_xyz_mm=(1.0, -2.0, 3.5), delivery="SETUP"),
        PlanBeam((320.5,), 350.0, isocenter_xyz_mm=(1.0, -2.0, 3.5)),
    )
    assert plan.beams == (Beam(40.0, 10.0), Beam(320.5, 350.0))
    assert plan.isocenter_xyz_mm == (1.0, -2.0, 3.5)
    assert (plan.technique, plan.fractions, plan.beam_numbers) == ("IMRT", 30, (1, 3))


# Where the source stands in the room (IEC 61217: x to the right of someone facing the gantry, y to the gantry, z up),
# and where a patient's left, back and head point to, for each position on a couch that is not turned.
ROOM = {"HFS": (1, -1, 1), "FFS": (-1, -1, -1), "HFP": (-1, 1, 1), "FFP": (1, 1, -1)}


@pytest.mark.parametrize("position", list(ROOM))
@pytest.mark.parametrize(("gantry", "couch"), [(0.0, 0.0), (90.0, 0.0), (35.0, 0.0), (35.0, 20.0), (200.0, 330.0)])
def test_a_beam_comes_from_the_same_side_of_every_patient_position(
    tmp_path: Path, position: str, gantry: float, couch: float
) -> None:
    (beam,) = read(tmp_path, PlanBeam((gantry,), couch), patient_position=position).beams
    g, c = np.radians(gantry), np.radians(couch)
    x, y, z = np.sin(g), 0.0, np.cos(g)  # in the room
    x, y = x * np.cos(c) + y * np.sin(c), -x * np.sin(c) + y * np.cos(c)  # on the couch
    left, back, head = ROOM[position]
    expected = np.array([left * x, back * z, head * y])
    frame = beam_frame((0.0, 0.0, 0.0), beam)
    np.testing.assert_allclose(-frame.axis_xyz, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("angles", "rotation", "spacing", "expected"),
    [
        ((181.0, 179.0), "CW", 90.0, [225.75, 315.25, 44.75, 134.25]),
        ((179.0, 181.0), "CC", 90.0, [134.25, 44.75, 315.25, 225.75]),
        ((350.0, 0.0, 10.0), "CW", 20.0, [0.0]),
        ((10.0, 350.0), "CC", 10.0, [5.0, 355.0]),
        ((0.0, 90.0, 180.0, 270.0, 0.0), "CW", 120.0, [60.0, 180.0, 300.0]),
        ((0.0, 0.0), "CW", 120.0, [60.0, 180.0, 300.0]),
    ],
)
def test_arcs_become_beams_in_the_middle_of_equal_sectors(
    tmp_path: Path, angles: tuple[float, ...], rotation: str, spacing: float, expected: list[float]
) -> None:
    path = save(replace(PHANTOM, beams=(PlanBeam(angles, rotation=rotation),)).plan(), tmp_path / "p.dcm")
    plan = read_plan(path, PHANTOM.frame_uid, "HFS", spacing)
    assert [beam.gantry_angle_deg for beam in plan.beams] == pytest.approx(expected)
    assert plan.technique == "VMAT"


def test_two_arcs_over_the_same_angles_share_their_beams(tmp_path: Path) -> None:
    there, back = PlanBeam((181.0, 179.0), rotation="CW"), PlanBeam((179.0, 181.0), rotation="CC")
    assert len(read(tmp_path, there, back).beams) == len(read(tmp_path, there).beams) == 18


def test_protons_are_a_technique_of_their_own(tmp_path: Path) -> None:
    plan = read(tmp_path, PlanBeam((90.0,), radiation="PROTON"))
    assert plan.technique == "proton"
    assert plan.beams == (Beam(90.0, modality="proton"),)


def test_what_is_prescribed_and_what_the_beams_add_up_to(tmp_path: Path) -> None:
    plan = read(tmp_path, PlanBeam(beam_dose_gy=1.25), PlanBeam((90.0,), beam_dose_gy=0.75))
    assert plan.dose_references == (DoseReference("VOLUME", 2, 60.0),)
    assert plan.beam_dose_gy == pytest.approx(60.0)


def test_a_plan_without_treatment_beams_has_no_isocentre(tmp_path: Path) -> None:
    plan = read(tmp_path, PlanBeam(delivery="SETUP"))
    assert (plan.beams, plan.isocenter_xyz_mm) == ((), None)


def test_the_ct_tells_the_position_where_the_plan_does_not(tmp_path: Path) -> None:
    data = replace(PHANTOM, beams=(PlanBeam((10.0,)),)).plan()
    del data.PatientSetupSequence
    path = save(data, tmp_path / "p.dcm")
    assert read_plan(path, PHANTOM.frame_uid, "HFP").beams == (Beam(190.0),)
    with pytest.raises(CaseError, match=r"PatientPosition .0018,5100. must be one of HFS.*got 'nothing'"):
        read_plan(path, PHANTOM.frame_uid, "")


def _first_point(data: FileDataset) -> Dataset:
    return data.BeamSequence[0].ControlPointSequence[0]


def _second_couch(data: FileDataset) -> None:
    data.BeamSequence[0].ControlPointSequence[1].PatientSupportAngle = 30.0


def _two_groups(data: FileDataset) -> None:
    data.FractionGroupSequence.append(data.FractionGroupSequence[0])


def _fewer_beams(data: FileDataset) -> None:
    data.BeamSequence = []


def _more_counted(data: FileDataset) -> None:
    data.FractionGroupSequence[0].NumberOfBeams = 3


def _fewer_points(data: FileDataset) -> None:
    data.BeamSequence[0].ControlPointSequence = data.BeamSequence[0].ControlPointSequence[:1]


REFUSED: list[tuple[PlanBeam, Callable[[FileDataset], object] | None, str]] = [
    (PlanBeam(radiation="ELECTRON"), None, "RadiationType .300A,00C6. must be PHOTON or PROTON; got 'ELECTRON'"),
    (PlanBeam((0.0, 90.0)), None, "GantryRotationDirection .* must be CW or CC where the gantry turns"),
    (PlanBeam((0.0, 90.0), rotation="UP"), None, "must be one of NONE, CW"),
    (PlanBeam(), lambda d: delattr(_first_point(d), "GantryAngle"), "GantryAngle .* must be given"),
    (PlanBeam(), lambda d: delattr(_first_point(d), "IsocenterPosition"), "IsocenterPosition .* must be given once"),
    (PlanBeam(), _second_couch, "PatientSupportAngle .* must not change during a beam"),
    (
        PlanBeam(),
        _fewer_beams,
        r"BeamSequence .* must have each beam once that the fraction group has, \[1\]; got \[\]",
    ),
    (PlanBeam(), _more_counted, r"ReferencedBeamSequence .* must have 3 items, its Number of Beams; got 1"),
    (PlanBeam(), _fewer_points, r"NumberOfControlPoints .300A,0110. must be the number of its items, 1"),
    (PlanBeam(), _two_groups, "FractionGroupSequence .* must have one item"),
    (PlanBeam(), lambda d: delattr(d, "FractionGroupSequence"), "FractionGroupSequence .* must have an item"),
    (PlanBeam(), lambda d: setattr(d.FractionGroupSequence[0], "NumberOfFractionsPlanned", 0), "must be positive"),
    (PlanBeam(), lambda d: setattr(d, "FrameOfReferenceUID", "1.2"), "FrameOfReferenceUID .* must be the CT's"),
    (PlanBeam((0.0, 350.0) * 4, rotation="CW"), None, "must turn by at most two turns in a beam"),
    (PlanBeam(), lambda d: setattr(d.PatientSetupSequence[0], "PatientPosition", "HFDL"), "got 'HFDL'"),
]


@pytest.mark.parametrize(("beam", "change", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_plans_that_a_case_cannot_hold_are_refused(
    tmp_path: Path, beam: PlanBeam, change: Callable[[FileDataset], object] | None, message: str
) -> None:
    with pytest.raises(CaseError, match=message) as caught:
        read(tmp_path, beam, change=change)
    assert caught.value.path == tmp_path / "plan.dcm"


def test_directions_must_not_change_within_a_beam(tmp_path: Path) -> None:
    def turn(data: FileDataset) -> None:
        data.BeamSequence[0].ControlPointSequence[1].GantryRotationDirection = "CC"

    with pytest.raises(CaseError, match="must not change during a beam"):
        read(tmp_path, PlanBeam((0.0, 90.0, 20.0), rotation="CW"), change=turn)


def test_several_isocentres_are_refused(tmp_path: Path) -> None:
    beams = (PlanBeam(), PlanBeam((90.0,), isocenter_xyz_mm=(0.0, 0.0, 50.0)))
    with pytest.raises(CaseError, match="must be one for all beams, within 1 mm: plans of several isocentres"):
        read(tmp_path, *beams)


def test_more_beams_than_any_plan_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.io.dicom.read_plan.MAX_BEAMS", 3)
    with pytest.raises(CaseError, match="must have at most 3 beams; got 4"):
        read(tmp_path, *(PlanBeam((a,)) for a in (0.0, 10.0, 20.0, 30.0)))


# --- prescriptions -------------------------------------------------------------------------------------------------


def plan_of(*references: tuple[str, int | None, float], beam_dose_gy: float | None = None) -> DicomPlan:
    return DicomPlan(
        Path("p.dcm"), (), None, "IMRT", 30, tuple(DoseReference(*r) for r in references), beam_dose_gy, ()
    )


NUMBERS = {1: "PTV_High", 2: "PTV_Low", 3: "Brainstem"}


def test_doses_of_structures_are_prescribed_to_them() -> None:
    plan = plan_of(("VOLUME", 1, 70.0), ("VOLUME", 2, 56.0), ("VOLUME", 3, 54.0), ("POINT", None, 70.0))
    found, notes = planned_prescription(plan, NUMBERS, ["PTV_High", "PTV_Low"])
    assert found == {"PTV_High": 70.0, "PTV_Low": 56.0}
    assert notes == ()


@pytest.mark.parametrize(
    ("plan", "source"),
    [
        (plan_of(("SITE", None, 60.0), ("COORDINATES", None, 58.1)), "to a site or point"),
        (plan_of(("POINT", None, 60.0)), "to a site or point"),
        (plan_of(beam_dose_gy=60.0), "as the sum of its beams"),
    ],
)
def test_a_dose_without_a_structure_is_that_of_the_only_ptv(plan: DicomPlan, source: str) -> None:
    found, (note,) = planned_prescription(plan, NUMBERS, ["PTV", "GTV"])
    assert found == {"PTV": 60.0}
    assert source in note


@pytest.mark.parametrize(
    ("plan", "targets", "why"),
    [
        (None, ["PTV"], "there is no plan; the case's targets are PTV"),
        (plan_of(), ["PTV"], "0 doses without a structure"),
        (plan_of(("SITE", None, 60.0)), ["PTV_High", "PTV_Low"], "1 doses without a structure for 2 targets"),
        (plan_of(("SITE", None, 60.0), ("SITE", None, 50.0)), ["PTV"], "2 doses without a structure for 1 targets"),
        (plan_of(("SITE", None, 60.0)), [], "no structure is named as a target"),
        (plan_of(("VOLUME", 1, 60.0), ("VOLUME", 1, 10.0)), ["PTV_High"], "gives PTV_High two doses"),
    ],
)
def test_a_prescription_in_doubt_is_asked_for(plan: DicomPlan | None, targets: list[str], why: str) -> None:
    with pytest.raises(CaseError, match=f"must be given as data.prescription=.PTV: 60. .*{why}"):
        planned_prescription(plan, NUMBERS, targets)


def test_the_users_prescription_goes_by_either_name() -> None:
    given = {"PTV_High": 70.0, "ptv 56 gy": 56.0, "PTV_Mid": 63.0}
    found, notes = given_prescription(given, {"ptv 56 gy": "PTV_Low"}, ["PTV_High", "PTV_Low"])
    assert found == {"PTV_High": 70.0, "PTV_Low": 56.0}
    assert notes == ("no target PTV_Mid to prescribe 63 Gy to",)


def test_a_users_prescription_of_no_target_or_of_two_doses_is_refused() -> None:
    with pytest.raises(CaseError, match="must name a target of this case; it has PTV"):
        given_prescription({"PTV_High": 70.0}, {}, ["PTV"])
    with pytest.raises(CaseError, match="must give PTV one dose"):
        given_prescription({"PTV": 70.0, "old": 60.0}, {"old": "PTV"}, ["PTV"])


@pytest.mark.parametrize("dose", [0, -1.0, 251, "60", True, float("nan")])
def test_a_users_prescription_is_in_gy(dose: object) -> None:
    with pytest.raises(InputError, match=r"data.prescription\[PTV\] must be in \(0, 250\] Gy"):
        checked_prescription({"PTV": dose})  # type: ignore[dict-item]


def test_an_empty_prescription_is_refused() -> None:
    assert checked_prescription(None) is None
    assert checked_prescription({"PTV": 60}) == {"PTV": 60.0}
    with pytest.raises(InputError, match="must name a target"):
        checked_prescription({})
