"""`dosewright score` on uniform doses, whose every metric is known without measuring."""

import base64
import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig

from cases import make_case
from dosewright.core import InputError, PatientCase, StorageError
from dosewright.io.predictions import write_prediction
from dosewright.io.prepared import write_case
from dosewright.jobs.score import run
from tiny import config

# 30 Gy everywhere: 5 of 10, 0 of 4, not scored (6), not scored (8).
ITEMS = (
    ("Parotid_L", "", "MeanDose", 0.0, None, "Gy", ((20, 10), (40, 0))),
    (
        *("Parotids-PTV", "{<Parotid_L>} OR {<Parotid_R>} SUB {<PTV_High>} SUB {<PTV_Mid>}"),
        *("MeanDose", 0.0, None, "Gy", ((20, 4), (40, -4))),
    ),
    ("Larynx", "", "MeanDose", 0.0, None, "Gy", ((20, 6), (40, 0))),
    ("CTV", "", "VolumeAtDose", 20.0, "Gy", "%", ((90, 0), (100, 8))),
)


def template(name: str, built: str, kind: str, value: float, unit: str | None, out: str, points: Any) -> dict[str, Any]:
    return {
        "Structure": {"StructureId": name, "StructureComment": built},
        "MetricType": kind,
        "InputValue": value,
        "InputUnit": unit,
        "OutputUnit": out,
        "ScorePoints": [{"PointX": x, "Score": score} for x, score in points],
    }


def write_card(path: Path, items: Any = ITEMS) -> Path:
    content = {"TemplateName": "Mine", "DosePerFraction": 2.0, "NumberOfFractions": 30}
    path.write_text(json.dumps(content | {"ScoreTemplates": [template(*item) for item in items]}))
    return path


