"""How cases are read: what the user may set, checked once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from dosewright.core import InputError
from dosewright.core.case import Technique
from dosewright.core.types import Triple
from dosewright.io.dicom.read_choice import USE

Use = Literal["auto", "require", "ignore"]
Unmatched = Literal["leave_out", "keep"]


@dataclass(frozen=True)
class ReadSettings:
    """See `DicomReader` for all of them.

    Raises:
        InputError: If a setting is out of its range.
    """

    overrides: Mapping[str, str] = field(default_factory=dict)
    accept_fuzzy: bool = False
    unmatched: str = "leave_out"
    prescription_gy: Mapping[str, float] | None = None
    grid: str = "ct"
    spacing_xyz_mm: Triple | None = None
    plan: str = "auto"
    dose: str = "auto"
    choices: Mapping[str, str] = field(default_factory=dict)
    technique: str | None = None
    fractions: int | None = None
    site: str | None = None
    arc_spacing_deg: float | int = 20.0
    incomplete_ct: bool = False
    check_dose: bool = True
    max_memory_gb: float | int = 4.0

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("unmatched", self.unmatched, get_args(Unmatched)),
            ("grid", self.grid, ("ct", "dose")),
            ("plan", self.plan, USE),
            ("dose", self.dose, USE),
            ("technique", self.technique, (None, *get_args(Technique))),
        ):
            if value not in allowed:
                raise InputError(f"must be one of {allowed}", argument=f"data.{name}", value=value)
        if self.grid == "dose" and self.dose == "ignore":
            raise InputError(
                "must not be ignore where the grid is that of the dose", argument="data.dose", value="ignore"
            )
        for name, number, most in (
            ("arc_spacing_deg", self.arc_spacing_deg, 120.0),
            ("max_memory_gb", self.max_memory_gb, math.inf),
        ):
            if not 0 < number <= most:
                raise InputError(f"must be in (0, {most:g}]", argument=f"data.{name}", value=number)
        if self.fractions is not None and (self.fractions < 1 or int(self.fractions) != self.fractions):
            raise InputError("must be a positive integer", argument="data.fractions", value=self.fractions)

    def __str__(self) -> str:
        """All that changes what a case is read as, for fingerprints."""
        values = {name: value for name, value in vars(self).items() if name != "max_memory_gb"}
        return repr({k: sorted(v.items()) if isinstance(v, Mapping) else v for k, v in values.items()})


def checked_spacing(values: Sequence[float | int] | None) -> Triple | None:
    """Return a spacing as three floats.

    Raises:
        InputError: If it is not three lengths of 0.1 mm or more.
    """
    if values is None:
        return None
    numbers = tuple(float(v) for v in values)
    if len(numbers) != 3 or not all(math.isfinite(v) and v >= 0.1 for v in numbers):
        raise InputError(
            "must be three lengths of 0.1 mm or more: x, y, z", argument="data.spacing_xyz_mm", value=values
        )
    x, y, z = numbers
    return (x, y, z)
