"""`dosewright plan` on small cases and made-up beams, from the configuration to the report."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from cases import make_case
from dosewright.core import InputError, PatientCase
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.io.predictions import read_prediction
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs import plan as job
from dosewright.jobs.chosen_cases import chosen_cases
from dosewright.jobs.plan import run
from plan_problems import make_influence
from tiny import config

CASES = ("case_1", "case_2")
SETTINGS = ("dose=reference", "planner=replay", "delivery.mu_per_fluence=300", "optimiser.max_steps=1")


def plan_config(cases: Path, out: Path, *overrides: str) -> DictConfig:
    cfg = config("plan", *SETTINGS, f"out={out}", "influence_cache=unused", *overrides)
    cfg.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(cases)}
    return cfg


def influence_of(case: PatientCase, *_: object, **__: object) -> DoseInfluence:
    return make_influence(case)


def failing_for(case_id: str, error: Exception) -> Callable[..., DoseInfluence]:
    def influence(case: PatientCase, *_: object, **__: object) -> DoseInfluence:
        if case.case_id == case_id:
            raise error
        return make_influence(case)

    return influence


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    for case_id in CASES:
        case = make_case(case_id)
        assert case.dose_gy is not None
        smooth = np.where(case.body, 30.0 + 30.0 * case.structures["PTV_High"], 0).astype(np.float32)
        write_case(folder / f"{case_id}.case", replace(case, dose_gy=smooth))
    return folder


@pytest.fixture(scope="module")
def planned(cases: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> tuple[Path, dict]:
    """A finished run and what it returned."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "cached_influence", influence_of)
        patch.setattr("dosewright.jobs.plan_figures.DPI", 20)
        result = run(plan_config(cases, out))
    return out, result


def test_each_case_gets_its_files(planned: tuple[Path, dict]) -> None:
    out, _ = planned
    for case_id in CASES:
        names = {path.name for path in (out / "cases" / case_id).iterdir()}
        assert {"report.html", "report.json", "plan.npz", "apertures.json"} <= names
    assert {path.name for path in out.iterdir()} >= {
        *("cases", "doses", "gaps.csv", "summary.csv", "summary.json", "summary.md")
    }


def test_the_report_needs_nothing_else_and_shows_what_the_record_holds(planned: tuple[Path, dict]) -> None:
    out, _ = planned
    record = json.loads((out / "cases" / "case_1" / "report.json").read_text())
    page = (out / "cases" / "case_1" / "report.html").read_text()
    assert not re.search(r"(src|href)=['\"](?!data:)", page)
    assert len(re.findall(r"src='data:image/(?:png|svg\+xml);base64,", page)) == 3  # DVHs, slices, fluence
    error = record["errors_gy"]["sequenced"]["all"]
    shown = (
        f"<b>{error:.2f} Gy</b>",
        f"{record['sequencing']['mu']:.0f} MU",
        "zBody: as in the reference dose, priority 100",
        "the optimiser did not converge",
        "For research only",
        "optimiser.max_steps",
        *(row["criterion"] for row in record["criteria"]),
    )
    for text in shown:
        assert text in page
    assert record["labels"] == ["reference", "achieved", "sequenced"]
    assert {row["criterion"] for row in record["criteria"]} == {
        "SpinalCord D0.1cc ≤ 45 Gy",
        "Parotid_L Dmean ≤ 26 Gy",
        "Parotid_R Dmean ≤ 26 Gy",
        "PTV_High D99 ≥ 95 %",
        "PTV_Low D99 ≥ 95 %",
    }
    cord = next(row for row in record["criteria"] if row["structure"] == "SpinalCord")
    assert (cord["values"]["reference"], cord["met"]["reference"]) == (pytest.approx(30.0, rel=1e-4), True)


