"""`dosewright objectives objectives=anatomy_aware`: its files, and what they tell."""

import json
import shutil
from pathlib import Path

import pytest

from dosewright.jobs.objectives import run
from tiny import config


@pytest.fixture
def one_case(prepared_root: Path, tmp_path: Path) -> Path:
    (tmp_path / "test").mkdir()
    shutil.copy(prepared_root / "test" / "test_5.case", tmp_path / "test")
    return tmp_path


def job(root: Path, *overrides: str) -> Path:
    data = ["data=prepared", f"data.root={root}", "data.split=test", "dose=reference", f"out={root / 'out'}"]
    run(config("objectives", *data, "objectives=anatomy_aware", *overrides))
    return root / "out"


def test_changes_and_reviews_are_told_in_every_file(one_case: Path) -> None:
    history = one_case / "history.json"
    history.write_text(json.dumps({"test_5": {"unusual_function": ["Parotid_R"]}}))
    out = job(one_case, f"objectives.anatomy.history={history}")
    plain = json.loads((out / "test_5" / "anatomy.json").read_text())
    assert plain["target_side"] | {"midline_x_mm": None} == {
        "side": "right",  # three of its four columns
        "left_percent": 25.0,
        "midline_x_mm": None,
        "midline_from": "halfway between Parotid_L and Parotid_R",
    }
    assert [(review["organ"], review["name"]) for review in plain["reviews"]] == [("Parotid_R", "unusual function")]
    of_cord = [change for change in plain["changes"] if change["organ"] == "SpinalCord"]
    assert [(change["rule"], change["after"]["dose_gy"]) for change in of_cord] == [  # 9 mm away
        ("cord at a middling gap", 45.71),
        ("cord at a middling gap", 45.71),
    ]
    assert {item["organ"] for item in plain["measures"]} == {"Parotid_L", "Parotid_R", "SpinalCord"}
    page = (out / "test_5" / "objectives.md").read_text()
    assert "## Anatomy\n\n**REVIEW REQUIRED: 1.** Highest target: right (25 % of it left of" in page
    assert all(change["explanation"] in page for change in plain["changes"])
    manifest = json.loads((out / "manifest.json").read_text())["cases"]["test_5"]
    assert manifest["anatomy_changes"] == len([change for change in plain["changes"] if change["applied"]])
    assert manifest["reviews"] == [review["text"] for review in plain["reviews"]]


def test_a_history_is_noticed_and_made_again(one_case: Path) -> None:
    history, applied = one_case / "history.json", []
    for content in ({}, {"test_5": {"post_operative": ["SpinalCord"]}}):
        history.write_text(json.dumps(content))
        plain = json.loads(
            (job(one_case, f"objectives.anatomy.history={history}") / "test_5" / "anatomy.json").read_text()
        )
        applied.append([change["applied"] for change in plain["changes"] if change["organ"] == "SpinalCord"])
    assert applied == [[True, True], [False, False]]
