import csv
import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from cases import make_case
from dosewright.core import CaseError, Grid, InputError, PatientCase, StorageError
from dosewright.io.predictions import write_prediction
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs.objectives import run
from dosewright.objectives.extraction import extract_objectives
from dosewright.objectives.objective_file import read_objectives
from tiny import config

FILES = ["objectives.csv", "objectives.json", "objectives.md", "structures.csv", "summary.json"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def job_config(root: Path, out: Path, *overrides: str) -> DictConfig:
    data = ["data=prepared", f"data.root={root}", "data.split=test"]
    return config("objectives", *data, f"out={out}", "dose=reference", *overrides)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.glob("*/*")}


def test_every_case_gets_its_files(prepared_root: Path, out: Path) -> None:
    done = run(job_config(prepared_root, out))
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "structures.csv", "test_5", "test_6"]
    total = 0
    for case in PreparedReader(prepared_root, "test"):
        folder = out / case.case_id
        assert sorted(path.name for path in folder.iterdir()) == FILES
        expected = extract_objectives(case)
        assert read_objectives(folder / "objectives.json") == expected.objectives
        table = rows(folder / "objectives.csv")
        assert [row["structure"] for row in table] == [item.objective.structure for item in expected.derived]
        assert [float(row["dose_gy"]) for row in table] == [item.objective.dose_gy for item in expected.derived]
        assert [row["rule"] for row in table] == [item.rule for item in expected.derived]
        notes = rows(folder / "structures.csv")
        assert [(row["structure"], row["status"]) for row in notes] == [
            (note.name, note.status.value) for note in expected.structures
        ]
        total += len(expected.objectives)
    assert done == {"cases": 2, "objectives": total}


def test_the_page_for_people_tells_objectives_structures_and_criteria(prepared_root: Path, out: Path) -> None:
    run(job_config(prepared_root, out, "cases=test_5"))
    page = (out / "test_5" / "objectives.md").read_text()
    assert page.startswith("# Objectives of test_5\n\nPrescription: PTV_High 70 Gy, PTV_Low 56 Gy. Dose: the reference")
    assert "| PTV_High: every voxel at least 70.7 Gy, priority 300 | D98 " in page
    assert "| Ring_PTV_High | ring | " in page
    assert "| Brainstem D0.1cc ≤ 50 Gy | absent |  |" in page
    assert page.count("| Parotid_L Dmean ≤ 26 Gy | ") == 1


def test_what_was_dropped_or_absent_is_told_with_its_reason(tmp_path: Path, out: Path) -> None:
    case = make_case("only", shape=(16, 32, 32))
    inside = case.structures["PTV_High"].copy()
    inside[:, :10] = False
    extended = dict(case.structures) | {"Larynx": inside}
    write_case(tmp_path / "test" / "only.case", PatientCase(**{**vars(case), "structures": extended}))
    run(job_config(tmp_path, out, "objectives.expected=[Esophagus,Larynx]"))
    manifest = json.loads((out / "manifest.json").read_text())["cases"]["only"]
    assert manifest["dropped"] == ["Larynx (100 % of it in targets, more than 85 %)"]
    brainstem = "Brainstem_PRV03 (the case does not have Brainstem)"
    assert manifest["absent"] == [brainstem, "Esophagus (the case does not have it)"]
    told = {row["structure"]: (row["case_id"], row["status"], row["reason"]) for row in rows(out / "structures.csv")}
    assert told["Larynx"] == ("only", "dropped", "100 % of it in targets, more than 85 %")
    assert told["Esophagus"] == ("only", "absent", "the case does not have it")


def test_what_is_there_is_not_done_again_unless_it_would_differ(prepared_root: Path, out: Path) -> None:
    first = run(job_config(prepared_root, out))
    before = times(out)
    assert run(job_config(prepared_root, out)) == first
    assert times(out) == before
    (out / "test_5" / "objectives.csv").unlink()
    run(job_config(prepared_root, out))
    after = times(out)
    assert {name for name in before if after[name] != before[name]} == {f"test_5/{name}" for name in FILES}
    run(job_config(prepared_root, out, "objectives=lines"))
    assert all(times(out)[name] != after[name] for name in after)
    assert {row["origin"] for row in rows(out / "test_6" / "objectives.csv")} == {"line", "mean", "maximum", "target"}
    before = times(out)
    run(job_config(prepared_root, out, "objectives=lines", "overwrite=true", "cases=[test_6]"))
    assert {name for name in before if times(out)[name] != before[name]} == {f"test_6/{name}" for name in FILES}


