"""`dosewright plan dicom=true`: studies that say what report, apertures and dose of the plan say."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from omegaconf import DictConfig
from pydicom.dataset import Dataset

from cases import make_case
from dicom_written import check_valid, dose_in, masks_in
from dosewright.core import Beam, InputError, PatientCase
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.io.dicom.write_study import write_study
from dosewright.io.predictions import read_prediction, write_prediction
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs import plan as job
from dosewright.jobs.dose_source import ReferenceDoses
from dosewright.jobs.latest_dose import LatestDose
from dosewright.jobs.plan import run
from plan_problems import make_influence
from tiny import config

SETTINGS = ("dose=reference", "planner=replay", "delivery.mu_per_fluence=300", "optimiser.max_steps=1")
ANGLES = (0, 90, 180, 270)
Plan = Callable[..., Path]


def smooth_case(case_id: str = "case_1") -> PatientCase:
    case = make_case(case_id)
    dose = np.where(case.body, 30.0 + 30.0 * case.structures["PTV_High"], 0).astype(np.float32)
    return replace(case, dose_gy=dose, beams=tuple(map(Beam, ANGLES)), fractions=33)


def plan_config(cases: Path, out: Path, *overrides: str) -> DictConfig:
    cfg = config("plan", *SETTINGS, f"out={out}", "influence_cache=unused", *overrides)
    cfg.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(cases)}
    return cfg


def influence_of(case: PatientCase, *_: object, **__: object) -> DoseInfluence:
    return make_influence(case, tuple(round(beam.gantry_angle_deg) for beam in case.beams))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_case(folder / "case_1.case", smooth_case())
    return folder


@pytest.fixture(scope="module")
def finished(cases: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A finished run without DICOM."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "cached_influence", influence_of)
        patch.setattr("dosewright.jobs.plan_figures.DPI", 20)
        run(plan_config(cases, out))
    return out


@pytest.fixture
def planned(cases: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Goes on from the finished run with overrides, and returns the folder of the case."""
    monkeypatch.setattr(job, "cached_influence", influence_of)
    monkeypatch.setattr("dosewright.jobs.plan_figures.DPI", 20)
    shutil.copytree(finished, tmp_path / "out")

    def plan(*overrides: str) -> Path:
        run(plan_config(cases, tmp_path / "out", *overrides))
        return tmp_path / "out" / "cases" / "case_1"

    return plan


def rtplan(folder: Path) -> Dataset:
    return pydicom.dcmread(folder / "dicom" / "RTPLAN.dcm")


def meterset(one: Dataset, number: int) -> float:
    (found,) = (r for r in one.FractionGroupSequence[0].ReferencedBeamSequence if r.ReferencedBeamNumber == number)
    return float(found.BeamMeterset)


def leaves_at(beam: Dataset, index: int) -> dict[str, np.ndarray]:
    """Where all devices of a beam stand at a control point: what is not said has not moved."""
    now: dict[str, np.ndarray] = {}
    for point in beam.ControlPointSequence[: index + 1]:
        for device in point.get("BeamLimitingDevicePositionSequence", ()):
            now[device.RTBeamLimitingDeviceType] = np.array(device.LeafJawPositions, float)
    return now


def check_leaves(beam: Dataset, index: int, aperture: dict) -> None:
    """Leaves and jaws of a control point are those of a static aperture of apertures.json."""
    (mlc,) = (d for d in beam.BeamLimitingDeviceSequence if d.RTBeamLimitingDeviceType == "MLCX")
    edges, positions = np.array(mlc.LeafPositionBoundaries, float), leaves_at(beam, index)
    first = int(np.abs(edges - aperture["edges_mm"][0]).argmin())
    pairs, own = len(edges) - 1, len(aperture["edges_mm"]) - 1
    np.testing.assert_allclose(edges[first : first + own + 1], aperture["edges_mm"], atol=1e-3)
    for side, start in (("left_mm", first), ("right_mm", pairs + first)):
        np.testing.assert_allclose(positions["MLCX"][start : start + own], aperture[side][0], atol=2e-3)
    np.testing.assert_allclose(positions["ASYMX"], aperture["jaws_mm"], atol=1e-3)
    np.testing.assert_allclose(positions["ASYMY"], [aperture["edges_mm"][0], aperture["edges_mm"][-1]], atol=1e-3)


