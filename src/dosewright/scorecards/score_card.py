"""A scorecard as plain data: items, each a structure, a metric and a score curve."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dosewright.core import InputError
from dosewright.scorecards.curve import Curve, ScorePoint
from dosewright.scorecards.metric import Kind, Metric, Unit

__all__ = ["Curve", "Kind", "Metric", "ScoreCard", "ScoreItem", "ScorePoint", "Unit"]


@dataclass(frozen=True)
class ScoreItem:
    """One line of a scorecard.

    Args:
        structure: The structure's name as the card writes it; "" when the card only has `template_structure`.
        metric: What is measured.
        curve: Points for the value measured.
        expression: How the structure is built from others (PlanScoreCard's notation, `{<PTV>} SUB {<CTV>}`), or None.
        comment: The card's remark.
        rank: The card's rank of the item, 0 when unranked.
        template_structure: The name the structure has in the template, before it was matched to a patient.
        code: The structure's code (FMA or a name), or None.
        auto_generated: Whether the planning system built the structure.
        extra: What else the card's file says of the item, for the writer.
    """

    structure: str
    metric: Metric
    curve: Curve
    expression: str | None = None
    comment: str = ""
    rank: int = 0
    template_structure: str = ""
    code: str | None = None
    auto_generated: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The structure's name: `structure`, else `template_structure`."""
        return self.structure or self.template_structure

    @property
    def maximum(self) -> float:
        """The most points the item gives."""
        return self.curve.maximum

    def describe(self) -> str:
        """Return structure and metric in words.

        >>> ScoreItem("Heart", Metric("mean_dose", output_unit="Gy"), Curve((ScorePoint(5, 5),))).describe()
        'Heart Dmean [Gy]'
        """
        return f"{self.name or 'no structure'} {self.metric.describe()}"


@dataclass(frozen=True)
class ScoreCard:
    """A scorecard.

    Args:
        name: The card's name.
        items: Its lines, in the card's order.
        site: Anatomical site, free text.
        creator: Who made it.
        dose_per_fraction_gy: Prescribed dose per fraction in Gy, None when the card gives none.
        fractions: Number of fractions, None when the card gives none.
        extra: What else the card's file says, for the writer.

    Raises:
        InputError: If dose per fraction or fractions is negative or not finite.
    """

    name: str
    items: tuple[ScoreItem, ...]
    site: str = ""
    creator: str = ""
    dose_per_fraction_gy: float | int | None = None
    fractions: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))
        for name in ("dose_per_fraction_gy", "fractions"):
            number = getattr(self, name)
            if number is not None and not (math.isfinite(number) and number >= 0):
                raise InputError("must be finite and not negative", argument=name, value=number)

    @property
    def prescription_gy(self) -> float | None:
        """Total prescribed dose in Gy, what percent doses refer to; None when the card gives none, or 0.

        >>> ScoreCard("a", (), dose_per_fraction_gy=2.0, fractions=30).prescription_gy
        60.0
        """
        total = float(self.dose_per_fraction_gy or 0) * float(self.fractions or 0)
        return total if total > 0 else None

    @property
    def maximum(self) -> float:
        """The most points the card gives, all items scored."""
        return math.fsum(item.maximum for item in self.items)

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the structures the items are about, each once, in order."""
        return tuple(dict.fromkeys(item.name for item in self.items))
