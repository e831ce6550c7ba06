"""PlanScoreCard's notation for built structures, translated to the structure expressions of `geometry`.

A StructureComment such as `{<PTV>|20} SUB {<PTV>|5}` joins groups in braces by AND, OR, SUB (difference) or XOR; a
group holds names in angle brackets, themselves joined, or further groups. `|20` after a name or a group is a margin in
mm, outward when positive, inward when negative; six numbers joined by `^` are margins to the left, right, superior,
inferior, posterior and anterior. Operators side by side are taken from left to right. Facts: MAAS-PlanScoreCard,
StructureGenerationService, which knows no XOR; here A XOR B is what one of the two has and the other has not.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from dosewright.core.types import Triple
from dosewright.geometry.expression_error import ExpressionError
from dosewright.geometry.expression_tree import Combined, Expression, Margin, Named

CHARACTERS_MAX, DEPTH_MAX, XOR_MAX = 10_000, 20, 4  # an exclusive or holds its operands twice
_TOKEN = re.compile(
    r"(?P<blank>\s+)|(?P<name><[^<>]*>)|(?P<margin>\|[ ]?[-+0-9.^]+)|(?P<open>\{)|(?P<close>\})|(?P<word>[A-Za-z]+)"
)
_OPERATORS = {"AND": "&", "OR": "|", "SUB": "-"}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


def comment_expression(comment: str, resolve: Callable[[str], Expression] = Named) -> Expression:
    """Return a StructureComment as a structure expression.

    Args:
        comment: As a card has it.
        resolve: Gives what a name of the card stands for.

    Raises:
        ExpressionError: If the comment is not of the notation above, or has margins that no half axis can say:
            different ones on opposite sides, or in and out at once. The message points at the place.

    >>> str(comment_expression("{<PTV>|20} SUB {<PTV>|5}"))
    '(PTV + 20mm) - (PTV + 5mm)'
    >>> str(comment_expression("{<Body>} SUB {<Body>|-35}"))
    'Body - (Body - 35mm)'
    """
    if len(comment) > CHARACTERS_MAX:
        raise ExpressionError(f"must have at most {CHARACTERS_MAX} characters", value=f"{len(comment)} characters")
    return _Parser(comment, resolve).whole()


class _Parser:
    """The tokens of a comment, and the place reached."""

    def __init__(self, comment: str, resolve: Callable[[str], Expression]) -> None:
        self.comment, self.resolve = comment, resolve
        self.tokens = list(_tokens(comment))
        self.place = self.xors = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def whole(self) -> Expression:
        expression = self.joined(0)
        if self.next.kind != "end":
            self._refuse("must go on with AND, OR, SUB or XOR")
        return expression

    def joined(self, depth: int) -> Expression:
        """Read operands joined by operators, left to right."""
        expression = self.operand(depth)
        while self.next.kind == "word":
            word = self.next
            self.place += 1
            expression = self._combined(word, expression, self.operand(depth))
        return expression

    def operand(self, depth: int) -> Expression:
        """Read a name or a group, and its margin."""
        token = self.next
        self.place += 1
        if token.kind == "name":
            name = token.text[1:-1].strip()
            if not name:
                self._refuse("must name a structure between < and >", token)
            expression = self.resolve(name)
        elif token.kind == "open":
            if depth == DEPTH_MAX:
                self._refuse(f"must not be nested deeper than {DEPTH_MAX} groups", token)
            expression = self.joined(depth + 1)
            if self.next.kind != "close":
                self._refuse("must close this group", token)
            self.place += 1
        else:
            self._refuse("must have a structure in <> or a group in {} here", token)
        if self.next.kind == "margin":
            expression = self._with_margin(expression, self.next)
            self.place += 1
        return expression

    def _combined(self, word: _Token, left: Expression, right: Expression) -> Expression:
        if word.text.upper() == "XOR":
            self.xors += 1
            if self.xors > XOR_MAX:
                self._refuse(f"must have at most {XOR_MAX} XOR", word)
            return Combined("-", (Combined("|", (left, right)), Combined("&", (left, right))))
        operator = _OPERATORS.get(word.text.upper())
        if operator is None:
            self._refuse("must have AND, OR, SUB or XOR here", word)
        if isinstance(left, Combined) and left.operator == operator:
            return Combined(operator, (*left.operands, right))
        return Combined(operator, (left, right))

    def _with_margin(self, expression: Expression, token: _Token) -> Expression:
        try:
            sides = [float(part) for part in token.text[1:].split("^")]
        except ValueError:
            self._refuse("must have a margin in mm behind |", token)
        if len(sides) == 1:
            sides = sides * 6
        if len(sides) != 6:
            self._refuse("must have one margin, or six joined by ^", token)
        left, right, superior, inferior, posterior, anterior = sides
        if (left, superior, posterior) != (right, inferior, anterior):
            self._refuse("must have the same margin on opposite sides; others cannot be built here", token)
        inward = max(sides) <= 0.0
        if min(sides) < 0.0 and not inward:
            self._refuse("must not grow and shrink at once", token)
        margin_xyz_mm: Triple = (abs(left), abs(posterior), abs(superior))
        return Margin(expression, margin_xyz_mm, inward) if any(margin_xyz_mm) else expression

    def _refuse(self, rule: str, token: _Token | None = None) -> NoReturn:
        token = token or self.next
        end = token.start + max(len(token.text), 1)
        raise ExpressionError(rule, argument="StructureComment", text=self.comment, start=token.start, end=end)


def _tokens(comment: str) -> Iterator[_Token]:
    place = 0
    while place < len(comment):
        found = _TOKEN.match(comment, place)
        if found is None:
            rule = f"must not hold {comment[place]!r} here"
            raise ExpressionError(rule, argument="StructureComment", text=comment, start=place, end=place + 1)
        if found.lastgroup != "blank":
            yield _Token(str(found.lastgroup), found.group(), place)
        place = found.end()
    yield _Token("end", "", len(comment))
