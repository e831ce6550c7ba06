"""The tables of a cohort, from records written by hand."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dosewright.jobs.plan_tables import case_row, largest_gaps, write_summary


def gap(structure: str, index: str, gap_gy: float, unit: str = "Gy") -> dict[str, Any]:
    values = {"predicted": 10.0, "achieved": 10.0 + gap_gy, "reference": 9.0}
    return {"structure": structure, "index": index, "unit": unit, "values": values, "gaps": {"achieved": gap_gy}}


def record(case_id: str, error_gy: float, parotid_gy: float) -> dict[str, Any]:
    one = {"predicted": True, "achieved": parotid_gy < 1, "reference": True}
    return {
        "case_id": case_id,
        "wanted": "predicted",
        "final": "achieved",
        "labels": ["predicted", "achieved", "reference"],
        "errors_gy": {"achieved": {"all": error_gy}},
        "scores_gy": {
            "predicted": {"dose_score": 2.0, "dvh_score": 1.0},
            "achieved": {"dose_score": 2.5, "dvh_score": 1.5},
        },
        "criteria": [{"met": one}, {"met": dict.fromkeys(one, True)}],
        "gaps": [
            gap("Parotid_L", "Dmean", parotid_gy),
            gap("PTV_High", "D95", -0.5),
            gap("PTV_High", "V95%", -9.0, "%"),
        ],
        "solve": {"status": "converged", "kkt_residual": 1e-3, "seconds": 4.0},
        "sequencing": None,
        "seconds": {"in all": 20.0},
        "remarks": ["left out: x"] if case_id == "b" else [],
    }


def test_a_line_of_the_summary() -> None:
    row = case_row(record("a", 1.0, 2.0))
    assert row == {
        "case_id": "a",
        "status": "converged",
        "error_gy": 1.0,
        "error_high_gy": None,
        "dose_score_wanted_gy": 2.0,
        "dose_score_plan_gy": 2.5,
        "dvh_score_wanted_gy": 1.0,
        "dvh_score_plan_gy": 1.5,
        "criteria_wanted": 2,
        "criteria_plan": 1,
        "criteria_reference": 2,
        "criteria_that_apply": 2,
        "segments": None,
        "mu": None,
        "kkt_residual": 1e-3,
        "optimisation_s": 4.0,
        "total_s": 20.0,
        "score_first": None,
        "score_best": None,
        "score_sequenced": None,
        "score_maximum": None,
        "plans": None,
    }


def test_the_largest_gaps_come_first_whatever_their_sign_and_only_in_gy() -> None:
    records = [record("a", 1.0, 0.2), record("b", 1.0, -3.0)]
    assert largest_gaps(records, 3) == [
        ("b", "Parotid_L", "Dmean", -3.0),
        ("a", "PTV_High", "D95", -0.5),
        ("b", "PTV_High", "D95", -0.5),
    ]


def test_means_spreads_and_files(tmp_path: Path) -> None:
    summary = write_summary([record("a", 1.0, 0.0), record("b", 2.0, 3.0)], {"c": "beams must reach"}, tmp_path)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["means"]["error_gy"] == 1.5
    assert summary["means"]["segments"] is None
    assert [(g["structure"], g["index"]) for g in summary["gaps"]] == [("PTV_High", "D95"), ("Parotid_L", "Dmean")]
    parotid = summary["gaps"][1]
    assert (parotid["mean"], parotid["sd"], parotid["largest"]) == (1.5, pytest.approx(4.5**0.5), 3.0)
    page = (tmp_path / "summary.md").read_text()
    for line in (
        "| a | converged | 1.00 | – | 2.00 → 2.50 | 1.00 → 1.50 | 2 → 2 of 2 | – | 20 |",
        "| **mean** |  | 1.50 | – | 2.00 → 2.50 | 1.00 → 1.50 | 2 → 1.5 of 2 | – | 20 |",
        "| Parotid_L | Dmean | 2 | +1.50 ± 2.12 Gy | +3.00 |",
        "- b: Parotid_L Dmean +3.00 Gy",
        "- b: left out: x",
        "- c: beams must reach",
    ):
        assert line in page.splitlines()
    with (tmp_path / "gaps.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 3 * 3  # cases, indices, doses
    assert rows[1] == {
        "case_id": "a",
        "structure": "Parotid_L",
        "index": "Dmean",
        "unit": "Gy",
        "dose": "achieved",
        "value": "10.0",
        "gap": "0.0",
    }
    assert len((tmp_path / "summary.csv").read_text().splitlines()) == 3
