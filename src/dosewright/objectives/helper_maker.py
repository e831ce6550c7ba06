"""Makes the helper structures of a case, and says what became of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from dosewright.core import InputError, PatientCase, Role, role_of
from dosewright.core.types import Mask
from dosewright.geometry import distance_to_mm, targets_mask
from dosewright.geometry.reduced_expression import made_of, reduced
from dosewright.geometry.structure_algebra import StructureAlgebra
from dosewright.geometry.structure_expression import Expression, Named, parse
from dosewright.objectives.helper_entry import HelperEntry, SideChoice
from dosewright.objectives.helper_expansion import expanded, expression_of, higher_gaps_mm
from dosewright.objectives.helper_set import TARGETS, HelperSet
from dosewright.objectives.parts import Part, Status, StructureNote, note_of, percent_of, volume_cc

_ORGANS = (Part.ORGAN, Part.CROPPED)
_OF_ORGANS = (*_ORGANS, Part.PRV)
_OF_TARGETS = (Part.TARGET, Part.CORE, Part.RING)


@dataclass(frozen=True, eq=False)
class HelperResult:
    """Helper structures of a case.

    Args:
        masks: Those made, without the case's own of the same names.
        notes: What became of each helper of the set, in order, and why.
        expressions: Helper made → what it is made of in this case; absent structures are left out.
        parts: Structure that takes part in an optimisation → what it is.
        target_of: Target core or ring → its target.
        organs_of: Structure that takes part as an organ or a planning risk volume → organs of the case it is made of.
    """

    masks: Mapping[str, Mask]
    notes: tuple[StructureNote, ...]
    expressions: Mapping[str, Expression]
    parts: Mapping[str, Part]
    target_of: Mapping[str, str]
    organs_of: Mapping[str, frozenset[str]]

    def extended(self, case: PatientCase) -> PatientCase:
        """Return the case with the helpers among its structures."""
        return replace(case, structures={**case.structures, **self.masks})


def make_helpers(case: PatientCase, helper_set: HelperSet) -> HelperResult:
    """Return the helper structures of a case.

    Where the case has a structure of a helper's name, that one is used. Helpers of absent structures, and those that
    the set's rules leave out, are not made; the notes tell why.

    Args:
        case: The case.
        helper_set: What to make.

    Raises:
        InputError: If an expression uses a helper that comes after it.
    """
    return _Maker(case, helper_set).made()


class _Left(Exception):
    """A helper is not made."""

    def __init__(self, reason: str, status: Status = Status.DROPPED) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


class _Maker:
    """Collects helpers and notes of one case."""

    def __init__(self, case: PatientCase, helper_set: HelperSet) -> None:
        self.case, self.set = case, helper_set
        self.targets = targets_mask(case)
        self.algebra = StructureAlgebra({**case.structures, TARGETS: self.targets}, case.grid, case.body)
        self.entries = tuple(expanded(tuple(helper_set.helpers.values()), case))
        self.later = {entry.name for entry in self.entries} - set(case.structures)
        self.masks: dict[str, Mask] = {}
        self.expressions: dict[str, Expression] = {}
        self.parts: dict[str, Part] = {}
        self.target_of: dict[str, str] = {}
        self.organs_of: dict[str, frozenset[str]] = {}
        self.notes: dict[str, StructureNote] = {}

    def made(self) -> HelperResult:
        for entry in self.entries:
            try:
                reason = self._make(entry)
            except _Left as left:
                self._note(entry, left.status, left.reason)
            else:
                self._use(entry, reason)
            self.later.discard(entry.name)
        return HelperResult(
            MappingProxyType(self.masks),
            tuple(self.notes.values()),
            MappingProxyType(self.expressions),
            MappingProxyType(self.parts),
            MappingProxyType(self.target_of),
            MappingProxyType({name: self.organs_of[name] for name, part in self.parts.items() if part in _OF_ORGANS}),
        )

    def _make(self, entry: HelperEntry) -> str:
        """Make a helper known, and return what is to be said of it.

        Raises:
            _Left: If it is not made.
        """
        self._check_target(entry)
        own = self.case.structures.get(entry.name)
        is_itself = entry.expression == str(Named(entry.name))
        if own is not None and not is_itself:
            if not (own & self.case.body).any():
                raise _Left("no voxel of it is in the body")
            return "the case's own"
        self._check_needs(entry)
        self._check_replaced(entry)
        expression = self._expression(entry)
        mask = self.algebra.mask(expression) & self.case.body
        self._check_rules(entry, mask)
        if own is None:
            self.masks[entry.name], self.expressions[entry.name] = mask, expression
            self.algebra.add(entry.name, mask)
        if is_itself:
            return self._kept_whole(entry, mask)
        missing = [name for name in entry.uses if name not in expression.names] if entry.expression else []
        return f"without {', '.join(missing)}: not there" if missing else ""

    def _kept_whole(self, entry: HelperEntry, mask: Mask) -> str:
        """Return how much of a serial organ lies in targets; nothing of others."""
        covered = percent_of(mask & self.targets, mask)
        kept = entry.kind is Part.ORGAN and entry.name in self.set.keep
        return f"{covered:.0f} % of it in targets, kept whole" if kept and covered else ""

    def _expression(self, entry: HelperEntry) -> Expression:
        """Return what a helper is made of here."""
        if entry.choice is not None:
            return self._chosen(entry.choice)
        whole = expression_of(entry, self.case)
        early = [name for name in whole.names if name in self.later]
        if early:
            rule = "must use helpers that come before it only"
            raise InputError(rule, argument=f"helpers[{entry.name}]", value=early)
        left = reduced(whole, self.algebra.masks)
        if left is None:
            raise self._absent([name for name in whole.names if name not in self.algebra.masks])
        return left

    def _chosen(self, choice: SideChoice) -> Expression:
        to = parse(choice.to)
        absent = [name for name in choice.among if name not in self.algebra.masks]
        left = reduced(to, self.algebra.masks)
        if absent or left is None:
            raise self._absent(absent or list(to.names))
        target = self.algebra.mask(left)
        if not target.any():
            raise _Left(f"{left} is empty")
        distance = distance_to_mm(target, self.case.grid.spacing_zyx_mm)
        means = {name: float(distance[self.algebra.masks[name]].mean()) for name in choice.among}
        best = min if choice.side == "ipsilateral" else max
        return Named(best(choice.among, key=lambda name: means[name]))

    def _check_target(self, entry: HelperEntry) -> None:
        """Raise `_Left` where a target, core or ring has no prescription to go by."""
        target = entry.of or (entry.name if entry.kind is Part.TARGET else "")
        if entry.kind in _OF_TARGETS and target and target not in self.case.prescription_gy:
            there = target in self.algebra.masks
            reason = f"{target} has no prescription" if there else f"the case does not have {target}"
            raise _Left(reason, Status.ABSENT)

    def _check_replaced(self, entry: HelperEntry) -> None:
        """Raise `_Left` where no organ that a helper would replace takes part, or all of them do as they are."""
        if entry.replaces and set(entry.replaces) <= set(self.set.keep):
            raise _Left(f"{' and '.join(entry.replaces)} kept whole", Status.UNNEEDED)
        noted = [name for name in entry.replaces if name in self.notes]
        dropped = noted and all(self.notes[name].status is Status.DROPPED for name in noted)
        if dropped and entry.name not in self.set.keep:
            raise _Left(f"{' and '.join(noted)} left out", Status.UNNEEDED)

    def _check_needs(self, entry: HelperEntry) -> None:
        absent = [name for name in entry.needs if name not in self.algebra.masks]
        if absent:
            raise self._absent(absent)
        for name in entry.needs:
            note = self.notes.get(name)
            if note is not None and note.status is not Status.USED:
                raise _Left(f"{name} takes no part as a whole")
        rule = entry.away_from_higher
        if rule is not None and rule.required and not higher_gaps_mm(entry, self.case):
            raise _Left("there is no target of higher prescription", Status.UNNEEDED)

    def _check_rules(self, entry: HelperEntry, mask: Mask) -> None:
        """Raise `_Left` where the set's rules leave a helper out; targets never are."""
        if entry.kind is Part.TARGET:
            return
        if not mask.any():
            is_of_case = entry.name in self.case.structures
            raise _Left("no voxel of it is in the body" if is_of_case else "no voxel is left of it")
        other = entry.differs_from
        if other and other in self.algebra.masks and (mask == (self.algebra.masks[other] & self.case.body)).all():
            lost = entry.kind is Part.PRV  # a margin that the grid does not show
            raise _Left(f"the same as {other} on this grid", Status.DROPPED if lost else Status.UNNEEDED)
        if entry.name in self.set.keep or entry.kind is None:
            return
        organ, limit = entry.kind in _ORGANS, self.set.largest_covered_percent
        base = self.algebra.masks.get(entry.of, mask) & self.case.body
        covered = percent_of(base & self.targets, base) if organ else 0.0
        if covered > limit:
            raise _Left(f"{covered:.0f} % of {entry.of or 'it'} in targets, more than {limit:g} %")
        outside = mask & ~self.targets if organ else mask
        if volume_cc(outside, self.case) < self.set.smallest_cc or not outside.any():
            where = " outside the targets" if organ else ""
            raise _Left(f"less than {self.set.smallest_cc:g} cc of it{where}")

    def _absent(self, names: list[str]) -> _Left:
        """Return why a helper of absent structures is not made."""
        reasons = [
            f"{name} was not made" if name in self.notes else f"the case does not have {name}"
            for name in dict.fromkeys(names)
        ]
        return _Left("; ".join(reasons), Status.ABSENT)

    def _use(self, entry: HelperEntry, reason: str) -> None:
        if entry.kind is not None:
            self.parts[entry.name] = entry.kind
        if entry.of in self.case.prescription_gy and entry.of != entry.name:
            self.target_of[entry.name] = entry.of
        self.organs_of[entry.name] = self._organs_of(entry)
        self._note(entry, Status.USED, reason)
        for organ in entry.replaces:
            if organ in self.notes and organ not in self.set.keep:
                self.parts.pop(organ, None)
                self.notes[organ] = replace(self.notes[organ], status=Status.REPLACED, reason=f"by {entry.name}")

    def _organs_of(self, entry: HelperEntry) -> frozenset[str]:
        """Return the organs of the case that a structure is made of."""
        expression = self.expressions.get(entry.name)
        if expression is None and entry.expression:
            expression = parse(entry.expression)
        if expression is None:  # the case's own, in place of one of two
            return frozenset({entry.name})
        organs = frozenset[str]()
        for name in made_of(expression):
            is_organ = name in self.case.structures and role_of(name) is Role.OAR
            organs |= self.organs_of.get(name, frozenset({name}) if is_organ else frozenset())
        return organs

    def _note(self, entry: HelperEntry, status: Status, reason: str) -> None:
        mask = self.masks.get(entry.name, self.case.structures.get(entry.name))
        self.notes[entry.name] = note_of(self.case, self.targets, entry.name, entry.kind, status, reason, mask)
