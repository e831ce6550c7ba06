"""One wish about the dose of one structure, as plain data."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from dosewright.core import InputError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.structures import role_of

Kind = Literal[
    "squared_overdose",
    "squared_underdose",
    "squared_deviation",
    "mean",
    "mean_upper",
    "mean_lower",
    "max_dvh",
    "min_dvh",
    "geud_upper",
    "geud_lower",
    "cvar_upper",
    "cvar_lower",
    "mimic",
    "max_dose",
    "min_dose",
]
KINDS: tuple[str, ...] = get_args(Kind)
NEED_VOLUME = ("max_dvh", "min_dvh", "cvar_upper", "cvar_lower")
NEED_EXPONENT = ("geud_upper", "geud_lower")
WITHOUT_DOSE = ("mean", "mimic")
CAN_BE_HARD = ("max_dose", "min_dose", "mean_upper", "mean_lower")
ONLY_HARD = ("max_dose", "min_dose")
EXPONENT_MAX = 100.0  # |a|; at 100 the gEUD of 1000 voxels is within 7 % of the extreme dose whatever the rest

_PHRASES = {
    "squared_overdose": "every voxel at most {dose}",
    "squared_underdose": "every voxel at least {dose}",
    "squared_deviation": "every voxel at {dose}",
    "mean": "mean as low as possible",
    "mean_upper": "mean at most {dose}",
    "mean_lower": "mean at least {dose}",
    "max_dvh": "at most {volume} of the volume above {dose}",
    "min_dvh": "at least {volume} of the volume at {dose} or more",
    "geud_upper": "gEUD (a = {exponent}) at most {dose}",
    "geud_lower": "gEUD (a = {exponent}) at least {dose}",
    "cvar_upper": "mean of the hottest {volume} at most {dose}",
    "cvar_lower": "mean of the coldest {volume} at least {dose}",
    "mimic": "as in the reference dose",
    "max_dose": "maximum at most {dose}",
    "min_dose": "minimum at least {dose}",
}


@dataclass(frozen=True)
class Objective:
    """A wish about the dose of one structure; numbers are checked and stored as floats.

    Args:
        structure: TG-263 name, `External` for the whole patient.
        kind: What is asked for, see `objectives.terms` for the formulas. `mean` is linear (priority · mean); `mimic`
            needs a reference dose when compiled.
        dose_gy: Total Gy in [0, 250]; none for `mean` and `mimic`.
        volume_percent: Percent of the structure's volume, only for DVH points and CVaR.
        priority: Factor of the penalty, at least 0.
        exponent: a of the gEUD, not 0.
        constraint: Must hold instead of being traded off; for maximum, minimum and mean doses. `max_dose` and
            `min_dose` exist only so; their soft forms are `squared_overdose` and `squared_underdose`.

    Raises:
        InputError: If a field is missing, not for this kind, or out of its range.

    >>> Objective("Parotid_L", "mean_upper", 26.0, priority=10.0).describe()
    'Parotid_L: mean at most 26 Gy, priority 10'
    """

    structure: str
    kind: Kind | str  # files may say anything: checked below
    dose_gy: float | int | None = None
    volume_percent: float | int | None = None
    priority: float | int = 1.0
    exponent: float | int | None = None
    constraint: bool = False

    def __post_init__(self) -> None:
        _check_structure(self.structure)
        if self.kind not in KINDS:
            raise self._error("kind", f"must be one of {KINDS}")
        self._check_presence("dose_gy", self.kind not in WITHOUT_DOSE)
        self._check_presence("volume_percent", self.kind in NEED_VOLUME)
        self._check_presence("exponent", self.kind in NEED_EXPONENT)
        for name in ("dose_gy", "volume_percent", "priority", "exponent"):
            self._make_float(name)
        self._check_ranges()
        self._check_constraint()

    @property
    def convex(self) -> bool:
        """Whether the penalty is a convex function of the dose.

        >>> Objective("PTV", "geud_lower", 60.0, exponent=-10.0).convex
        True
        """
        if self.kind in NEED_EXPONENT:
            exponent = float(self.exponent or 1.0)
            return exponent >= 1.0 if self.kind == "geud_upper" else exponent <= 1.0
        extreme = {"max_dvh": 0.0, "min_dvh": 100.0}
        return self.kind not in extreme or self.volume_percent == extreme[self.kind]

    def describe(self) -> str:
        """Return the objective as a phrase in English."""
        text = _PHRASES[self.kind].format(
            dose=f"{self.dose_gy:g} Gy" if self.dose_gy is not None else "",
            volume=f"{self.volume_percent:g} %" if self.volume_percent is not None else "",
            exponent=f"{self.exponent:g}" if self.exponent is not None else "",
        )
        return f"{self.structure}: {text}, " + ("required" if self.constraint else f"priority {self.priority:g}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, fit for JSON.

        >>> Objective("PTV", "min_dvh", 57.0, 95.0).to_dict()
        {'structure': 'PTV', 'kind': 'min_dvh', 'dose_gy': 57.0, 'volume_percent': 95.0, 'priority': 1.0}
        """
        return {name: value for name, value in asdict(self).items() if value is not None and value is not False}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Objective":
        """Return the objective of `to_dict`'s form.

        Raises:
            InputError: If a key is unknown or missing, or a value is not allowed.
        """
        known = [field.name for field in fields(cls)]
        unknown = [key for key in content if key not in known]
        if unknown:
            raise InputError(f"must be among {known}", argument="key of an objective", value=unknown[0])
        for name in ("structure", "kind"):
            if not isinstance(content.get(name), str):
                raise InputError("must be given as text", argument=name, value=content.get(name))
        if not isinstance(content.get("constraint", False), bool):
            raise InputError("must be true or false", argument="constraint", value=content["constraint"])
        for name in ("dose_gy", "volume_percent", "priority", "exponent"):
            _check_number(content, name)
        return cls(**content)

    def _error(self, field: str, rule: str) -> InputError:
        return InputError(rule, argument=f"{self.structure} ({self.kind}): {field}", value=getattr(self, field))

    def _check_presence(self, field: str, needed: bool) -> None:
        if (getattr(self, field) is not None) != needed:
            raise self._error(field, "must be given" if needed else "must not be given for this kind")

    def _make_float(self, field: str) -> None:
        value = getattr(self, field)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise self._error(field, "must be a number")
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond all floats
            number = math.inf
        if not math.isfinite(number):
            raise self._error(field, "must be finite")
        object.__setattr__(self, field, number)

    def _check_ranges(self) -> None:
        if self.dose_gy is not None and not 0.0 <= self.dose_gy <= DOSE_MAX_GY:
            raise self._error("dose_gy", f"must be in [0, {DOSE_MAX_GY:g}] Gy, total")
        if self.priority < 0.0:
            raise self._error("priority", "must be at least 0")
        if self.exponent is not None and not 0.0 < abs(self.exponent) <= EXPONENT_MAX:
            raise self._error("exponent", f"must be within ±{EXPONENT_MAX:g} and not 0")
        if self.volume_percent is None:
            return
        low_allowed, high_allowed = self.kind == "max_dvh", self.kind != "max_dvh"
        above = self.volume_percent > 0.0 or (low_allowed and self.volume_percent == 0.0)
        below = self.volume_percent < 100.0 or (high_allowed and self.volume_percent == 100.0)
        if not (above and below):
            interval = "[0, 100)" if low_allowed else "(0, 100]"
            raise self._error("volume_percent", f"must be in {interval} %")

    def _check_constraint(self) -> None:
        if self.constraint and self.kind not in CAN_BE_HARD:
            raise self._error("constraint", f"must be false for this kind; only {CAN_BE_HARD} can be required")
        if not self.constraint and self.kind in ONLY_HARD:
            soft = "squared_overdose" if self.kind == "max_dose" else "squared_underdose"
            raise self._error("constraint", f"must be true for this kind; the soft form is {soft}")


def _check_structure(name: str) -> None:
    try:
        role_of(name)
    except InputError as error:
        raise InputError(error.rule, argument="structure of an objective", value=name) from error


def _check_number(content: Mapping[str, Any], name: str) -> None:
    value = content.get(name)
    missing = value is None and name != "priority"
    if name in content and not missing and (isinstance(value, bool) or not isinstance(value, float | int)):
        raise InputError(
            "must be a number", argument=f"{content['structure']} ({content['kind']}): {name}", value=value
        )
