"""The lines of a helper set spelled out for one case: one for each of its targets and organs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dosewright.core import PatientCase, Role, role_of
from dosewright.geometry.structure_expression import Combined, Expression, Margin, Named, parse
from dosewright.objectives.helper_entry import HelperEntry


def expanded(entries: Sequence[HelperEntry], case: PatientCase) -> Iterator[HelperEntry]:
    """Yield the entries of one case, in order.

    Structures of the case that are called like an entry's helpers, such as a `Larynx-PTV` of its own, are no organs to
    make helpers of; where the organ itself is absent, they stand for the helper.
    """
    organs = [name for name in case.structures if role_of(name) is Role.OAR]
    ready_made = {name for name in organs for entry in entries if _makes(entry, name)}
    for entry in entries:
        if entry.each == "case":
            yield entry
        elif entry.each == "target":
            yield from (_filled(entry, name) for name in case.targets)
        else:
            yield from (_filled(entry, name) for name in organs if name not in ready_made)
            yield from (_filled(entry, organ) for organ in _absent(entry, ready_made, case))


def expression_of(entry: HelperEntry, case: PatientCase) -> Expression:
    """Return the expression of a spelled-out entry, with the targets of higher prescription that it stays away from."""
    expression = parse(entry.expression)
    if entry.away_from_higher is None:
        return expression
    gaps = higher_gaps_mm(entry, case)
    away = (Margin(Named(name), (gap, gap, gap)) for name, gap in gaps.items())
    return Combined("-", (expression, *away)) if gaps else expression


def higher_gaps_mm(entry: HelperEntry, case: PatientCase) -> dict[str, float]:
    """Return the targets of higher prescription than the entry's, and the space in mm that it keeps from each."""
    rule, doses = entry.away_from_higher, case.prescription_gy
    if rule is None or entry.of not in doses:
        return {}
    own = doses[entry.of]
    return {name: rule.gap_mm(doses[name], own) for name in case.targets if doses[name] > own}


def _makes(entry: HelperEntry, name: str) -> bool:
    """Whether a name is that of an entry's helper, and not of the organ that it is made of."""
    if entry.each == "case":
        return entry.name == name
    before, after = (re.escape(part) for part in entry.name.split(entry.placeholder, 1))
    return bool(before or after) and re.fullmatch(f"{before}.+{after}", name) is not None


def _absent(entry: HelperEntry, ready_made: set[str], case: PatientCase) -> Iterator[str]:
    """Yield the absent organs of ready-made helpers."""
    if entry.name == entry.placeholder:
        return
    before, after = entry.name.split(entry.placeholder, 1)
    for name in sorted(ready_made):
        organ = name[len(before) : len(name) - len(after)]
        if _makes(entry, name) and organ not in case.structures:
            yield organ


def _filled(entry: HelperEntry, name: str) -> HelperEntry:
    """Return the entry of one target or organ."""

    def fill(text: str) -> str:
        return text.replace(entry.placeholder, name)

    return replace(
        entry,
        name=fill(entry.name),
        expression=entry.expression.replace(entry.placeholder, str(Named(name))),
        each="case",
        of=fill(entry.of),
        needs=tuple(fill(need) for need in entry.needs),
        replaces=tuple(fill(organ) for organ in entry.replaces),
        differs_from=fill(entry.differs_from),
    )
