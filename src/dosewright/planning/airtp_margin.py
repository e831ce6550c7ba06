"""AIRTP's margin rule for the items of a scorecard (arXiv:2501.11803, Fig. 4).

Its rule for points of a DVH is `objectives.extraction_rules.AIRTP_RULES`.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from dosewright.core import InputError
from dosewright.scorecards.score_card import Curve

_LEAST_STEP = 1e-5  # added to the width of a segment, as in the paper


@dataclass(frozen=True)
class Asked:
    """What the next plan is asked for by one item.

    Args:
        value: Of the item's metric, in its output unit.
        priority: Of the objective.
    """

    value: float
    priority: float


@dataclass(frozen=True)
class CardMargin:
    """How much better than it is an item should become, and how strongly that is asked for.

    With x the item's value, moved to the nearer end of its score curve where it lies beyond, s the score there and
    m the slope of the segment that x is in (the left one of two): max(factor · x, x − subtract), with the priority
    base_priority + min(|m|, slope_cap) · gain / (1 + exp(s / score_scale)).

    Args:
        factor: In [0, 1].
        subtract: In the metric's unit: Gy, % or cc.
        base_priority: Of an item with a flat curve, or with many points.
        slope_cap: Steeper curves count as this steep, points per unit.
        gain: What the slope counts.
        score_scale: How many points make an item matter less.

    Raises:
        InputError: If a number is out of range.

    >>> from dosewright.scorecards.score_card import ScorePoint
    >>> lips = Curve((ScorePoint(10.0, 8.0), ScorePoint(20.0, 5.0), ScorePoint(30.0, 0.0)))
    >>> asked = CardMargin().asked(lips, 24.0)
    >>> asked.value, round(asked.priority, 3)
    (20.4, 62.689)
    """

    factor: float | int = 0.85
    subtract: float | int = 7.0
    base_priority: float | int = 60.0
    slope_cap: float | int = 7.0
    gain: float | int = 20.0
    score_scale: float | int = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.factor <= 1:
            raise InputError("must be in [0, 1]", argument="margin.factor", value=self.factor)
        for name in ("subtract", "base_priority", "slope_cap", "gain"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError("must be finite and at least 0", argument=f"margin.{name}", value=getattr(self, name))
        if not 0 < self.score_scale < math.inf:
            raise InputError("must be finite and positive", argument="margin.score_scale", value=self.score_scale)

    def asked(self, curve: Curve, value: float) -> Asked | None:
        """Return what to ask of an item; None where its curve has fewer than two points.

        Args:
            curve: The item's.
            value: What the item has now.
        """
        corners = sorted((float(point.value), float(point.score)) for point in curve.points)
        if len(corners) < 2:
            return None
        at = min(max(value, corners[0][0]), corners[-1][0])
        (left, low), (right, high) = next((one, other) for one, other in pairwise(corners) if one[0] <= at <= other[0])
        slope = (high - low) / (right - left + _LEAST_STEP)
        score = slope * (at - left) + low
        weight = min(abs(slope), float(self.slope_cap)) * float(self.gain) / (1 + math.exp(score / self.score_scale))
        return Asked(max(at * float(self.factor), at - float(self.subtract)), float(self.base_priority) + weight)


def value_worth(curve: Curve, share: float) -> float:
    """Return the worst value of a falling curve that still has this share of its most points.

    >>> from dosewright.scorecards.score_card import ScorePoint
    >>> value_worth(Curve((ScorePoint(10.0, 8.0), ScorePoint(20.0, 4.0), ScorePoint(30.0, 0.0))), 0.75)
    15.0
    """
    corners = sorted((float(point.value), float(point.score)) for point in curve.points)
    wanted = share * curve.maximum
    found = corners[0][0]
    for (left, high), (right, low) in pairwise(corners):
        if low >= wanted:
            found = right
        elif high > wanted:
            return left + (right - left) * (high - wanted) / (high - low)
    return found


def falls(curve: Curve) -> bool:
    """Return whether less of a metric is better: the least value has more points than the greatest."""
    corners = sorted((float(point.value), float(point.score)) for point in curve.points)
    return len(corners) > 1 and corners[0][1] > corners[-1][1]
