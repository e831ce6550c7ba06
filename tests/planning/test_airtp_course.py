"""What AIRTP asks of a plan: of prescriptions, DVHs and card items, in structures that are there."""

from dataclasses import replace

import numpy as np
import pytest

from airtp_problems import CARD, COVERED, SPARED, curve, uniform
from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.objectives.anatomy.settings import AnatomySettings
from dosewright.objectives.extraction_rules import ExtractionSettings
from dosewright.objectives.objective import Objective
from dosewright.planning.airtp_course import AirtpCourse
from dosewright.planning.airtp_items import ScoredItems
from dosewright.planning.airtp_margin import Asked, CardMargin
from dosewright.planning.airtp_normalisation import Normalisation
from dosewright.planning.airtp_planner import AirtpPlanner
from dosewright.scorecards.score_card import Metric, ScoreCard, ScoreItem
from dosewright.scorecards.scorer import Scorer

LIMIT = {"structure": "SpinalCord", "kind": "squared_overdose", "dose_gy": 45.0, "priority": 80.0}


def course(case: PatientCase, wanted_gy: FloatVolume, card: ScoreCard = CARD, **settings: object) -> AirtpCourse:
    return AirtpCourse(case, wanted_gy, AirtpPlanner(**settings), Scorer(card, case))  # type: ignore[arg-type]


def steps(case: PatientCase) -> FloatVolume:
    """70 Gy in the targets, 40 in the glands, 20 elsewhere in the body."""
    dose_gy = uniform(case, 20.0)
    for name, level in (("Parotid_L", 40.0), ("Parotid_R", 40.0), ("PTV_High", 70.0), ("PTV_Low", 70.0)):
        dose_gy[case.structures[name]] = level
    return dose_gy


def of(objectives: tuple[Objective, ...], structure: str, kind: str) -> list[Objective]:
    return [objective for objective in objectives if (objective.structure, objective.kind) == (structure, kind)]


def test_targets_and_rings_keep_to_the_prescription_whatever_the_dose(case: PatientCase) -> None:
    made = course(case, steps(case))
    for goals in (made.first(), made.next(uniform(case, 35.0))):
        assert goals is not None
        assert of(goals.objectives, "zPTV_High_Cover", "squared_underdose")[0].dose_gy == pytest.approx(70.7)
        most = of(goals.objectives, "zPTV_High_Cover", "squared_overdose")[0]
        assert (most.dose_gy, most.priority) == (pytest.approx(73.5), pytest.approx(300 * 64 * 0.036 / 0.5, abs=0.01))
        assert of(goals.objectives, "zPTV_Low_Cover", "squared_underdose")[0].dose_gy == pytest.approx(56.56)
        ring = of(goals.objectives, "Ring_PTV_High", "squared_overdose")[0]
        ring_cc = np.count_nonzero(goals.helpers["Ring_PTV_High"]) * 0.036
        assert (ring.dose_gy, ring.priority) == (pytest.approx(73.5), pytest.approx(250 * ring_cc / 0.5, abs=0.01))
        assert goals.absent == "skip"
        covered = ("zPTV_High_Cover", "zPTV_Low_Cover", "Ring_PTV_High", "Ring_PTV_Low")
        assert goals.shares == dict.fromkeys(covered, 0.1)
        np.testing.assert_array_equal(goals.helpers["zPTV_High_Cover"], case.structures["PTV_High"])


def test_edges_of_targets_can_be_left(case: PatientCase) -> None:
    goals = course(case, steps(case), cover_share=None, hot_cc=None).first()
    assert of(goals.objectives, "PTV_High", "squared_underdose")[0].dose_gy == pytest.approx(70.7)
    assert of(goals.objectives, "PTV_High", "squared_overdose")[0].priority == 300.0
    assert goals.shares == {}


def test_later_plans_are_asked_for_a_margin_beyond_the_latest(case: PatientCase) -> None:
    goals = course(case, uniform(case, 60.0)).next(steps(case))
    assert goals is not None
    points = of(goals.objectives, "Parotid_L", "max_dvh")
    assert [(point.dose_gy, point.volume_percent, point.priority) for point in points] == [(38.0, 1.0, 120.0)]
    mean = of(goals.objectives, "Parotid_L", "mean_upper")
    asked = CardMargin().asked(SPARED, 40.0)
    assert asked is not None
    assert [(one.dose_gy, one.priority) for one in mean] == [
        (pytest.approx(34.0), pytest.approx(asked.priority, abs=0.01))
    ]
    cord = of(goals.objectives, "SpinalCord", "squared_overdose")  # D0.03cc: 0.85 · 20, where its curve begins; V30Gy 0
    assert [one.dose_gy for one in cord] == [pytest.approx(17.0), 30.0]


