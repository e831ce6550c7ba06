"""What is asked of an organ whatever the patient's anatomy: the baseline that rules change."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from dosewright.core import InputError, Role, role_of
from dosewright.objectives.objective import Objective


@dataclass(frozen=True)
class Goal:
    """A baseline objective of some organs.

    Args:
        organs: TG-263 names.
        kind: See `Objective`.
        dose_gy: Total Gy.
        priority: Of the objective.
        source: Who says so.
        volume_percent: See `Objective`.
        also_on: Structures that get the same objective, such as its planning risk volume; for one organ only.

    Raises:
        InputError: If no organ or no source is given, or the objective is not allowed.
    """

    organs: Sequence[str]
    kind: str
    dose_gy: float | int
    priority: float | int
    source: str
    volume_percent: float | int | None = None
    also_on: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "organs", tuple(self.organs))
        object.__setattr__(self, "also_on", tuple(self.also_on))
        if not self.organs:
            raise InputError("must name one at least", argument="organs of a goal", value=self.organs)
        if self.also_on and len(self.organs) > 1:
            raise InputError("must be empty with several organs", argument="also_on of a goal", value=self.also_on)
        if not self.source.strip():
            raise InputError("must be given", argument=f"source of the goal of {self.organs}", value=self.source)
        for organ in self.organs:
            if role_of(organ) is not Role.OAR:
                raise InputError("must be organs at risk", argument="organs of a goal", value=organ)
            self.objectives(organ)

    @classmethod
    def from_plain(cls, content: Any) -> "Goal":
        """Return the goal of plain data.

        Raises:
            InputError: If a key is unknown or missing.
        """
        return cls(**checked_keys(content, cls, "goal"))

    def objectives(self, organ: str) -> tuple[Objective, ...]:
        """Return the goal's objectives for an organ."""
        names = (organ, *self.also_on)
        return tuple(Objective(n, self.kind, self.dose_gy, self.volume_percent, self.priority) for n in names)


def checked_keys(content: Any, wanted: type, what: str) -> dict[str, Any]:
    """Return plain data as the arguments of a dataclass.

    Args:
        content: The data.
        wanted: The dataclass.
        what: What it is, for the error.

    Raises:
        InputError: If it is no mapping, or a key is unknown or missing.
    """
    known = [field.name for field in fields(wanted)]
    needed = [f.name for f in fields(wanted) if f.default is MISSING and f.default_factory is MISSING]
    if not isinstance(content, Mapping) or not set(needed) <= set(content) <= set(known):
        raise InputError(f"must be a mapping of {known}, with {needed}", argument=what, value=content)
    return {str(key): value for key, value in content.items()}
