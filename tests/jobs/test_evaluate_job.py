import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dosewright.core import CaseError, InputError, PatientCase, StorageError
from dosewright.io.predictions import write_prediction
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs.cli import conf_dir
from dosewright.jobs.evaluate import run
from dosewright.submission.openkbp import write_submission


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("evaluate", overrides=["data=openkbp", "data.root=unused", *overrides])


@pytest.fixture
def cfg(tmp_path: Path, case: PatientCase) -> DictConfig:
    """Three prepared cases and predictions 2 Gy too high everywhere in the dose mask."""
    for number in (1, 2, 3):
        write_case(tmp_path / "cases" / f"case_{number}.case", replace(case, case_id=f"case_{number}"))
    for stored in PreparedReader(tmp_path / "cases"):
        assert stored.dose_gy is not None
        dose = np.where(stored.scored_mask, stored.dose_gy + 2, 0).astype(np.float32)
        write_prediction(tmp_path / "predictions", stored.case_id, stored.grid, dose)
    made = config(f"predictions={tmp_path / 'predictions'}", f"out={tmp_path / 'out'}", "plots=1")
    made.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(tmp_path / "cases")}
    return made


@pytest.fixture(autouse=True)
def _coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.jobs.pictures.DPI", 20)


def images(report: str) -> list[bytes]:
    return [base64.b64decode(code) for code in re.findall(r"src='data:image/png;base64,([^']+)'", report)]


def test_scores_tables_figures_and_report(cfg: DictConfig, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = run(cfg)
    out = Path(cfg.out)
    assert metrics["dose_score"] == pytest.approx(2.0, rel=1e-6)
    assert metrics["dvh_score"] == pytest.approx(2.0, rel=1e-5)
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert sorted(p.name for p in out.iterdir()) == [
        *("dvh_metrics.csv", "indices.csv", "metrics.json", "plots", "report.html", "scores.csv")
    ]
    drawn = ["case_1_dvh.png", "case_1_slices.png"]
    assert sorted(p.name for p in (out / "plots").iterdir()) == drawn
    report = (out / "report.html").read_text()
    assert images(report) == [(out / "plots" / name).read_bytes() for name in drawn]
    assert not re.search(r"(src|href)='(?!data:)", report)  # nothing to load from elsewhere
    for text in ("2.000 Gy", "per case 2.00 ± 0.00", "<td class='text'>PTV_High</td>", "<td class='text'>case_3</td>"):
        assert text in report
    assert "Scores of 3 cases" in capsys.readouterr().out


@pytest.mark.parametrize(("plots", "count"), [("all", 6), (0, 0)])
def test_plots_limits_the_figures(cfg: DictConfig, plots: str | int, count: int) -> None:
    cfg.plots = plots
    run(cfg)
    assert len(images((Path(cfg.out) / "report.html").read_text())) == count


@pytest.mark.parametrize("plots", [-1, "some", 1.5, True])
def test_plots_must_be_a_number_or_all(cfg: DictConfig, plots: object) -> None:
    cfg.plots = plots
    with pytest.raises(InputError, match='plots must be a number of cases, zero or more, or "all"; got'):
        run(cfg)


def test_a_failed_prediction_is_told_after_the_rest_is_written(cfg: DictConfig) -> None:
    cfg.plots = 0
    path = Path(cfg.predictions) / "case_2.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CaseError, match=r"predictions must all be readable; 1 failed: case_2 .*the other 2 are scored"):
        run(cfg)
    metrics = json.loads((Path(cfg.out) / "metrics.json").read_text())
    assert metrics["n_patients"] == 2
    assert metrics["dose_score"] == pytest.approx(2.0, rel=1e-6)
    assert "complete .npz file" in metrics["failed"]["case_2"]
    assert "failed: case_2" in (Path(cfg.out) / "report.html").read_text()


@pytest.mark.parametrize("error", [StorageError("no space"), InputError("cannot be drawn")], ids=repr)
def test_tables_and_scores_survive_pictures_that_fail(
    cfg: DictConfig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("dosewright.jobs.evaluate.draw_slices", fail)
    cfg.plots = "all"
    metrics = run(cfg)
    out = Path(cfg.out)
    assert metrics["n_patients"] == 3
    assert metrics["failed"] == {}
    assert metrics["undrawn"] == {f"case_{number}": str(error) for number in (1, 2, 3)}
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert len((out / "scores.csv").read_text().splitlines()) == 4
    assert f"scored but not drawn: case_2: {error}" in (out / "report.html").read_text()


def test_markup_in_names_is_escaped(cfg: DictConfig) -> None:
    folder = Path(cfg.predictions)
    (folder / "<b>x.npz").write_bytes(b"")
    cfg.plots = 0
    run(cfg)
    report = (Path(cfg.out) / "report.html").read_text()
    assert "not used: &lt;b&gt;x" in report
    assert "<b>x" not in report


def sparse(mask: np.ndarray, value: str) -> str:
    return ",data\n" + "".join(f"{index},{value}\n" for index in np.flatnonzero(mask).tolist())


def test_a_submission_zip_is_scored_from_openkbp_files(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "provided-data" / "validation-pats" / "pt_201"
    folder.mkdir(parents=True)
    inside, target = np.zeros((128, 128, 128), bool), np.zeros((128, 128, 128), bool)  # OpenKBP's axes
    inside[40:60, 50:70, 60:80] = True
    target[45:55, 55:65, 62:70] = True
    for name, mask, value in (
        ("ct", inside, "1000"),
        ("dose", inside, "50"),
        ("possible_dose_mask", inside, ""),
        ("PTV70", target, ""),
    ):
        (folder / f"{name}.csv").write_text(sparse(mask, value))
    (folder / "voxel_dimensions.csv").write_text("3.9\n3.9\n2.5\n")
    dose = np.where(inside.transpose(2, 0, 1)[::-1], 50, 0).astype(np.float32)
    dose[127 - 65, 50, 60] = 58.0  # one voxel of the target, 8 Gy too hot: only the target's D1 notices
    path = write_submission([("pt_201", dose)], tmp_path / "sub.zip")
    overrides = [f"data.root={tmp_path / 'data'}", "data.split=validation", f"predictions={path}", f"out={tmp_path}"]
    metrics = run(config(*overrides, "plots=0"))
    assert metrics["dose_score"] == pytest.approx(8.0 / inside.sum(), rel=1e-6)
    assert metrics["dvh_differences"] == {"PTV_High": {"D_99": 0.0, "D_95": 0.0, "D_1": 0.0}}
    assert metrics["n_patients"] == 1


def test_a_real_patient_scores_zero_against_itself(openkbp_root: Path, tmp_path: Path) -> None:
    from dosewright.io.openkbp import OpenKBPReader

    reader = OpenKBPReader(openkbp_root, "validation")
    kept = list(reader.case_ids)[:1]
    doses = ((case_id, reader.read(case_id).dose_gy) for case_id in kept)
    path = write_submission(doses, tmp_path / "sub.zip")
    overrides = [f"data.root={openkbp_root}", "data.split=validation", f"predictions={path}", f"out={tmp_path}"]
    metrics = run(config(*overrides, "plots=0", "allow_missing=true"))
    assert metrics["n_patients"] == 1
    assert metrics["dose_score"] <= 1e-6
    assert metrics["dvh_score"] <= 1e-6