def test_items_of_built_structures_have_their_own(case: PatientCase) -> None:
    made = course(case, steps(case))
    goals = made.next(steps(case))
    assert goals is not None
    glands = goals.helpers["Glands-PTV"]
    np.testing.assert_array_equal(glands, case.structures["Parotid_L"] | case.structures["Parotid_R"])
    assert [one.dose_gy for one in of(goals.objectives, "Glands-PTV", "mean_upper")] == [pytest.approx(34.0)]
    points = of(goals.objectives, "Glands-PTV", "max_dvh")
    assert [(one.dose_gy, one.priority) for one in points] == [(pytest.approx(38.0), 120.0)]
    assert not any("Larynx" in objective.structure for objective in goals.objectives)
    assert {one.structure: one.reason for one in made.judge(steps(case)).items if one.reason} == {
        "Larynx": "the case has no structure Larynx"
    }


def test_no_item_asks_less_of_a_target_than_its_prescription(case: PatientCase) -> None:
    goals = course(case, steps(case)).next(steps(case))
    assert goals is not None
    high = [one for one in goals.objectives if one.structure == "PTV_High"]
    assert high == []
    edge = [one for one in goals.objectives if one.structure == "zPTV_High_Cover"]
    assert {(one.kind, one.dose_gy) for one in edge} == {("squared_underdose", 70.7), ("squared_overdose", 73.5)}
    spilt = of(goals.objectives, "PTV_Low", "max_dvh")  # 100 % above 58.8 Gy, the curve's end is 80: 80 − 7
    assert [(one.dose_gy, one.volume_percent) for one in spilt] == [(58.8, pytest.approx(73.0))]


@pytest.mark.parametrize(
    ("metric", "value", "kind", "dose_gy", "volume"),
    [
        (Metric("mean_dose", None, None, "cGy"), 2000.0, "mean_upper", 20.0, None),
        (Metric("mean_dose", None, None, "%"), 50.0, "mean_upper", 35.0, None),
        (Metric("max_dose", None, None, "Gy"), 20.0, "squared_overdose", 20.0, None),
        (Metric("dose_at_volume", 50.0, "%", "Gy"), 20.0, "max_dvh", 20.0, 50.0),
        (Metric("dose_at_volume", 0.864, "CC", "Gy"), 20.0, "max_dvh", 20.0, 50.0),  # of 48 voxels of 0.036 cc
        (Metric("dose_at_volume", 0.03, "CC", "Gy"), 20.0, "squared_overdose", 20.0, None),
        (Metric("volume_at_dose", 30.0, "Gy", "CC"), 0.864, "max_dvh", 30.0, 50.0),
        (Metric("volume_at_dose", 50.0, "%", "%"), 40.0, "max_dvh", 35.0, 40.0),
    ],
)
def test_objectives_of_every_metric(
    case: PatientCase, metric: Metric, value: float, kind: str, dose_gy: float, volume: float | None
) -> None:
    card = replace(CARD, items=(ScoreItem("Parotid_L", metric, SPARED),))
    found = list(ScoredItems(Scorer(card, case)).objectives(lambda _: Asked(value, 70.0)))
    assert [(one.structure, one.kind, one.dose_gy, one.volume_percent, one.priority) for one in found] == [
        ("Parotid_L", kind, pytest.approx(dose_gy), None if volume is None else pytest.approx(volume), 70.0)
    ]


def test_an_item_of_the_body_is_one_of_the_whole_patient(case: PatientCase) -> None:
    card = replace(CARD, items=(ScoreItem("Body", Metric("volume_at_dose", 30.0, "Gy", "%"), SPARED),))
    items = ScoredItems(Scorer(card, case))
    assert [one.describe() for one in items.objectives(lambda _: Asked(20.0, 70.0))] == [
        "External: at most 20 % of the volume above 30 Gy, priority 70"
    ]
    assert items.case.structures.keys() == case.structures.keys()


def test_doses_of_a_scaled_card_are_scaled_back(case: PatientCase) -> None:
    card = replace(CARD, items=(ScoreItem("Parotid_L", Metric("mean_dose", None, None, "Gy"), SPARED),))
    items = ScoredItems(Scorer(card, case, dose_scale=2.0))
    assert [one.dose_gy for one in items.objectives(lambda _: Asked(20.0, 70.0))] == [10.0]


@pytest.mark.parametrize(
    "item",
    [
        ScoreItem("Parotid_L", Metric("homogeneity_index", hi_high=2.0, hi_low=98.0), SPARED),
        ScoreItem("Parotid_L", Metric("min_dose", None, None, "Gy"), COVERED),
        ScoreItem("Parotid_L", Metric("volume_at_dose", 30.0, "Gy", "CC"), curve((5.0, 9.0), (9.0, 0.0))),  # of 1.7 cc
    ],
)
def test_items_without_an_objective(case: PatientCase, item: ScoreItem) -> None:
    card = replace(CARD, items=(item,))
    assert list(ScoredItems(Scorer(card, case)).objectives(lambda _: Asked(7.0, 70.0))) == []


