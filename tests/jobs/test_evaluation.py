import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dosewright.core import CaseError, PatientCase, StorageError
from dosewright.io.predictions import write_prediction
from dosewright.io.reader import AbstractReader
from dosewright.jobs.evaluation import CaseResult, evaluate, evaluate_case
from dosewright.jobs.evaluation_tables import mean_and_sd, print_tables, remarks, summary, write_tables


class MemoryReader(AbstractReader):
    def __init__(self, *cases: PatientCase) -> None:
        self.cases = {case.case_id: case for case in cases}

    @property
    def case_ids(self) -> Sequence[str]:
        return list(self.cases)

    def read(self, case_id: str) -> PatientCase:
        return self.cases[case_id]


def naive_percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    below = min(math.floor(place), len(ordered) - 2)
    return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])


def naive_metrics(case: PatientCase, dose: np.ndarray) -> dict[tuple[str, str], float]:
    """OpenKBP's metrics by loops: OARs mean and the percentile of 0.1 cc, targets D99, D95, D1."""
    x, y, z = case.grid.spacing_xyz_mm
    tenth_cc = max(1, round(100 / (x * y * z)))
    metrics = {}
    for name, mask in case.structures.items():
        voxels = [float(dose[tuple(p)]) for p in np.argwhere(mask)]
        if name.startswith("PTV"):
            for metric, percent in (("D_99", 1), ("D_95", 5), ("D_1", 99)):
                metrics[name, metric] = naive_percentile(voxels, percent)
        else:
            metrics[name, "D_0.1_cc"] = naive_percentile(voxels, 100 - tenth_cc / len(voxels) * 100)
            metrics[name, "mean"] = math.fsum(voxels) / len(voxels)
    return metrics


def naive_dose_score(case: PatientCase, dose: np.ndarray) -> float:
    assert case.dose_gy is not None
    total = math.fsum(abs(float(a) - float(b)) for a, b in zip(case.dose_gy.ravel(), dose.ravel()))
    return total / sum(1 for inside in case.scored_mask.ravel() if inside)


@pytest.fixture
def cases(case: PatientCase) -> list[PatientCase]:
    """Three cases with different doses, masks and sets of structures, so that pooling matters."""
    rng = np.random.default_rng(3)
    found = []
    for number, without in enumerate([(), ("Parotid_R", "PTV_Low"), ("SpinalCord",)], start=1):
        body = case.body
        masks = {name: mask for name, mask in case.structures.items() if name not in without}
        dose_mask = body.copy()
        dose_mask[number] = False
        dose = np.where(dose_mask, rng.uniform(0, 70, body.shape), 0).astype(np.float32)
        found.append(
            replace(
                case,
                case_id=f"case_{number}",
                structures=masks,
                prescription_gy={name: gy for name, gy in case.prescription_gy.items() if name in masks},
                dose_gy=dose,
                dose_mask=dose_mask,
            )
        )
    return found


