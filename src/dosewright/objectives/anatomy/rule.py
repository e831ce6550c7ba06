"""Rules as data: what changes an objective, and what asks for a person to look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dosewright.core import InputError
from dosewright.objectives.anatomy.amount import Amount
from dosewright.objectives.anatomy.condition import Condition
from dosewright.objectives.anatomy.goal import checked_keys
from dosewright.objectives.anatomy.measures import MeasureValue
from dosewright.objectives.objective import Objective

_ACTIONS = ("dose_gy", "priority_times", "add")


@dataclass(frozen=True)
class Addition:
    """An objective that a rule adds for a part of the organ.

    Args:
        part: Name of the part.
        kind: See `Objective`, as the next three.
        dose_gy: Total Gy.
        priority: Of the objective.
        volume_percent: Of the part.

    Raises:
        InputError: If the objective is not allowed.
    """

    part: str
    kind: str
    dose_gy: float | int
    priority: float | int
    volume_percent: float | int | None = None

    def __post_init__(self) -> None:
        _ = self.objective

    @property
    def objective(self) -> Objective:
        """The objective."""
        return Objective(self.part, self.kind, self.dose_gy, self.volume_percent, self.priority)


@dataclass(frozen=True)
class Rule:
    """A condition on an organ's measures and what it does to the organ's goals.

    Args:
        name: Shown with every objective that it changed.
        organs: Organs it is for.
        when: Conditions, all of which must hold; none means always.
        why: The reason, in a sentence.
        source: Who says so; what is the project's own choice is marked "ours".
        dose_gy: New dose of the organ's goals in total Gy.
        priority_times: Factor on their priority.
        add: Objectives for parts of the organ.
        warning: What people should know where the rule holds.
        always: Applied also where a review withholds the other rules; for rules that only protect.

    Raises:
        InputError: If it does nothing, or a part is not given or not allowed.
    """

    name: str
    organs: Sequence[str]
    when: tuple[Condition, ...]
    why: str
    source: str
    dose_gy: Amount | None = None
    priority_times: Amount | None = None
    add: tuple[Addition, ...] = field(default_factory=tuple)
    warning: str = ""
    always: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "organs", tuple(self.organs))
        for given in ("name", "organs", "why", "source"):
            if not getattr(self, given):
                raise InputError("must be given", argument=f"{given} of the rule {self.name!r}", value="")
        if self.dose_gy is None and self.priority_times is None and not self.add:
            raise InputError(f"must have one of {_ACTIONS}", argument=f"then of the rule {self.name!r}", value="")

    @classmethod
    def from_plain(cls, content: Any) -> "Rule":
        """Return the rule of plain data: the fields, with `when` and `then` as mappings.

        >>> then = {"dose_gy": {"measure": "expected_mean_gy", "at_least": 32, "at_most": 35}}
        >>> when = {"overlap_percent": {"above": 15}, "laterality": "ipsilateral"}
        >>> rule = dict(name="overlap", organs=["Parotid_L"], when=when, then=then, why="geometry", source="a paper")
        >>> Rule.from_plain(rule).when[0].limit
        15

        Raises:
            InputError: If a key is unknown or missing, or a part is not allowed; the error names the rule.
        """
        try:
            return cls(**_arguments(content))
        except InputError as error:
            named = f"rule {content.get('name')!r}: {error.argument}" if isinstance(content, Mapping) else "rule"
            raise InputError(error.rule, argument=named, value=error.value) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Measures that the rule reads, conditions first."""
        amounts = [amount for amount in (self.dose_gy, self.priority_times) if amount is not None]
        asked = [condition.measure for condition in self.when]
        return tuple(dict.fromkeys([*asked, *(name for amount in amounts for name in amount.names)]))

    def holds(self, organ: str, values: Mapping[str, MeasureValue]) -> bool:
        """Whether the rule is for an organ with these measures."""
        return organ in self.organs and all(condition.holds(values) for condition in self.when)


@dataclass(frozen=True)
class ReviewRule:
    """A condition under which a person must look, and whether rules wait until one has.

    Args:
        name: Short.
        when: Conditions, all of which must hold.
        text: What to look at.
        source: Who says so.
        organs: Organs it is for; none means all with a goal.
        withhold: Rules on that organ are proposed, not applied.

    Raises:
        InputError: If it has no condition or no text.
    """

    name: str
    when: tuple[Condition, ...]
    text: str
    source: str
    organs: Sequence[str] = ()
    withhold: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "organs", tuple(self.organs))
        for given in ("when", "text", "source"):
            if not getattr(self, given):
                raise InputError("must be given", argument=f"{given} of the review {self.name!r}", value="")

    @classmethod
    def from_plain(cls, content: Any) -> "ReviewRule":
        """Return the review rule of plain data, with `when` as a mapping.

        Raises:
            InputError: If a key is unknown or missing, or a part is not allowed.
        """
        plain = checked_keys(content, cls, "review")
        return cls(**{**plain, "when": Condition.all_of(plain["when"])})

    def holds(self, organ: str, values: Mapping[str, MeasureValue]) -> bool:
        """Whether a person must look at an organ with these measures."""
        concerned = not self.organs or organ in self.organs
        return concerned and all(condition.holds(values) for condition in self.when)


def _arguments(content: Any) -> dict[str, Any]:
    """Return the arguments of a `Rule` from plain data."""
    if not isinstance(content, Mapping) or not isinstance(content.get("then"), Mapping):
        raise InputError("must be a mapping with a mapping `then`", argument="rule", value=content)
    then = dict(content["then"])
    if not set(then) <= set(_ACTIONS):
        raise InputError(f"must be of {_ACTIONS}", argument="then", value=tuple(then))
    flat = {key: value for key, value in content.items() if key != "then"} | then
    plain = checked_keys({"when": {}} | flat, Rule, "rule")
    plain["when"] = Condition.all_of(plain["when"])
    for name in ("dose_gy", "priority_times"):
        if name in plain:
            plain[name] = Amount.from_plain(plain[name])
    plain["add"] = tuple(Addition(**checked_keys(item, Addition, "add")) for item in plain.get("add", ()))
    return plain
