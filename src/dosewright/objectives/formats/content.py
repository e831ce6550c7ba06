"""What a planning system is given: objectives, the lines among them, and the plan they are for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from dosewright.core import InputError
from dosewright.objectives.objective import Objective

_ON_LINES = ("max_dvh", "min_dvh")


@dataclass(frozen=True)
class ExportItem:
    """An objective, and the line it is a point of.

    Args:
        objective: The objective; doses are total Gy.
        line: Number of the line, from 1; None for an objective of its own.

    Raises:
        InputError: If a point of a line is no point of a DVH, or the number is not from 1.
    """

    objective: Objective
    line: int | None = None

    def __post_init__(self) -> None:
        if self.line is None:
            return
        if self.line < 1:
            raise InputError("must be from 1, or none", argument="line", value=self.line)
        if self.objective.kind not in _ON_LINES:
            raise InputError(f"must be of {_ON_LINES}", argument="kind on a line", value=self.objective.kind)


@dataclass(frozen=True)
class ExportContent:
    """Everything a format writes about one plan.

    Args:
        case_id: The case.
        items: The objectives, structure by structure.
        names: Structure of the objectives → its name in the planning system.
        fractions: Number of fractions.
        prescription_gy: Target → total Gy.
        targets: Structures that are targets.

    Raises:
        InputError: If a structure has no name, a line is not one of one structure, kind and priority with doses that
            fall where volumes rise, or there are no fractions.
    """

    case_id: str
    items: tuple[ExportItem, ...]
    names: Mapping[str, str]
    fractions: int
    prescription_gy: Mapping[str, float]
    targets: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))
        object.__setattr__(self, "prescription_gy", MappingProxyType(dict(self.prescription_gy)))
        if self.fractions < 1:
            raise InputError("must be at least 1", argument="fractions", value=self.fractions)
        nameless = [name for name in self.structures if name not in self.names]
        if nameless:
            raise InputError(f"must have an entry for {nameless}", argument="names", value=dict(self.names))
        for number in sorted({item.line for item in self.items if item.line is not None}):
            _check_line(number, [item.objective for item in self.items if item.line == number])

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures that objectives are about, in order of their first one."""
        return tuple(dict.fromkeys(item.objective.structure for item in self.items))

    @property
    def highest_prescription_gy(self) -> float:
        """The highest prescription, total Gy; 0 where there is none."""
        return max(self.prescription_gy.values(), default=0.0)


def as_items(objectives: Iterable[Objective]) -> tuple[ExportItem, ...]:
    """Return objectives as items without lines."""
    return tuple(ExportItem(objective) for objective in objectives)


def _check_line(number: int, points: list[Objective]) -> None:
    label = f"line {number} of {points[0].structure}"
    if len({(point.structure, point.kind, point.priority) for point in points}) > 1:
        raise InputError("must be of one structure, kind and priority", argument=label)
    by_volume = sorted(points, key=lambda point: point.volume_percent or 0.0)
    volumes = [point.volume_percent for point in by_volume]
    doses = [point.dose_gy or 0.0 for point in by_volume]
    if len(set(volumes)) < len(volumes):
        raise InputError("must have each volume once", argument=label, value=volumes)
    if any(after > before for before, after in pairwise(doses)):
        raise InputError("must have doses that do not rise with volume", argument=label, value=doses)