@pytest.fixture
def doses(cases: list[PatientCase]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    noisy = {}
    for at, case in enumerate(cases):
        assert case.dose_gy is not None
        error = rng.normal(at, 3.0, case.grid.shape_zyx)
        noisy[case.case_id] = np.where(case.scored_mask, np.clip(case.dose_gy + error, 0, None), 0).astype(np.float32)
    return noisy


@pytest.fixture
def folder(tmp_path: Path, cases: list[PatientCase], doses: dict[str, np.ndarray]) -> Path:
    for case in cases:
        write_prediction(tmp_path / "predictions", case.case_id, case.grid, doses[case.case_id])
    return tmp_path / "predictions"


def table(path: Path) -> list[dict[str, Any]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_metrics_json_equals_the_naive_twin(
    tmp_path: Path, folder: Path, cases: list[PatientCase], doses: dict[str, np.ndarray]
) -> None:
    write_tables(evaluate(MemoryReader(*cases), folder), tmp_path / "out")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())

    dose_scores = [naive_dose_score(case, doses[case.case_id]) for case in cases]
    pooled: dict[tuple[str, str], list[float]] = {}
    for case in cases:
        assert case.dose_gy is not None
        reference, predicted = naive_metrics(case, case.dose_gy), naive_metrics(case, doses[case.case_id])
        for key in reference:
            pooled.setdefault(key, []).append(abs(reference[key] - predicted[key]))
    everything = [value for values in pooled.values() for value in values]
    assert metrics["dose_score"] == pytest.approx(sum(dose_scores) / 3, rel=1e-6)
    assert metrics["dvh_score"] == pytest.approx(sum(everything) / len(everything), rel=1e-6)
    assert metrics["n_patients"] == 3
    mean = sum(dose_scores) / 3
    deviation = math.sqrt(sum((score - mean) ** 2 for score in dose_scores) / 2)
    assert metrics["dose_score_sd"] == pytest.approx(deviation, rel=1e-6)
    flat = {(s, m): value for s, per_metric in metrics["dvh_differences"].items() for m, value in per_metric.items()}
    assert flat == pytest.approx({key: sum(values) / len(values) for key, values in pooled.items()}, rel=1e-6)


def test_csv_tables_hold_every_case_and_metric(
    tmp_path: Path, folder: Path, cases: list[PatientCase], doses: dict[str, np.ndarray]
) -> None:
    write_tables(evaluate(MemoryReader(*cases), folder), tmp_path)
    scores = table(tmp_path / "scores.csv")
    assert [row["case_id"] for row in scores] == ["case_1", "case_2", "case_3"]
    rows = table(tmp_path / "dvh_metrics.csv")
    expected = {}
    for case, score in zip(cases, scores):
        assert case.dose_gy is not None
        assert float(score["dose_score_gy"]) == pytest.approx(naive_dose_score(case, doses[case.case_id]), rel=1e-6)
        reference, predicted = naive_metrics(case, case.dose_gy), naive_metrics(case, doses[case.case_id])
        differences = [abs(reference[key] - predicted[key]) for key in reference]
        assert float(score["dvh_score_gy"]) == pytest.approx(sum(differences) / len(differences), rel=1e-6)
        expected |= {(case.case_id, *key): (reference[key], predicted[key]) for key in reference}
    assert len(rows) == len(expected)
    for row in rows:
        reference, predicted = expected[row["case_id"], row["structure"], row["metric"]]
        assert row["unit"] == "Gy"
        assert float(row["reference"]) == pytest.approx(reference, rel=1e-6)
        assert float(row["predicted"]) == pytest.approx(predicted, rel=1e-6)
        assert float(row["difference"]) == pytest.approx(predicted - reference, abs=1e-6)


def test_indices_are_compared(tmp_path: Path, folder: Path, cases: list[PatientCase]) -> None:
    case = cases[0]
    uniform = np.where(case.body, 66.5, 0).astype(np.float32)  # 95 % of PTV_High's prescription
    result = evaluate_case(case, uniform)
    found = {(c.structure, c.metric): c for c in result.indices}
    assert found["PTV_High", "D95"].predicted == pytest.approx(66.5)
    assert (found["PTV_High", "V95%"].predicted, found["PTV_High", "V95%"].unit) == (100.0, "%")
    assert found["Parotid_L", "Dmean"].predicted == pytest.approx(66.5)
    write_tables(evaluate(MemoryReader(*cases), folder), tmp_path)
    rows = table(tmp_path / "indices.csv")
    (row,) = [r for r in rows if (r["case_id"], r["structure"], r["metric"]) == ("case_1", "Parotid_L", "Dmean")]
    assert case.dose_gy is not None
    assert float(row["reference"]) == pytest.approx(float(case.dose_gy[case.structures["Parotid_L"]].mean()), rel=1e-6)


def test_the_reference_itself_scores_zero(tmp_path: Path, cases: list[PatientCase]) -> None:
    for case in cases:
        assert case.dose_gy is not None
        write_prediction(tmp_path, case.case_id, case.grid, case.dose_gy)
    evaluation = evaluate(MemoryReader(*cases), tmp_path)
    assert (evaluation.score.dose_score_gy, evaluation.score.dvh_score_gy) == (0.0, 0.0)
    assert all(c.difference == 0 for result in evaluation.results for c in result.dvh_metrics)
    assert remarks(evaluation) == []


def test_missing_predictions(folder: Path, cases: list[PatientCase]) -> None:
    (folder / "case_1.npz").unlink()
    (folder / "case_3.npz").unlink()
    reader = MemoryReader(*cases)
    with pytest.raises(CaseError, match=r"predictions must hold a prediction for each of the 3 cases .*case_1, case_3"):
        evaluate(reader, folder)
    evaluation = evaluate(reader, folder, allow_missing=True)
    assert [result.case_id for result in evaluation.results] == ["case_2"]
    assert evaluation.missing == ("case_1", "case_3")
    assert summary(evaluation)["dose_score_sd"] is None
    assert remarks(evaluation) == ["skipped, no prediction: case_1, case_3"]


def test_one_broken_prediction_costs_only_its_case(folder: Path, cases: list[PatientCase]) -> None:
    whole = evaluate(MemoryReader(*cases), folder)
    path = folder / "case_2.npz"
    path.write_bytes(path.read_bytes()[:500])
    evaluation = evaluate(MemoryReader(*cases), folder)
    assert [result.case_id for result in evaluation.results] == ["case_1", "case_3"]
    assert list(evaluation.failed) == ["case_2"]
    assert "case_2.npz: prediction must be a complete .npz file" in evaluation.failed["case_2"]
    assert evaluation.results[1].dvh_metrics == whole.results[2].dvh_metrics
    assert "failed: case_2: " in remarks(evaluation)[0]


def test_a_negative_prediction_fails(folder: Path, cases: list[PatientCase], doses: dict[str, np.ndarray]) -> None:
    with np.load(folder / "case_1.npz") as stored:
        content = {**stored, "dose_gy": stored["dose_gy"] - 1}
    np.savez(folder / "case_1.npz", **content)
    evaluation = evaluate(MemoryReader(*cases), folder)
    assert "must be in [0, 250] Gy total" in evaluation.failed["case_1"]


def test_cases_without_reference_are_skipped(folder: Path, cases: list[PatientCase]) -> None:
    bare = [cases[0], cases[1].with_dose(None), cases[2]]
    evaluation = evaluate(MemoryReader(*bare), folder)
    assert [result.case_id for result in evaluation.results] == ["case_1", "case_3"]
    assert evaluation.without_reference == ("case_2",)
    assert remarks(evaluation) == ["skipped, no reference dose: case_2"]
    with pytest.raises(CaseError, match=r"case_2 must have a reference dose; got None"):
        evaluate_case(bare[1], np.zeros(cases[1].grid.shape_zyx, np.float32))


def test_nothing_to_score_is_an_error(tmp_path: Path, folder: Path, cases: list[PatientCase]) -> None:
    (folder / "case_1.npz").write_bytes(b"")
    bare = [cases[0], *(case.with_dose(None) for case in cases[1:])]
    match = r"must include one that can be scored\n  2 cases have no reference dose\n  case_1: .*complete \.npz"
    with pytest.raises(CaseError, match=match):
        evaluate(MemoryReader(*bare), folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match="must include one that can be scored; the set holds no prediction"):
        evaluate(MemoryReader(*cases), tmp_path / "empty", allow_missing=True)


def test_dose_outside_the_mask_is_told(folder: Path, cases: list[PatientCase], doses: dict[str, np.ndarray]) -> None:
    dose = doses["case_1"].copy()
    dose[~cases[0].scored_mask] = 0.05  # noise
    dose[1, 5, 5:8] = 2.0
    write_prediction(folder, "case_1", cases[0].grid, dose)
    evaluation = evaluate(MemoryReader(*cases), folder)
    assert [result.outside_voxels for result in evaluation.results] == [3, 0, 0]
    assert summary(evaluation)["outside_mask"] == {"case_1": 3}
    assert remarks(evaluation)[0].endswith(": case_1 (3)")


def test_predictions_of_other_cases_are_told(folder: Path, cases: list[PatientCase]) -> None:
    evaluation = evaluate(MemoryReader(*cases[:2]), folder)
    assert evaluation.unused == ("case_3",)
    assert remarks(evaluation) == ["predictions for cases outside the set, not used: case_3"]


def test_on_scored_sees_each_case_once(folder: Path, cases: list[PatientCase], doses: dict[str, np.ndarray]) -> None:
    seen = {}
    evaluate(MemoryReader(*cases), folder, on_scored=lambda case, dose, result: seen.update({case.case_id: dose}))
    assert list(seen) == ["case_1", "case_2", "case_3"]
    for case_id, dose in seen.items():
        np.testing.assert_array_equal(dose, doses[case_id])


@pytest.mark.parametrize("kind", [StorageError, CaseError, OSError])
def test_a_picture_that_fails_costs_no_score(
    folder: Path, cases: list[PatientCase], caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    whole = evaluate(MemoryReader(*cases), folder)

    def draw(case: PatientCase, dose: np.ndarray, result: CaseResult) -> None:
        if case.case_id == "case_2":
            raise kind("no space for pictures")

    evaluation = evaluate(MemoryReader(*cases), folder, on_scored=draw)
    assert evaluation.results == whole.results
    assert evaluation.failed == {}
    assert evaluation.undrawn == summary(evaluation)["undrawn"] == {"case_2": "no space for pictures"}
    assert remarks(evaluation) == ["scored but not drawn: case_2: no space for pictures"]
    assert caplog.messages == ["case_2 is scored but not drawn: no space for pictures"]


def test_console_tables_show_mean_and_sd(folder: Path, cases: list[PatientCase]) -> None:
    evaluation = evaluate(MemoryReader(*cases), folder)
    text = StringIO()
    print_tables(evaluation, Console(file=text, width=200))
    lines = text.getvalue().splitlines()
    (line,) = [line for line in lines if "dose score" in line]
    scores = [result.dose_score_gy for result in evaluation.results]
    assert f"{np.mean(scores):.3f}" in line
    assert f"{np.mean(scores):.2f} ± {np.std(scores, ddof=1):.2f}" in line
    structures = [line.split("│")[1].strip() for line in lines if line.startswith("│")][2:]
    assert structures == [
        *["PTV_High"] * 3,
        *["PTV_Low"] * 3,
        *["Parotid_L"] * 2,
        *["Parotid_R"] * 2,
        *["SpinalCord"] * 2,
    ]
    (low,) = [line for line in lines if "PTV_Low" in line and "D_95" in line]
    values = [
        c.difference
        for r in evaluation.results
        for c in r.dvh_metrics
        if (c.structure, c.metric) == ("PTV_Low", "D_95")
    ]
    assert [cell.strip() for cell in low.split("│")[3:6]] == [
        "2",
        mean_and_sd(np.abs(values).tolist()),
        mean_and_sd(values, signed=True),
    ]
