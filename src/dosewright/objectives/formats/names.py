"""Names of structures in a planning system: the user's own, within the system's limits."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dosewright.core import InputError


@dataclass(frozen=True)
class NameRule:
    """What a planning system takes as a structure's name.

    Args:
        system: The system, for messages.
        longest: Most characters.
        forbidden: Characters that must not occur, besides control characters, which never may.
        ignores_case: Whether two names that differ in case only are one name to it.
    """

    system: str
    longest: int
    forbidden: str = ""
    ignores_case: bool = False

    def problem(self, name: str) -> str:
        """Return what is wrong with a name, nothing if it is right.

        >>> NameRule("Eclipse", 16).problem("Bone_Mandible-PTV")
        "'Bone_Mandible-PTV' has 17 characters, more than 16"
        """
        if not name or name != name.strip():
            return f"{name!r} is empty, or begins or ends with a space"
        if not name.isprintable():
            return f"{name!r} has a character that is not printable"
        found = sorted(set(name) & set(self.forbidden))
        if found:
            return f"{name!r} has a character that is not allowed ({' '.join(found)})"
        return f"{name!r} has {len(name)} characters, more than {self.longest}" if len(name) > self.longest else ""

    def check(self, names: Mapping[str, str]) -> None:
        """Check the names of structures, all of them at once.

        Args:
            names: Structure → name in the system.

        Raises:
            InputError: If a name is not allowed, or stands for two structures; it tells every one.
        """
        problems = [problem for problem in map(self.problem, names.values()) if problem]
        problems += self._shared(names)
        if problems:
            rule = f"must be allowed in {self.system}: {'; '.join(problems)}. Give other names with names=FILE"
            raise InputError(rule, argument="names of structures")

    def _shared(self, names: Mapping[str, str]) -> Iterable[str]:
        users: dict[str, list[str]] = {}
        for structure, name in names.items():
            users.setdefault(name.casefold() if self.ignores_case else name, []).append(structure)
        for sharing in users.values():
            if len(sharing) > 1:
                yield f"{names[sharing[0]]!r} stands for {' and '.join(sharing)}"


def own_names(
    structures: Iterable[str],
    names: Mapping[str, str] | None = None,
    made: Collection[str] = (),
    longest: int | None = None,
) -> dict[str, str]:
    """Return the name of each structure in the planning system.

    Args:
        structures: The structures, by the names the package uses.
        names: Structure → the user's own name; None keeps all names as they are.
        made: Helper structures that were made here. They keep their names unless `names` has another: the planning
            system gets them from here.
        longest: Most characters of the names of helper structures; longer ones are `shortened`. None allows any.

    Raises:
        InputError: If a structure that was not made here has no entry; it tells every one.

    >>> own_names(["Parotid_L", "Ring_PTV"], {"Parotid_L": "Parotis li"}, made=["Ring_PTV"])
    {'Parotid_L': 'Parotis li', 'Ring_PTV': 'Ring_PTV'}
    """
    structures = tuple(structures)
    absent = [] if names is None else [name for name in structures if name not in names and name not in made]
    if absent:
        raise InputError(f"must have an entry for each of {absent}", argument="names", value=sorted(names or ()))
    own = {name: shortened(name, longest) if longest and name in made else name for name in structures}
    return own | {name: names[name] for name in structures if names is not None and name in names}


def shortened(name: str, longest: int) -> str:
    """Return a helper's name in at most so many characters: without underscores, then cut before its last `-`.

    >>> shortened("Bone_Mandible-PTV", 16), shortened("Musc_Constrict_Inferior-PTV", 16), shortened("Ring_PTV", 16)
    ('BoneMandible-PTV', 'MuscConstric-PTV', 'Ring_PTV')
    """
    if len(name) <= longest:
        return name
    head, dash, tail = name.replace("_", "").rpartition("-")
    return (head[: max(1, longest - len(dash + tail))] + dash + tail)[:longest]
