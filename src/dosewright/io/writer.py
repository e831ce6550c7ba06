"""What every writer of patient cases offers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dosewright.core import PatientCase


@dataclass(frozen=True)
class Origin:
    """Where a case that is written comes from.

    Args:
        dose: Whether its dose is the source's own ("reference") or a prediction.
        fingerprint: Of the case and its dose, for formats that keep one.
        files: The files it was read from, for formats whose objects refer to others; may be empty.
    """

    dose: Literal["reference", "predicted"] = "reference"
    fingerprint: str = ""
    files: tuple[Path, ...] = ()


class AbstractWriter(ABC):
    """Writes patient cases in one format, each into files of its own of one folder.

    `version` is raised when the same case gives other files. `shared` names files of the folder in which all its cases
    have an entry.
    """

    version: int = 1
    shared: tuple[str, ...] = ()

    @abstractmethod
    def write(self, case: PatientCase, folder: Path, origin: Origin | None = None) -> tuple[Path, ...]:
        """Write one case, every file in one step, and return its files.

        Args:
            case: The case; without a dose, none is written.
            folder: Where cases go, created if absent; other cases' files in it stay.
            origin: Where the case comes from; None says nothing about it.

        Raises:
            InputError: If the format cannot hold the case.
            StorageError: If a file cannot be written.
        """
