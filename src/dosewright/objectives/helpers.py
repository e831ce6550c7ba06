"""Structures an optimisation works with: those of a case, and helpers made of them by a set.

Every target with a prescription takes part and every organ at risk, unless the set's rules drop it as too small or as
covered by targets, or a helper takes its place. All helpers lie in the body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dosewright.core import PatientCase, Role, role_of
from dosewright.geometry import targets_mask
from dosewright.objectives.default_helpers import default_helpers
from dosewright.objectives.helper_maker import HelperResult, make_helpers
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.parts import Part, Status, StructureNote, note_of

_NO_PART = {Role.TARGET: "a target without prescription", Role.HELPER: "a helper structure of the case"}
_RANKS = {Part.TARGET: 0, Part.CORE: 0, Part.ORGAN: 1, Part.CROPPED: 1, Part.PRV: 2, Part.RING: 3, Part.TISSUE: 4}


@dataclass(frozen=True, eq=False)
class PlanningStructures:
    """A case with its helpers, and what became of every structure.

    Args:
        case: The case; helpers are among its structures.
        parts: Structure that takes part → what it is: targets first, highest prescription first, each with its cores;
            then organs, whole or cropped, planning risk volumes, rings and tissue.
        target_of: Target core or ring → its target.
        organs_of: Structure that takes part as an organ → the organs of the case it is made of.
        notes: One for each structure of the case, each helper of the set and each expected structure that is absent.
    """

    case: PatientCase
    parts: Mapping[str, Part]
    target_of: Mapping[str, str]
    organs_of: Mapping[str, frozenset[str]]
    notes: tuple[StructureNote, ...]


def planning_structures(
    case: PatientCase, helpers: HelperSet | None = None, expected: Sequence[str] = ()
) -> PlanningStructures:
    """Return the structures to plan a case with.

    Where the case has a structure of a helper's name, that one is used.

    Args:
        case: The case.
        helpers: What is made, and what is dropped; None means `default_helpers`.
        expected: Structures to note as absent where the case has not got them.

    Raises:
        InputError: If an expression uses a helper that comes after it.
    """
    made = make_helpers(case, (helpers or default_helpers()).of_whole_case())
    order = _Order(case, made)
    noted = sorted(made.notes, key=order)
    return PlanningStructures(
        case=made.extended(case),
        parts=MappingProxyType({note.name: made.parts[note.name] for note in noted if note.name in made.parts}),
        target_of=made.target_of,
        organs_of=made.organs_of,
        notes=(*noted, *_others(case, {note.name for note in noted}, expected)),
    )


class _Order:
    """Where a structure stands, apart from the order in which a set makes its helpers."""

    def __init__(self, case: PatientCase, made: HelperResult) -> None:
        self.made = made
        self.places = {name: place for place, name in enumerate(dict.fromkeys((*case.targets, *case.structures)))}

    def __call__(self, note: StructureNote) -> tuple[int, int, bool]:
        rank = len(_RANKS) if note.part is None else _RANKS[note.part]
        if rank > 1:
            return (rank, 0, False)
        known = self.made.target_of.get(note.name, note.name)
        made_of = () if known in self.places else self.made.organs_of.get(note.name, ())
        last = len(self.places)
        place = min((self.places[organ] for organ in made_of), default=self.places.get(known, last))
        return (rank, place, note.part in (Part.CORE, Part.CROPPED))


def _others(case: PatientCase, noted: set[str], expected: Sequence[str]) -> list[StructureNote]:
    """Return notes of the structures that no set tells of."""
    targets = targets_mask(case)
    others = []
    for name, mask in case.structures.items():
        if name not in noted:
            reason = _NO_PART.get(role_of(name), "named like a helper")
            others.append(note_of(case, targets, name, None, Status.DROPPED, reason, mask))
    absent = (name for name in dict.fromkeys(expected) if name not in case.structures and name not in noted)
    return others + [StructureNote(name, None, Status.ABSENT, "the case does not have it") for name in absent]
