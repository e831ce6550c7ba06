import json
from pathlib import Path
from typing import Any

import pytest
from scorecard_samples import GRID, MASKS, random_dose

from dosewright.core import InputError
from dosewright.scorecards import Metric, ScorePoint, measure, read_proknow, read_score_card


def written(folder: Path, *computed: Any, custom: Any = (), **more: Any) -> Path:
    path = folder / "protocol.json"
    path.write_text(json.dumps({"computed": list(computed), "custom": list(custom), **more}))
    return path


def metric(kind: str, argument: float | None = None, *objectives: dict[str, Any], roi: str = "PTV") -> dict[str, Any]:
    return {"type": kind, "roi_name": roi, "arg_1": argument, "arg_2": None, "objectives": list(objectives)}


def grade(label: str, **bound: float) -> dict[str, Any]:
    return {"label": label, "color": [18, 191, 0], **bound}


@pytest.mark.parametrize(
    ("kind", "argument", "expected"),
    [
        ("DOSE_VOLUME_PERCENT_ROI", 95, Metric("dose_at_volume", 95, "%", "Gy")),
        ("DOSE_VOLUME_CC_ROI", 0.03, Metric("dose_at_volume", 0.03, "CC", "Gy")),
        ("DOSE_VOLUME_MINUS_CC_ROI", 0.5, Metric("dose_at_subvolume", 0.5, "CC", "Gy")),
        ("VOLUME_CC_DOSE_ROI", 20, Metric("volume_at_dose", 20, "Gy", "CC")),
        ("VOLUME_PERCENT_DOSE_ROI", 20, Metric("volume_at_dose", 20, "Gy", "%")),
        ("MIN_DOSE_ROI", None, Metric("min_dose", output_unit="Gy")),
        ("MAX_DOSE_ROI", None, Metric("max_dose", output_unit="Gy")),
        ("MEAN_DOSE_ROI", None, Metric("mean_dose", output_unit="Gy")),
        ("VOLUME", None, Metric("volume", output_unit="CC")),
        ("VOLUME_OF_REGRET", 60, Metric("volume_of_regret", 60, "Gy", "CC")),
        ("CONFORMATION_NUMBER", 60, Metric("conformation_number", 60, "Gy")),
        ("CONFORMALITY_INDEX", 60, Metric("conformity_index", 60, "Gy")),
        (
            "HOMOGENEITY_INDEX",
            60,
            Metric("homogeneity_index", hi_high=1.0, hi_low=99.0, hi_target=60, hi_target_unit="Gy"),
        ),
        ("INHOMOGENEITY_INDEX", None, Metric("inhomogeneity_index")),
        ("INTEGRAL_DOSE_ROI", None, Metric("undefined", source_name="INTEGRAL_DOSE_ROI")),
        ("VOLUME_CC_DOSE_RANGE_ROI", 30, Metric("undefined", 30, source_name="VOLUME_CC_DOSE_RANGE_ROI")),
    ],
)
def test_types(tmp_path: Path, kind: str, argument: float | None, expected: Metric) -> None:
    card = read_proknow(written(tmp_path, metric(kind, argument)))
    assert card.items[0].metric == expected
    assert card.items[0].structure == "PTV"
    if expected.kind == "undefined":
        with pytest.raises(InputError, match=rf"metric type is not one this package knows \({kind}\)"):
            measure(expected, random_dose(), MASKS["PTV"], GRID)


def test_grades_become_a_curve(tmp_path: Path) -> None:
    grades = (
        grade("IDEAL[15]", max=22.5),
        grade("ACCEPTABLE[4.5]", max=45),
        grade("[0]", max=50),
        grade("UNACCEPTABLE"),
        grade("MARGINAL", max=60),
    )
    item = read_proknow(written(tmp_path, metric("MAX_DOSE_ROI", None, *grades))).items[0]
    assert item.curve.points == (
        ScorePoint(22.5, 15.0, "IDEAL[15]", False, (18, 191, 0), 15.0),
        ScorePoint(45, 4.5, "ACCEPTABLE[4.5]", True, (18, 191, 0), 4.5),
        ScorePoint(50, 0.0, "[0]", False, (18, 191, 0), 0.0),
    )
    assert [item.curve.score(v) for v in (10.0, 33.75, 47.5, 99.0)] == [15.0, 9.75, 2.25, 0.0]
    assert item.extra["objectives"][3] == grade("UNACCEPTABLE")


def test_lower_bounds_rise(tmp_path: Path) -> None:
    grades = (grade("IDEAL[5]", min=98.0), grade("GOOD [3]", min=95.0), grade("x[-1]", min=90.0))
    curve = read_proknow(written(tmp_path, metric("VOLUME_PERCENT_DOSE_ROI", 57, *grades))).items[0].curve
    assert [curve.score(v) for v in (80.0, 92.5, 96.5, 100.0)] == [-1.0, 1.0, 4.0, 5.0]


def test_custom_metrics_are_not_lost(tmp_path: Path) -> None:
    card = read_proknow(written(tmp_path, metric("VOLUME"), custom=[{"id": "5b9"}], name="QA", site="x"))
    assert (card.name, card.extra, len(card.items)) == ("QA", {"site": "x"}, 2)
    assert card.items[1].metric == Metric("undefined", source_name="custom metric 5b9")


def test_the_file_gives_the_name_and_sniffing_finds_the_format(tmp_path: Path) -> None:
    path = written(tmp_path, metric("VOLUME"))
    assert read_proknow(path).name == "protocol"
    assert read_score_card(path) == read_proknow(path)


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (5, r"computed\[0\] must be an object; got 5"),
        ({"roi_name": "PTV"}, r"computed\[0\].type must be given"),
        ({"type": 4}, r"computed\[0\].type must be a text; got 4"),
        (metric("VOLUME_CC_DOSE_ROI", "20"), r"computed\[0\].arg_1 must be a number; got '20'"),  # type: ignore[arg-type]
        (metric("VOLUME", None, grade("A[x]", max=1)), r'objectives\[0\].label must be a label like "GOOD\[13.5\]"'),
        (metric("VOLUME", None, grade("A[nan]", max=1)), r"objectives\[0\].label must be a label like"),
        (
            metric("VOLUME", None, grade("A[1]", max=1, min=0)),
            r"objectives\[0\] must have min or max, not both; got \(0, 1\)",
        ),
        (
            metric("VOLUME", None, grade("A[1]", max=1), grade("A[2]", max=1)),
            r"computed\[0\].objectives must give one score per value, not two at 1",
        ),
    ],
)
def test_wrong_entries_are_named_with_their_place(tmp_path: Path, entry: Any, rule: str) -> None:
    file = written(tmp_path, entry)
    with pytest.raises(InputError, match=rule) as refused:
        read_proknow(file)
    assert str(file) in str(refused.value)


def test_other_files_are_neither(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"objectives": [], "schema_version": 1}')
    rule = r"other.json: content must be a PlanScoreCard \(key ScoreTemplates\) or a ProKnow scorecard \(key computed\)"
    with pytest.raises(InputError, match=rule):
        read_score_card(path)
    with pytest.raises(InputError, match=r"other.json: computed must be given"):
        read_proknow(path)
