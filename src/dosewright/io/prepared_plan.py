"""Many plans of one patient as prepared cases: what they share is stored once, in an `.anatomy` file beside them.

A plan's file is a prepared case (`io.prepared`) without CT and masks, which are read from the anatomy. It also holds
where the plan comes from (`provenance.json`) and its fluence. `PreparedReader` reads a folder of them like any other.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from jaxtyping import Float

from dosewright.core import CaseError, PatientCase
from dosewright.core.files import atomic_path
from dosewright.io.case_archive import BROKEN, MAX_BYTES, checked_header, entry_of, frame_of, header_of, open_archive
from dosewright.io.prepared import ANATOMY, ANATOMY_SUFFIX, write_case

DOSE_STEP_GY = 0.01  # uint16 holds 655 Gy of these, more than a case may have; half the bytes of 1 mGy
_PROVENANCE, _FLUENCE = "provenance.json", "fluence"


def write_anatomy(folder: Path, case: PatientCase, fingerprint: str = "") -> Path:
    """Write what the plans of a case share, in one step; return its file.

    Raises:
        CaseError: If the case has more structures than the format holds.
        StorageError: If the disk is full.
    """
    path = folder / f"{case.case_id}{ANATOMY_SUFFIX}"
    write_case(path, case.with_dose(None), fingerprint)
    return path


def write_plan(
    path: Path,
    case: PatientCase,
    anatomy: Path,
    provenance: Mapping[str, Any],
    fluence: Float[np.ndarray, " b"],
    fingerprint: str = "",
) -> None:
    """Write a plan in one step.

    Args:
        path: `<folder>/<plan's case_id>.case`.
        case: The plan's case: its dose and beams, with the anatomy's CT and masks.
        anatomy: Written by `write_anatomy`, in the same folder.
        provenance: How the plan was made, as plain data for JSON.
        fluence: Per beamlet, stored as float16.
        fingerprint: Changes when the plan does.

    Raises:
        CaseError: If the case has no dose, or the anatomy stands elsewhere.
        StorageError: If the disk is full; an older file stays as it was.
    """
    if case.dose_gy is None:
        raise CaseError("must have a dose", argument="case", value=case.case_id)
    if anatomy.parent != path.parent:
        raise CaseError("must stand in the plan's folder", argument=ANATOMY, value=anatomy, path=path)
    header = header_of(case) | {"fingerprint": fingerprint, ANATOMY: anatomy.name, "dose_scale_gy": DOSE_STEP_GY}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("case.json", json.dumps(header))
        archive.writestr("dose", frame_of(np.round(case.dose_gy / DOSE_STEP_GY).astype(np.uint16)))
        archive.writestr(_PROVENANCE, json.dumps(dict(provenance)))
        archive.writestr(_FLUENCE, frame_of(fluence.astype(np.float16)))


def read_provenance(path: Path) -> dict[str, Any]:
    """Return how a plan was made.

    Raises:
        CaseError: If the file is missing, broken, or no plan's.
    """
    return _read(path, _PROVENANCE, lambda data: dict(json.loads(data)))


def read_fluence(path: Path) -> Float[np.ndarray, " b"]:
    """Return a plan's fluence per beamlet, float32.

    Raises:
        CaseError: If the file is missing, broken, or no plan's.
    """
    return _read(path, _FLUENCE, _row)


def _row(data: bytes) -> np.ndarray:
    frame = blosc2.ndarray_from_cframe(data)
    if frame.dtype != np.float16 or frame.ndim != 1 or frame.nbytes > MAX_BYTES:
        raise CaseError("must be a row of float16", argument=_FLUENCE, value=(frame.shape, str(frame.dtype)))
    return np.asarray(frame[...]).astype(np.float32)


def _read(path: Path, name: str, parse: Callable[[bytes], Any]) -> Any:
    try:
        with open_archive(path) as archive:
            checked_header(json.loads(entry_of(archive, "case.json")), path)
            return parse(entry_of(archive, name))
    except FileNotFoundError:
        raise CaseError("must exist", argument="plan", value="no such file", path=path) from None
    except BROKEN as error:
        if isinstance(error, CaseError) and error.path is not None:
            raise
        raise CaseError(f"must be a whole plan with {name}", argument="file", value=str(error), path=path) from error