def test_a_first_plan_by_the_card_or_by_a_protocol_needs_no_dose(case: PatientCase) -> None:
    nothing = np.zeros(case.grid.shape_zyx, np.float32)
    by_card = course(case, nothing, start="card", card_share=0.5).first().objectives
    assert of(by_card, "Parotid_L", "mean_upper")[0].dose_gy == pytest.approx(26.0)
    assert of(by_card, "SpinalCord", "squared_overdose")[0].dose_gy == pytest.approx(40.0)
    by_protocol = course(case, nothing, start="protocol", protocol=(LIMIT, LIMIT | {"structure": "Heart"})).first()
    assert by_protocol.objectives[-1] == Objective.from_dict(LIMIT)
    for objectives in (by_card, by_protocol.objectives):
        assert of(objectives, "zPTV_High_Cover", "squared_underdose")[0].dose_gy == pytest.approx(70.7)
        assert not of(objectives, "Parotid_L", "max_dvh")


def test_half_the_reach_asks_for_half_the_margin(case: PatientCase) -> None:
    goals = course(case, steps(case)).next(steps(case), 0.5)
    assert goals is not None
    assert [one.dose_gy for one in of(goals.objectives, "Parotid_L", "max_dvh")] == [pytest.approx(39.0)]  # 40 and 38
    assert [one.dose_gy for one in of(goals.objectives, "Parotid_L", "mean_upper")] == [pytest.approx(37.0)]  # and 34
    assert of(goals.objectives, "zPTV_High_Cover", "squared_underdose")[0].dose_gy == pytest.approx(70.7)


def test_a_replay_follows_the_dose_asked_for_and_makes_one_plan(case: PatientCase) -> None:
    wanted = steps(case)
    replay = course(case, wanted, follow="dose")
    assert [one.describe() for one in replay.first().objectives] == [
        one.describe()
        for one in course(case, wanted).next(wanted).objectives  # type: ignore[union-attr]
    ]
    assert replay.next(uniform(case, 30.0)) is None


def test_a_card_without_a_structure_of_the_case(case: PatientCase) -> None:
    card = replace(CARD, items=(ScoreItem("Heart", Metric("mean_dose", None, None, "Gy"), SPARED),))
    with pytest.raises(InputError, match="must hold a structure of the scorecard 'box'"):
        course(case, steps(case), card)


def test_the_fingerprint_tells_cards_apart() -> None:
    assert AirtpPlanner().fingerprint("a") == AirtpPlanner().fingerprint("b")
    assert AirtpPlanner().fingerprint("a") != AirtpPlanner(card="lung_60gy").fingerprint("a")


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"start": "luck"}, "start must be one of"),
        ({"follow": "luck"}, "follow must be one of"),
        ({"cover_share": 1}, r"cover_share must be in \(0, 1\)"),
        ({"hot_cc": 0}, "hot_cc must be positive"),
        ({"card_share": 0}, r"card_share must be in \(0, 1\]"),
        ({"start": "protocol"}, "protocol must hold a goal"),
        ({"follow": "dose", "start": "card"}, "start must be 'dose' where the dose is followed; got 'card'"),
        (
            {"extraction": ExtractionSettings(anatomy=AnatomySettings())},
            r"extraction\.anatomy must be null.*got 'AnatomySettings'",
        ),
        ({"protocol": ({"structure": "SpinalCord"},)}, "kind"),
    ],
)
def test_settings_out_of_range(setting: dict[str, object], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        AirtpPlanner(**setting)  # type: ignore[arg-type]


def test_normalisation_gives_the_highest_target_its_coverage(case: PatientCase) -> None:
    dose_gy = uniform(case, 50.0)
    inside = np.flatnonzero(case.structures["PTV_High"])
    dose_gy.flat[inside] = np.linspace(60.0, 70.0, len(inside))
    factor = Normalisation(90.0, 1.2, None).factor(case, dose_gy, np.mean)
    assert factor == pytest.approx(70.0 / 61.0)
    assert Normalisation(90.0, 1.05, None).factor(case, dose_gy, np.mean) == pytest.approx(1.05)
    assert Normalisation(90.0, 1.05, None).factor(case, 2 * dose_gy, np.mean) == pytest.approx(1 / 1.05)
    assert Normalisation().factor(case, 0 * dose_gy, np.mean) == 1.0
    whole, mean_gy = Normalisation(90.0, 1.1, trials=3), float(dose_gy.mean())
    assert whole.factor(case, dose_gy, lambda scaled: float(scaled.mean())) == pytest.approx(1.1)
    assert whole.factor(case, dose_gy, lambda scaled: -float(scaled.mean())) == pytest.approx(1.0)
    halfway = whole.factor(case, dose_gy, lambda scaled: -abs(float(scaled.mean()) - 1.05 * mean_gy))
    assert halfway == pytest.approx(1.05)
    unseen = replace(case, dose_mask=case.body & ~case.structures["PTV_High"])
    assert Normalisation().factor(unseen, dose_gy, np.mean) == 1.0


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"volume_percent": 0}, r"volume_percent must be in \(0, 100\)"),
        ({"most_factor": 0.5}, r"most_factor must be in \[1, 10\]"),
        ({"trials": 1}, "trials must be at least 2"),
    ],
)
def test_normalisations_out_of_range(setting: dict[str, float], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        Normalisation(**setting)
