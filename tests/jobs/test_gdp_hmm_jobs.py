"""`dosewright prepare`, `predict` and `evaluate` on plans of the GDP-HMM challenge."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from cases import make_case
from dosewright.core import PatientCase, SubmissionError
from dosewright.dose.gdphmm import case_error
from dosewright.io.gdp_hmm import GdpHmmReader
from dosewright.io.predictions import write_prediction
from dosewright.io.prepared import PreparedReader
from dosewright.jobs.evaluate import run as evaluate
from dosewright.jobs.prepare import run as prepare
from dosewright.jobs.submissions import submit_gdp_hmm
from dosewright.submission.validate_gdp_hmm import validate
from gdp_hmm_files import hostile, rewrite, write_plans
from tiny import config

PLANS = ("P1+9Ag+MOS_1", "P2+9Ag+MOS_2", "P3+9Ag+MOS_3")


def job(name: str, root: Path, *overrides: str) -> DictConfig:
    paths = (f"data.root={root}", f"data.cache_dir={root / 'cache'}", f"out={root / 'out'}")
    return config(name, "data=gdp_hmm", *paths, *overrides)


def plan(name: str, seed: int = 0) -> PatientCase:
    case = make_case(name, seed=seed)
    assert case.dose_gy is not None
    return case.with_dose(np.maximum(case.dose_gy, np.float32(65) * case.structures["PTV_High"]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_plans(tmp_path, *(plan(name, seed) for seed, name in enumerate(PLANS)))


def test_prepare_skips_what_is_hostile_or_broken_and_tells_what_it_assumed(root: Path) -> None:
    hostile(root / f"{PLANS[0]}.npz", b"\x80\x04cposix\nsystem\n\x8c\x04true\x85R.")
    (root / f"{PLANS[1]}.npz").write_bytes((root / f"{PLANS[1]}.npz").read_bytes()[:-500])
    rewrite(root / f"{PLANS[2]}.npz", lambda d: [d.pop(key) for key in ("origin", "isocenter")])
    summary = prepare(job("prepare", root, "workers=1"))
    assert set(summary["train"]["reasons"]) == set(PLANS[:2])
    assert "posix.system" in summary["train"]["reasons"][PLANS[0]]
    assert "must be a whole .npz" in summary["train"]["reasons"][PLANS[1]]
    assert list(summary["train"]["notes"]) == [PLANS[2]]
    assert "no isocenter: the centroid of the targets is taken" in summary["train"]["notes"][PLANS[2]]
    assert "passed over" in summary["validation"]
    assert json.loads((root / "out" / "summary.json").read_text()) == summary
    case = PreparedReader(root / "cache" / "train").read(PLANS[2])
    expected = plan(PLANS[2], 2)
    np.testing.assert_array_equal(case.structures["PTV_High"], expected.structures["PTV_High"])
    np.testing.assert_allclose(case.dose_gy, expected.dose_gy, atol=1e-3)
    assert case.isocenter_xyz_mm is None


def test_evaluate_has_metric_1(root: Path) -> None:
    reader = GdpHmmReader(root)
    expected = {}
    for case in reader:
        assert case.dose_gy is not None
        predicted = np.where(case.body, case.dose_gy * np.float32(0.9) + 2, 0).astype(np.float32)
        write_prediction(root / "predictions", case.case_id, case.grid, predicted)
        expected[case.case_id] = case_error(case, predicted)
    overrides = ("data.split=train", f"predictions={root / 'predictions'}", "plots=0")
    metrics = evaluate(job("evaluate", root, *overrides))
    assert metrics["gdp_hmm_error"] == pytest.approx(np.mean(list(expected.values())), rel=1e-9)
    rows = list(csv.DictReader((root / "out" / "scores.csv").open()))
    assert {r["case_id"]: float(r["gdp_hmm_error_gy"]) for r in rows} == pytest.approx(expected)
    without = evaluate(job("evaluate", root, *overrides, "gdp_hmm=false"))
    assert "gdp_hmm_error" not in without
    assert "gdp_hmm_error_gy" not in (root / "out" / "scores.csv").read_text()


def test_a_submission_is_written_from_predictions_and_valid(root: Path) -> None:
    reader = GdpHmmReader(root)
    for case in reader:
        write_prediction(root / "out", case.case_id, case.grid, (60.0 * case.body).astype(np.float32))
    submit_gdp_hmm(reader, root / "out")
    assert validate(root / "out" / "submission.zip", dict.fromkeys(PLANS, (16, 20, 24))) == []
    (root / f"{PLANS[0]}.npz").unlink()
    rule = r"data\.root must have the file of every plan of the split; 1 are absent; got \('P1\+9Ag\+MOS_1',\)"
    with pytest.raises(SubmissionError, match=rule):
        submit_gdp_hmm(GdpHmmReader(root), root / "out")


def test_cases_of_other_readers_cannot_be_submitted(tmp_path: Path, case: PatientCase) -> None:
    from fake_readers import MemoryReader

    write_prediction(tmp_path, "case_1", case.grid, (60.0 * case.body).astype(np.float32))
    with pytest.raises(SubmissionError, match=r"plan must be <PID>\+<PlanID>\+<suffix>; got 'case_1'"):
        submit_gdp_hmm(MemoryReader([replace(case)]), tmp_path)
