import copy
import json
from pathlib import Path
from typing import Any

import pytest
from scorecard_samples import plan_score_card_json

from dosewright.core import InputError
from dosewright.core.errors import StorageError
from dosewright.scorecards import (
    Curve,
    Metric,
    ScoreCard,
    ScoreItem,
    ScorePoint,
    read_plan_score_card,
    read_score_card,
    write_plan_score_card,
)
from dosewright.scorecards.metric import KINDS


def written(folder: Path, content: Any) -> Path:
    path = folder / "card.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_every_field_is_read(tmp_path: Path) -> None:
    card = read_plan_score_card(written(tmp_path, plan_score_card_json()))
    assert (card.name, card.site, card.creator) == ("Sample", "Head & Neck", "nobody")
    assert (card.dose_per_fraction_gy, card.fractions, card.prescription_gy) == (2.0, 30, 60.0)
    assert tuple(item.metric.kind for item in card.items) == KINDS
    assert card.maximum == 140.0
    item = card.items[2]
    assert (item.structure, item.template_structure, item.code, item.rank) == ("PTV", "PTV", None, 2)
    assert (item.expression, item.auto_generated, item.comment) == ("{<PTV>|20} SUB {<PTV>|5}", True, "≤ protocol")
    assert item.curve.points[1] == ScorePoint(95.0, 8.0, "GOOD[8.0]", True, (0.0, 153.0, 8.0), 8.0)
    assert card.items[1].structure == ""
    assert card.items[1].name == "PTV"
    assert card.items[4].metric == Metric("volume_at_dose", 20.0, "Gy", "CC", 2.0, 98.0, 60.0, "Gy")
    assert card.items[1].metric.output_unit == "cGy"
    assert [card.items[i].metric.output_unit for i in (7, 8, 9)] == [None] * 3
    assert card.items[13].metric.source_name == "Undefined"


def test_a_file_survives_the_round_trip_wholly(tmp_path: Path) -> None:
    content = plan_score_card_json()
    content |= {"PlanModelOverrides": [{"PlanId": "A"}], "Site": None}
    content["ScoreTemplates"][5] |= {"Structure": None, "ScorePoints": None, "Rank": None}
    content["ScoreTemplates"][6] |= {"MetricType": "gEUD", "MetricComment": "NA", "InputUnit": " cc "}
    content["ScoreTemplates"][7]["ScorePoints"] = [
        {"PointX": 1, "Score": 2, "Label": None, "Colors": None, "Note": [{}]}
    ]
    card = read_plan_score_card(written(tmp_path, content))
    again = json.loads(write_plan_score_card(tmp_path / "again.json", card).read_text(encoding="utf-8"))
    point = content["ScoreTemplates"][7]["ScorePoints"][0]
    point |= {"Variation": False, "ColorValue": 0.0}  # keys a file may leave out are written
    assert again == content
    assert read_plan_score_card(tmp_path / "again.json") == read_plan_score_card(written(tmp_path, content))


def test_a_changed_field_is_written_as_changed(tmp_path: Path) -> None:
    content = plan_score_card_json()
    content["ScoreTemplates"] = content["ScoreTemplates"][3:5]  # a comment that is null, a unit written "cc"
    card = read_plan_score_card(written(tmp_path, content))
    changed = [
        ScoreItem(**{**vars(item), "comment": "new", "metric": Metric("volume_at_dose", 5.0, "Gy", "%")})
        for item in card.items
    ]
    path = write_plan_score_card(tmp_path / "again.json", ScoreCard(card.name, tuple(changed)))
    templates = json.loads(path.read_text())["ScoreTemplates"]
    assert [template["MetricComment"] for template in templates] == ["new", "new"]
    assert [template["OutputUnit"] for template in templates] == ["%", "%"]


def test_a_card_built_by_hand_round_trips(tmp_path: Path) -> None:
    items = (
        ScoreItem("Heart", Metric("mean_dose", output_unit="Gy"), Curve((ScorePoint(5, 5), ScorePoint(20, 0)))),
        ScoreItem("Ring", Metric("volume", output_unit="CC"), Curve(()), expression="{<PTV>|3}", comment="\ud800 ü"),
    )
    card = ScoreCard("by hand", items, site="Lung")
    path = write_plan_score_card(tmp_path / "card.json", card)
    again = read_plan_score_card(path)
    assert [item.curve for item in again.items] == [
        Curve((ScorePoint(5, 5, color_value=0.0), ScorePoint(20, 0, color_value=0.0))),
        Curve(()),
    ]
    assert (again.name, again.site, again.prescription_gy) == ("by hand", "Lung", None)
    assert [i.comment for i in again.items] == ["", "\ud800 ü"]
    assert write_plan_score_card(tmp_path / "second.json", again).read_bytes() == path.read_bytes()
    assert "DosePerFraction" not in json.loads(path.read_text())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_plan_score_card(tmp_path / "file" / "card.json", ScoreCard("c", ()))


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(plan_score_card_json()), encoding="utf-8-sig")
    assert read_score_card(path).name == "Sample"


