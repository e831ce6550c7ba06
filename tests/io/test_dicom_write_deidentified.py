"""De-identified copies: nothing of the patient in any byte or name, and all the rest as it was."""

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_written import check_valid, dose_in, masks_in, octant_case
from dosewright.core import InputError
from dosewright.io.dicom.write_deidentified import Deidentified, deidentify
from dosewright.io.dicom.write_study import PatientName, write_study

CASE = octant_case("Zebedee")
SECRETS = (
    *("Zebedee", "Quux", "HOSP-4711", "Doktor", "Faust", "19590718", "Klinikum", "Sesame", "Street", "SCANNER9"),
    *("20230405", "20230406", "112233", "PRIVATEWORD", "OVERLAYWORD", "ACC-998", "PREAMBLE", "TRAILING", "Gretchen"),
    *("AETITLE", "ZEBCODE", "Mephisto", "1.2.3.4711"),
)


def identified(folder: Path) -> Path:
    """A study whose files hold names, dates and numbers wherever DICOM has room for them."""
    write_study(CASE, folder, patient=PatientName("Zebedee^Quux", "HOSP-4711"))
    for path in folder.glob("*.dcm"):
        one = pydicom.dcmread(path)
        _fill(one, path.stem)
        one.preamble = b"PREAMBLE".ljust(128, b"\0")
        one.save_as(path)
        path.rename(folder / f"Zebedee_{path.name}")
    return folder


def _fill(one: Dataset, kind: str) -> None:
    one.PatientBirthDate, one.PatientSex, one.PatientAge = "19590718", "F", "064Y"
    one.ReferringPhysicianName = one.OperatorsName = one.PhysiciansOfRecord = "Doktor^Faust"
    one.InstitutionName, one.InstitutionAddress = "Klinikum", "Sesame Street 1"
    one.StationName, one.DeviceSerialNumber = "SCANNER9", "SCANNER9"
    one.StudyDate = one.SeriesDate = one.InstanceCreationDate = one.ContentDate = "20230405"
    one.StudyTime, one.AcquisitionDateTime = "112233", "20230406112233"
    one.AccessionNumber = one.StudyID = "ACC-998"
    one.StudyDescription = one.SeriesDescription = "Zebedee neck"
    one.OtherPatientIDs, one.PatientComments, one.ImageComments = "HOSP-4711b", "knows Sesame", "Zebedee again"
    one.EthnicGroup = one.PatientAddress = "Sesame"
    one.RetrieveAETitle = "AETITLE"
    one.PatientOrientation = ["ZEBCODE", "ZEBEDEE"]  # codes that are somebody's name
    one.DeviceUID = "1.2.3.4711"
    item = Dataset()
    item.PatientID, item.RequestedProcedureDescription = "HOSP-4711", "Zebedee"
    one.RequestAttributesSequence = one.OtherPatientIDsSequence = one.ReferencedPatientSequence = [item]
    block = one.private_block(0x0009, "PRIVATEWORD", create=True)
    block.add_new(1, "LO", "PRIVATEWORD")
    block.add_new(2, "UN", b"Zebedee")
    one.add_new((0x6000, 0x0022), "LO", "OVERLAYWORD")
    one.add_new((0x6000, 0x3000), "OW", b"OVERLAYWORD.")
    one.DataSetTrailingPadding = b"TRAILING"
    if kind == "RTSTRUCT":
        one.ApprovalStatus, one.ReviewDate, one.ReviewTime = "APPROVED", "20230406", "112233"
        one.ReviewerName = "Doktor^Faust"
        one.StructureSetName, one.StructureSetLabel = "Zebedee", "Quux"
        one.StructureSetROISequence[1].ROIName = "PTV zebedee"
        one.StructureSetROISequence[2].ROIDescription = "Mephisto"
        one.RTROIObservationsSequence[0].ROIInterpreter = "Gretchen"
    if kind == "RTPLAN":
        one.RTPlanName = one.RTPlanLabel = "Zebedee"
        one.BeamSequence[0].BeamName = one.BeamSequence[0].TreatmentMachineName = "Zebedee 1"
        one.DoseReferenceSequence[0].DoseReferenceDescription = "Mephisto"
        one.BeamSequence[0].private_block(0x3243, "PRIVATEWORD", create=True).add_new(9, "LO", "PRIVATEWORD")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return identified(tmp_path_factory.mktemp("in") / "Zebedee")


