"""Several corpora read as one."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.io.prepared import CachedReader
from dosewright.io.reader import AbstractReader

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]*\Z")  # no dot: the first one ends the corpus's name


@final
class MixedReader(AbstractReader):
    """One split of several corpora, one after the other; a case is called `<corpus>.<its own id>`.

    Each corpus is prepared in a cache of its own, the one it has when used alone, so that nothing is stored twice and
    the mix itself needs no cache.

    Args:
        corpora: Name → settings: `reader`, called with `split=` for the corpus's reader; optionally `cache_dir`, the
            folder of its prepared cases with a subfolder per split (None: read from the source each time), and
            `limit`, the number of its first cases that count in each split (None: all). A corpus of None is left out.
        split: The split of all of them.

    Raises:
        InputError: If there is no corpus, a name is illegal, a setting unknown or a limit not positive.
        CaseError: If a corpus cannot be read, or holds no case of the split; the message names it.
    """

    def __init__(self, corpora: Mapping[str, Mapping[str, Any] | None], split: str = "train") -> None:
        wanted = {name: settings for name, settings in corpora.items() if settings is not None}
        if not wanted:
            raise InputError("must name at least one corpus", argument="corpora", value=sorted(corpora))
        self._readers: dict[str, AbstractReader] = {}
        self._places: dict[str, tuple[str, str]] = {}
        for name, settings in wanted.items():
            if not _NAME.match(name):
                rule = "must be ASCII letters, digits and _+- only, and start with a letter, a digit or _"
                raise InputError(rule, argument="name of a corpus", value=name)
            self._readers[name] = _reader_of(name, split=split, **_checked(name, settings))
            limit = settings.get("limit")
            own_ids = list(self._readers[name].case_ids)[:limit]
            if not own_ids:
                raise CaseError(f"must hold at least one case of split {split!r}", argument=f"corpus {name!r}", value=0)
            self._places |= {f"{name}.{own_id}": (name, own_id) for own_id in own_ids}
        self._case_ids = tuple(self._places)

    @property
    def case_ids(self) -> Sequence[str]:
        """Identifiers, corpus by corpus in the order given, each in its reader's own order."""
        return self._case_ids

    def read(self, case_id: str) -> PatientCase:
        """Return one case under its name in the mix; see `AbstractReader.read`."""
        name, own_id = self._place(case_id)
        return replace(self._readers[name].read(own_id), case_id=case_id)

    def fingerprint(self, case_id: str) -> str:
        """Return the corpus's name and its own fingerprint.

        Raises:
            CaseError: If the case is unknown.
        """
        name, own_id = self._place(case_id)
        return f"{name}:{self._readers[name].fingerprint(own_id)}"

    def source_files(self, case_id: str) -> tuple[Path, ...]:
        """Return the corpus's own files of a case.

        Raises:
            CaseError: If the case is unknown.
        """
        name, own_id = self._place(case_id)
        return self._readers[name].source_files(own_id)

    def _place(self, case_id: str) -> tuple[str, str]:
        if case_id not in self._places:
            rule = f"must be one of {len(self)} cases such as {self._case_ids[0]}"
            raise CaseError(rule, argument="case_id", value=case_id)
        return self._places[case_id]


def _checked(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(settings) - {"reader", "cache_dir", "limit"})
    if unknown or "reader" not in settings:
        rule = "must have a reader, and may have cache_dir and limit"
        raise InputError(rule, argument=f"corpus {name!r}", value=sorted(settings))
    limit = settings.get("limit")
    if limit is not None and limit < 1:
        raise InputError("must be positive", argument=f"limit of corpus {name!r}", value=limit)
    return {"make": settings["reader"], "cache_dir": settings.get("cache_dir")}


def _reader_of(
    name: str, split: str, make: Callable[..., AbstractReader], cache_dir: str | Path | None
) -> AbstractReader:
    try:
        reader = make(split=split)
    except InputError as error:
        raise CaseError(f"cannot be read: {error}", argument=f"corpus {name!r}") from error
    return reader if cache_dir is None else CachedReader(reader, Path(cache_dir) / split)
