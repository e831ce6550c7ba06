"""Structure expressions with absent structures taken out."""

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


def _combined(expression: Combined, operands: list[Expression | None]) -> Expression | None:
    left = [operand for operand in operands if operand is not None]
    if not left or (expression.operator == "-" and operands[0] is None):
        return None
    if expression.operator == "&" and len(left) < len(operands):
        return None
    return left[0] if len(left) == 1 else Combined(expression.operator, tuple(left))
