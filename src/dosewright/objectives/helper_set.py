"""Helper structures by name, as data: what each is made of, and which are left out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from dosewright.core import InputError, Role, role_of
from dosewright.objectives.helper_entry import HelperEntry, HigherTargets, Number, SideChoice

TARGETS = "Targets"
SERIAL_ORGANS = (
    *("SpinalCord", "SpinalCanal", "Brainstem", "OpticChiasm", "OpticNrv_L", "OpticNrv_R"),
    *("BrachialPlex_L", "BrachialPlex_R"),
)
_WHOLE_CASE = {
    "{target}": {"each": "target", "expression": "{target}", "part": "target"},
    "{organ}": {"each": "organ", "expression": "{organ}", "part": "organ"},
}


@dataclass(frozen=True)
class HelperSet:
    """Helper structures in the order they are made; each may use those before it, and `Targets`, all targets together.

    A helper is cut off at the body. One that takes part in an optimisation, and is no target, is left out where too
    little of it remains; an organ, whole or cropped, where too much of it lies in the targets.

    Args:
        helpers: Name → expression, or the arguments of `HelperEntry` but for the name; None takes out a helper, such as
            one of a set that another goes on from.
        smallest_cc: Helpers with less are left out; organs with less outside the targets, too.
        largest_covered_percent: Organs of which more lies in the targets are left out.
        keep: Serial organs, whose hottest voxels matter wherever they are, and helpers: never left out by these two
            rules, never replaced.
        source: Where the set is from.

    Raises:
        InputError: If a helper is not valid or uses one that comes after it, a name is illegal, or a number out of its
            range.

    >>> HelperSet({"Ring_PTV": "(PTV + 20mm) - (PTV + 5mm)"}).helpers["Ring_PTV"].name
    'Ring_PTV'
    """

    helpers: Mapping[str, Any]
    smallest_cc: Number = 0.1
    largest_covered_percent: Number = 85.0
    keep: Sequence[str] = SERIAL_ORGANS
    source: str = ""

    def __post_init__(self) -> None:
        taken_out = [name for name, value in self.helpers.items() if value is None and name in _WHOLE_CASE]
        if taken_out:
            rule = "must not be null: targets and organs always take part"
            raise InputError(rule, argument=f"helpers[{taken_out[0]}]")
        entries = {str(name): _entry(str(name), value) for name, value in self.helpers.items() if value is not None}
        _check_order(entries)
        object.__setattr__(self, "helpers", MappingProxyType(entries))
        object.__setattr__(self, "keep", tuple(self.keep))
        if not 0.0 <= self.smallest_cc < math.inf:
            raise InputError("must be finite, zero or more", argument="smallest_cc", value=self.smallest_cc)
        if not 0.0 <= self.largest_covered_percent <= 100.0:
            value = self.largest_covered_percent
            raise InputError("must be in [0, 100]", argument="largest_covered_percent", value=value)

    def __reduce__(self) -> tuple[object, ...]:
        # Read-only mappings cannot be pickled.
        rest = (self.smallest_cc, self.largest_covered_percent, self.keep, self.source)
        return type(self), (dict(self.helpers), *rest)

    def of_whole_case(self) -> "HelperSet":
        """Return the set with a case's targets and organs at risk before its helpers, as they take part themselves.

        >>> list(HelperSet({"zTissue": "Body - Targets"}).of_whole_case().helpers)
        ['{target}', '{organ}', 'zTissue']
        """
        return type(self)(
            {**_WHOLE_CASE, **self.helpers}, self.smallest_cc, self.largest_covered_percent, self.keep, self.source
        )

    def with_helpers(self, helpers: Mapping[str, Any]) -> "HelperSet":
        """Return the set with more helpers, made last, or other definitions of the same names."""
        return type(self)(
            {**self.helpers, **helpers}, self.smallest_cc, self.largest_covered_percent, self.keep, self.source
        )


def _entry(name: str, value: Any) -> HelperEntry:
    """Return a helper of a set's mapping.

    Raises:
        InputError: If it is not valid; its name is told.
    """
    _check_name(name)
    if isinstance(value, HelperEntry):
        return value
    try:
        if isinstance(value, str):
            return HelperEntry(name, value)
        values = dict(value)
        for key, kind in (("away_from_higher", HigherTargets), ("choice", SideChoice)):
            if isinstance(values.get(key), Mapping):
                values[key] = kind(**values[key])
        return HelperEntry(name, **values)
    except InputError as error:
        rule = f"is not valid: {error}"
        raise InputError(rule, argument=f"helpers[{name}]") from error
    except (TypeError, ValueError) as error:
        rule = f"must be an expression, or the arguments of a HelperEntry ({error})"
        raise InputError(rule, argument=f"helpers[{name}]", value=value) from error


def _check_order(entries: Mapping[str, HelperEntry]) -> None:
    """Refuse helpers that name one that comes after them."""
    later = list(entries)
    for name, entry in entries.items():
        later.remove(name)
        early = [used for used in entry.uses if used in later]
        if early:
            rule = "must use helpers that come before it only"
            raise InputError(rule, argument=f"helpers[{name}]", value=early)


def _check_name(name: str) -> None:
    plain = name.replace("{target}", "X").replace("{organ}", "X")
    try:
        role = role_of(plain)
    except InputError as error:
        raise InputError(f"has an illegal name: it {error.rule}", argument="helpers", value=name) from error
    if role is Role.EXTERNAL or plain in (TARGETS, "Body", "BODY"):
        raise InputError("must not be called as what there is in every case", argument="helpers", value=name)
