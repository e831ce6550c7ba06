"""OpenKBP submissions: a flat zip, one `pt_N.csv` per patient, nothing else."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dosewright.core import SubmissionError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.files import atomic_path
from dosewright.core.types import FloatVolume
from dosewright.io import openkbp_csv
from dosewright.submission.flat_zip import new_entry

PATIENT = re.compile(r"^pt_(0|[1-9][0-9]*)$")


def write_submission(predictions: Iterable[tuple[str, FloatVolume]], path: str | Path) -> Path:
    """Write the doses of all patients as one submission and return its path.

    One dose is held in memory at a time. Doses are written to six digits (0.1 mGy at 70 Gy). The same doses in the same
    order give the same bytes. On an error nothing is written, and an older file stays as it was.

    Args:
        predictions: Pairs of patient (`pt_N`) and total dose in Gy, (z, y, x) LPS, 128³ voxels.
        path: The zip to write.

    Raises:
        SubmissionError: If there is no patient, one repeats or is not named `pt_N`, or a dose has another shape, is not
            finite, negative or above 250 Gy.
        StorageError: If the zip cannot be written.
    """
    path, written = Path(path), set[str]()
    if path.suffix != ".zip":
        raise SubmissionError("must end in .zip", argument="path", value=path.name)
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for case_id, dose_gy in predictions:
                _check(case_id, dose_gy, written)
                written.add(case_id)
                archive.writestr(new_entry(f"{case_id}.csv"), openkbp_csv.format_values(dose_gy))
        if not written:
            raise SubmissionError("must hold at least one patient", argument="predictions", value="none")
    return path


def _check(case_id: str, dose_gy: FloatVolume, written: set[str]) -> None:
    if not PATIENT.match(case_id):
        raise SubmissionError("must be pt_N", argument="patient", value=case_id)
    if case_id in written:
        raise SubmissionError("must appear once", argument="patient", value=case_id)
    if dose_gy.shape != openkbp_csv.SHAPE:
        raise SubmissionError(
            f"must have shape {openkbp_csv.SHAPE}", argument=f"dose of {case_id}", value=dose_gy.shape
        )
    least, most = float(dose_gy.min()), float(dose_gy.max())
    if not np.isfinite((least, most)).all():
        bad = f"{np.count_nonzero(~np.isfinite(dose_gy))} voxels NaN or infinite"
        raise SubmissionError("must be finite", argument=f"dose of {case_id}", value=bad)
    if least < 0 or most > DOSE_MAX_GY:
        raise SubmissionError(
            f"must be in [0, {DOSE_MAX_GY:g}] Gy total", argument=f"dose of {case_id}", value=(least, most)
        )
