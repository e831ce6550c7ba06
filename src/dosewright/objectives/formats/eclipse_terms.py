"""Objectives as Eclipse's photon optimiser knows them: points, lines, means and gEUDs."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from dosewright.core import InputError
from dosewright.objectives.formats.content import ExportItem
from dosewright.objectives.formats.normal_tissue import PRIORITY_MAX
from dosewright.objectives.formats.outcome import Translation
from dosewright.objectives.objective import Objective

NO_REFERENCE = "a planning system has no reference dose to mimic"
NO_CVAR = "the system has no mean of the hottest or coldest part"


class EclipseType(IntEnum):
    """`Type` of an objective."""

    POINT = 0
    LINE = 1
    MEAN = 2
    GEUD = 3


class Operator(IntEnum):
    """`Operator` of an objective."""

    UPPER = 0
    LOWER = 1
    TARGET = 2
    NONE = 99


@dataclass(frozen=True)
class EclipseObjective:
    """One `Objective` element.

    Args:
        type: What it is.
        operator: `NONE` for means.
        dose_gy: Total Gy.
        volume_percent: In [0, 100]; None for means and gEUDs.
        priority: In [0, 1000].
        parameter_a: a of a gEUD, else None.
        group: Number of the line, 0 for all else.
    """

    type: EclipseType
    operator: Operator
    dose_gy: float
    volume_percent: float | None
    priority: float
    parameter_a: float | None = None
    group: int = 0


def eclipse_terms(item: ExportItem, required_priority: float) -> Translation:
    """Return an objective in Eclipse's terms.

    Args:
        item: The objective.
        required_priority: Of a required objective: Eclipse trades every objective off.

    Raises:
        InputError: If the priority is above 1000.
    """
    objective = item.objective
    if objective.kind == "mimic":
        return Translation.none(NO_REFERENCE)
    if objective.kind in ("cvar_upper", "cvar_lower"):
        return Translation.none(NO_CVAR)
    priority = required_priority if objective.constraint else float(objective.priority)
    if priority > PRIORITY_MAX:
        rule = f"must be at most {PRIORITY_MAX:g} in Eclipse"
        raise InputError(rule, argument=f"priority of '{objective.describe()}'", value=priority)
    entries = _BUILDERS[objective.kind](objective, priority)
    if item.line is not None:
        (point,) = entries
        numbers = (point.operator, point.dose_gy, point.volume_percent, point.priority)
        entries = (EclipseObjective(EclipseType.LINE, *numbers, group=item.line),)
    return Translation(entries, _difference(objective, required_priority))


def _difference(objective: Objective, required_priority: float) -> str:
    if objective.constraint:
        return f"Eclipse requires nothing: an objective of priority {required_priority:g}"
    return "has no dose: a mean of 0 Gy" if objective.kind == "mean" else ""


def _point(operator: Operator, objective: Objective, priority: float, volume_percent: float) -> EclipseObjective:
    return EclipseObjective(EclipseType.POINT, operator, float(objective.dose_gy or 0.0), volume_percent, priority)


def _upper(objective: Objective, priority: float) -> tuple[EclipseObjective, ...]:
    return (_point(Operator.UPPER, objective, priority, float(objective.volume_percent or 0.0)),)


def _lower(objective: Objective, priority: float) -> tuple[EclipseObjective, ...]:
    volume = 100.0 if objective.volume_percent is None else float(objective.volume_percent)
    return (_point(Operator.LOWER, objective, priority, volume),)


def _both(objective: Objective, priority: float) -> tuple[EclipseObjective, ...]:
    return (*_lower(objective, priority), *_upper(objective, priority))


def _mean(objective: Objective, priority: float) -> tuple[EclipseObjective, ...]:
    dose_gy = float(objective.dose_gy or 0.0)
    return (EclipseObjective(EclipseType.MEAN, Operator.NONE, dose_gy, None, priority),)


def _geud(objective: Objective, priority: float) -> tuple[EclipseObjective, ...]:
    """Return a gEUD; the mean is that of a = 1, and Eclipse has no other lower limit on it."""
    operator = Operator.UPPER if objective.kind == "geud_upper" else Operator.LOWER
    exponent = 1.0 if objective.exponent is None else float(objective.exponent)
    return (EclipseObjective(EclipseType.GEUD, operator, float(objective.dose_gy or 0.0), None, priority, exponent),)


_BUILDERS: dict[str, Callable[[Objective, float], tuple[EclipseObjective, ...]]] = {
    "squared_overdose": _upper,
    "squared_underdose": _lower,
    "squared_deviation": _both,
    "max_dvh": _upper,
    "min_dvh": _lower,
    "max_dose": _upper,
    "min_dose": _lower,
    "mean": _mean,
    "mean_upper": _mean,
    "mean_lower": _geud,
    "geud_upper": _geud,
    "geud_lower": _geud,
}
