"""Which of a case's structures a scorecard's name means."""

import re
from collections.abc import Iterable, Mapping

from dosewright.core import InputError
from dosewright.geometry.structure_expression import Expression, Named, parse

BODY = "External"
_BODY_NAMES = ("body", "external")
_SEPARATORS = re.compile(r"[\s_]+")
_SIDE = re.compile(r"[\s_]+([lr])\Z", re.IGNORECASE)


class StructureMatcher:
    """Finds the structures of one case by a card's names, and guesses nothing.

    In order: an entry of `names`; the very name; the name but for case, blanks and underscores, where one structure
    alone fits. A side (a last part L or R) must stand apart in both or in neither, and be the same: `FEMORAL` is not
    `Femora_L`. `Body` and `External`, in any case, are the patient's outline.

    Args:
        structures: Names of the case's structures.
        names: Card's name → structure of the case, or structure expression; takes precedence over all else.

    Raises:
        InputError: If `names` has a value that is no text or blank, or two keys that differ in nothing but case, blanks
            and underscores and say different things.

    >>> matcher = StructureMatcher(("SpinalCord", "Parotid_L"), {"GLAND": "Parotid_L"})
    >>> matcher.find("SPINAL_CORD"), matcher.find("gland"), matcher.find("Parotid"), matcher.find("BODY")
    ('SpinalCord', 'Parotid_L', None, 'External')
    """

    def __init__(self, structures: Iterable[str], names: Mapping[str, str] | None = None) -> None:
        self.structures = tuple(structures)
        self.names = dict(names or {})
        self._by_key: dict[tuple[str, str], list[str]] = {}
        for name in self.structures:
            self._by_key.setdefault(_key(name), []).append(name)
        self._names_by_key: dict[tuple[str, str], str] = {}
        for name, meant in self.names.items():
            if not isinstance(meant, str) or not meant.strip():
                raise InputError(f"must say what {name!r} is in the case", argument="names", value=meant)
            if self._names_by_key.setdefault(_key(name), meant) != meant:
                raise InputError(f"must say one thing for {name!r}", argument="names", value=self.names)

    def mapped(self, name: str) -> str | None:
        """Return what `names` has for a card's name, None when it has nothing.

        >>> StructureMatcher((), {"PTV": "PTV_High | PTV_Low"}).mapped("ptv")
        'PTV_High | PTV_Low'
        """
        if name in self.names:
            return self.names[name]
        return self._names_by_key.get(_key(name))

    def find(self, name: str) -> str | None:
        """Return the case's structure for a card's name, `External` for the outline, None when there is none.

        What `names` has for the name is returned as it stands.

        Raises:
            InputError: If several structures fit equally well.
        """
        if not name.strip():
            return None
        mapped = self.mapped(name)
        if mapped is not None:
            return mapped
        if name in self.structures:
            return name
        if name.strip().lower() in _BODY_NAMES:
            return BODY
        found = self._by_key.get(_key(name), [])
        if len(found) > 1:
            raise InputError("must fit one structure; say which in `names`", argument=name, value=found)
        return found[0] if found else None

    def expression(self, name: str) -> Expression:
        """Return what a card's name stands for; the name itself when nothing does.

        Raises:
            ExpressionError: If `names` has something for it that is no expression.
            InputError: If several structures fit equally well.

        >>> matcher = StructureMatcher(("SpinalCord",), {"PTV": "PTV_High | PTV_Low"})
        >>> str(matcher.expression("spinal cord")), str(matcher.expression("PTV")), str(matcher.expression("Heart"))
        ('SpinalCord', 'PTV_High | PTV_Low', 'Heart')
        """
        found = self.find(name)
        if found is None or found in self.structures or found == BODY:
            return Named(found or name)
        return parse(found)


def _key(name: str) -> tuple[str, str]:
    """Return a name without what spelling varies, and its side."""
    stripped = name.strip()
    side = _SIDE.search(stripped)
    core = stripped[: side.start()] if side else stripped
    return _SEPARATORS.sub("", core).lower(), side[1].lower() if side else ""
