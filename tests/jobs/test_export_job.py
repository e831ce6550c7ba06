import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from omegaconf import DictConfig
from reader_contract import assert_same_case

from cases import make_case
from dicom_files import DicomPhantom
from dosewright.core import CaseError, InputError, StorageError
from dosewright.io.dicom import DicomReader
from dosewright.io.predictions import write_prediction
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs.export import run
from dosewright.jobs.export_record import ExportRecord, read_record, record_path, write_record
from tiny import config

FORMATS = ("nifti", "nrrd", "dicom", "gdp_hmm", "prepared")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two small cases that every format can hold."""
    for seed in (5, 6):
        write_case(tmp_path / "root" / "test" / f"test_{seed}.case", make_case(f"test_{seed}", seed=seed))
    return tmp_path / "root"


def job_config(root: Path, out: Path, *overrides: str) -> DictConfig:
    return config("export", "data=prepared", f"data.root={root}", "data.split=test", f"out={out}", *overrides)


def files(out: Path) -> dict[str, int]:
    """File → when it was written, without what tells of the whole export."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.parent.name != "records")
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in paths if path.name != "export.json"}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_written_once_and_not_again(root: Path, out: Path, kind: str) -> None:
    done = run(job_config(root, out, f"format={kind}"))
    first = files(out)
    manifest = json.loads((out / "export.json").read_text())
    assert (manifest["use"], manifest["dose"], manifest["failed"]) == ("research only", "the reference dose", {})
    assert set(manifest["cases"]) == {"test_5", "test_6"}
    assert {name for listed in manifest["cases"].values() for name in listed} == set(first)
    assert done == {"cases": 2, "files": sum(map(len, manifest["cases"].values()))}
    assert run(job_config(root, out, f"format={kind}")) == done
    assert files(out) == first
    (name, *_) = (name for name in manifest["cases"]["test_5"] if "test_5" in name)
    (out / name).write_bytes((out / name).read_bytes()[:-1])  # cut off
    run(job_config(root, out, f"format={kind}"))
    assert {name for name in first if files(out)[name] != first[name] and "test_6" in name} == set()
    assert files(out)[name] != first[name]
    assert not list(out.rglob("*.part*"))


def test_prepared_cases_are_the_same_when_read(root: Path, out: Path) -> None:
    run(job_config(root, out / "test", "format=prepared"))
    source, exported = PreparedReader(root, "test"), PreparedReader(out, "test")
    assert list(exported.case_ids) == ["test_5", "test_6"]
    for case_id in exported.case_ids:
        assert_same_case(exported.read(case_id), source.read(case_id), dose_tolerance_gy=0.0006)
    told = json.loads(exported.fingerprint("test_5"))
    assert (told["case"], told["dose"], told["version"]) == ("", "reference", 1)


@pytest.mark.parametrize(("kind", "name"), [("nifti", "dose.nii.gz"), ("nrrd", "dose.nrrd")])
def test_the_dose_asked_for_is_written(root: Path, tmp_path: Path, out: Path, kind: str, name: str) -> None:
    case = PreparedReader(root, "test").read("test_5")
    flat = np.where(case.body, 30.0, 0.0).astype(np.float32)
    predictions = write_prediction(tmp_path / "predictions", "test_5", case.grid, flat).parent
    given = [f"format={kind}", "cases=test_5"]

    def stored() -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(out / "test_5" / name)))

    def told() -> str | None:
        return json.loads((out / "test_5" / "case.json").read_text())["dose"]

    run(job_config(root, out, *given))
    np.testing.assert_array_equal(stored(), case.dose_gy)
    assert told() == "reference"
    run(job_config(root, out, *given, "dose=predictions", f"predictions={predictions}"))
    np.testing.assert_array_equal(stored(), flat)
    assert told() == "predicted"
    write_prediction(predictions, "test_5", case.grid, flat * 2)
    run(job_config(root, out, *given, "dose=predictions", f"predictions={predictions}"))
    np.testing.assert_array_equal(stored(), flat * 2)
    run(job_config(root, out, *given, "dose=none"))
    assert told() is None
    assert not (out / "test_5" / name).exists()  # what is stale goes


def test_an_export_is_read_as_predictions(root: Path, out: Path) -> None:
    run(job_config(root, out / "volumes", "format=nifti"))
    run(job_config(root, out / "again", "format=nrrd", "dose=predictions", f"predictions={out / 'volumes'}"))
    for case in PreparedReader(root, "test"):
        image = sitk.ReadImage(str(out / "again" / case.case_id / "dose.nrrd"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), case.dose_gy)


def test_a_predicted_dose_joins_the_dicom_study_it_was_predicted_for(tmp_path: Path, out: Path) -> None:
    phantom = DicomPhantom()
    phantom.write(tmp_path / "study", dose=False)
    data = ["data=dicom", f"data.root={tmp_path / 'study'}", "data.site=HeadNeck", "format=dicom", f"out={out}"]
    (case_id,) = DicomReader(tmp_path / "study", site="HeadNeck").case_ids
    case = DicomReader(tmp_path / "study", site="HeadNeck").read(case_id)
    dose_gy = np.where(case.body, 45.0, 0.0).astype(np.float32)
    write_prediction(tmp_path / "predictions", case_id, case.grid, dose_gy)
    done = run(config("export", *data, "dose=predictions", f"predictions={tmp_path / 'predictions'}"))
    assert done == {"cases": 1, "files": 1}
    written = pydicom.dcmread(out / case_id / "RTDOSE_predicted.dcm")
    assert (written.StudyInstanceUID, written.FrameOfReferenceUID) == (
        phantom.plan().StudyInstanceUID,
        phantom.frame_uid,
    )
    assert written.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == phantom.object_uid("plan")
    np.testing.assert_allclose(written.pixel_array * float(written.DoseGridScaling), dose_gy, atol=0.001)
    with pytest.raises(InputError, match=r"has nothing that its own study lacks: give it a dose"):
        run(config("export", *data, "dose=none", "overwrite=true"))
    alone = run(config("export", *data, "dose=none", "format.belong=false", f"out={out / 'alone'}"))
    assert alone["files"] == case.grid.shape_zyx[0] + 2


