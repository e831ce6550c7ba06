"""One line of a helper set: a structure, or one per target or organ, as data."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dosewright.core import InputError
from dosewright.geometry.structure_expression import parse
from dosewright.objectives.parts import Part

Number = float | int  # YAML gives ints
_ANY = "Any"  # in place of a placeholder
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class HigherTargets:
    """Space kept from the targets of higher prescription.

    Args:
        level_mm: A step between two prescriptions …
        level_gy: … of this much needs `level_mm`, and others in proportion.
        extra_mm: Kept besides.
        required: Whether nothing is made for the target of the highest prescription.

    Raises:
        InputError: If a value is out of its range.
    """

    level_mm: Number = 3.0
    level_gy: Number = 7.0
    extra_mm: Number = 0.0
    required: bool = False

    def __post_init__(self) -> None:
        for name in ("level_mm", "extra_mm"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError("must be finite, zero or more", argument=name, value=getattr(self, name))
        if not 0.0 < self.level_gy < math.inf:
            raise InputError("must be positive and finite", argument="level_gy", value=self.level_gy)

    def gap_mm(self, higher_gy: float, lower_gy: float) -> float:
        """Return the space in mm to a target of higher prescription.

        >>> HigherTargets(extra_mm=3.0).gap_mm(70.0, 56.0)
        9.0
        """
        return float(self.level_mm) * (higher_gy - lower_gy) / float(self.level_gy) + float(self.extra_mm)


@dataclass(frozen=True)
class SideChoice:
    """Which of two paired organs is meant.

    Args:
        among: The left and the right one.
        to: Expression of what the sides are judged by: the ipsilateral organ is on average nearer to it.
        side: "ipsilateral" or "contralateral".

    Raises:
        InputError: If there are not two organs, or the side is neither.
    """

    among: Sequence[str]
    to: str
    side: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "among", tuple(self.among))
        if len(self.among) != 2:
            raise InputError("must name two organs", argument="among", value=self.among)
        if self.side not in ("ipsilateral", "contralateral"):
            raise InputError('must be "ipsilateral" or "contralateral"', argument="side", value=self.side)
        parse(self.to)


@dataclass(frozen=True)
class HelperEntry:
    """A helper structure.

    Texts may hold `{target}` or `{organ}` where there is one helper for each of them.

    Args:
        name: TG-263 name.
        expression: What it is made of, see `geometry.structure_expression`; absent structures are left out of unions
            and differences. "" where `choice` says it.
        each: "case" for one helper, "target" for one per target with a prescription, "organ" for one per organ at risk.
        part: What it is to an optimisation; None where other helpers are made of it only.
        of: Structure it belongs to: the target of a core or a ring, the organ of a cropped one. A ring of no target has
            no limit by a prescription.
        needs: Structure or structures without which it is not made, though its expression could do without.
        replaces: Organ or organs in whose place it takes part.
        differs_from: Structure that it must not be equal to.
        away_from_higher: Space kept from targets of higher prescription than `of`, or None.
        choice: Which of two paired organs it is, or None.
        source: Where the definition is from.

    Raises:
        InputError: If a text, the part or `each` is not valid.
    """

    name: str
    expression: str = ""
    each: str = "case"
    part: str | None = None
    of: str = ""
    needs: Sequence[str] = ()
    replaces: Sequence[str] = ()
    differs_from: str = ""
    away_from_higher: HigherTargets | None = None
    choice: SideChoice | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("needs", "replaces"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        if self.each not in ("case", "target", "organ"):
            raise InputError('must be "case", "target" or "organ"', argument="each", value=self.each)
        if self.part is not None and self.part not in set(Part):
            raise InputError(f"must be one of {', '.join(Part)}, or null", argument="part", value=self.part)
        if (self.choice is None) == (not self.expression):
            raise InputError("must be given, or else choice", argument="expression", value=self.expression)
        if self.part == Part.CORE and not self.of:
            raise InputError("must name the target of a core", argument="of", value=self.of)
        if self.away_from_higher is not None and not self.of:
            raise InputError("must name the target to keep away_from_higher", argument="of", value=self.of)
        self._check_placeholders()

    @property
    def kind(self) -> Part | None:
        """`part` as what it is."""
        return None if self.part is None else Part(self.part)

    @property
    def placeholder(self) -> str:
        """What stands for the target or the organ, "" where there is one helper."""
        return "" if self.each == "case" else f"{{{self.each}}}"

    @property
    def uses(self) -> tuple[str, ...]:
        """Structures that it is made of, but for the target or organ that it is one for each of."""
        if self.choice is not None:
            return (*self.choice.among, *parse(self.choice.to).names)
        return tuple(name for name in parse(self._sample).names if name != _ANY)

    @property
    def _sample(self) -> str:
        """The expression with a name in place of the placeholder."""
        return self.expression.replace(self.placeholder, _ANY) if self.placeholder else self.expression

    def _check_placeholders(self) -> None:
        texts = (self.name, self.expression, self.of, self.differs_from, *self.replaces, *self.needs)
        for text in texts:
            for found in _PLACEHOLDER.finditer(text):
                if found.group() != self.placeholder:
                    rule = f"must not hold {found.group()} where each is {self.each!r}"
                    raise InputError(rule, argument=self.name, value=text)
        if self.placeholder not in self.name:
            rule = f"must hold {self.placeholder} where each is {self.each!r}"
            raise InputError(rule, argument="name", value=self.name)
        if self.expression:
            parse(self._sample)
