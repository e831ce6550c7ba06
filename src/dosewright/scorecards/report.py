"""What a scorecard says of one dose."""

import math
from dataclasses import dataclass

from dosewright.scorecards.score_card import ScoreItem


@dataclass(frozen=True)
class ItemScore:
    """One item's outcome.

    Args:
        item: The card's item.
        structure: Name of the case's structure (or expression) it was measured on; None when there is none.
        value: The metric's value in its output unit; None when it could not be measured.
        score: Points; None when the item was not scored.
        reason: Why there is no score; "" when there is one.
    """

    item: ScoreItem
    structure: str | None
    value: float | None
    score: float | None
    reason: str = ""

    @property
    def scored(self) -> bool:
        """Whether the item has a score."""
        return self.score is not None


@dataclass(frozen=True)
class ScoreReport:
    """A card's outcome for one dose, item by item in the card's order.

    Args:
        items: One entry per item of the card.
    """

    items: tuple[ItemScore, ...]

    @property
    def total(self) -> float:
        """Points of the items scored."""
        return math.fsum(entry.score for entry in self.items if entry.score is not None)

    @property
    def maximum(self) -> float:
        """The most points the items scored could give."""
        return math.fsum(entry.item.maximum for entry in self.items if entry.scored)

    @property
    def card_maximum(self) -> float:
        """The most points the whole card gives."""
        return math.fsum(entry.item.maximum for entry in self.items)

    @property
    def unscored(self) -> tuple[ItemScore, ...]:
        """Items without a score; each says why."""
        return tuple(entry for entry in self.items if not entry.scored)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names, as the card writes them, of structures the case does not have, each once."""
        names = (entry.item.name for entry in self.items if entry.structure is None)
        return tuple(dict.fromkeys(name for name in names if name.strip()))
