"""Iterative plans by the job: their files, their section of the report, and what an interruption leaves."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from cases import make_case
from dosewright.core import PatientCase
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.io.prepared import write_case
from dosewright.jobs import plan as job
from dosewright.jobs.plan import run
from dosewright.jobs.plan_trace import draw_trace, item_headings, item_rows
from dosewright.planning import iterate
from dosewright.planning.iterative_planner import ItemOutcome, Judgement
from dosewright.planning.trace import Step, Trace
from plan_problems import make_influence
from tiny import config


def judged(*scores: float | None) -> Judgement:
    items = tuple(
        ItemOutcome(f"S{place}", "Dmean [Gy]", None if score is None else 10.0, score, 9.0, "" if score else "absent")
        for place, score in enumerate(scores)
    )
    return Judgement(sum(score or 0.0 for score in scores), 9.0 * len(scores), items)


def traced(*judgements: Judgement) -> Trace:
    best = np.maximum.accumulate([judgement.score for judgement in judgements]).tolist()
    steps = (
        Step(at + 1, judgement, best[at], 5, 1.0, 0.5, "converged", 7, 2.0, 1.5)
        for at, judgement in enumerate(judgements)
    )
    return Trace(tuple(steps), "enough")


def test_the_picture_shows_scores_and_the_items_that_changed() -> None:
    trace = replace(
        traced(judged(1.0, 4.0, None), judged(3.0, 4.0, None), judged(2.0, 4.0, None)), delivered=judged(1.5)
    )
    total, single = draw_trace(trace).axes
    plan, best, sequenced = total.lines
    np.testing.assert_array_equal(plan.get_ydata(), [5.0, 7.0, 6.0])
    np.testing.assert_array_equal(best.get_ydata(), [5.0, 7.0, 7.0])
    assert list(sequenced.get_ydata()) == [1.5, 1.5]
    assert [line.get_label() for line in single.lines] == ["S0 Dmean [Gy]"]
    np.testing.assert_array_equal(single.lines[0].get_ydata(), [1.0, 3.0, 2.0])


def test_items_side_by_side() -> None:
    trace = traced(judged(1.0, None), judged(3.0, None))
    rows = item_rows(trace.to_plain())
    assert rows[0] == ["S0", "Dmean [Gy]", "10.00", "1.00", "10.00", "3.00", "9", ""]
    assert rows[1] == ["S1", "Dmean [Gy]", "–", "–", "–", "–", "9", "absent"]
    assert rows[2] == ["in all", "", "", "1.00", "", "3.00", "18", ""]
    sequenced = replace(trace, delivered=judged(2.0, None)).to_plain()
    assert {len(row) for row in item_rows(sequenced)} == {len(item_headings(sequenced))} == {10}


def plan_config(cases: Path, out: Path) -> DictConfig:
    cfg = config(
        "plan",
        *("dose=reference", "planner=airtp", "planner.stop.max_iterations=2", "planner.normalise.most_factor=3"),
        "planner.extraction.volumes_percent=[20]",
        *("delivery.mu_per_fluence=300", "optimiser.max_steps=2", f"out={out}", "influence_cache=unused"),
    )
    cfg.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(cases)}
    return cfg


@pytest.fixture
def cases(tmp_path: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    def influence_of(case: PatientCase, *_: object, **__: object) -> DoseInfluence:
        return make_influence(case)

    monkeypatch.setattr(job, "cached_influence", influence_of)
    monkeypatch.setattr("dosewright.jobs.plan_figures.DPI", 20)
    case = make_case()
    smooth = np.where(case.body, 30.0 + 30.0 * case.structures["PTV_High"], 0).astype(np.float32)
    write_case(tmp_path / "cases" / "case_1.case", replace(case, dose_gy=smooth))
    return tmp_path / "cases"


def test_an_interrupted_case_is_taken_up_and_reported(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, planned, numbers = tmp_path / "out", iterate._planned, []

    def interrupting(*arguments: object) -> object:
        numbers.append(len(arguments))  # of the first plan three, of others five
        if numbers == [3, 5]:
            raise KeyboardInterrupt
        return planned(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(iterate, "_planned", interrupting)
    with pytest.raises(KeyboardInterrupt):
        run(plan_config(cases, out))
    folder = out / "cases" / "case_1"
    assert [path.name for path in folder.iterdir()] == ["course.npz"]
    run(plan_config(cases, out))
    assert numbers == [3, 5, 5]
    assert not (folder / "course.npz").exists()
    record = json.loads((folder / "report.json").read_text())
    trace = json.loads((folder / "trace.json").read_text())
    assert record["trace"] == trace
    assert len(trace["steps"]) == 2
    assert trace["delivered"]["score"] <= trace["maximum"]
    _check_page((folder / "report.html").read_text(), trace)
    rows = list(csv.DictReader((folder / "trace.csv").open()))
    assert [float(row["score"]) for row in rows] == [step["judgement"]["score"] for step in trace["steps"]]
    with (out / "summary.csv").open() as stream:
        summary = next(csv.DictReader(stream))
    assert float(summary["score_best"]) == pytest.approx(trace["best_score"])
    assert summary["plans"] == "2"
    assert "## Scorecard" in (out / "summary.md").read_text()
    run(plan_config(cases, out))
    assert numbers == [3, 5, 5]  # planned before, with the same settings


def _check_page(page: str, trace: dict) -> None:
    assert len(re.findall(r"src='data:image/(?:png|svg\+xml);base64,", page)) == 4
    for text in (
        "<h2>Iterations</h2>",
        "2 plans made",
        "the case has no structure Brain",
        f"{trace['best_score']:.2f}",
    ):
        assert text in page
