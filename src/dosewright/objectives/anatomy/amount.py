"""How much a rule asks for: a number, a measure, or a line over a measure, kept within bounds."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from dosewright.core import InputError
from dosewright.objectives.anatomy.measures import NUMBERS

#: What an amount may refer to besides measures: the objective's dose as it is now, and that of its baseline.
OWN = ("goal_gy", "baseline_gy")
Bound = float | int | str


@dataclass(frozen=True)
class Amount:
    """A number that may depend on an organ's measures: (source · times − minus), not below and not above its bounds.

    Args:
        value: A number; one of `value`, `measure` and `points` is given.
        measure: A measure, "goal_gy" (as earlier rules left it) or "baseline_gy".
        points: Pairs (x, y), x ascending: a line through them over the measure `of`, level beyond its ends.
        of: The measure of `points`.
        times: Factor.
        minus: Number or measure that is subtracted.
        at_least: Lower bound, number or measure.
        at_most: Upper bound, number or measure; counts last.

    Raises:
        InputError: If not one source is given, a measure is unknown, or the points do not ascend.

    >>> Amount(points=[[5, 40], [12, 50]], of="gap_mm").evaluate({"gap_mm": 8.5})
    45.0
    >>> Amount(measure="expected_mean_gy", at_least=32, at_most=35).evaluate({"expected_mean_gy": 41.0})
    35.0
    """

    value: float | int | None = None
    measure: str | None = None
    points: Sequence[Sequence[float | int]] | None = None
    of: str | None = None
    times: float | int = 1.0
    minus: Bound | None = None
    at_least: Bound | None = None
    at_most: Bound | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("value", "measure", "points") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError("must have one of value, measure and points", argument="amount", value=given)
        if (self.points is None) != (self.of is None):
            raise InputError("must be given with points, and only then", argument="of", value=self.of)
        for name in self.names:
            if name not in (*NUMBERS, *OWN):
                raise InputError(f"must be one of {(*NUMBERS, *OWN)}", argument="measure of an amount", value=name)
        for name in ("value", "times", "minus", "at_least", "at_most"):
            number = getattr(self, name)
            if isinstance(number, float | int) and not math.isfinite(number):
                raise InputError("must be finite", argument=f"{name} of an amount", value=number)
        if self.points is not None:
            _check_points(self.points)

    @classmethod
    def from_plain(cls, content: Any) -> "Amount":
        """Return the amount of plain data: a number, or a mapping of the fields.

        Raises:
            InputError: If it is neither.
        """
        if isinstance(content, float | int) and not isinstance(content, bool):
            return cls(value=content)
        known = [field.name for field in fields(cls)]
        if not isinstance(content, Mapping) or not set(content) <= set(known):
            raise InputError(f"must be a number or a mapping of {known}", argument="amount", value=content)
        return cls(**content)

    @property
    def names(self) -> tuple[str, ...]:
        """Measures that the amount depends on, in the order of their use."""
        parts = (self.measure, self.of, self.minus, self.at_least, self.at_most)
        return tuple(dict.fromkeys(part for part in parts if isinstance(part, str)))

    def evaluate(self, numbers: Mapping[str, float | None]) -> float | None:
        """Return the number for an organ's measures; None where one that it depends on cannot be said."""
        if any(numbers.get(name) is None for name in self.names):
            return None
        result = self._source(numbers) * float(self.times) - _bound(self.minus, numbers, 0.0)
        result = max(result, _bound(self.at_least, numbers, -math.inf))
        return min(result, _bound(self.at_most, numbers, math.inf))

    def _source(self, numbers: Mapping[str, float | None]) -> float:
        if self.value is not None:
            return float(self.value)
        if self.points is None:
            return _bound(self.measure, numbers, 0.0)
        xs, ys = zip(*self.points, strict=True)
        return float(np.interp(_bound(self.of, numbers, 0.0), xs, ys))


def _bound(bound: Bound | None, numbers: Mapping[str, float | None], otherwise: float) -> float:
    if bound is None:
        return otherwise
    return float(numbers[bound] or 0.0) if isinstance(bound, str) else float(bound)


def _check_points(points: Sequence[Sequence[float | int]]) -> None:
    pairs = len(points) >= 2 and all(len(point) == 2 for point in points)
    if not pairs or not np.isfinite(np.array(points, float)).all():
        raise InputError("must be two or more pairs of finite numbers", argument="points", value=points)
    xs = [float(point[0]) for point in points]
    if any(later <= earlier for earlier, later in itertools.pairwise(xs)):
        raise InputError("must ascend", argument="points", value=xs)