def test_the_study_says_what_report_and_apertures_say(planned: Plan, cases: Path) -> None:
    folder = planned("dicom=true")
    case = PreparedReader(cases).read("case_1")
    record = json.loads((folder / "report.json").read_text())
    apertures = json.loads((folder / "apertures.json").read_text())["apertures"]
    one = rtplan(folder)
    assert [float(beam.ControlPointSequence[0].GantryAngle) for beam in one.BeamSequence] == list(ANGLES)
    assert one.FractionGroupSequence[0].NumberOfFractionsPlanned == 33
    total = sum(meterset(one, beam.BeamNumber) for beam in one.BeamSequence)
    assert total == pytest.approx(record["sequencing"]["mu"], rel=1e-6)
    for index, beam in enumerate(one.BeamSequence):
        own = [aperture for aperture in apertures if aperture["beam"] == index]
        units = meterset(one, beam.BeamNumber)
        assert units == pytest.approx(sum(aperture["monitor_units"] for aperture in own), abs=1e-3)
        check_leaves(beam, 0, own[0])
        check_leaves(beam, len(beam.ControlPointSequence) - 1, own[-1])
        shares = [float(point.CumulativeMetersetWeight) for point in beam.ControlPointSequence]
        assert shares[1] * units == pytest.approx(own[0]["monitor_units"], abs=1e-3)
    dose, rtdose = dose_in(folder / "dicom" / "RTDOSE_planned.dcm")
    stored = read_prediction(folder.parents[1] / "doses", case)
    assert np.abs(dose - stored).max() <= 0.5001 * float(rtdose.DoseGridScaling) + 1e-6
    assert rtdose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert case.dose_gy is not None
    error = np.abs(dose - case.dose_gy)[case.scored_mask].mean()
    assert record["errors_gy"]["sequenced"]["all"] == pytest.approx(error, abs=2e-3)


def test_the_study_is_whole_and_valid(planned: Plan) -> None:
    folder = planned("dicom=true") / "dicom"
    case = smooth_case()
    names = {path.name for path in folder.iterdir()}
    assert names == {*(f"CT_{n:04d}.dcm" for n in range(1, 17)), "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE_planned.dcm"}
    masks = masks_in(folder / "RTSTRUCT.dcm", case.grid)
    assert set(masks) >= {"External", *case.structures}
    for name, mask in case.structures.items():
        np.testing.assert_array_equal(masks[name], mask)
    check_valid(*(folder / name for name in ("RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE_planned.dcm")))


