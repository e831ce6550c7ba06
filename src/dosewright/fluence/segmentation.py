"""Splitting a matrix of whole numbers into apertures that sum to it: fewest monitor units, and few apertures.

Engel's algorithm (K. Engel, A new algorithm for optimal multileaf collimator field segmentation, Discrete Applied
Mathematics 152:35, 2005): the least total weight is the complexity c, the largest over rows of the sum of positive
gradients. A segment is taken with the largest weight u after which the rest has complexity c - u, and of the segments
possible the one that leaves fewest jumps.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage

from dosewright.core import InputError


@dataclass(frozen=True, eq=False)
class Segment:
    """Columns `first` to `end` (not included) of each row open with a weight; a closed row has both alike.

    Args:
        weight: In levels, positive.
        first: First open column of each row.
        end: One past the last.
    """

    weight: int
    first: Int[np.ndarray, " rows"]
    end: Int[np.ndarray, " rows"]

    def mask(self, columns: int) -> Bool[np.ndarray, "rows columns"]:
        """Return which cells are open."""
        at = np.arange(columns)
        return (self.first[:, None] <= at) & (at < self.end[:, None])


def row_complexity(matrix: np.ndarray) -> np.ndarray:
    """Return the sum of positive gradients of each row, the rise from zero at its start included.

    >>> row_complexity(np.array([[1, 3, 0, 2], [4, 4, 4, 4]]))
    array([5, 4])
    """
    return np.maximum(np.diff(matrix, axis=1, prepend=0), 0).sum(1)


def segments(matrix: Int[np.ndarray, "rows columns"], least_columns: int = 1) -> list[Segment]:
    """Return apertures that sum to a matrix of levels, openings of at least `least_columns` in each row.

    Their weights add up to the complexity of the matrix, which is the least possible. Longer openings come from a
    single sweep of the leaves, which takes more apertures than Engel's choice.

    Raises:
        InputError: If a level is negative, or an opening must be narrower; `openable` gives a matrix that needs none.
    """
    if (matrix < 0).any():
        raise InputError("must not be negative", argument="matrix", value=int(matrix.min()))
    if least_columns > 1:
        return _swept(matrix, least_columns)
    rest, found = matrix.astype(np.int32), []
    while rest.any():
        segment = _largest(rest)
        rest = rest - segment.weight * segment.mask(rest.shape[1])
        found.append(segment)
    return found


def openable(matrix: Int[np.ndarray, "rows columns"], least_columns: int) -> Int[np.ndarray, "rows columns"]:
    """Return the largest matrix below one whose rows are sums of openings of at least `least_columns`.

    That is the grey-value opening of each row: every peak at least so wide.

    >>> openable(np.array([[1, 3, 1, 2, 2]]), 2)
    array([[1, 1, 1, 2, 2]])
    """
    if least_columns <= 1:
        return matrix
    padded = np.pad(matrix, ((0, 0), (least_columns, least_columns)))
    return ndimage.grey_opening(padded, size=(1, least_columns))[:, least_columns:-least_columns]


def _swept(matrix: Int[np.ndarray, "rows columns"], least_columns: int) -> list[Segment]:
    """Pair the k-th rise of each row with its k-th fall (Bortfeld et al., IJROBP 28:723, 1994)."""
    if (openable(matrix, least_columns) != matrix).any():
        rule = f"must have peaks of {least_columns} columns or more"
        raise InputError(rule, argument="matrix", value=matrix)
    total = int(row_complexity(matrix).max(initial=0))
    first, end = np.zeros((2, total, len(matrix)), int)
    for row, values in enumerate(matrix):
        jumps = np.diff(values, prepend=0, append=0)
        rises, falls = (np.repeat(np.arange(len(jumps)), np.maximum(sign * jumps, 0)) for sign in (1, -1))
        first[: len(rises), row], end[: len(falls), row] = rises, falls
    changes = np.flatnonzero(np.diff(first, axis=0).any(1) | np.diff(end, axis=0).any(1)) + 1
    starts = np.concatenate([[0], changes]) if total else np.zeros(0, int)
    weights = np.diff(np.append(starts, total))
    return [Segment(int(w), first[s], end[s]) for w, s in zip(weights, starts, strict=True)]


def _largest(rest: Int[np.ndarray, "rows columns"]) -> Segment:
    """Return Engel's next segment."""
    rows, columns = rest.shape
    jumps = np.diff(rest, axis=1, prepend=0, append=0)
    slack = row_complexity(rest)
    slack = slack.max() - slack
    possible = _weights(rest, jumps, slack)  # of opening [l, r]
    weight = int(np.maximum(possible.reshape(rows, -1).max(1), slack).min())
    # How many jumps more an opening leaves; a closed row none. Of equal ones the longest opening.
    opened = (jumps[:, :-1] != weight).astype(np.float32) - (jumps[:, :-1] != 0)
    closed = (jumps[:, 1:] != -weight).astype(np.float32) - (jumps[:, 1:] != 0)
    at = np.arange(columns)
    length = np.maximum(at[None, :] - at[:, None] + 1, 0).astype(np.float32)
    cost = (opened[:, :, None] + closed[:, None, :]) * np.float32(columns + 1) - length
    cost = np.where(possible >= weight, cost, np.inf).reshape(rows, -1)
    best = cost.argmin(1)
    least = cost[np.arange(rows), best]
    shut = ~np.isfinite(least) | ((least >= 0) & (slack >= weight))
    first, last = np.divmod(best, columns)
    return Segment(weight, np.where(shut, 0, first), np.where(shut, 0, last + 1))


def _weights(
    rest: Int[np.ndarray, "rows columns"], jumps: Int[np.ndarray, "rows edges"], slack: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, "rows columns columns"]:
    """Return the largest weight of each opening [l, r] that lowers the matrix's complexity by itself; -1 where r < l.

    Opening with weight u raises the row's complexity by (u - q)₊ - min(u, p), p the rise at l and q the fall after r;
    that plus u must not exceed the row's slack.
    """
    columns = rest.shape[1]
    rise, fall = np.maximum(jumps[:, :-1], 0)[:, :, None], np.maximum(-jumps[:, 1:], 0)[:, None, :]
    gap = slack[:, None, None]
    low, high = np.minimum(rise, fall), np.maximum(rise, fall)
    by_slack = np.where(low + gap <= high, low + gap, (low + high + gap) // 2)
    at = np.arange(columns)
    ahead = np.where(at[None, :] >= at[:, None], rest[:, None, :], np.iinfo(np.int32).max)
    least = np.minimum.accumulate(ahead, axis=2)
    return np.where(at[None, :] >= at[:, None], np.minimum(by_slack, least), -1)
