"""What every reader of patient cases offers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from dosewright.core import PatientCase


class AbstractReader(ABC):
    """A source of patient cases of one split.

    A reader lists its case ids without reading volumes, and reads one case at a time; it is picklable, so that worker
    processes can share it.
    """

    @property
    @abstractmethod
    def case_ids(self) -> Sequence[str]:
        """Identifiers in a stable order, without duplicates."""

    @abstractmethod
    def read(self, case_id: str) -> PatientCase:
        """Return one case.

        Raises:
            CaseError: If the case is unknown or its files are broken; the message names the file.
        """

    def fingerprint(self, case_id: str) -> str:
        """Return a text that changes when the case's source changes; caches compare it before they trust an entry."""
        return f"{type(self).__name__}:{case_id}"

    def source_files(self, case_id: str) -> tuple[Path, ...]:
        """Return the files a case is read from, where what is exported should refer to them; () where none is known."""
        return ()

    def notes(self, case_id: str) -> tuple[str, ...]:
        """Return what had to be assumed or left out when this reader read the case last; () where nothing is known."""
        return ()

    @final
    def __len__(self) -> int:
        return len(self.case_ids)

    @final
    def __iter__(self) -> Iterator[PatientCase]:
        return (self.read(case_id) for case_id in self.case_ids)
