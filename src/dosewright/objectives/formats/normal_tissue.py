"""Eclipse's normal tissue objective."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dosewright.core import InputError

PRIORITY_MAX = 1000.0  # of every objective in Eclipse
_SHAPE = ("distance_mm", "start_percent", "end_percent", "fall_off_per_mm")


@dataclass(frozen=True)
class NormalTissue:
    """Dose outside the targets falls with distance: from `start_percent` towards `end_percent` of the prescription.

    Args:
        mode: "auto" leaves the shape to Eclipse, "manual" takes it from here.
        priority: In [0, 1000].
        distance_mm: Where the fall begins, from the target's border.
        start_percent: Dose there, in % of the prescription.
        end_percent: Dose far away, in %.
        fall_off_per_mm: Steepness in 1/mm.

    Raises:
        InputError: If the mode is unknown, a number is not allowed, or the shape is missing or not to be given.
    """

    mode: Literal["auto", "manual"] | str
    priority: float | int
    distance_mm: float | int | None = None
    start_percent: float | int | None = None
    end_percent: float | int | None = None
    fall_off_per_mm: float | int | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "manual"):
            raise self._error("mode", 'must be "auto" or "manual"')
        if not 0.0 <= self.priority <= PRIORITY_MAX:
            raise self._error("priority", f"must be in [0, {PRIORITY_MAX:g}]")
        for name in _SHAPE:
            value = getattr(self, name)
            if (value is None) != (self.mode == "auto"):
                raise self._error(name, "must be given for manual and not for auto")
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise self._error(name, "must be finite, zero or more")

    @classmethod
    def of(cls, settings: "NormalTissue | Mapping[str, Any] | None") -> "NormalTissue | None":
        """Return one from its arguments, as YAML gives them; what is one already, and None, stay.

        Raises:
            InputError: If arguments are missing or unknown, or a value is not allowed.
        """
        if settings is None or isinstance(settings, NormalTissue):
            return settings
        try:
            return cls(**settings)
        except TypeError as error:
            rule = "must be null, or mode and priority, and for manual the four numbers of the shape"
            raise InputError(rule, argument="normal_tissue", value=dict(settings)) from error

    @property
    def shape(self) -> tuple[float, float, float, float]:
        """Distance, start, end and fall-off; zeros where Eclipse finds them."""
        distance, start, end, fall_off = (float(getattr(self, name) or 0.0) for name in _SHAPE)
        return distance, start, end, fall_off

    def _error(self, name: str, rule: str) -> InputError:
        return InputError(rule, argument=f"normal_tissue.{name}", value=getattr(self, name))


def check_required_priority(value: float | int) -> None:
    """Check the priority of required objectives in systems that require nothing.

    Raises:
        InputError: If it is not in [0, 1000].
    """
    if not 0.0 <= value <= PRIORITY_MAX:
        raise InputError(f"must be in [0, {PRIORITY_MAX:g}]", argument="required_priority", value=value)
