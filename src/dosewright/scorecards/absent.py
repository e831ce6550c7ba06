"""Built structures of a card without the parts that a case does not have.

A patient without a middle target level has no `PTV_Mid`, and `Larynx-PTV`, the larynx without all targets, means the
same there without it. `Scorer` alone refuses such an item; the names given here let it score what is left, and say so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dosewright.core import InputError, PatientCase
from dosewright.geometry.expression_tree import Expression
from dosewright.geometry.reduced_expression import reduced
from dosewright.geometry.structure_algebra import BODY_NAMES
from dosewright.scorecards.comment_expression import comment_expression
from dosewright.scorecards.score_card import ScoreCard, ScoreItem
from dosewright.scorecards.structure_match import StructureMatcher


@dataclass(frozen=True)
class Reduced:
    """What is left of a built structure.

    Args:
        expression: Structure expression of structures the case has.
        absent: Names the case does not have, which the card's expression joins or takes away.
    """

    expression: str
    absent: tuple[str, ...]


def reduced_structures(
    card: ScoreCard, case: PatientCase, names: Mapping[str, str] | None = None
) -> dict[str, Reduced]:
    """Return card's structure → what is left of it, for built structures that can be measured without absent parts.

    What a difference takes away and what a union joins may be absent. What a difference starts from, an operand of an
    intersection, and all operands of a union at once may not: such an item stays what it is, and so does one whose
    structure the case has itself, or that `names` names.

    Args:
        card: The card.
        case: The case.
        names: As `Scorer` takes them; give it these names and the expressions returned, `{**names, **expressions}`.

    Raises:
        InputError: If `names` contradicts itself.
    """
    matcher = StructureMatcher(case.structures, names)
    found = {}
    for item in card.items:
        try:
            expression = _built(item, matcher)
        except InputError:
            continue  # the scorer has this as its reason
        if expression is None or item.name in found:
            continue
        left, absent = without_absent(expression, {*case.structures, *BODY_NAMES})
        if absent and left is not None:
            found[item.name] = Reduced(str(left), absent)
    return found


def without_absent(expression: Expression, there: Collection[str]) -> tuple[Expression | None, tuple[str, ...]]:
    """Return an expression without the structures that are not there, None when nothing is left, and their names.

    Args:
        expression: Any.
        there: Names of the structures that are there.

    >>> from dosewright.geometry.structure_expression import parse
    >>> left, absent = without_absent(parse("(A | B) - (C + 3mm) - D"), ("A", "D"))
    >>> str(left), absent
    ('A - D', ('B', 'C'))
    >>> without_absent(parse("B - A"), ("A",))
    (None, ('B',))
    """
    absent = tuple(name for name in expression.names if name not in there)
    return reduced(expression, there), absent


def _built(item: ScoreItem, matcher: StructureMatcher) -> Expression | None:
    """Return the expression of an item that the card builds; None when the case or `names` has its structure."""
    given = [name for name in (item.structure, item.template_structure) if name.strip()]
    if item.expression is None or not given or any(matcher.find(name) is not None for name in given):
        return None
    return comment_expression(item.expression, matcher.expression)
