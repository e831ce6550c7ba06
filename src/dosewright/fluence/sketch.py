"""A sketch of a dose influence: few of its small entries, each raised so that nothing is lost on average.

Small entries carry much of the dose (scatter), so they cannot be dropped; of every run of neighbours along a beamlet's
column that adds up to the threshold one is kept, at the threshold. Sums over neighbours stay what they were.
"""

from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float
from scipy import sparse

from dosewright.core import InputError
from dosewright.fluence.dose_influence import DoseInfluence

THRESHOLD = 0.01  # of a column's maximum; keeps 18 % of the entries at 5 mm beamlets on a 5 mm grid
_COLUMNS_AT_ONCE = 512  # bounds the memory beside the matrix
_sketches: WeakKeyDictionary[DoseInfluence, dict[float, DoseInfluence]] = WeakKeyDictionary()


def sketch_of(influence: DoseInfluence, threshold: float = THRESHOLD) -> DoseInfluence:
    """Return the sketch of a dose influence; made once while the influence lives.

    Args:
        influence: The matrix.
        threshold: Entries below this share of their column's maximum are thinned out, in (0, 1).

    Raises:
        InputError: If the threshold is out of range.
    """
    if not 0 < threshold < 1:
        raise InputError("must be in (0, 1)", argument="threshold", value=threshold)
    known = _sketches.setdefault(influence, {})
    if threshold not in known:
        thinned = _thinned(influence.csc, threshold)
        known[threshold] = DoseInfluence(
            thinned,
            influence.beams,
            influence.beamlets,
            influence.grid,
            influence.voxels,
            device=influence.device,
            dtype=influence.dtype,
        )
    return known[threshold]


def _thinned(csc: sparse.csc_array, threshold: float) -> sparse.csc_array:
    values, rows, counts = [], [], []
    for first in range(0, csc.shape[1], _COLUMNS_AT_ONCE):
        ends = csc.indptr[first : first + _COLUMNS_AT_ONCE + 1]
        data = csc.data[ends[0] : ends[-1]]
        kept, raised = thin(data, np.diff(ends), threshold)
        values.append(raised[kept])
        rows.append(csc.indices[ends[0] : ends[-1]][kept])
        before = np.concatenate([[0], np.cumsum(kept)])
        counts.append(np.diff(before[ends - ends[0]]))
    ends = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int32)
    return sparse.csc_array((np.concatenate(values), np.concatenate(rows), ends), shape=csc.shape)


def thin(
    values: Float[np.ndarray, " m"], lengths: np.ndarray, threshold: float
) -> tuple[np.ndarray, Float[np.ndarray, " m"]]:
    """Return which entries of a run of columns to keep, and all entries raised to the threshold at least.

    An entry of share p < 1 of the threshold is kept when the sum of shares so far passes a whole number (systematic
    sampling); larger entries always are, unchanged.

    Args:
        values: Entries, column by column, not negative.
        lengths: Number of entries of each column.
        threshold: Share of the column's maximum.
    """
    starts = np.cumsum(lengths) - lengths
    filled = lengths > 0
    most = np.zeros(len(lengths), values.dtype)
    if filled.any():
        most[filled] = np.maximum.reduceat(values, starts[filled])
    least = np.repeat(most * values.dtype.type(threshold), lengths)
    share = np.minimum(values / np.maximum(least, np.finfo(values.dtype).tiny), 1)
    passed = np.floor(np.cumsum(share, dtype=np.float64) + 0.5)
    return np.diff(passed, prepend=0.0) > 0, np.maximum(values, least)
