"""Contours to voxels: a voxel is inside when its centre is, by the even–odd rule over all contours of its plane.

So a contour inside another one is a hole, one inside the hole an island, and a keyhole's channel, run through twice,
encloses nothing: the exclusive or of DICOM PS3.3 C.8.8.6.3. All edges of a structure are put on the scan lines at once
(crossings toggle, a running exclusive or along x fills); an edge is taken as it is whichever way it runs, so edges run
twice cancel exactly. Centres on an edge belong to the structure on the edge's lower x and y side only.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

MAX_CROSSINGS = 4_000_000  # held at a time; a hostile zigzag has billions

Points = Float[np.ndarray, "_ 2"]


def fill_even_odd(planes: Sequence[Sequence[Points]], rows: int, columns: int) -> Bool[np.ndarray, "planes y x"]:
    """Return the pixels whose centres lie inside the contours of each plane.

    Args:
        planes: For each plane its closed contours as (x, y) in pixels: pixel (row, column) has its centre at
            (column, row). Parts outside the image count, but are cut off.
        rows: Pixels along y.
        columns: Pixels along x.

    >>> square = np.array([[0.5, 0.5], [3.5, 0.5], [3.5, 2.5], [0.5, 2.5]])
    >>> fill_even_odd([[square]], 4, 5)[0].astype(int).tolist()
    [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    """
    toggles = np.zeros((len(planes), rows, columns + 1), np.uint8)
    for index, contours in enumerate(planes):
        for row, column in _crossings(contours, rows, columns):
            np.bitwise_xor.at(toggles[index].reshape(-1), row * (columns + 1) + column, 1)
    return np.bitwise_xor.accumulate(toggles, axis=2)[:, :, :columns].view(bool)


def _crossings(contours: Sequence[Points], rows: int, columns: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield where edges cross scan lines: the row, and the first column at or right of the crossing."""
    if not contours:
        return
    start = np.concatenate(contours)
    end = np.concatenate([np.roll(points, -1, axis=0) for points in contours])
    swap = (start[:, 1] > end[:, 1])[:, None]
    start, end = np.where(swap, end, start), np.where(swap, start, end)
    first = np.clip(np.ceil(start[:, 1]), 0, rows).astype(int)
    last = np.clip(np.ceil(end[:, 1]), 0, rows).astype(int)  # exclusive
    counts = last - first
    limits = np.searchsorted(np.cumsum(counts), np.arange(MAX_CROSSINGS, counts.sum() + MAX_CROSSINGS, MAX_CROSSINGS))
    for low, high in zip([0, *(limits + 1)], [*(limits + 1), counts.size]):
        n = counts[low:high]
        if not n.sum():
            continue
        edge = np.repeat(np.arange(n.size), n) + low
        row = first[edge] + np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
        x = start[edge, 0] + (row - start[edge, 1]) * slope
        yield row, np.clip(np.ceil(x), 0, columns).astype(int)
