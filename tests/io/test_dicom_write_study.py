"""A case as a DICOM-RT study: exact, consistent, reproducible, valid."""

import dataclasses
import datetime
import hashlib
from pathlib import Path

import jaxtyping
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from cases import make_case
from dicom_written import OCTANTS, check_valid, dose_in, masks_in, octant_case
from dosewright.core import CaseError, Grid, GridMismatchError, InputError
from dosewright.core.structures import EXTERNAL
from dosewright.io.dicom.write_dose_types import RtDose
from dosewright.io.dicom.write_rtdose import scaling_of
from dosewright.io.dicom.write_study import PatientName, WrittenStudy, write_study

CASE = octant_case()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> WrittenStudy:
    doses = [RtDose(CASE.dose_gy, "reference"), RtDose(CASE.dose_gy[::-1].copy(), "predicted")]
    helpers = {"zDose": CASE.dose_gy > 20}
    return write_study(CASE, tmp_path_factory.mktemp("out") / "study", doses=doses, helpers=helpers)


def test_every_object_is_valid(study: WrittenStudy) -> None:
    check_valid(study.ct[0], study.structures, study.plan, *study.doses)


def test_ct_is_exact_for_simpleitk(study: WrittenStudy) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in study.ct])
    image = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(image), CASE.ct_hu)
    assert image.GetSpacing() == pytest.approx(CASE.grid.spacing_xyz_mm, abs=1e-9)
    assert image.GetOrigin() == pytest.approx(CASE.grid.origin_xyz_mm, abs=1e-9)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    for number, (z, y, x) in enumerate(OCTANTS, 1):
        at = CASE.grid.position_xyz_mm(np.array([z, y, x], float))
        assert image[image.TransformPhysicalPointToIndex(at.tolist())] == 100 * number + 7


def test_dose_is_within_half_a_step_and_in_place_for_simpleitk(study: WrittenStudy) -> None:
    stored, one = dose_in(study.doses[0])
    step = float(one.DoseGridScaling)
    assert np.abs(stored - CASE.dose_gy).max() <= step / 2 + 1e-12
    assert step <= CASE.dose_gy.max() / 65535 * (1 + 1e-8)
    image = sitk.ReadImage(str(study.doses[0]))
    assert image.GetSpacing() == pytest.approx(CASE.grid.spacing_xyz_mm, abs=1e-6)
    assert image.GetOrigin() == pytest.approx(CASE.grid.origin_xyz_mm, abs=1e-9)
    for number, (z, y, x) in enumerate(OCTANTS, 1):
        at = CASE.grid.position_xyz_mm(np.array([z, y, x], float))
        pixel = image[image.TransformPhysicalPointToIndex(at.tolist())]
        assert pixel * step == pytest.approx(8.3125 * number, abs=step / 2)


def test_dose_says_what_it_is(study: WrittenStudy) -> None:
    one = pydicom.dcmread(study.doses[1])
    assert (one.DoseUnits, one.DoseType, one.DoseSummationType) == ("GY", "PHYSICAL", "PLAN")
    assert one.DoseComment == "predicted dose, RESEARCH USE ONLY - NOT FOR TREATMENT"
    assert one.SeriesDescription == "Dosewright predicted dose - RESEARCH ONLY"
    assert one.GridFrameOffsetVector[0] == 0
    assert np.diff(one.GridFrameOffsetVector) == pytest.approx(np.full(8, 3.1))
    assert one[0x0028, 0x0009].value == 0x3004000C


def test_masks_come_back_exactly(study: WrittenStudy) -> None:
    wanted = {EXTERNAL: CASE.body, **CASE.structures, "zDose": CASE.dose_gy > 20}
    for rule in ("xor", "or"):
        found = masks_in(study.structures, CASE.grid, rule)
        assert list(found) == list(wanted)
        for name, mask in wanted.items():
            assert np.array_equal(found[name], mask), (name, rule)


