"""All names of a case and what they stand for."""

from collections.abc import Iterable
from dataclasses import dataclass

from dosewright.io.tg263.match import How, NameMatch

_SURE: tuple[How, ...] = ("override", "exact", "synonym")
_DEVICE = "device"


@dataclass(frozen=True)
class NameReport:
    """What the names of one case stand for, in the order given.

    Args:
        matches: One per source name.
        unused_overrides: Overrides that no name of the case called for.
    """

    matches: tuple[NameMatch, ...]
    unused_overrides: tuple[str, ...] = ()

    @property
    def mapping(self) -> dict[str, str]:
        """Source name → TG-263 name, one-to-one, without guesses and devices (`Bolus`, `CouchSurface`…)."""
        return self.names()

    def names(self, accept_fuzzy: bool = False, devices: bool = False) -> dict[str, str]:
        """Return source name → TG-263 name, one-to-one.

        Args:
            accept_fuzzy: Whether guesses count.
            devices: Whether structures that are no part of a patient count.
        """
        hows = (*_SURE, "fuzzy") if accept_fuzzy else _SURE
        return {
            m.source: m.name
            for m in self.matches
            if m.name is not None and m.how in hows and (devices or m.kind != _DEVICE)
        }

    def of(self, source: str) -> NameMatch:
        """Return the match of a source name.

        Raises:
            KeyError: If it is none of the names.
        """
        return next((m for m in self.matches if m.source == source), None) or _missing(source)

    def counts(self) -> dict[How, int]:
        """Return how many names were matched in which way.

        >>> from dosewright.io.tg263 import TG263Matcher
        >>> TG263Matcher().match(["SpinalCord", "Lt Lung", "Hart", "xyz"]).counts()
        {'override': 0, 'exact': 1, 'synonym': 2, 'fuzzy': 0, 'unmatched': 1}
        """
        hows: tuple[How, ...] = (*_SURE, "fuzzy", "unmatched")
        return {how: sum(m.how == how for m in self.matches) for how in hows}


def _missing(source: str) -> NameMatch:
    raise KeyError(source)


def without_clashes(matches: Iterable[NameMatch]) -> tuple[NameMatch, ...]:
    """Return matches of which no two have one name: the surest way keeps it, and among equals none does.

    >>> pair = (NameMatch("Cord", "SpinalCord", "synonym", 0.95), NameMatch("Myelon", "SpinalCord", "synonym", 0.95))
    >>> [(m.name, m.note) for m in without_clashes(pair)][0]
    (None, "means SpinalCord, as 'Myelon' does: say which by an override")
    """
    matches = tuple(matches)
    claims: dict[str, list[NameMatch]] = {}
    for match in matches:
        if match.name is not None:
            claims.setdefault(match.name, []).append(match)
    return tuple(_settled(match, claims.get(match.name or "", [])) for match in matches)


def _settled(match: NameMatch, claims: list[NameMatch]) -> NameMatch:
    rank = {how: place for place, how in enumerate((*_SURE, "fuzzy"))}
    others = [m for m in claims if m is not match and rank[m.how] <= rank[match.how]]
    if not others:
        return match
    shown = ", ".join(repr(m.source) for m in others[:3])
    stronger = all(rank[m.how] < rank[match.how] for m in others)
    said = f"{shown} is {match.name} already" if stronger else f"means {match.name}, as {shown} does"
    advice = "" if stronger else ": say which by an override"
    note = f"{said}{advice}" + (f" ({match.note})" if match.note else "")
    return NameMatch(match.source, None, "unmatched", 0.0, note, match.kind)
