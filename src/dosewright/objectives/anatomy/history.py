"""What a planning CT does not show: surgery, an earlier irradiation, a gland that works unusually."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core import Grid, GridMismatchError, InputError, PatientCase
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.types import FloatVolume

EVERY_ORGAN = "all"
_KEYS = ("post_operative", "unusual_function", "prior_dose")
_BROKEN = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, eq=False)
class PatientHistory:
    """Of one patient; the default is one without any.

    Args:
        post_operative: Organs whose surroundings surgery has changed; "all" stands for every one.
        unusual_function: Organs that work unusually, as the patient reports.
        prior_dose_gy: Dose of earlier courses, total Gy on the case's grid.
    """

    post_operative: Sequence[str] = ()
    unusual_function: Sequence[str] = ()
    prior_dose_gy: FloatVolume | None = field(default=None, repr=False)

    def is_post_operative(self, organ: str) -> bool:
        """Whether surgery has changed the anatomy at an organ."""
        return EVERY_ORGAN in self.post_operative or organ in self.post_operative

    def has_unusual_function(self, organ: str) -> bool:
        """Whether an organ works unusually."""
        return EVERY_ORGAN in self.unusual_function or organ in self.unusual_function


def read_history(path: str | Path | None, case: PatientCase) -> PatientHistory:
    """Return a case's history from a JSON file; one without any where the file does not name the case.

    The file holds case id → {"post_operative": true or [organs], "unusual_function": [organs], "prior_dose": file}, all
    three optional. The prior dose is a `.npz` as `dosewright predict` writes it, on the case's grid; its path starts
    at the history file's folder.

    Args:
        path: The file; None means that nothing is known.
        case: The case.

    Raises:
        InputError: If the file is missing or not of this form, or the prior dose cannot be read.
        GridMismatchError: If the prior dose lies on another grid.
    """
    if path is None:
        return PatientHistory()
    path = Path(path).expanduser()
    entry = _entry(path, case.case_id)
    prior = entry.get("prior_dose")
    return PatientHistory(
        _organs(entry, "post_operative", path),
        _organs(entry, "unusual_function", path),
        None if prior is None else _prior_dose_gy(path.parent / str(prior), case),
    )


def history_fingerprint(path: str | Path | None, case_id: str) -> str:
    """Return a text that changes when a case's history does; empty where there is none."""
    if path is None:
        return ""
    path = Path(path).expanduser()
    entry = _entry(path, case_id)
    digest = hashlib.sha256(json.dumps(entry, sort_keys=True).encode())
    prior = path.parent / str(entry["prior_dose"]) if entry.get("prior_dose") else None
    if prior is not None and prior.is_file():
        digest.update(prior.read_bytes())
    return digest.hexdigest()[:16] if entry else ""


def _entry(path: Path, case_id: str) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", argument="history", path=path) from error
    except ValueError as error:
        raise InputError(f"must be JSON ({error})", argument="history", path=path) from error
    entry = content.get(case_id, {}) if isinstance(content, dict) else None
    if not isinstance(entry, dict) or not set(entry) <= set(_KEYS):
        raise InputError(f"must be case id → some of {_KEYS}", argument="history", value=entry, path=path)
    return entry


def _organs(entry: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    value = entry.get(key, [])
    if isinstance(value, bool):
        return (EVERY_ORGAN,) if value else ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError("must be true, false or a list of organs", argument=key, value=value, path=path)
    return tuple(value)


def _prior_dose_gy(path: Path, case: PatientCase) -> FloatVolume:
    try:
        with np.load(path, allow_pickle=False) as stored:
            dose_gy, spacing, origin = (stored[key] for key in ("dose_gy", "spacing_xyz_mm", "origin_xyz_mm"))
        (dx, dy, dz), (x, y, z) = spacing.tolist(), origin.tolist()
        grid = Grid(dose_gy.shape, (dx, dy, dz), (x, y, z))
    except _BROKEN as error:
        rule = f"must be a .npz file with dose_gy, spacing_xyz_mm and origin_xyz_mm ({error})"
        raise InputError(rule, argument="prior_dose", path=path) from error
    if not grid.is_close(case.grid):
        raise GridMismatchError(f"must be on the case's grid {case.grid}", argument="prior_dose", value=grid, path=path)
    least, most = float(dose_gy.min()), float(dose_gy.max())
    if not (least >= 0.0 and most <= DOSE_MAX_GY):  # false for NaN, too
        rule = f"must be finite and in [0, {DOSE_MAX_GY:g}] Gy total"
        raise InputError(rule, argument="prior_dose", value=(least, most), path=path)
    return dose_gy.astype(np.float32)
