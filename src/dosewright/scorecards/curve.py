"""Score curves: from a metric's value to points."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dosewright.core import InputError


@dataclass(frozen=True)
class ScorePoint:
    """One corner of a score curve.

    Args:
        value: The metric's value, in the metric's output unit.
        score: Points given there.
        label: The grade's name ("IDEAL[5]").
        variation: Whether the card marks this corner as the limit of acceptable variation.
        color_rgb: Red, green and blue in 0–255, empty when the card gives none; kept for the writer only.
        color_value: The score the color stands for, None when the card gives none.
        extra: What else the card's file says of the point, for the writer.

    Raises:
        InputError: If value or score is not finite.
    """

    value: float | int  # a card written by hand has ints
    score: float | int
    label: str = ""
    variation: bool = False
    color_rgb: tuple[float | int, ...] = ()
    color_value: float | int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("value", "score"):
            number = getattr(self, name)
            if not math.isfinite(number):
                raise InputError("must be finite", argument=name, value=number)


@dataclass(frozen=True)
class Curve:
    """A score as a piecewise linear function of a metric's value, constant beyond both ends.

    One point gives its own score everywhere. The points keep the order of their file; evaluation sorts them, so the
    order means nothing. A point said twice counts once; two scores at one value are refused, as no plan could know
    which it gets. (PlanScoreCard clamps to the greatest and least score of all points; for curves that rise or fall
    throughout, the only ones in its published cards, that is the same.)

    Args:
        points: The corners, in any order. None at all make a curve that scores nothing: see `score`.

    Raises:
        InputError: If two points give different scores at one value.

    >>> curve = Curve((ScorePoint(5, 10), ScorePoint(20, 4), ScorePoint(22, 0)))
    >>> [curve.score(v) for v in (0.0, 5.0, 12.5, 21.0, 30.0)]
    [10.0, 10.0, 7.0, 2.0, 0.0]
    >>> curve.slope(21.0), curve.slope(3.0), curve.maximum, curve.best_value
    (-2.0, 0.0, 10.0, 5.0)
    """

    points: tuple[ScorePoint, ...]
    _values: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _scores: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(self.points))
        corners: dict[float, float] = {}
        for point in sorted(self.points, key=lambda p: p.value):
            value, score = float(point.value), float(point.score)
            if corners.setdefault(value, score) != score:
                rule = f"must give one score per value, not two at {value:g}"
                raise InputError(rule, argument="points", value=(corners[value], score))
        object.__setattr__(self, "_values", tuple(corners))
        object.__setattr__(self, "_scores", tuple(corners.values()))

    @property
    def maximum(self) -> float:
        """The most points the curve gives; 0 without points."""
        return max(self._scores, default=0.0)

    @property
    def minimum(self) -> float:
        """The fewest points the curve gives; 0 without points."""
        return min(self._scores, default=0.0)

    @property
    def best_value(self) -> float:
        """The last value that earns the maximum on the way to lower scores.

        For a falling curve that is the greatest value with full marks, for a rising one the least; for a curve with its
        maximum inside, the least value that has it.

        Raises:
            InputError: If the curve has no points.
        """
        self._check_points()
        best = [v for v, s in zip(self._values, self._scores, strict=True) if s == self.maximum]
        return best[-1] if self._scores[0] == self.maximum else best[0]

    def score(self, value: float | int) -> float:
        """Return the points a value earns.

        Raises:
            InputError: If the value is not finite or the curve has no points.
        """
        self._check_points()
        self._check_value(value)
        if value <= self._values[0]:
            return self._scores[0]
        if value >= self._values[-1]:
            return self._scores[-1]
        upper = bisect_right(self._values, value)
        low, high = self._values[upper - 1], self._values[upper]
        weight = (value - low) / (high - low)
        before, after = self._scores[upper - 1], self._scores[upper]
        score = before + weight * (after - before)
        return min(max(score, min(before, after)), max(before, after))  # rounding must not leave the segment

    def slope(self, value: float | int) -> float:
        """Return the points gained per unit of the metric at a value; 0 beyond both ends.

        At a corner, also at the two ends, it is the steeper of the slopes that meet there.

        Raises:
            InputError: If the value is not finite or the curve has no points.
        """
        self._check_points()
        self._check_value(value)
        left = self._segment_slope(bisect_left(self._values, value))
        right = self._segment_slope(bisect_right(self._values, value))
        return max(left, right, key=abs)

    def _segment_slope(self, upper: int) -> float:
        if not 0 < upper < len(self._values):
            return 0.0
        rise = self._scores[upper] - self._scores[upper - 1]
        return rise / (self._values[upper] - self._values[upper - 1])

    def _check_points(self) -> None:
        if not self.points:
            raise InputError("must have a point to score anything", argument="points", value=())

    @staticmethod
    def _check_value(value: float | int) -> None:
        if not math.isfinite(value):
            raise InputError("must be finite", argument="value", value=value)
