"""Free-text structure names → TG-263 names."""

from collections.abc import Iterable, Mapping

from dosewright.core.errors import InputError
from dosewright.core.structures import EXTERNAL, Role, role_of
from dosewright.io.tg263.match import Kind, NameMatch
from dosewright.io.tg263.overrides import checked_overrides, override_key
from dosewright.io.tg263.read_name import read_name
from dosewright.io.tg263.report import NameReport, without_clashes

NAMES_MAX = 10_000
_KINDS: dict[Role, Kind] = {
    Role.TARGET: "target",
    Role.OAR: "organ",
    Role.HELPER: "helper",
    Role.EXTERNAL: "external",
}


class TG263Matcher:
    """Finds the TG-263 names of a case's structures.

    In order: the user's overrides; names that are TG-263's already; rules and synonyms, which must explain a name
    wholly; guesses, which mend slips or disregard a number or a word like "new". What a name says about its side is
    taken as it is, and a paired organ without a side stays unmatched: `settle_sides` knows more from the masks.

    Args:
        overrides: Source name → TG-263 name, or "" to leave a structure out; case and blanks do not count.

    Raises:
        InputError: If two overrides differ in nothing but case and blanks, or a name is illegal.

    >>> report = TG263Matcher({"Neck": "Neck_Posterior"}).match(["Rt Parotid", "cord PRV 5mm", "NECK", "Esophogus"])
    >>> report.mapping
    {'Rt Parotid': 'Parotid_R', 'cord PRV 5mm': 'SpinalCord_PRV05', 'NECK': 'Neck_Posterior'}
    >>> report.names(accept_fuzzy=True)["Esophogus"]
    'Esophagus'
    """

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        self._overrides = checked_overrides(overrides or {})

    def match(self, names: Iterable[str]) -> NameReport:
        """Return what each name stands for; no two for one thing.

        Raises:
            InputError: If there are more than 10 000 names, or two overrides call two names of the case the same.
        """
        names = tuple(names)
        if len(names) > NAMES_MAX:
            raise InputError(f"must be at most {NAMES_MAX}", argument="number of names", value=len(names))
        matches = [self._match(name) for name in names]
        self._check_overrides(matches)
        used = {override_key(name) for name in names}
        unused = tuple(key for key in self._overrides if key not in used)
        return NameReport(without_clashes(matches), unused)

    def _match(self, source: str) -> NameMatch:
        name = self._overrides.get(override_key(source))
        if name is None:
            return read_name(source).of(source)
        if not name:
            return NameMatch(source, None, "override", 1.0, "left out")
        kind = "external" if name == EXTERNAL else _KINDS[role_of(name)]
        return NameMatch(source, name, "override", 1.0, kind=kind)

    def _check_overrides(self, matches: list[NameMatch]) -> None:
        sources: dict[str, str] = {}
        for match in matches:
            if match.how == "override" and match.name is not None:
                other = sources.setdefault(match.name, match.source)
                if other is not match.source:
                    raise InputError(
                        f"must give {match.name} to one structure of a case",
                        argument="overrides",
                        value=(other, match.source),
                    )