def test_unsorted_points_are_sorted_and_contradictory_ones_named(tmp_path: Path) -> None:
    content = plan_score_card_json()
    content["ScoreTemplates"][0]["ScorePoints"].reverse()
    card = read_plan_score_card(written(tmp_path, content))
    assert [p.value for p in card.items[0].curve.points] == [100.0, 95.0, 90.0]
    assert card.items[0].curve.score(92.5) == 4.0
    content["ScoreTemplates"][0]["ScorePoints"][0]["PointX"] = 95.0
    rule = r"card.json: ScoreTemplates\[0\].ScorePoints must give one score per value, not two at 95; got \(10.0, 8.0\)"
    with pytest.raises(InputError, match=rule):
        read_plan_score_card(written(tmp_path, content))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if value is KeyError:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


T = "ScoreTemplates"


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ((T,), KeyError, "ScoreTemplates must be given|must be a PlanScoreCard"),
        ((T,), {}, "ScoreTemplates must be a list; got {}"),
        ((T, 0), 5, r"ScoreTemplates\[0\] must be an object; got 5"),
        (("TemplateName",), 5, "TemplateName must be a text; got 5"),
        (("DosePerFraction",), "2", "DosePerFraction must be a number; got '2'"),
        (("DosePerFraction",), -2, "dose_per_fraction_gy must be finite and not negative; got -2"),
        (("NumberOfFractions",), 2.5, "NumberOfFractions must be a whole number; got 2.5"),
        (("NumberOfFractions",), True, "NumberOfFractions must be a number; got True"),
        ((T, 1, "Structure"), [], r"ScoreTemplates\[1\].Structure must be an object; got \[\]"),
        ((T, 1, "Structure", "StructureId"), 7, r"\[1\].Structure.StructureId must be a text; got 7"),
        ((T, 1, "Structure", "AutoGenerated"), 1, r"\[1\].Structure.AutoGenerated must be true or false; got 1"),
        ((T, 2, "MetricType"), None, r"ScoreTemplates\[2\].MetricType must be given"),
        ((T, 2, "MetricType"), 3, r"ScoreTemplates\[2\].MetricType must be a text; got 3"),
        ((T, 2, "InputUnit"), "kGy", r"ScoreTemplates\[2\].InputUnit must be Gy, cGy, %, CC or nothing; got 'kGy'"),
        ((T, 2, "InputValue"), "20 Gy", r"ScoreTemplates\[2\].InputValue must be a number; got '20 Gy'"),
        ((T, 2, "InputValue"), 10**400, r"\[2\].InputValue must be a number within ± 1e\+12; got 1000"),
        ((T, 2, "HI_Target"), -1e13, r"\[2\].HI_Target must be a number within ± 1e\+12"),
        ((T, 3, "Rank"), 0.5, r"ScoreTemplates\[3\].Rank must be a whole number; got 0.5"),
        ((T, 3, "ScorePoints"), "none", r"ScoreTemplates\[3\].ScorePoints must be a list; got 'none'"),
        ((T, 3, "ScorePoints", 1), None, r"ScorePoints\[1\] must be an object; got None"),
        ((T, 3, "ScorePoints", 1, "PointX"), KeyError, r"ScorePoints\[1\].PointX must be given"),
        ((T, 3, "ScorePoints", 1, "Score"), None, r"ScorePoints\[1\].Score must be given"),
        ((T, 3, "ScorePoints", 1, "Variation"), "yes", r"ScorePoints\[1\].Variation must be true or false; got 'yes'"),
        ((T, 3, "ScorePoints", 1, "Colors"), ["red"], r"ScorePoints\[1\].Colors must be a number; got 'red'"),
        ((T, 3, "ScorePoints", 1, "Label"), [], r"ScorePoints\[1\].Label must be a text; got \[\]"),
    ],
)
def test_wrong_fields_are_named_with_their_place(tmp_path: Path, path: tuple[Any, ...], value: Any, rule: str) -> None:
    file = written(tmp_path, changed(plan_score_card_json(), path, value))
    for read in (read_plan_score_card, read_score_card):
        with pytest.raises(InputError, match=rule) as refused:
            read(file)
        assert str(file) in str(refused.value)