def uniform(case: PatientCase, dose_gy: float) -> np.ndarray:
    return np.full(case.grid.shape_zyx, dose_gy, np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cases with 30 Gy everywhere; the second one has a larynx."""
    for case_id in ("one", "two"):
        case = make_case(case_id)
        structures = dict(case.structures) | ({"Larynx": case.structures["SpinalCord"]} if case_id == "two" else {})
        case = replace(case, structures=structures, dose_gy=uniform(case, 30.0))
        write_case(tmp_path / "data" / "test" / f"{case_id}.case", case)
    return tmp_path


@pytest.fixture(autouse=True)
def _coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.jobs.pictures.DPI", 20)


def job_config(root: Path, *overrides: str, card: str | Path | None = None) -> DictConfig:
    data = ["data=prepared", f"data.root={root / 'data'}", "data.split=test", f"out={root / 'out'}"]
    return config("score", *data, f"card={card or write_card(root / 'card.json')}", *overrides)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.glob("cases/*/*")}


def test_items_totals_and_maxima(root: Path) -> None:
    summary = run(job_config(root))
    out = root / "out"
    assert json.loads((out / "summary.json").read_text()) == summary
    one, two = summary["cases"]["one"], summary["cases"]["two"]
    assert (one["total"], one["maximum"], one["scored"], one["missing"]) == (5.0, 14.0, 2, ["Larynx", "CTV"])
    assert (two["total"], two["maximum"], two["scored"], two["missing"]) == (8.0, 20.0, 3, ["CTV"])
    assert (summary["card_maximum"], summary["common_maximum"], summary["common_items"]) == (28.0, 14.0, 2)
    assert (one["common_total"], two["common_total"]) == (5.0, 5.0)
    assert (summary["total_mean"], summary["total_sd"]) == (6.5, pytest.approx(1.5 * 2**0.5))
    assert summary["missing"] == {"Larynx": ["one"], "CTV": ["one", "two"]}
    assert summary["left_out"] == {"PTV_Mid": ["one", "two"]}
    assert [(item["cases"], item["score_mean"], item["value_mean"]) for item in summary["items"]] == [
        *((2, 5.0, 30.0), (2, 0.0, 30.0), (1, 3.0, 30.0), (0, None, None))
    ]


def test_tables_of_cases_and_items(root: Path) -> None:
    run(job_config(root))
    out = root / "out"
    scores = {row["case_id"]: row for row in rows(out / "scores.csv")}
    assert [scores["one"][key] for key in ("total", "maximum", "card_maximum", "common_total")] == [
        *("5.0", "14.0", "28.0", "5.0")
    ]
    assert (scores["one"]["missing"], scores["one"]["left_out"]) == ("Larynx; CTV", "PTV_Mid")
    items = rows(out / "items.csv")
    assert len(items) == 8
    assert items[:4] == [{"case_id": "one"} | row for row in rows(out / "cases" / "one" / "score.csv")]
    assert items[1]["measured_on"] == "(Parotid_L | Parotid_R) - PTV_High"
    assert (items[2]["value"], items[2]["score"], items[2]["maximum"]) == ("", "", "6.0")
    assert items[2]["reason"] == "the case has no structure Larynx"
    page = (out / "cases" / "one" / "score.md").read_text()
    assert page.startswith("# Scores of one: Mine\n\nDose: the reference dose. Total 5.00 of 14 points that could be ")
    assert "Not there, so not scored: Larynx, CTV." in page
    assert "| Parotid_L Dmean [Gy] | 30.00 | 5.00 | 10 |  |  |" in page
    assert "| (Parotid_L &#124; Parotid_R) - PTV_High | without PTV_Mid, not there |" in page
    summary = (out / "summary.md").read_text()
    assert "- not there, so not scored (all 2 cases): CTV\n" in summary
    assert "| one | 5.00 | 14 | 5.00 | 2 |" in summary


def test_report_and_pictures(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(job_config(root, "plots=1"))
    out = root / "out"
    report = (out / "report.html").read_text()
    images = [base64.b64decode(code) for code in re.findall(r"src='data:image/png;base64,([^']+)'", report)]
    assert images == [path.read_bytes() for path in (out / "scores.png", out / "cases" / "one" / "score.png")]
    assert not re.search(r"(src|href)='(?!data:)", report)  # nothing to load from elsewhere
    assert "not there, so not scored (one): Larynx" in report
    assert "compare them by the 2 items that all have" in report
    printed = " ".join(capsys.readouterr().out.split())
    assert "total 6.50 ± 2.12 of 17.00 ± 4.24 points that could be scored (28 on the card)" in printed
    run(job_config(root, "plots=all"))
    assert (out / "cases" / "two" / "score.png").is_file()


def test_one_case_is_printed_item_by_item(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(job_config(root, "cases=one"))
    printed = " ".join(capsys.readouterr().out.split())
    assert "total 5.00 of 14.00 points that could be scored (28 on the card)" in printed
    assert not (root / "out" / "scores.png").exists()


def test_names_say_what_the_card_means(root: Path) -> None:
    summary = run(job_config(root, "names={CTV: PTV_High, Larynx: 'Parotid_L | Parotid_R'}"))
    assert {case_id: case["total"] for case_id, case in summary["cases"].items()} == {"one": 16.0, "two": 16.0}
    assert (summary["missing"], summary["common_maximum"]) == ({}, 28.0)


@pytest.mark.parametrize(
    ("scale", "factor", "scores"),
    [
        ("0.5", 0.5, (10.0, 4.0)),
        ("D97", 70 / 30, (0.0, -4.0)),  # PTV_High's prescription is 70 Gy
        ("prescription", 60 / 70, (10 * (40 - 180 / 7) / 20, 4 - 8 * (180 / 7 - 20) / 20)),  # the card's is 60 Gy
    ],
)
def test_doses_are_scaled(root: Path, scale: str, factor: float, scores: tuple[float, float]) -> None:
    summary = run(job_config(root, f"dose_scale={scale}", "cases=one"))
    assert summary["cases"]["one"]["dose_scale"] == pytest.approx(factor, rel=1e-6)
    found = [item["score_mean"] for item in summary["items"][:2]]
    assert found == pytest.approx(scores, abs=1e-5)
    assert f"multiplied by {factor:.4f}" in (root / "out" / "cases" / "one" / "score.md").read_text()
    assert f"doses were multiplied by {factor:.4f} to {factor:.4f}" in (root / "out" / "report.html").read_text()


def test_a_dose_scaled_to_cover_a_target_covers_it(root: Path) -> None:
    """All voxels of the target have the dose that becomes its prescription; rounding must leave none below."""
    item = ("PTV_High", "", "VolumeAtDose", 70.0, "Gy", "%", ((0, 0), (100, 10)))
    for dose_gy in (30.0, 69.579, 71.3):
        case = make_case("one")
        write_case(root / "data" / "test" / "one.case", replace(case, dose_gy=uniform(case, dose_gy)))
        card = write_card(root / "card.json", (item,))
        summary = run(job_config(root, "dose_scale=D97", "cases=one", "plots=0", card=card))
        assert summary["total_mean"] == 10.0


def test_absent_parts_can_be_refused(root: Path) -> None:
    summary = run(job_config(root, "absent=refuse"))
    assert summary["cases"]["one"]["missing"] == ["Parotids-PTV", "Larynx", "CTV"]
    assert summary["left_out"] == {}
    reason = rows(root / "out" / "items.csv")[1]["reason"]
    assert reason.startswith("the case has no structure PTV_Mid, which Parotids-PTV")


def test_what_is_there_is_not_scored_again_unless_it_would_differ(root: Path) -> None:
    out = root / "out"
    first = run(job_config(root))
    before = times(out)
    assert run(job_config(root)) == first
    assert times(out) == before
    (out / "cases" / "one" / "score.csv").unlink()
    run(job_config(root))
    changed = {name for name, time in times(out).items() if before.get(name) != time}
    assert changed == {f"cases/one/{name}" for name in ("score.csv", "score.json", "score.md", "score.png")}
    write_card(root / "card.json", ITEMS[:1])
    assert run(job_config(root, card=root / "card.json"))["card_maximum"] == 10.0
    before = times(out)
    run(job_config(root, "overwrite=true", card=root / "card.json"))
    assert all(times(out)[name] != time for name, time in before.items())


def test_a_new_prediction_is_noticed_and_a_broken_one_costs_only_its_case(root: Path) -> None:
    folder = root / "predictions"
    for case_id in ("one", "two"):
        case = make_case(case_id)
        write_prediction(folder, case_id, case.grid, uniform(case, 20.0))
    given = ["dose=predictions", f"predictions={folder}"]
    assert run(job_config(root, *given))["cases"]["one"]["total"] == 14.0
    write_prediction(folder, "one", case.grid, uniform(case, 40.0))
    assert run(job_config(root, *given))["cases"]["one"]["total"] == -4.0
    (folder / "one.npz").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"1 cases could not be scored \(1 others were\):\n  one: "):
        run(job_config(root, *given))
    summary = json.loads((root / "out" / "summary.json").read_text())
    assert list(summary["cases"]) == ["two"]
    assert list(summary["failed"]) == ["one"]
    assert "failed: one: " in (root / "out" / "report.html").read_text()


def test_a_picture_that_fails_costs_no_score(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr("dosewright.jobs.score.draw_case", fail)
    assert run(job_config(root, "cases=one"))["cases"]["one"]["total"] == 5.0


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("card=head_neck", r"card must be one of the cards that ship \(head_neck_sib, lung_60gy, replanning_150\) or"),
        ("names=[CTV]", r"names must map structures of the card to structures of the case"),
        ("names={CTV: 1}", r"names must map structures of the card to structures of the case"),
        ("absent=ignore", r"absent must be one of \('leave_out', 'refuse'\); got 'ignore'"),
        ("dose_scale=D200", 'dose_scale must be a number, a coverage as D97, or "prescription"; got'),
        ("dose_scale=true", 'dose_scale must be a number, a coverage as D97, or "prescription"; got'),
        ("cases=[three]", "cases must be"),
    ],
)
def test_wrong_settings_are_told(root: Path, override: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        run(job_config(root, override))


def test_a_scale_that_is_not_positive_fails_each_case(root: Path) -> None:
    with pytest.raises(InputError, match="one: dose_scale must be positive and finite; got 0"):
        run(job_config(root, "dose_scale=0"))


def test_a_broken_card_names_file_and_rule(root: Path) -> None:
    path = write_card(root / "broken.json")
    content = json.loads(path.read_text())
    content["ScoreTemplates"][1]["ScorePoints"][0]["PointX"] = "twenty"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"broken\.json: .*ScoreTemplates\[1\].*PointX must be"):
        run(job_config(root, card=path))


def test_shipped_cards_score_a_phantom(root: Path) -> None:
    summary = run(job_config(root, "cases=one", card="head_neck_sib"))
    values = {f"{item['structure']} {item['metric']}": item["value_mean"] for item in summary["items"]}
    assert values["PTV_High_OPT D99.5% [Gy]"] == pytest.approx(30.0)
    assert values["SpinalCord_PRV05 V30Gy [%]"] == pytest.approx(100.0)
    assert values["Parotids-PTV Dmean [Gy]"] == pytest.approx(30.0)
    assert values["Ring_PTV_Low D0.03cc [Gy]"] == pytest.approx(30.0)
    scored = {name for name, value in values.items() if value is not None}
    assert len(scored) == 12
    assert "Brain V50Gy [cc]" not in scored