def test_structures_have_types_volumes_and_colours(study: WrittenStudy) -> None:
    one = pydicom.dcmread(study.structures)
    types = [item.RTROIInterpretedType for item in one.RTROIObservationsSequence]
    assert types == ["EXTERNAL", "PTV", "ORGAN", "CONTROL", "CONTROL"]
    volumes = [float(item.ROIVolume) for item in one.StructureSetROISequence]
    voxels = [CASE.body.sum(), *(mask.sum() for mask in CASE.structures.values()), (CASE.dose_gy > 20).sum()]
    assert volumes == pytest.approx(np.array(voxels) * CASE.grid.voxel_volume_cc, abs=1e-6)
    colours = [tuple(item.ROIDisplayColor) for item in one.ROIContourSequence]
    assert colours[:2] == [(160, 160, 160), (255, 0, 0)]
    assert len(set(colours)) == 5
    assert one.ApprovalStatus == "UNAPPROVED"
    assert one.StructureSetLabel == "RESEARCH ONLY"


def test_contours_reference_the_slice_in_their_plane(study: WrittenStudy) -> None:
    slices = {one.SOPInstanceUID: one.ImagePositionPatient[2] for one in map(pydicom.dcmread, study.ct)}
    one = pydicom.dcmread(study.structures)
    for roi in one.ROIContourSequence:
        for contour in roi.ContourSequence:
            assert slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID] == contour.ContourData[2]


def test_objects_reference_each_other(study: WrittenStudy) -> None:
    ct, structures, plan, dose = (
        pydicom.dcmread(p) for p in (study.ct[3], study.structures, study.plan, study.doses[0])
    )
    for key in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert len({str(one[key].value) for one in (ct, structures, plan, dose)}) == 1
    assert len({one.SeriesInstanceUID for one in (ct, structures, plan, dose)}) == 4
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert frame.FrameOfReferenceUID == ct.FrameOfReferenceUID
    assert series.SeriesInstanceUID == ct.SeriesInstanceUID
    assert len(series.ContourImageSequence) == len(study.ct)
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert dose.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID


def test_dvhs_go_with_the_dose(study: WrittenStudy) -> None:
    one = pydicom.dcmread(study.doses[0])
    names = {item.ROINumber: item.ROIName for item in pydicom.dcmread(study.structures).StructureSetROISequence}
    for item in one.DVHSequence:
        mask = {EXTERNAL: CASE.body, **CASE.structures, "zDose": CASE.dose_gy > 20}[
            names[item.DVHReferencedROISequence[0].ReferencedROINumber]
        ]
        data = np.array(item.DVHData, float).reshape(-1, 2)
        assert len(data) == item.DVHNumberOfBins
        volumes = [(CASE.dose_gy[mask] >= 0.05 * i).sum() * CASE.grid.voxel_volume_cc for i in range(len(data))]
        assert data[:, 1] == pytest.approx(np.array(volumes), abs=1e-6)
        assert float(item.DVHMeanDose) == pytest.approx(CASE.dose_gy[mask].mean(), rel=1e-6)


def test_without_apertures_nothing_can_be_delivered(study: WrittenStudy) -> None:
    one = pydicom.dcmread(study.plan)
    assert (one.PlanIntent, one.ApprovalStatus, one.RTPlanLabel) == ("RESEARCH", "UNAPPROVED", "RESEARCH ONLY")
    assert one.FractionGroupSequence[0].NumberOfFractionsPlanned == 33
    (target,) = one.DoseReferenceSequence
    assert (target.TargetPrescriptionDose, target.ReferencedROINumber, target.DoseReferenceType) == (66, 2, "TARGET")
    first = [beam.ControlPointSequence[0] for beam in one.BeamSequence]
    assert [(p.GantryAngle, p.PatientSupportAngle) for p in first] == [(0, 0), (72.5, 10)]
    assert [float(v) for v in first[1].IsocenterPosition] == [-20.125, 25.0, -90.5]
    assert all(list(d.LeafJawPositions) == [0, 0] for p in first for d in p.BeamLimitingDevicePositionSequence)
    assert all(p.CumulativeMetersetWeight is None for beam in one.BeamSequence for p in beam.ControlPointSequence)
    assert "no apertures" in one.RTPlanDescription


