"""New objects of an existing study."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_written import check_valid, masks_in, octant_case
from dosewright.core import CaseError, Grid, InputError
from dosewright.io.dicom.write_dose_types import RtDose
from dosewright.io.dicom.write_references import read_study_reference
from dosewright.io.dicom.write_study import PatientName, write_study

CASE = octant_case()
PREDICTED = RtDose(CASE.dose_gy[::-1].copy(), "predicted")


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clinic")
    write_study(CASE, folder, doses=(), patient=PatientName("Müller^Änne", "0815"), names={"PTV_High": "ptv alt"})
    return folder


def test_a_prediction_joins_study_structures_and_plan(existing: Path, tmp_path: Path) -> None:
    reference = read_study_reference(sorted(existing.glob("*.dcm"), reverse=True))
    written = write_study(CASE, tmp_path, doses=[PREDICTED], reference=reference, names={"PTV_High": "ptv alt"})
    assert [path.name for path in written.paths] == ["RTDOSE_predicted.dcm"]
    dose, ct = pydicom.dcmread(written.doses[0]), pydicom.dcmread(existing / "CT_0001.dcm")
    for key in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate"):
        assert dose[key].value == ct[key].value
    assert str(dose.PatientName) == "Müller^Änne"
    structures, plan = pydicom.dcmread(existing / "RTSTRUCT.dcm"), pydicom.dcmread(existing / "RTPLAN.dcm")
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert dose.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID
    assert len(dose.DVHSequence) == 4
    check_valid(*written.paths)


def test_helpers_come_in_a_structure_set_of_their_own(existing: Path, tmp_path: Path) -> None:
    reference = read_study_reference(existing.glob("*.dcm"))
    helper = CASE.dose_gy > 20
    written = write_study(CASE, tmp_path, doses=[PREDICTED], reference=reference, helpers={"zHot": helper})
    assert [path.name for path in written.paths] == ["RTSTRUCT.dcm", "RTDOSE_predicted.dcm"]
    found = masks_in(written.structures, CASE.grid)
    assert list(found) == ["zHot"]
    assert np.array_equal(found["zHot"], helper)
    check_valid(*written.paths)


def test_of_a_ct_alone_all_else_is_written(existing: Path, tmp_path: Path) -> None:
    reference = read_study_reference(existing.glob("CT_*.dcm"))
    written = write_study(CASE, tmp_path, doses=[PREDICTED], reference=reference)
    assert [path.name for path in written.paths] == ["RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE_predicted.dcm"]
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in existing.glob("CT_*.dcm")}
    contour = pydicom.dcmread(written.structures).ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in uids
    check_valid(*written.paths)


def test_contours_between_slices_reference_none(existing: Path, tmp_path: Path) -> None:
    reference = read_study_reference(existing.glob("CT_*.dcm"))
    x, y, z = CASE.grid.origin_xyz_mm
    moved = octant_case()
    object.__setattr__(moved, "grid", Grid(CASE.grid.shape_zyx, CASE.grid.spacing_xyz_mm, (x, y, z + 1.0)))
    written = write_study(moved, tmp_path, reference=reference)
    contours = pydicom.dcmread(written.structures).ROIContourSequence[0].ContourSequence
    assert all("ContourImageSequence" not in one for one in contours)
    check_valid(written.structures)


def test_a_target_the_structure_set_does_not_have_is_a_site(existing: Path, tmp_path: Path) -> None:
    reference = read_study_reference([*existing.glob("CT_*.dcm"), existing / "RTSTRUCT.dcm"])
    written = write_study(CASE, tmp_path, doses=[PREDICTED], reference=reference)
    (target,) = pydicom.dcmread(written.plan).DoseReferenceSequence
    assert (target.DoseReferenceStructureType, target.DoseReferenceDescription) == ("SITE", "PTV_High")
    assert "ReferencedROINumber" not in target
    check_valid(written.plan)


def test_a_case_elsewhere_is_refused(existing: Path, tmp_path: Path) -> None:
    reference = read_study_reference(existing.glob("*.dcm"))
    moved = octant_case()
    object.__setattr__(moved, "grid", Grid(CASE.grid.shape_zyx, CASE.grid.spacing_xyz_mm))
    with pytest.raises(InputError, match=r"case\.grid must lie within the referenced CT"):
        write_study(moved, tmp_path, reference=reference)
    with pytest.raises(InputError, match="patient must not be given with a reference"):
        write_study(CASE, tmp_path, reference=reference, patient=PatientName("a", "b"))


def _set(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda one: setattr(one, keyword, value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("CT_0002.dcm", _set("PatientID", "other"), "PatientID .* must be the same in all files"),
        ("CT_0002.dcm", _set("SeriesInstanceUID", "1.2.3"), "SeriesInstanceUID .* must be the same"),
        ("CT_0002.dcm", _set("FrameOfReferenceUID", "1.2.3"), "FrameOfReferenceUID .* must be the same"),
        ("CT_0002.dcm", _set("ImageOrientationPatient", [1, 0, 0, 0, 0, -1]), "ImageOrientationPatient .* axial"),
        ("CT_0002.dcm", _set("ImagePositionPatient", [0, 0, -104.9]), "instances must be at least one and ascend"),
        ("CT_0002.dcm", _set("PatientPosition", "FFS"), "PatientPosition .* must be the same"),
        ("CT_0002.dcm", _set("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"), "SOPClassUID .* must be a CT slice"),
        ("RTSTRUCT.dcm", _set("StudyInstanceUID", "1.2.3"), "StudyInstanceUID .* must be the same"),
        ("RTPLAN.dcm", _set("PatientID", "other"), "PatientID .* must be the same"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    existing: Path, tmp_path: Path, name: str, change: Callable[[Dataset], None], message: str
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(existing, folder)
    one = pydicom.dcmread(folder / name)
    change(one)
    one.save_as(folder / name)
    with pytest.raises(CaseError, match=message) as caught:
        read_study_reference(sorted(folder.glob("*.dcm")))
    assert "0815" not in str(caught.value)
    assert "Müller" not in str(caught.value)


def test_structures_of_another_frame_or_twice_are_refused(existing: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(existing, folder)
    shutil.copy(folder / "RTSTRUCT.dcm", folder / "more.dcm")
    with pytest.raises(CaseError, match="RTSTRUCT must be one at most"):
        read_study_reference(folder.glob("*.dcm"))
    (folder / "more.dcm").unlink()
    one = pydicom.dcmread(folder / "RTSTRUCT.dcm")
    one.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.3"
    one.save_as(folder / "RTSTRUCT.dcm")
    with pytest.raises(CaseError, match=r"ReferencedFrameOfReferenceUID .* must be the same"):
        read_study_reference(folder.glob("*.dcm"))


def test_no_slices_too_many_files_or_garbage_are_refused(existing: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="files must hold CT slices"):
        read_study_reference([existing / "RTPLAN.dcm"])
    with pytest.raises(CaseError, match="files must be at most 5000"):
        read_study_reference([existing / "RTPLAN.dcm"] * 5001)
    (tmp_path / "x.dcm").write_bytes(b"nothing")
    with pytest.raises(CaseError, match="must be readable as DICOM"):
        read_study_reference([tmp_path / "x.dcm"])


def test_a_patient_who_lies_otherwise_keeps_the_plan_there_is(existing: Path, tmp_path: Path) -> None:
    folder = tmp_path / "feet first"
    shutil.copytree(existing, folder)
    for path in folder.glob("CT_*.dcm"):
        one = pydicom.dcmread(path)
        one.PatientPosition = "FFS"
        one.save_as(path)
    written = write_study(CASE, tmp_path / "a", doses=[PREDICTED], reference=read_study_reference(folder.glob("*.dcm")))
    assert [path.name for path in written.paths] == ["RTDOSE_predicted.dcm"]
    with pytest.raises(InputError, match="PatientPosition must be HFS for a plan to be written"):
        write_study(CASE, tmp_path / "b", reference=read_study_reference(folder.glob("CT_*.dcm")))
