"""When a rule holds: a comparison of one measure, as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dosewright.core import InputError
from dosewright.objectives.anatomy.measures import FACTS, NUMBERS, MeasureValue

_COMPARISONS = {
    "above": lambda value, limit: value > limit,
    "below": lambda value, limit: value < limit,
    "at_least": lambda value, limit: value >= limit,
    "at_most": lambda value, limit: value <= limit,
}
_SIGNS = {"above": ">", "below": "<", "at_least": "≥", "at_most": "≤"}


@dataclass(frozen=True)
class Condition:
    """A measure and what it must be.

    Args:
        measure: One of `measures.NUMBERS` or `measures.FACTS`.
        comparison: "above", "below", "at_least" or "at_most" for a number, "is" for a fact.
        limit: What the measure is compared with.

    Raises:
        InputError: If the measure is unknown, or is not compared this way or with this.

    >>> Condition("overlap_percent", "above", 15.0).describe(23.4)
    'overlap_percent 23.4 % > 15 %'
    """

    measure: str
    comparison: str
    limit: float | int | str | bool

    def __post_init__(self) -> None:
        if self.measure not in (*NUMBERS, *FACTS):
            raise InputError(f"must be one of {(*NUMBERS, *FACTS)}", argument="measure", value=self.measure)
        allowed = tuple(_COMPARISONS) if self.measure in NUMBERS else ("is",)
        if self.comparison not in allowed:
            raise InputError(f"must be one of {allowed}", argument=self.measure, value=self.comparison)
        plain = isinstance(self.limit, float | int) and not isinstance(self.limit, bool) and math.isfinite(self.limit)
        if self.measure in NUMBERS and not plain:
            raise InputError("must be a finite number", argument=self.measure, value=self.limit)

    @classmethod
    def all_of(cls, content: Mapping[str, Any]) -> "tuple[Condition, ...]":
        """Return the conditions of `{measure: {comparison: limit, …}}`; of a fact `{measure: value}`.

        >>> Condition.all_of({"volume_cc": {"at_least": 5, "below": 8}, "laterality": "contralateral"})[2].comparison
        'is'
        """
        found: list[Condition] = []
        for measure, wanted in content.items():
            pairs = wanted.items() if isinstance(wanted, Mapping) else [("is", wanted)]
            found.extend(cls(measure, comparison, limit) for comparison, limit in pairs)
        return tuple(found)

    def holds(self, values: Mapping[str, MeasureValue]) -> bool:
        """Whether the measures meet the condition; what cannot be said meets none."""
        value = values[self.measure]
        if value is None:
            return False
        return (
            value == self.limit if self.comparison == "is" else bool(_COMPARISONS[self.comparison](value, self.limit))
        )

    def describe(self, value: MeasureValue) -> str:
        """Return the condition in words, with the measure's value."""
        if self.comparison == "is":
            return f"{self.measure} is {str(self.limit).lower()}"
        unit = NUMBERS[self.measure]
        return f"{self.measure} {value:.1f} {unit} {_SIGNS[self.comparison]} {self.limit:g} {unit}"