def test_the_stored_dose_is_the_one_the_numbers_are_of(planned: tuple[Path, dict], cases: Path) -> None:
    out, _ = planned
    case = PreparedReader(cases).read("case_1")
    assert case.dose_gy is not None
    record = json.loads((out / "cases" / "case_1" / "report.json").read_text())
    dose_gy = read_prediction(out / "doses", case)
    error = np.abs(dose_gy - case.dose_gy)[case.body].mean()
    assert record["errors_gy"]["sequenced"]["all"] == pytest.approx(error, rel=1e-4)
    with np.load(out / "cases" / "case_1" / "plan.npz") as plan:
        assert plan["sequenced_fluence"].shape == plan["fluence"].shape == (make_influence(case).shape[1],)
        assert plan["gantry_angle_deg"].tolist() == [0.0, 90.0, 180.0, 270.0]


def test_apertures_hold_the_monitor_units(planned: tuple[Path, dict]) -> None:
    out, _ = planned
    record = json.loads((out / "cases" / "case_2" / "report.json").read_text())
    apertures = json.loads((out / "cases" / "case_2" / "apertures.json").read_text())["apertures"]
    assert len(apertures) == record["sequencing"]["segments"] == record["complexity"]["segments"]
    total = sum(aperture["monitor_units"] for aperture in apertures)
    assert total == pytest.approx(record["sequencing"]["mu"], rel=1e-3)


def test_the_summary_has_a_line_per_case_and_the_means(planned: tuple[Path, dict]) -> None:
    out, result = planned
    summary = json.loads((out / "summary.json").read_text())
    assert [row["case_id"] for row in summary["cases"]] == list(CASES)
    for name in ("error_gy", "dose_score_plan_gy", "segments"):
        assert result[name] == summary["means"][name] == np.mean([row[name] for row in summary["cases"]])
    assert (result["cases"], result["dose_score_wanted_gy"]) == (2, None)  # what was asked for is the reference
    lines = (out / "summary.csv").read_text().splitlines()
    assert len(lines) == 3
    page = (out / "summary.md").read_text()
    assert "| PTV_High | D95 | 2 |" in page
    assert "case_1: the optimiser did not converge" in page


def test_a_finished_case_is_not_planned_again(
    planned: tuple[Path, dict], cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = planned
    monkeypatch.setattr(job, "cached_influence", failing_for("case_1", InputError("was computed")))
    monkeypatch.setattr("dosewright.jobs.plan_figures.DPI", 20)
    assert run(plan_config(cases, out)) == result
    for changed in ("optimiser.max_steps=6", "overwrite=true", "fluence=coarse", "planner.two_sided=false"):
        with pytest.raises(InputError, match=r"(?s)1 cases could not be planned \(0 others were\).*was computed"):
            run(plan_config(cases, out, changed, "cases=case_1"))
    assert not (out / "cases" / "case_1" / "report.json").exists()  # what is begun anew no longer counts as finished


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("must reach the targets", argument="beams"), "beams must reach the targets"),
        (MemoryError(), "Memory"),
    ],
)
def test_a_case_that_fails_costs_no_other_and_is_named(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(job, "cached_influence", failing_for("case_1", error))
    monkeypatch.setattr("dosewright.jobs.plan_figures.DPI", 20)
    with pytest.raises(InputError, match=rf"(?s)1 cases could not be planned \(1 others were\):.*case_1: {message}"):
        run(plan_config(cases, tmp_path, "delivery=null"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [row["case_id"] for row in summary["cases"]] == ["case_2"]
    assert message in summary["failed"]["case_1"]
    assert (tmp_path / "cases" / "case_2" / "report.html").exists()
    assert json.loads((tmp_path / "cases" / "case_2" / "report.json").read_text())["sequencing"] is None


@pytest.mark.parametrize("wanted", ["case_9", ["case_1", "case_9"], []])
def test_unknown_cases_are_refused(wanted: str | list[str]) -> None:
    with pytest.raises(InputError, match='cases must be "all" or a list of cases of this split; got'):
        chosen_cases(wanted, CASES)


def test_cases_are_taken_in_the_order_given_once_each() -> None:
    assert chosen_cases(["case_2", "case_1", "case_2"], CASES) == ["case_2", "case_1"]
    assert chosen_cases("all", CASES) == ["case_1", "case_2"]
    assert chosen_cases("case_2", CASES) == ["case_2"]