def test_a_plan_that_is_there_gets_its_study_without_being_planned_again(
    planned: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planned()
    report = (folder / "report.json").read_bytes()
    assert not (folder / "dicom").exists()

    def refuse(*_: object, **__: object) -> DoseInfluence:
        raise AssertionError("planned again")

    with monkeypatch.context() as patch:
        patch.setattr(job, "cached_influence", refuse)
        planned("dicom=true")
        files = {path: path.stat().st_mtime_ns for path in (folder / "dicom").iterdir()}
        assert len(files) == 19
        planned("dicom=true")  # all there
        assert {path: path.stat().st_mtime_ns for path in files} == files
        content = (folder / "dicom" / "RTPLAN.dcm").read_bytes()
        (folder / "dicom" / "RTPLAN.dcm").write_bytes(b"cut off")
        planned("dicom=true")
        assert (folder / "dicom" / "RTPLAN.dcm").read_bytes() == content
        (folder / "dicom.json").write_text("[]")  # as good as absent
        planned("dicom=true")
    assert set(json.loads((folder / "dicom.json").read_text())["files"]) == {f"dicom/{path.name}" for path in files}
    assert (folder / "report.json").read_bytes() == report


def test_another_plan_does_not_keep_the_study_of_the_one_before(planned: Plan) -> None:
    folder = planned("dicom=true")
    first = rtplan(folder).SOPInstanceUID
    planned("optimiser.smoothness=0.1")
    assert not list((folder / "dicom").iterdir())
    assert not (folder / "dicom.json").exists()
    planned("optimiser.smoothness=0.1", "dicom=true")
    assert rtplan(folder).SOPInstanceUID != first


def test_a_fluence_alone_gives_angles_and_a_remark(planned: Plan) -> None:
    folder = planned("delivery=null", "dicom=true")
    one = rtplan(folder)
    assert [float(beam.ControlPointSequence[0].GantryAngle) for beam in one.BeamSequence] == list(ANGLES)
    assert not any("BeamMeterset" in item for item in one.FractionGroupSequence[0].ReferencedBeamSequence)
    (remark,) = json.loads((folder / "dicom.json").read_text())["remarks"]
    assert remark.startswith("The fluence was not sequenced")
    assert remark in one.RTPlanDescription
    _, rtdose = dose_in(folder / "dicom" / "RTDOSE_planned.dcm")
    assert rtdose.ImageComments == "Dose of the optimised fluence; zero where dose is not scored."


def test_protons_give_the_prescription_and_a_remark(planned: Plan) -> None:
    folder = planned(
        "beams=given", "beams.gantry_angles_deg=[0,90]", "beams.modality=proton", "delivery=null", "dicom=true"
    )
    one = rtplan(folder)
    assert "BeamSequence" not in one
    assert [float(item.TargetPrescriptionDose) for item in one.DoseReferenceSequence] == [70.0, 56.0]
    (remark,) = json.loads((folder / "dicom.json").read_text())["remarks"]
    assert "no RT Ion Plan" in remark
    assert (folder / "dicom" / "RTDOSE_planned.dcm").is_file()


def test_arcs_turn_and_give_the_monitor_units_that_are_told(planned: Plan) -> None:
    arcs = "beams.arcs=[{start_deg:181,span_deg:358},{start_deg:179,span_deg:358,clockwise:false}]"
    folder = planned("beams=arcs", arcs, "beams.spacing_deg=90", "dicom=true")
    told = json.loads((folder / "report.json").read_text())["arcs"]
    one = rtplan(folder)
    assert [beam.ControlPointSequence[0].GantryRotationDirection for beam in one.BeamSequence] == ["CW", "CC"]
    for beam, arc in zip(one.BeamSequence, told, strict=True):
        assert meterset(one, beam.BeamNumber) == pytest.approx(arc["monitor_units"], abs=1e-3)
    assert float(one.BeamSequence[0].ControlPointSequence[-1].GantryAngle) == 179.0
    assert "rest in the middle" in json.loads((folder / "dicom.json").read_text())["remarks"][0]


def test_the_dose_asked_for_and_helpers_go_along(planned: Plan, cases: Path, tmp_path: Path) -> None:
    case = PreparedReader(cases).read("case_1")
    assert case.dose_gy is not None
    write_prediction(tmp_path / "predicted", "case_1", case.grid, 0.9 * case.dose_gy)
    source = ("dose=predictions", f"predictions={tmp_path / 'predicted'}", "planner=objectives", "objectives=airtp")
    folder = planned(*source, "dicom=true")
    record = json.loads((folder / "report.json").read_text())
    dose, one = dose_in(folder / "dicom" / "RTDOSE_predicted.dcm")
    np.testing.assert_allclose(dose, 0.9 * case.dose_gy, atol=1e-3)
    assert one.ImageComments.startswith("Dose asked for")
    assert not (folder / "dicom" / "RTDOSE_reference.dcm").exists()
    helpers = {entry["structure"] for entry in record["objectives"]} - set(case.structures)
    assert helpers
    assert set(masks_in(folder / "dicom" / "RTSTRUCT.dcm", case.grid)) == {"External", *case.structures} | helpers


def test_a_case_from_dicom_keeps_its_study(planned: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New objects reference the CT, the structures and the frame that are there, never the plan that is there."""
    written = write_study(smooth_case(), tmp_path / "study", doses=())
    monkeypatch.setattr(PreparedReader, "source_files", lambda *_: written.paths)
    folder = planned("dicom=true")
    names = {path.name for path in (folder / "dicom").iterdir()}
    assert names == {"RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE_planned.dcm"}
    assert set(masks_in(folder / "dicom" / "RTSTRUCT.dcm", smooth_case().grid)) == {"zBody"}  # the planner's helper
    assert written.plan is not None
    assert written.structures is not None
    one, before = rtplan(folder), pydicom.dcmread(written.plan)
    assert one.StudyInstanceUID == before.StudyInstanceUID
    assert one.SOPInstanceUID != before.SOPInstanceUID
    structures = one.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
    assert structures == pydicom.dcmread(written.structures).SOPInstanceUID
    _, dose = dose_in(folder / "dicom" / "RTDOSE_planned.dcm")
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID


def test_a_study_that_cannot_be_written_costs_neither_the_plan_nor_its_summary(planned: Plan, tmp_path: Path) -> None:
    folder = planned()
    (folder / "dicom").mkdir()
    (folder / "dicom" / "notes.txt").touch()
    rule = (
        r"(?s)1 cases could not be planned and written as DICOM \(0 others were\):.*planned, but not written as DICOM"
    )
    with pytest.raises(InputError, match=rule):
        planned("dicom=true")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [row["case_id"] for row in summary["cases"]] == ["case_1"]
    assert "notes.txt" in summary["failed"]["case_1"]
    assert (folder / "report.json").is_file()


def test_a_broken_file_of_the_plan_is_told(planned: Plan) -> None:
    folder = planned()
    for broken in ("{}", '{"apertures": [{"beam": 0}]}', "no JSON"):
        (folder / "apertures.json").write_text(broken)
        with pytest.raises(InputError, match=r"files of the plan must be as they were written.*overwrite=true"):
            planned("dicom=true")


def test_a_dose_is_asked_for_once_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    of_case = ReferenceDoses.dose_gy

    def counted(source: ReferenceDoses, case: PatientCase) -> np.ndarray:
        asked.append(case.case_id)
        return of_case(source, case)

    monkeypatch.setattr(ReferenceDoses, "dose_gy", counted)
    source, one, other = LatestDose(ReferenceDoses()), smooth_case("a"), smooth_case("b")
    assert [source.dose_gy(case) is case.dose_gy for case in (one, one, other, one)] == [True] * 4
    assert asked == ["a", "b", "a"]
    assert (source.label, source.describe(), source.fingerprint("a")) == (
        "reference",
        "the reference dose",
        "reference",
    )


def test_dicom_is_true_or_false(planned: Plan) -> None:
    with pytest.raises(InputError, match="dicom must be true or false"):
        planned("dicom=yes")