@pytest.fixture(scope="module")
def done(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Deidentified:
    return deidentify(source, tmp_path_factory.mktemp("out"), key="secret")


def test_no_byte_holds_anything_of_the_patient(done: Deidentified) -> None:
    assert len(done.written) == 9 + 3
    for path in done.written:
        content = path.read_bytes().lower()
        for secret in SECRETS:
            assert secret.lower().encode() not in content, (path.name, secret)
            assert secret.lower() not in f"{path.parent.name}/{path.name}".lower()


def test_the_originals_do_hold_it(source: Path) -> None:
    content = b"".join(path.read_bytes() for path in source.glob("*.dcm")).lower()
    assert [secret for secret in SECRETS if secret.lower().encode() not in content] == []


def test_copies_are_valid(done: Deidentified) -> None:
    ct = next(path for path in done.written if path.name.startswith("CT"))
    check_valid(ct, *(path for path in done.written if path.name.startswith("RT")))


def test_numbers_are_as_they_were_and_references_hold(source: Path, done: Deidentified) -> None:
    (structures,) = (path for path in done.written if path.name.startswith("RTSTRUCT"))
    (dose,) = (path for path in done.written if path.name.startswith("RTDOSE"))
    found = masks_in(structures, CASE.grid)
    assert list(found) == ["External", "ROI_2", "Parotid_L", "zRing"]
    assert np.array_equal(found["ROI_2"], CASE.structures["PTV_High"])
    assert np.array_equal(dose_in(dose)[0], dose_in(source / "Zebedee_RTDOSE_reference.dcm")[0])
    assert (done.renamed, done.names) == (1, ("External", "Parotid_L", "zRing"))


def test_the_same_uid_becomes_the_same_everywhere(source: Path, done: Deidentified) -> None:
    every = [pydicom.dcmread(path) for path in done.written]
    for key in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert len({str(one[key].value) for one in every}) == 1
    plan = next(one for one in every if one.Modality == "RTPLAN")
    structures = next(one for one in every if one.Modality == "RTSTRUCT")
    dose = next(one for one in every if one.Modality == "RTDOSE")
    assert plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID
    assert dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    slices = {one.SOPInstanceUID for one in every if one.Modality == "CT"}
    contour = structures.ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in slices
    old = {str(element.value) for element in pydicom.dcmread(source / "Zebedee_CT_0001.dcm") if element.VR == "UI"}
    new = {str(element.value) for one in every for element in one.iterall() if element.VR == "UI"}
    assert old & new == {"1.2.840.10008.5.1.4.1.1.2"}


def test_copies_say_that_they_are(done: Deidentified) -> None:
    one = pydicom.dcmread(done.written[0])
    assert (one.PatientIdentityRemoved, one.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
    assert one.PatientName == one.PatientID == done.written[0].parent.name
    assert one.PatientID.startswith("ANON_")
    assert (one.StudyDate, one.PatientBirthDate, one.PatientSex, one.AccessionNumber) == ("", "", "", "")


def test_the_mark_of_research_stays(done: Deidentified) -> None:
    (dose,) = (pydicom.dcmread(path) for path in done.written if path.name.startswith("RTDOSE"))
    (plan,) = (pydicom.dcmread(path) for path in done.written if path.name.startswith("RTPLAN"))
    assert dose.DoseComment == "RESEARCH ONLY"
    assert (plan.PlanIntent, plan.RTPlanDescription, plan.RTPlanLabel) == ("RESEARCH", "RESEARCH ONLY", "PLAN")


def test_a_key_makes_it_repeatable_and_none_does_not(source: Path, done: Deidentified, tmp_path: Path) -> None:
    def digest(found: Deidentified) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in found.written}

    assert digest(deidentify(source, tmp_path / "a", key="secret")) == digest(done)
    assert not digest(deidentify(source, tmp_path / "b")).keys() & digest(done).keys()


def test_shifted_dates_keep_their_intervals(source: Path, tmp_path: Path) -> None:
    done = deidentify(source, tmp_path / "out", key="k", dates="shift", patients={"HOSP-4711": "P1"})
    (one,) = (pydicom.dcmread(path) for path in done.written if path.name.startswith("RTSTRUCT"))
    days = (np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for d in (one.ReviewDate, one.StudyDate))
    assert next(days) - next(days) == np.timedelta64(1, "D")
    assert one.StudyDate < "20230405"
    assert (one.PatientBirthDate, one.PatientID, done.written[0].parent.name) == ("", "P1", "P1")
    assert one.LongitudinalTemporalInformationModified == "MODIFIED"


def test_names_of_structures_go_when_asked(source: Path, tmp_path: Path) -> None:
    done = deidentify(source, tmp_path / "out", keep_structure_names=False)
    (path,) = (path for path in done.written if path.name.startswith("RTSTRUCT"))
    assert list(masks_in(path, CASE.grid)) == ["ROI_1", "ROI_2", "ROI_3", "ROI_4"]
    assert (done.renamed, done.names) == (4, ())


def _spoil(one: Dataset, how: str) -> None:
    if how == "burned":
        one.BurnedInAnnotation = "YES"
    elif how == "longer":
        one.PixelData = one.PixelData + b"Zebedee."
    elif how == "text for a number":
        one[0x0018, 0x0050].VR = "LO"
        one[0x0018, 0x0050].value = "Zebedee"
    elif how == "code as bytes":
        one.add_new((0x0018, 0x0015), "OB", b"Zebedee.")
    elif how == "other kind":
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("burned", "with burned-in annotation"),
        ("longer", "with more or fewer pixels than announced"),
        ("text for a number", "not readable as DICOM"),
        ("code as bytes", None),
        ("other kind", "of a kind that is not cleaned"),
    ],
)
def test_what_cannot_be_cleaned_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, reason: str | None
) -> None:
    folder = tmp_path / "in"
    write_study(CASE, folder)
    one = pydicom.dcmread(folder / "CT_0001.dcm")
    _spoil(one, how)
    one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one.save_as(folder / "CT_0001.dcm", implicit_vr=False, little_endian=True)
    with caplog.at_level(logging.DEBUG):
        done = deidentify(folder, tmp_path / "out")
    assert done.skipped == ({} if reason is None else {reason: 1})
    assert len(done.written) == (12 if reason is None else 11)
    assert all(b"zebedee" not in path.read_bytes().lower() for path in done.written)
    assert "zebedee" not in (caplog.text + done.describe()).lower()


