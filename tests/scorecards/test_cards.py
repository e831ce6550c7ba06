"""The shipped cards, held against every value and score their sources print."""

import json
from pathlib import Path

import pytest

from dosewright.core import InputError, role_of
from dosewright.scorecards.cards import card_named, load_card, shipped_cards
from dosewright.scorecards.score_card import ScoreCard, ScoreItem
from printed_scores import FINAL_SCORES, LUNG, MISPRINTS, TOTALS, UNPRINTED, airtp_pairs, replanning_pairs


def item_of(card: ScoreCard, description: str) -> ScoreItem:
    (found,) = (item for item in card.items if item.describe() == description)
    return found


def test_the_transcribed_tables_add_up_to_their_printed_totals() -> None:
    for column, total in enumerate(FINAL_SCORES):
        scores = [score for _, at, _, score in airtp_pairs() if at == column]
        assert len(scores) == 32
        assert sum(scores) == pytest.approx(total, abs=32 * 0.005 + 0.005)
    for patient, of_plans in enumerate(TOTALS, start=1):
        for plan, total in zip(("manual", "DQN", "PPO"), of_plans, strict=True):
            scores = [
                MISPRINTS.get((printed, patient, plan), (value, score))[1]
                for printed, _, who, which, value, score in replanning_pairs()
                if (who, which) == (patient, plan)
            ]
            assert len(scores) == 16
            assert sum(scores) == pytest.approx(total, abs=16 * 0.005 + 0.005)


def test_head_and_neck_card_reproduces_every_printed_pair() -> None:
    card = card_named("head_neck_sib")
    pairs = list(airtp_pairs())
    assert len(pairs) == 128
    wrong = {
        (item, value): (item_of(card, item).curve.score(value), score)
        for item, _, value, score in pairs
        if abs(item_of(card, item).curve.score(value) - score) > 0.02
    }
    assert wrong == {}


def test_head_and_neck_card_has_the_items_of_the_paper() -> None:
    printed = {item for item, *_ in airtp_pairs()}
    assert len(printed) + len(UNPRINTED) == 50 + 1  # Table 6, and the lips of Tables 7 and 8
    assert sorted(item.describe() for item in card_named("head_neck_sib").items) == sorted(printed | set(UNPRINTED))


def test_head_and_neck_card_gives_the_printed_final_scores() -> None:
    card = card_named("head_neck_sib")
    for column, total in enumerate(FINAL_SCORES):
        ours = sum(item_of(card, item).curve.score(value) for item, at, value, _ in airtp_pairs() if at == column)
        assert ours == pytest.approx(total, abs=0.15)


def test_items_without_printed_scores_say_so() -> None:
    card = card_named("head_neck_sib")
    for item in card.items:
        assert item.comment.startswith("arXiv:2501.11803 Table")
        assert "urs: " in item.comment or "ours: " in item.comment
        assert ("no score printed" in item.comment) == (item.describe() in UNPRINTED)


def test_lung_card_has_the_items_of_the_paper() -> None:
    card = card_named("lung_60gy")
    assert tuple(item.describe() for item in card.items) == LUNG
    assert card.prescription_gy == 60.0
    assert all(
        item.comment.startswith("arXiv:2501.11803 Table 5; no score printed, curve ours: ") for item in card.items
    )


def test_lung_card_gives_full_marks_to_the_initial_objectives_of_the_paper() -> None:
    """Table 4: what the paper first asks of a lung plan."""
    card = card_named("lung_60gy")
    asked = {
        "PTV D0.03cc [Gy]": 63.0,
        "Lungs-GTV V20Gy [%]": 18.5,
        "Lungs-GTV V5Gy [%]": 32.5,
        "Lungs-GTV Dmean [Gy]": 5.0,
        "SpinalCord D0.03cc [Gy]": 22.0,
        "Heart D0.03cc [Gy]": 55.0,
        "Heart Dmean [Gy]": 5.0,
        "Esophagus Dmean [Gy]": 15.0,
        "GreatVes D0.03cc [Gy]": 55.0,
        "Trachea D0.03cc [Gy]": 55.0,
    }
    for description, value in asked.items():
        item = item_of(card, description)
        assert item.curve.score(value) == item.maximum
        assert item.curve.best_value == value


def test_replanning_card_reproduces_every_printed_pair() -> None:
    card = card_named("replanning_150")
    pairs = list(replanning_pairs())
    assert len(pairs) == 16 * 15
    wrong = {}
    for printed, ours, patient, plan, value, score in pairs:
        value, score = MISPRINTS.get((printed, patient, plan), (value, score))
        found = item_of(card, ours).curve.score(value)
        if abs(found - score) > 0.011:
            wrong[printed, patient, plan] = (found, score)
    assert wrong == {}


def test_replanning_card_has_150_points_spread_as_printed() -> None:
    card = card_named("replanning_150")
    most = {"CTV": 50, "Brainstem": 21, "SpinalCord": 21, "Larynx": 7, "Parotid": 14, "Cochlea": 10}
    most |= {"Glnd_Submand": 10, "Pharynx": 7, "Esophagus": 5, "Bone_Mandible": 5}
    for start, points in most.items():
        assert sum(item.maximum for item in card.items if item.name.startswith(start)) == points
    assert (len(card.items), card.maximum, card.prescription_gy) == (16, 150.0, 70.0)


@pytest.mark.parametrize("name", ["head_neck_sib", "lung_60gy", "replanning_150"])
def test_curves_never_turn_and_names_are_legal(name: str) -> None:
    for item in card_named(name).items:
        scores = [point.score for point in sorted(item.curve.points, key=lambda p: p.value)]
        assert scores in (sorted(scores), sorted(scores, reverse=True))
        rising = item.metric.kind in ("volume_at_dose", "dose_at_volume") and item.name.startswith(
            ("PTV_", "CTV", "PTV")
        )
        if not rising:
            assert scores == sorted(scores, reverse=True)
        role_of(item.name)  # refuses an illegal name


def test_named_cards_are_listed_and_read() -> None:
    assert shipped_cards() == ("head_neck_sib", "lung_60gy", "replanning_150")
    assert load_card("lung_60gy") == card_named("lung_60gy")


def test_an_unknown_card_lists_those_that_ship() -> None:
    rule = r"card must be one of the cards that ship \(head_neck_sib, lung_60gy, replanning_150\); got 'lung'"
    with pytest.raises(InputError, match=rule):
        card_named("lung")
    rule = (
        r"card must be one of the cards that ship \(head_neck_sib, lung_60gy, replanning_150\) or a PlanScoreCard or "
        r"ProKnow file \(\.json\); got 'head_neck'"
    )
    with pytest.raises(InputError, match=rule):
        load_card("head_neck")


def test_a_card_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"card must be a file; got '.*absent\.json'"):
        load_card(tmp_path / "absent.json")


def test_a_card_of_a_file_is_read(tmp_path: Path) -> None:
    content = json.loads((Path(__file__).parents[2] / "src/dosewright/scorecards/cards/lung_60gy.json").read_text())
    content["ScoreTemplates"] = content["ScoreTemplates"][:2]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    assert load_card(str(path)).items == card_named("lung_60gy").items[:2]


def test_a_broken_card_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"ScoreTemplates": [{')
    with pytest.raises(InputError, match=r"broken\.json"):
        load_card(path)