def test_same_case_gives_the_same_bytes(study: WrittenStudy, tmp_path: Path) -> None:
    doses = [RtDose(CASE.dose_gy, "reference"), RtDose(CASE.dose_gy[::-1].copy(), "predicted")]
    again = write_study(octant_case(), tmp_path, doses=doses, helpers={"zDose": CASE.dose_gy > 20})

    def digests(written: WrittenStudy) -> list[str]:
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in written.paths]

    assert digests(again) == digests(study)
    assert [path.name for path in again.paths[:1] + again.paths[-4:]] == [
        *("CT_0001.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE_reference.dcm", "RTDOSE_predicted.dcm")
    ]


def test_another_dose_is_another_instance_of_the_same_study(study: WrittenStudy, tmp_path: Path) -> None:
    other = write_study(CASE, tmp_path, doses=[RtDose(CASE.dose_gy * np.float32(0.5), "reference")])
    one, two = pydicom.dcmread(study.doses[0]), pydicom.dcmread(other.doses[0])
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    moved = dataclasses.replace(CASE, grid=Grid(CASE.grid.shape_zyx, CASE.grid.spacing_xyz_mm, (0.0, 0.0, 0.0)))
    third = write_study(moved, tmp_path / "moved")
    assert pydicom.dcmread(third.ct[0]).FrameOfReferenceUID != one.FrameOfReferenceUID


def test_dose_on_a_coarser_grid_of_its_own(tmp_path: Path) -> None:
    grid = Grid((4, 5, 6), (3.9, 4.7, 5.3), (-33.3, 14.1, -103.3))
    dose = np.random.default_rng(1).uniform(0, 72.5, grid.shape_zyx).astype(np.float32)
    written = write_study(CASE, tmp_path, doses=[RtDose(dose, "planned", grid)])
    check_valid(*written.doses)
    stored, one = dose_in(written.doses[0])
    assert np.abs(stored - dose).max() <= float(one.DoseGridScaling) / 2 + 1e-12
    image = sitk.ReadImage(str(written.doses[0]))
    assert image.GetSpacing() == pytest.approx(grid.spacing_xyz_mm, abs=1e-6)
    assert image.GetOrigin() == pytest.approx(grid.origin_xyz_mm, abs=1e-9)
    assert one.FrameOfReferenceUID == pydicom.dcmread(written.ct[0]).FrameOfReferenceUID
    assert "DVHSequence" not in one


@pytest.mark.parametrize("most_gy", [1e-6, 0.0371, 1.0, 65.535, 70.000001, 250.0])
def test_the_largest_dose_fits_and_wastes_nothing(most_gy: float) -> None:
    steps = most_gy / float(scaling_of(most_gy))
    assert 65534.99 < steps <= 65535 * (1 + 1e-12)


def test_a_dose_of_zero_stays_zero(tmp_path: Path) -> None:
    written = write_study(CASE, tmp_path, doses=[RtDose(np.zeros(CASE.grid.shape_zyx, np.float32), "predicted")])
    stored, one = dose_in(written.doses[0])
    assert not stored.any()
    assert one.DoseGridScaling == 0.001


def test_names_patient_and_date_as_asked_for(tmp_path: Path) -> None:
    written = write_study(
        CASE,
        tmp_path,
        names={"PTV_High": "ptv 66 größer"},
        patient=PatientName("Phantom^Octants", "P-1"),
        date=datetime.date(2024, 2, 29),
    )
    structures, plan = pydicom.dcmread(written.structures), pydicom.dcmread(written.plan)
    assert structures.StructureSetROISequence[1].ROIName == "ptv 66 größer"
    assert plan.DoseReferenceSequence[0].ReferencedROINumber == 2
    assert (str(plan.PatientName), plan.PatientID, plan.StudyDate) == ("Phantom^Octants", "P-1", "20240229")