def test_other_files_and_twins_are_counted(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_study(CASE, folder / "a")
    write_study(CASE, folder / "b")
    (folder / "Zebedee.txt").write_text("Zebedee")
    done = deidentify(folder, tmp_path / "out")
    assert done.skipped == {"not readable as DICOM": 1, "there twice": 12}
    assert done.describe() == (
        "12 files of 1 patients written, 0 structures renamed; left out: 1 not readable as DICOM, 12 there twice"
    )


def test_what_is_asked_must_make_sense(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="folder must be a folder"):
        deidentify(tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="folder must hold DICOM-RT files"):
        deidentify(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="out must not lie within the folder"):
        deidentify(source, source / "out")
    with pytest.raises(InputError, match="out must be absent or empty"):
        deidentify(source, tmp_path / "full")
    with pytest.raises(InputError, match="key must not be empty"):
        deidentify(source, tmp_path / "out", key="")
    with pytest.raises(InputError, match="patients must be ASCII"):
        deidentify(source, tmp_path / "out", patients={"a": "../b"})
    with pytest.raises(InputError, match="patients must be different"):
        deidentify(source, tmp_path / "out", patients={"a": "x", "b": "x"})


def test_two_patients_never_share_a_pseudonym(tmp_path: Path) -> None:
    write_study(CASE, tmp_path / "in" / "a", patient=PatientName("a", "A"))
    write_study(CASE, tmp_path / "in" / "b", patient=PatientName("b", "B"))
    done = deidentify(tmp_path / "in", tmp_path / "out")
    assert (done.patients, len({path.parent for path in done.written})) == (2, 2)
    alone = deidentify(tmp_path / "in" / "b", tmp_path / "alone", key="k")
    with pytest.raises(InputError, match="pseudonym must be different for each patient"):
        deidentify(tmp_path / "in", tmp_path / "both", key="k", patients={"A": alone.written[0].parent.name})
