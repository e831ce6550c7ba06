"""GDP-HMM submissions: a flat zip, one `<plan>_pred.npy` per plan at the plan's own shape, total Gy."""

import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dosewright.core import SubmissionError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.files import atomic_path, atomic_write
from dosewright.core.types import FloatVolume
from dosewright.submission.flat_zip import new_entry

PLAN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\+[A-Za-z0-9._+-]+\Z")
SUFFIX = "_pred.npy"


def write_submission(predictions: Iterable[tuple[str, FloatVolume]], path: str | Path) -> Path:
    """Write the doses of all plans as one submission and return its path.

    One dose is held in memory at a time; doses are float32. The same doses in the same order give the same bytes. On an
    error nothing is written, and an older file stays as it was.

    Args:
        predictions: Pairs of plan (`<PID>+<PlanID>+<suffix>`) and total dose in Gy, (z, y, x), on the plan's grid.
        path: The zip to write.

    Raises:
        SubmissionError: If there is no plan, one repeats or is named otherwise, or a dose is not finite, negative or
            above 250 Gy.
        StorageError: If the zip cannot be written.
    """
    path, written = Path(path), set[str]()
    if path.suffix != ".zip":
        raise SubmissionError("must end in .zip", argument="path", value=path.name)
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for plan, dose_gy in predictions:
                if plan in written:
                    raise SubmissionError("must appear once", argument="plan", value=plan)
                written.add(plan)
                archive.writestr(new_entry(f"{plan}{SUFFIX}"), npy_bytes(plan, dose_gy), compresslevel=1)
        if not written:
            raise SubmissionError("must hold at least one plan", argument="predictions", value="none")
    return path


def write_result(folder: str | Path, plan: str, dose_gy: FloatVolume) -> Path:
    """Write `<folder>/<plan>_pred.npy` in one step, as the challenge's container has to, and return its path.

    Raises:
        SubmissionError: If the plan is named otherwise, or the dose is not finite, negative or above 250 Gy.
        StorageError: If it cannot be written.
    """
    return atomic_write(Path(folder) / f"{plan}{SUFFIX}", npy_bytes(plan, dose_gy))


def npy_bytes(plan: str, dose_gy: FloatVolume) -> bytes:
    """Return a dose as an `.npy` file, float32 in C order.

    Raises:
        SubmissionError: See `write_result`.
    """
    if not PLAN.match(plan):
        raise SubmissionError("must be <PID>+<PlanID>+<suffix>", argument="plan", value=plan)
    least, most = float(dose_gy.min()), float(dose_gy.max())
    if not np.isfinite((least, most)).all():
        bad = f"{np.count_nonzero(~np.isfinite(dose_gy))} voxels NaN or infinite"
        raise SubmissionError("must be finite", argument=f"dose of {plan}", value=bad)
    if least < 0 or most > DOSE_MAX_GY:
        rule = f"must be in [0, {DOSE_MAX_GY:g}] Gy total"
        raise SubmissionError(rule, argument=f"dose of {plan}", value=(least, most))
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(dose_gy, np.float32), allow_pickle=False)
    return stream.getvalue()
