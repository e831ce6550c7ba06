"""Structure expressions as trees; `structure_expression` reads them from text and says what they mean."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import final

import numpy as np

from dosewright.core.types import Triple
from dosewright.geometry.expression_error import ExpressionError

OPERATORS = ("|", "&", "-")  # from loose to tight
LARGEST_MARGIN_MM, MAX_DEPTH = 500.0, 50
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_.^~]*(?:-[A-Za-z][A-Za-z0-9_.^~]*)*")
_QUOTED = re.compile(r'[^"\x00-\x1f\x7f]{1,200}')


class Expression(ABC):
    """How a structure is made of others; a value, equal to any that reads the same.

    Attributes:
        depth: Levels of the tree, 1 for a name.
    """

    depth: int

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the structures it is made of, each once, in order."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the text that `structure_expression.parse` turns into an equal expression."""


@final
@dataclass(frozen=True)
class Named(Expression):
    """A structure by its name.

    Raises:
        ExpressionError: If the name cannot be written in quotes.
    """

    name: str
    depth: int = field(init=False, repr=False, compare=False, default=1)

    def __post_init__(self) -> None:
        if not _QUOTED.fullmatch(self.name):
            rule = "must be 1 to 200 characters without double quotes and control characters"
            raise ExpressionError(rule, argument="name", value=self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    def __str__(self) -> str:
        return self.name if _BARE.fullmatch(self.name) else f'"{self.name}"'


@final
@dataclass(frozen=True)
class Combined(Expression):
    """Two or more structures joined by the same operator, from left to right.

    Raises:
        ExpressionError: If the operator is none of `| & -`, there are fewer than two operands, or the tree is deeper
            than 50 levels.
    """

    operator: str
    operands: tuple[Expression, ...]
    depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise ExpressionError('must be "|", "&" or "-"', argument="operator", value=self.operator)
        if len(self.operands) < 2:
            raise ExpressionError("must be two or more", argument="operands", value=self.operands)
        object.__setattr__(self, "depth", _depth(*self.operands))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all operands, each once, in order."""
        return tuple(dict.fromkeys(name for operand in self.operands for name in operand.names))

    def __str__(self) -> str:
        return f" {self.operator} ".join(_enclosed(operand) for operand in self.operands)


@final
@dataclass(frozen=True)
class Margin(Expression):
    """A structure grown, or shrunk, by a margin.

    Args:
        operand: The structure.
        margin_xyz_mm: Half axes of the ellipsoid that is added around each point, or taken from within.
        inward: Whether the structure shrinks.

    Raises:
        ExpressionError: If a margin is not in [0, 500] mm, or the tree is deeper than 50 levels.
    """

    operand: Expression
    margin_xyz_mm: Triple
    inward: bool = False
    depth: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        margin = tuple(float(value) for value in self.margin_xyz_mm)
        if not all(0 <= value <= LARGEST_MARGIN_MM for value in margin):  # NaN is not either
            rule = f"must be three lengths in [0, {LARGEST_MARGIN_MM:g}] mm"
            raise ExpressionError(rule, argument="margin_xyz_mm", value=margin)
        object.__setattr__(self, "margin_xyz_mm", tuple(abs(value) for value in margin))  # -0.0 has no text
        object.__setattr__(self, "depth", _depth(self.operand))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the operand."""
        return self.operand.names

    @property
    def isotropic_mm(self) -> float | None:
        """The margin in mm where it is the same in all directions, else None."""
        x, y, z = self.margin_xyz_mm
        return x if x == y == z else None

    def __str__(self) -> str:
        inner = str(self.operand) if isinstance(self.operand, Margin) else _enclosed(self.operand)
        sides = [f"{axis} {_number(value)}mm" for axis, value in zip("xyz", self.margin_xyz_mm)]
        same = self.isotropic_mm
        length = f"({', '.join(sides)})" if same is None else f"{_number(same)}mm"
        return f"{inner} {'-' if self.inward else '+'} {length}"


def _enclosed(expression: Expression) -> str:
    text = str(expression)
    return text if isinstance(expression, Named) else f"({text})"


def _number(value: float) -> str:
    """Return the shortest decimal text of a length, without an exponent."""
    return str(np.format_float_positional(value, trim="-"))


def _depth(*operands: Expression) -> int:
    """Return the depth of a tree above its operands'."""
    depth = 1 + max(operand.depth for operand in operands)
    if depth > MAX_DEPTH:
        raise ExpressionError(f"must not be nested deeper than {MAX_DEPTH} levels", value=f"{depth} levels")
    return depth
