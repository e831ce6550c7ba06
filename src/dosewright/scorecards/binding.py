"""A scorecard's items bound to one case: which voxels each is about, or why it has none."""

from collections.abc import Mapping
from dataclasses import dataclass

from dosewright.core import InputError, PatientCase
from dosewright.core.types import Mask
from dosewright.geometry.expression_tree import Expression, Named
from dosewright.geometry.structure_algebra import StructureAlgebra
from dosewright.scorecards.comment_expression import comment_expression
from dosewright.scorecards.score_card import ScoreItem
from dosewright.scorecards.structure_match import StructureMatcher


@dataclass(frozen=True, eq=False)
class BoundItem:
    """An item and its voxels.

    Args:
        item: The card's item.
        structure: The case's structure, `External`, or the structure expression; the card's name when it is not clear
            which; None when something is missing.
        mask: Its voxels; None when the item cannot be scored.
        reason: Why not; "" when it can.
    """

    item: ScoreItem
    structure: str | None = None
    mask: Mask | None = None
    reason: str = ""


class Binder:
    """Binds items to one case; structures that several items share are built once.

    An entry of `names` comes first, then a structure of the case by the item's name, then by its template name, then
    the item's own expression (the order of PlanScoreCard, but without its dictionary of synonyms).

    Args:
        case: The case.
        names: Card's name → structure of the case, or structure expression of such.

    Raises:
        InputError: If `names` contradicts itself.
    """

    def __init__(self, case: PatientCase, names: Mapping[str, str] | None = None) -> None:
        self.case = case
        self.matcher = StructureMatcher(case.structures, names)
        self._algebra = StructureAlgebra(case.structures, case.grid, case.body)
        self._masks: dict[str, Mask] = {}

    def bind(self, item: ScoreItem) -> BoundItem:
        """Return an item with its voxels, or with the reason why it has none."""
        if not item.name.strip():
            return BoundItem(item, reason="the card names no structure")
        try:
            expression = self._expression(item)
            if expression is None:
                return BoundItem(item, reason=f"the case has no structure {item.name}")
            missing = self._algebra.missing(expression)
            if missing:
                of = "" if str(expression) == item.name else f", which {item.name} = {expression} needs"
                return BoundItem(item, reason=f"the case has no structure {', '.join(missing)}{of}")
            mask = self._mask(expression)
        except InputError as error:
            return BoundItem(item, item.name, reason=str(error))  # nothing is missing: what is written is not clear
        if not mask.any():
            return BoundItem(item, str(expression), reason=f"{expression} has no voxel")
        return BoundItem(item, str(expression), mask)

    def _expression(self, item: ScoreItem) -> Expression | None:
        names = [name for name in (item.structure, item.template_structure) if name.strip()]
        for find in (self.matcher.mapped, self.matcher.find):
            for name in names:
                if find(name) is not None:
                    return self.matcher.expression(name)
        return comment_expression(item.expression, self.matcher.expression) if item.expression else None

    def _mask(self, expression: Expression) -> Mask:
        key = str(expression)
        if key not in self._masks:
            if isinstance(expression, Named) and expression.name in self.case.structures:
                self._masks[key] = self.case.structures[expression.name]
            else:
                self._masks[key] = self._algebra.mask(expression)
        return self._masks[key]
