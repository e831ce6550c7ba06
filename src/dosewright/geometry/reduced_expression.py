"""Structure expressions with absent structures taken out, and what they are made of."""

from collections.abc import Collection

from dosewright.geometry.structure_expression import Combined, Expression, Margin, Named


def reduced(expression: Expression, there: Collection[str]) -> Expression | None:
    """Return what is left of an expression without the structures that are not there; None where nothing is.

    A union goes on without an absent part and a difference without an absent subtrahend; an intersection with something
    absent is absent, as are the margins of it and the differences from it.

    Args:
        expression: The expression.
        there: Names of the structures that are there.

    >>> from dosewright.geometry.structure_expression import parse
    >>> str(reduced(parse("(A | B) - (C + 3mm)"), {"A"}))
    'A'
    >>> reduced(parse("A & B"), {"A"}) is None
    True
    """
    if isinstance(expression, Named):
        return expression if expression.name in there else None
    if isinstance(expression, Margin):
        operand = reduced(expression.operand, there)
        return None if operand is None else Margin(operand, expression.margin_xyz_mm, expression.inward)
    if isinstance(expression, Combined):
        return _combined(expression, [reduced(operand, there) for operand in expression.operands])
    return expression


def made_of(expression: Expression) -> frozenset[str]:
    """Return the names of the structures whose voxels an expression takes, and not of those that it takes away.

    >>> from dosewright.geometry.structure_expression import parse
    >>> sorted(made_of(parse("(A | B + 3mm) & Body - (C + 3mm)")))
    ['A', 'B', 'Body']
    """
    if isinstance(expression, Named):
        return frozenset({expression.name})
    if isinstance(expression, Margin):
        return made_of(expression.operand)
    if isinstance(expression, Combined):
        taken = expression.operands[:1] if expression.operator == "-" else expression.operands
        return frozenset[str]().union(*map(made_of, taken))
    return frozenset()


def _combined(expression: Combined, operands: list[Expression | None]) -> Expression | None:
    left = [operand for operand in operands if operand is not None]
    if not left or (expression.operator == "-" and operands[0] is None):
        return None
    if expression.operator == "&" and len(left) < len(operands):
        return None
    return left[0] if len(left) == 1 else Combined(expression.operator, tuple(left))
