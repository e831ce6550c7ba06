"""Readers of cases held in memory, for tests of what stands on readers; importable, so that processes share them."""

import os
from collections.abc import Sequence

from dosewright.core import CaseError, PatientCase, StorageError
from dosewright.io.reader import AbstractReader


class MemoryReader(AbstractReader):
    """Cases of a list; counts what is read, and refuses the cases named in `broken`."""

    def __init__(self, cases: Sequence[PatientCase], broken: Sequence[str] = ()) -> None:
        self.cases = {case.case_id: case for case in cases}
        self.broken = set(broken)
        self.versions = dict.fromkeys(self.cases, 1)
        self.reads: list[str] = []

    @property
    def case_ids(self) -> Sequence[str]:
        return list(self.cases)

    def read(self, case_id: str) -> PatientCase:
        self.reads.append(case_id)
        if case_id in self.broken or case_id not in self.cases:
            raise CaseError("must be readable", argument="case", value=case_id)
        return self.cases[case_id]

    def fingerprint(self, case_id: str) -> str:
        return f"{case_id} version {self.versions.get(case_id, 0)}"


class FatalReader(MemoryReader):
    """Takes its whole process down with a broken case, as one that runs out of memory does."""

    def read(self, case_id: str) -> PatientCase:
        if case_id in self.broken:
            os._exit(1)
        return super().read(case_id)


class FullDiskReader(MemoryReader):
    """Finds the disk full at a broken case, as a reader with a cache of its own does."""

    def read(self, case_id: str) -> PatientCase:
        if case_id in self.broken:
            raise StorageError(f"{case_id}: no space left on the disk")
        return super().read(case_id)