def test_predictions_are_read_and_a_new_one_is_noticed(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "predictions"
    cases = list(PreparedReader(prepared_root, "test"))
    for case in cases:
        write_prediction(folder, case.case_id, case.grid, np.where(case.body, 30.0, 0.0).astype(np.float32))
    given = ["dose=predictions", f"predictions={folder}"]
    run(job_config(prepared_root, out, *given))
    before = times(out)
    means = {row["structure"]: row for row in rows(out / "test_5" / "objectives.csv") if row["origin"] == "mean"}
    assert (means["Parotid_L"]["dose_gy"], means["Parotid_L"]["dose_has_gy"]) == ("28.5", "30.000")
    write_prediction(folder, "test_5", cases[0].grid, np.where(cases[0].body, 40.0, 0.0).astype(np.float32))
    run(job_config(prepared_root, out, *given))
    assert {name for name in before if times(out)[name] != before[name]} == {f"test_5/{name}" for name in FILES}


def test_a_predictor_gives_the_dose(prepared_root: Path, out: Path) -> None:
    run(job_config(prepared_root, out, "dose=model", "baseline=mean_dose"))
    mean = np.mean([case.dose_gy for case in PreparedReader(prepared_root, "train")], axis=0, dtype=float)
    case = PreparedReader(prepared_root, "test").read("test_5")
    (row,) = (
        row
        for row in rows(out / "test_5" / "objectives.csv")
        if row["origin"] == "mean" and row["structure"] == "SpinalCord"
    )
    expected = mean[case.structures["SpinalCord"] & case.body].mean()
    assert float(row["dose_has_gy"]) == pytest.approx(expected, abs=0.002)
    assert "the mean dose of the training cases" in (out / "manifest.json").read_text()


def test_a_bad_dose_costs_only_its_case(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "predictions"
    one, _ = PreparedReader(prepared_root, "test")
    write_prediction(folder, "test_5", one.grid, np.where(one.body, 30.0, 0.0).astype(np.float32))
    write_prediction(folder, "test_6", Grid((8, 16, 20), (3.0, 3.0, 4.0)), np.ones((8, 16, 20), np.float32))
    given = ["dose=predictions", f"predictions={folder}"]
    told = r"(?s)1 cases could not be turned into objectives \(1 others were\):\n  test_6: .*must be on the case's grid"
    with pytest.raises(InputError, match=told):
        run(job_config(prepared_root, out, *given))
    assert sorted(path.name for path in (out / "test_5").iterdir()) == FILES
    assert "must be on the case's grid" in json.loads((out / "manifest.json").read_text())["failed"]["test_6"]
    (folder / "test_6.npz").unlink()
    with pytest.raises(InputError, match=r"(?s)test_6: .*prediction must exist; got 'no such file'"):
        run(job_config(prepared_root, out, *given))


def test_a_prediction_that_is_not_finite_is_refused(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "predictions"
    for case in PreparedReader(prepared_root, "test"):
        path = write_prediction(folder, case.case_id, case.grid, np.ones(case.grid.shape_zyx, np.float32))
        with np.load(path) as stored:
            content = dict(stored)
        content["dose_gy"][0, 0, 0] = np.nan
        np.savez(path, **content)
    with pytest.raises(InputError, match=r"(?s)2 cases could not .*test_5\.npz: dose_gy must be finite; got '1 voxels"):
        run(job_config(prepared_root, out, "dose=predictions", f"predictions={folder}"))


def test_a_required_structure_that_is_absent_is_refused(prepared_root: Path, out: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)test_5: structures of test_5 must hold \['Larynx'\]"):
        run(job_config(prepared_root, out, "objectives.expected=[Larynx]", "objectives.absent=raise"))
    assert not list(out.glob("*/objectives.json"))


def test_a_full_disk_ends_the_job(prepared_root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("no space left on the disk")

    monkeypatch.setattr("dosewright.jobs.objectives.write_case_files", full)
    with pytest.raises(StorageError, match="no space left"):
        run(job_config(prepared_root, out))


def test_bad_settings_are_refused(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    with pytest.raises(InputError, match=r'cases must be "all" or a list of cases of this split; got \[\'pt_1\'\]'):
        run(job_config(prepared_root, out, "cases=[pt_1,test_5]"))
    with pytest.raises(InputError, match=r'cases must be "all" or a list of cases of this split; got \[\]'):
        run(job_config(prepared_root, out, "cases=[]"))
    with pytest.raises(InputError, match=r"dose must be one of .*; got 'clinical'"):
        run(job_config(prepared_root, out, "dose=clinical"))
    with pytest.raises(InputError, match=r"floor_gy must be finite, zero or more; got -1"):
        run(job_config(prepared_root, out, "objectives.floor_gy=-1"))
    with pytest.raises(CaseError, match="predictions must be a folder or a zip; got 'no such file'"):
        run(job_config(prepared_root, out, "dose=predictions", f"predictions={tmp_path / 'absent'}"))
    assert not out.exists()
