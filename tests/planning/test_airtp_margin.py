"""AIRTP's margin rules against numbers worked out by hand from its Figures 3 and 4, and its tables."""

import math

import pytest

from airtp_problems import curve
from dosewright.core import InputError
from dosewright.objectives.extraction_rules import AIRTP_RULES, ExtractionSettings
from dosewright.objectives.parts import Part
from dosewright.planning.airtp_margin import CardMargin, falls, value_worth
from dosewright.scorecards.cards import card_named

LIPS = curve((10.0, 8.0), (20.0, 5.0), (30.0, 0.0))


def figure_3(part: Part, dose_gy: float, volume: float) -> tuple[float, float]:
    """The paper's function, branch by branch."""
    cropped = part is Part.CROPPED
    if cropped and dose_gy > 20:
        return max(0.95 * dose_gy, dose_gy - 3), 120
    if dose_gy > 63 and not cropped:
        return dose_gy - 1, 80
    if (dose_gy < 20 and volume < 50) or dose_gy < 10:
        return max(0.95 * dose_gy, dose_gy - 2), 80
    return max(0.95 * dose_gy, dose_gy - 2), 120


@pytest.mark.parametrize(
    ("part", "dose_gy", "volume", "asked_gy", "priority"),
    [
        (Part.CROPPED, 70.0, 1.0, 67.0, 120),  # 3 Gy below, as 5 % would be 3.5
        (Part.CROPPED, 40.0, 20.0, 38.0, 120),
        (Part.ORGAN, 64.0, 1.0, 63.0, 80),
        (Part.ORGAN, 60.0, 1.0, 58.0, 120),
        (Part.PRV, 30.0, 40.0, 28.5, 120),
        (Part.ORGAN, 15.0, 40.0, 14.25, 80),
        (Part.ORGAN, 15.0, 60.0, 14.25, 120),
        (Part.ORGAN, 8.0, 80.0, 7.6, 80),
        (Part.CROPPED, 20.0, 60.0, 19.0, 120),
    ],
)
def test_the_rule_for_dvh_points(part: Part, dose_gy: float, volume: float, asked_gy: float, priority: float) -> None:
    rule = ExtractionSettings(rules=AIRTP_RULES).rule_for(part, dose_gy, volume)
    assert (rule.objective_gy(dose_gy), rule.priority) == (pytest.approx(asked_gy), priority)


def test_the_rule_for_dvh_points_is_that_of_figure_3_everywhere() -> None:
    settings = ExtractionSettings()
    for part in (Part.ORGAN, Part.CROPPED, Part.PRV):
        for volume in (1.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0):
            for dose_gy in (0.5, 5.0, 9.9, 10.0, 15.0, 19.9, 20.0, 20.1, 39.0, 41.0, 62.9, 63.0, 63.1, 75.0):
                rule = settings.rule_for(part, dose_gy, volume)
                asked_gy, priority = figure_3(part, dose_gy, volume)
                assert (rule.objective_gy(dose_gy), rule.priority) == (pytest.approx(asked_gy), priority)


@pytest.mark.parametrize(
    ("value", "asked", "slope", "score"),
    [
        (24.83, 21.1055, 0.5, 2.585),  # Table 7, Lips: 15 % below; 2.58 points
        (20.63, 17.5355, 0.5, 4.685),
        (15.0, 12.75, 0.3, 6.5),
        (20.0, 17.0, 0.3, 5.0),  # a corner belongs to the segment on its left
        (5.0, 8.5, 0.3, 8.0),  # beyond an end: asked from that end
        (60.0, 25.5, 0.5, 0.0),
    ],
)
def test_the_rule_for_items(value: float, asked: float, slope: float, score: float) -> None:
    wish = CardMargin().asked(LIPS, value)
    assert wish is not None
    assert wish.value == pytest.approx(asked)
    assert wish.priority == pytest.approx(60 + slope * 20 / (1 + math.exp(score / 3)), abs=1e-4)


def test_from_47_on_seven_less_is_asked_and_no_slope_counts_more_than_seven() -> None:
    steep = curve((45.0, 6.0), (55.0, -994.0))
    wish = CardMargin().asked(steep, 50.0)
    assert wish is not None
    assert wish.value == pytest.approx(43.0)
    assert wish.priority == pytest.approx(60 + 7 * 20)  # deep below zero the logistic factor is 1


def test_a_single_point_asks_nothing() -> None:
    assert CardMargin().asked(curve((5.0, 5.0)), 7.0) is None


def test_the_value_worth_a_share() -> None:
    assert value_worth(LIPS, 0.5) == pytest.approx(22.0)
    assert value_worth(LIPS, 1.0) == pytest.approx(10.0)
    assert value_worth(curve((10.0, 8.0), (20.0, 8.0), (30.0, 0.0)), 1.0) == pytest.approx(20.0)
    assert falls(LIPS)
    assert not falls(curve((90.0, 0.0), (97.0, 19.0)))
    assert not falls(curve((5.0, 5.0)))


def test_in_the_papers_card_more_is_better_for_coverage_alone() -> None:
    rising = {item.structure for item in card_named("head_neck_sib").items if not falls(item.curve)}
    assert rising == {"PTV_High_OPT", "PTV_Mid", "PTV_Low"}


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"factor": 1.5}, r"factor must be in \[0, 1\]"),
        ({"gain": -1.0}, "gain must be finite and at least 0"),
        ({"score_scale": 0}, "score_scale must be finite and positive"),
    ],
)
def test_margins_out_of_range(setting: dict[str, float], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        CardMargin(**setting)
