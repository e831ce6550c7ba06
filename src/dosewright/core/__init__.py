"""Values every other part speaks in: grids, cases, structure names, errors."""

from dosewright.core.case import Beam, PatientCase
from dosewright.core.errors import (
    CaseError,
    CheckpointError,
    DosewrightError,
    GridMismatchError,
    InputError,
    StorageError,
    SubmissionError,
)
from dosewright.core.grid import Grid
from dosewright.core.structures import EXTERNAL, KNOWN, Role, mirrored, role_of

__all__ = [
    "EXTERNAL",
    "KNOWN",
    "Beam",
    "CaseError",
    "CheckpointError",
    "DosewrightError",
    "Grid",
    "GridMismatchError",
    "InputError",
    "PatientCase",
    "Role",
    "StorageError",
    "SubmissionError",
    "mirrored",
    "role_of",
]