def test_holes_as_contours_of_their_own(tmp_path: Path) -> None:
    written = write_study(CASE, tmp_path, holes="xor")
    found = masks_in(written.structures, CASE.grid, "xor")
    assert all(np.array_equal(found[name], mask) for name, mask in CASE.structures.items())
    check_valid(written.structures)


def test_a_proton_case_has_a_prescription_without_beams(tmp_path: Path) -> None:
    case = dataclasses.replace(CASE, beams=(), technique="proton")
    written = write_study(case, tmp_path)
    one = pydicom.dcmread(written.plan)
    assert "BeamSequence" not in one
    assert one.FractionGroupSequence[0].NumberOfBeams == 0
    check_valid(written.plan)


def test_the_common_case(tmp_path: Path) -> None:
    case = make_case()
    written = write_study(case, tmp_path / "new")
    check_valid(*written.paths)
    stored, _ = dose_in(written.doses[0])
    assert np.abs(stored - case.dose_gy).max() <= case.dose_gy.max() / 65535 / 2 * 1.001


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"folder must .*notes\.txt"):
            write_study(CASE, tmp_path, overwrite=overwrite)


def test_an_earlier_export_is_replaced_when_asked(tmp_path: Path) -> None:
    write_study(make_case(), tmp_path)  # 16 slices; the next has 9
    with pytest.raises(InputError, match="folder must be absent or empty"):
        write_study(CASE, tmp_path)
    write_study(CASE, tmp_path, overwrite=True)
    assert len(list(tmp_path.glob("CT_*.dcm"))) == 9


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    dose = CASE.dose_gy
    with pytest.raises(InputError, match="doses must be of different kinds"):
        write_study(CASE, tmp_path, doses=[RtDose(dose, "planned"), RtDose(dose, "planned")])
    with pytest.raises(InputError, match="helpers must not be structures of the case"):
        write_study(CASE, tmp_path, helpers={"PTV_High": CASE.body})
    with pytest.raises(InputError, match="zNone must not be empty"):
        write_study(CASE, tmp_path / "a", helpers={"zNone": np.zeros_like(CASE.body)})
    with pytest.raises(GridMismatchError, match="zSmall must have the grid's shape"):
        write_study(CASE, tmp_path / "b", helpers={"zSmall": CASE.body[1:]})
    with pytest.raises(InputError, match="names must be different for each structure"):
        write_study(CASE, tmp_path / "c", names={"PTV_High": "same", "Parotid_L": "same"})
    with pytest.raises(InputError, match="name of PTV_High must be at most 64 printable"):
        write_study(CASE, tmp_path / "d", names={"PTV_High": "a\\b"})
    with pytest.raises(GridMismatchError, match="dose_gy must have the grid's shape"):
        write_study(CASE, tmp_path / "e", doses=[RtDose(dose[1:], "planned")])
    assert not list(tmp_path.iterdir())  # nothing is written before all is checked
    with pytest.raises(InputError, match="comment must be at most 10240 printable"):
        write_study(CASE, tmp_path / "f", doses=[RtDose(dose, "planned", comment="two\nlines")])
    with pytest.raises(InputError, match=r"patient\.id must not be empty"):
        PatientName("a", "")
    with pytest.raises(CaseError, match="names"):
        dataclasses.replace(CASE, prescription_gy={"PTV_Low": 1.0})


def test_a_dose_that_is_none_is_refused() -> None:
    dose = CASE.dose_gy.copy()
    with pytest.raises(GridMismatchError, match="dose_gy must have the grid's shape"):
        RtDose(dose, "planned", Grid((1, 2, 3), (1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match=r"must be in \[0, 250\] Gy total"):
        RtDose(dose * 100, "planned")
    dose[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="must be finite; got '1 voxels NaN"):
        RtDose(dose, "planned")


def test_an_unknown_kind_of_dose_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match="kind must be one of"):
        RtDose(CASE.dose_gy, "guessed")
