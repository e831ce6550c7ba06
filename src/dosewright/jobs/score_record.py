"""What a scorecard says of one case's dose, as plain data: what score.json holds, and tables and pictures show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dosewright.scorecards.absent import Reduced
from dosewright.scorecards.report import ItemScore, ScoreReport


@dataclass(frozen=True)
class ItemRow:
    """One item of the card for one case.

    Args:
        structure: The card's name of the structure.
        metric: What is measured, unit in brackets.
        measured_on: The case's structure or structure expression; "" when there is none.
        left_out: Structures the case does not have, which the card's expression joins or takes away.
        value: The metric's value; None when it was not measured.
        score: Points; None when the item was not scored.
        maximum: The most points the item gives.
        reason: Why there is no score; "" when there is one.
    """

    structure: str
    metric: str
    measured_on: str
    left_out: tuple[str, ...]
    value: float | None
    score: float | None
    maximum: float
    reason: str

    @property
    def label(self) -> str:
        """Structure and metric."""
        return f"{self.structure} {self.metric}"

    @property
    def share(self) -> float | None:
        """Score as a share of the maximum; None when there is no score, or nothing to be had.

        >>> ItemRow("Heart", "Dmean [Gy]", "Heart", (), 10.0, 3.0, 4.0, "").share
        0.75
        """
        return None if self.score is None or self.maximum <= 0 else self.score / self.maximum


@dataclass(frozen=True)
class CaseScore:
    """All items of the card for one case, in the card's order.

    Args:
        case_id: The case.
        items: One per item of the card.
        dose_scale: What the dose was multiplied by.
    """

    case_id: str
    items: tuple[ItemRow, ...]
    dose_scale: float = 1.0

    @property
    def total(self) -> float:
        """Points of the items scored."""
        return sum((row.score for row in self.items if row.score is not None), 0.0)

    @property
    def maximum(self) -> float:
        """The most points that the items scored give."""
        return sum((row.maximum for row in self.items if row.score is not None), 0.0)

    @property
    def card_maximum(self) -> float:
        """The most points that the whole card gives."""
        return sum((row.maximum for row in self.items), 0.0)

    @property
    def scored(self) -> int:
        """How many items have a score."""
        return sum(row.score is not None for row in self.items)

    @property
    def missing(self) -> tuple[str, ...]:
        """Structures of the card that the case does not have, each once."""
        rows = (row for row in self.items if row.score is None and not row.measured_on)
        return tuple(dict.fromkeys(row.structure for row in rows if row.structure))

    @property
    def percent(self) -> float | None:
        """Total in percent of what could be scored; None where nothing could be."""
        return 100.0 * self.total / self.maximum if self.maximum > 0 else None

    def to_plain(self) -> dict[str, Any]:
        """Return the record as plain data, with its sums for whoever reads the file."""
        sums = {name: getattr(self, name) for name in ("total", "maximum", "card_maximum", "scored", "missing")}
        return sums | asdict(self)

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "CaseScore":
        """Return the record of `to_plain`'s data after a way through JSON."""
        rows = tuple(ItemRow(**{**row, "left_out": tuple(row["left_out"])}) for row in content["items"])
        return cls(content["case_id"], rows, content["dose_scale"])


def case_score(case_id: str, report: ScoreReport, reduced: Mapping[str, Reduced], dose_scale: float = 1.0) -> CaseScore:
    """Return the record of a report.

    Args:
        case_id: The case.
        report: What the scorer returned.
        reduced: The structures that were measured without absent parts.
        dose_scale: What the dose was multiplied by.
    """
    return CaseScore(case_id, tuple(_row(entry, reduced) for entry in report.items), dose_scale)


def _row(entry: ItemScore, reduced: Mapping[str, Reduced]) -> ItemRow:
    name = entry.item.name
    return ItemRow(
        structure=name,
        metric=entry.item.metric.describe(),
        measured_on=entry.structure or "",
        left_out=reduced[name].absent if name in reduced else (),
        value=entry.value,
        score=entry.score,
        maximum=entry.item.maximum,
        reason=entry.reason,
    )
