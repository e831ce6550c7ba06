"""A small language for structures made of others: `PTV_Low - (PTV_Mid + 3mm) - (PTV_High + 6mm) & Body`.

    A | B      union
    A & B      intersection
    A - B      difference
    A + 3mm    A and what lies within 3 mm of it; `A - 3mm` leaves out what lies within 3 mm of its outside
    A + (x 5mm, y 5mm, z 8mm)   the same with a half axis per direction; those left out are 0 mm

As for Python's sets, `-` binds tighter than `&`, and `&` tighter than `|`; each is taken from left to right. A margin
binds tightest. `A - B + 3mm` could be read in two ways and is refused.

Names begin with a letter and go on with letters, digits and `_ . ^ ~`; others, as those with blanks, stand in double
quotes. A `-` without blanks between a name and a letter belongs to the name: `Larynx-PTV` is one structure,
`Larynx - PTV` a difference. `Body`, `BODY` and `External` are the patient's outline.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from dosewright.geometry.expression_error import ExpressionError
from dosewright.geometry.expression_tree import (
    LARGEST_MARGIN_MM,
    MAX_DEPTH,
    OPERATORS,
    Combined,
    Expression,
    Margin,
    Named,
)

__all__ = ["Combined", "Expression", "ExpressionError", "Margin", "Named", "as_expression", "parse"]

MAX_CHARACTERS = 10_000
_NAME_CHARACTERS = r"[A-Za-z0-9_.^~]"
_TOKEN = re.compile(
    rf"""(?P<blank>\s+)
    |(?P<name>[A-Za-z]{_NAME_CHARACTERS}*(?:-[A-Za-z]{_NAME_CHARACTERS}*)*)
    |(?P<quoted>"[^"\x00-\x1f\x7f]*")
    |(?P<length>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*mm(?!{_NAME_CHARACTERS}))
    |(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)
    |(?P<mark>[|&+\-(),])""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Token:
    kind: str  # name, quoted, length (a number in mm), number, mark or end
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.text if len(self.text) <= 40 else self.text[:37] + '…'}`"


def parse(text: str) -> Expression:
    """Return the expression that a text describes; see the module for the language.

    Raises:
        ExpressionError: If the text is not one, is longer than 10 000 characters, or is nested deeper than 50 levels.

    >>> parse("PTV_Low - (PTV_Mid + 3mm)").names
    ('PTV_Low', 'PTV_Mid')
    >>> str(parse('"PTV 70"|A-(z 4.0mm)'))
    '"PTV 70" | (A - (x 0mm, y 0mm, z 4mm))'
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"must have at most {MAX_CHARACTERS} characters", value=f"{len(text)} characters")
    if not text.strip():
        raise ExpressionError("must not be empty", value=text)
    return _Parser(text).whole()


def as_expression(expression: Expression | str) -> Expression:
    """Return an expression as it is, and a text parsed.

    Raises:
        ExpressionError: See `parse`.
    """
    return expression if isinstance(expression, Expression) else parse(expression)


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            rule = "must close its double quotes in the same line" if text[place] == '"' else _unknown(text[place])
            raise ExpressionError(rule, text=text, start=place, end=place + 1)
        if found.lastgroup != "blank":
            yield _Token(str(found.lastgroup), found.group(), place)
        place = found.end()
    yield _Token("end", "", len(text))


def _unknown(character: str) -> str:
    rule = f"must not hold {character!r} outside double quotes"
    replaced = {"∪": "|", "∩": "&", "–": "-", "−": "-", "\\": "-", "*": "&", "[": "(", "]": ")"}
    return f"{rule}; is it `{replaced[character]}`?" if character in replaced else rule


class _Parser:
    """Tokens of a text, and the place reached."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.place = self.depth = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def whole(self) -> Expression:
        expression = self.joined()
        if self.next.kind != "end":
            self._refuse(f"must go on with an operator, not with {self.next}")
        return expression

    def joined(self, level: int = 0) -> Expression:
        """Read operands joined by the operator of a level."""
        if level == len(OPERATORS):
            return self.grown()
        operator = OPERATORS[level]
        operands = [self.joined(level + 1)]
        while self._is(operator) and not self._at_margin():
            self.place += 1
            first = self.place
            operands.append(self.joined(level + 1))
            if operator == "-" and isinstance(operands[-1], Margin) and not self._parenthesised(first):
                self._refuse_two_readings(first)
        if len(operands) == 1:
            return operands[0]
        self._check_depth(1 + max(operand.depth for operand in operands), self.tokens[self.place - 1])
        return Combined(operator, tuple(operands))

    def grown(self) -> Expression:
        """Read a structure and the margins behind it."""
        expression = self.atom()
        while self._is("+") or self._at_margin():
            sign = self._take()
            self._check_depth(expression.depth + 1, sign)
            expression = Margin(expression, self.margin(), inward=sign.text == "-")
        return expression

    def atom(self) -> Expression:
        """Read a name, or an expression in parentheses."""
        token = self._take()
        if token.kind == "name":
            return Named(token.text)
        if token.kind == "quoted":
            if not 3 <= len(token.text) <= 202:
                self._refuse("must have 1 to 200 characters between double quotes", token)
            return Named(token.text[1:-1])
        if token.text != "(":
            self._refuse(f"must have a structure here, not {token}", token)
        self.depth += 1
        self._check_depth(self.depth, token)
        expression = self.joined()
        if not self._is(")"):
            self._refuse(f"must close this parenthesis before {self.next}", token)
        self.place += 1
        self.depth -= 1
        return expression

    def margin(self) -> tuple[float, float, float]:
        """Read `3mm` or `(x 5mm, z 8mm)`."""
        if not self._is("("):
            length = self.length()
            return (length, length, length)
        self.place += 1
        lengths: dict[str, float] = {}
        while True:
            axis = self._take()
            if axis.text not in ("x", "y", "z") or axis.text in lengths:
                self._refuse("must have x, y or z here, each once", axis)
            lengths[axis.text] = self.length()
            if self._is(")"):
                break
            if not self._is(","):
                self._refuse(f"must go on with `,` or `)`, not with {self.next}")
            self.place += 1
        self.place += 1
        return (lengths.get("x", 0.0), lengths.get("y", 0.0), lengths.get("z", 0.0))

    def length(self) -> float:
        """Read a number and its unit."""
        number, unit = self._take(), self.next
        if number.kind == "number" and unit.kind == "name":
            self._refuse(f"must have its margins in mm, not in {unit}", unit)
        if number.kind == "number":
            self._refuse(f"must have a unit behind this number: `{number.text}mm`", number)
        if number.kind != "length":
            hint = "; a union is written `|`" if number.kind in ("name", "quoted") else ""
            self._refuse(f"must have a margin such as `3mm` here, not {number}{hint}", number)
        value = float(number.text.removesuffix("mm"))
        if not value <= LARGEST_MARGIN_MM:
            self._refuse(f"must not have margins above {LARGEST_MARGIN_MM:g} mm", number)
        return value

    def _at_margin(self) -> bool:
        """Whether a `-` stands before a margin, and not before a structure."""
        if not self._is("-"):
            return False
        after = self.tokens[self.place + 1 : self.place + 4]
        if after[0].text != "(":
            return after[0].kind in ("number", "length")
        return len(after) == 3 and after[1].text in ("x", "y", "z") and after[2].kind in ("number", "length")

    def _parenthesised(self, first: int) -> bool:
        """Whether what was read from a token to here is one pair of parentheses."""
        return self.tokens[first].text == "(" and self.tokens[self.place - 1].text == ")" and self._closes(first)

    def _closes(self, first: int) -> bool:
        open_ = 0
        for token in self.tokens[first : self.place - 1]:
            open_ += (token.text == "(") - (token.text == ")")
            if open_ == 0:
                return False
        return True

    def _refuse_two_readings(self, first: int) -> NoReturn:
        level, at = 0, first
        while not (level == 0 and at > first and self.tokens[at].text in ("+", "-")):
            level += (self.tokens[at].text == "(") - (self.tokens[at].text == ")")
            at += 1
        self._refuse(
            "must say in parentheses what this margin is of: `(A - B) + 3mm` or `A - (B + 3mm)`", self.tokens[at]
        )

    def _check_depth(self, depth: int, token: _Token) -> None:
        if depth > MAX_DEPTH:
            self._refuse(f"must not be nested deeper than {MAX_DEPTH} levels", token)

    def _is(self, mark: str) -> bool:
        return self.next.kind == "mark" and self.next.text == mark

    def _take(self) -> _Token:
        token = self.next
        if token.kind != "end":
            self.place += 1
        return token

    def _refuse(self, rule: str, token: _Token | None = None) -> NoReturn:
        token = token or self.next
        raise ExpressionError(rule, text=self.text, start=token.start, end=token.end)