def test_other_settings_and_overwriting_make_files_anew(root: Path, out: Path) -> None:
    run(job_config(root, out, "format=nrrd"))
    first = files(out)
    run(job_config(root, out, "format=nrrd", "format.segmentation=false"))
    second = files(out)
    assert set(first) - set(second) == {f"test_{seed}/segmentation.seg.nrrd" for seed in (5, 6)}
    run(job_config(root, out, "format=nrrd", "format.structures=false", "format.segmentation=false"))
    assert sorted(path.name for path in (out / "test_5").iterdir()) == ["case.json", "ct.nrrd", "dose.nrrd"]
    before = files(out)
    run(job_config(root, out, "format=nrrd", "format.structures=false", "format.segmentation=false", "overwrite=true"))
    assert all(files(out)[name] != before[name] for name in before)


def test_a_changed_case_is_exported_again(root: Path, out: Path) -> None:
    paths = [root / "test" / f"test_{seed}.case" for seed in (5, 6)]
    for path, seed in zip(paths, (5, 6), strict=True):
        write_case(path, make_case(f"test_{seed}", seed=seed), f"first {seed}")
    run(job_config(root, out, "format=nifti"))
    before = files(out)
    write_case(paths[0], make_case("test_5", seed=9), "second")
    run(job_config(root, out, "format=nifti"))
    assert {name.partition("/")[0] for name in before if files(out)[name] != before[name]} == {"test_5"}


def test_a_broken_case_costs_no_other(root: Path, out: Path) -> None:
    (root / "test" / "test_5.case").write_bytes(b"PK")
    told = r"(?s)1 cases could not be exported \(1 others were\):\n  test_5: .*test_5.case: file must be a whole"
    with pytest.raises(InputError, match=told):
        run(job_config(root, out, "format=nifti"))
    manifest = json.loads((out / "export.json").read_text())
    assert (list(manifest["cases"]), list(manifest["failed"])) == (["test_6"], ["test_5"])
    assert (out / "test_6" / "ct.nii.gz").is_file()


def test_a_case_that_the_format_cannot_hold_is_told(root: Path, out: Path) -> None:
    write_case(root / "test" / "test_7.case", make_case("test_7").with_dose(None))
    with pytest.raises(InputError, match=r"(?s)test_7: .*test_7 must have a reference dose for dose=reference"):
        run(job_config(root, out, "format=nrrd", "cases=test_7"))
    assert run(job_config(root, out, "format=nrrd", "cases=test_7", "dose=none"))["cases"] == 1


def test_a_full_disk_ends_the_job_and_leaves_no_record(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dosewright.io.volumes import folder_writer

    write_json: Callable[..., Path] = folder_writer.atomic_write

    def full(path: Path, content: str) -> Path:
        if path.parent.name == "test_6":
            raise StorageError("no space left on the disk")
        return write_json(path, content)

    monkeypatch.setattr(folder_writer, "atomic_write", full)
    with pytest.raises(StorageError, match="no space left"):
        run(job_config(root, out, "format=nrrd"))
    assert read_record(out, "test_5") is not None
    assert read_record(out, "test_6") is None
    first = files(out)
    monkeypatch.undo()
    run(job_config(root, out, "format=nrrd"))
    assert all(files(out)[name] == first[name] for name in first if name.startswith("test_5"))


def test_bad_settings_are_refused(root: Path, out: Path) -> None:
    with pytest.raises(InputError, match=r"dose must be one of .*'none'\); got 'clinical'"):
        run(job_config(root, out, "dose=clinical"))
    with pytest.raises(InputError, match=r"predictions must be null with dose=none; got 'x'"):
        run(job_config(root, out, "dose=none", "predictions=x"))
    with pytest.raises(InputError, match=r'cases must be "all" or a list of cases of this split'):
        run(job_config(root, out, "cases=[pt_1]"))
    with pytest.raises(CaseError, match="predictions must be a folder or a zip; got 'no such file'"):
        run(job_config(root, out, "dose=predictions", f"predictions={out / 'absent'}"))
    with pytest.raises(InputError, match=r"kind must be one of \('nifti', 'nrrd'\); got 'mha'"):
        run(job_config(root, out, "format.kind=mha"))
    for other in ("csv", "eclipse"):
        with pytest.raises(InputError, match=rf"format must be nifti, nrrd, .*; got \['{other}'\]"):
            run(job_config(root, out, f"format={other}"))
    assert not out.exists()


def test_records_that_name_files_elsewhere_are_no_records(tmp_path: Path) -> None:
    write_record(tmp_path, "a", ExportRecord({"version": 1}, {"a/ct.nrrd": 3, "tables.csv": None}))
    assert read_record(tmp_path, "a") == ExportRecord({"version": 1}, {"a/ct.nrrd": 3, "tables.csv": None})
    for name in ("../outside", "/etc/passwd"):
        write_record(tmp_path, "b", ExportRecord({}, {name: 3}))
        assert read_record(tmp_path, "b") is None
    for text in ("", "[]", '{"files": 3}', '{"files": {"a": "x"}, "made_from": {}}'):
        record_path(tmp_path, "b").write_text(text)
        assert read_record(tmp_path, "b") is None
    assert not ExportRecord({}, {}).fits({}, tmp_path)
