"""A mask's bounding box and its surface voxels."""

import numpy as np
from jaxtyping import Int

from dosewright.core.errors import InputError
from dosewright.core.types import Mask

Box = tuple[slice, slice, slice]


def bounding_box(mask: Mask, margin_zyx: tuple[int, int, int] = (0, 0, 0)) -> Box:
    """Return the smallest box around a mask, widened by a margin in voxels and cut off at the array's border.

    Raises:
        InputError: If the mask is empty.

    >>> mask = np.zeros((5, 5, 5), bool)
    >>> mask[2, 0:2, 3] = True
    >>> bounding_box(mask, (1, 1, 1))
    (slice(1, 4, None), slice(0, 3, None), slice(2, 5, None))
    """
    in_zy = np.asarray(mask.any(axis=2))
    filled = [np.asarray(line) for line in (in_zy.any(axis=1), in_zy.any(axis=0), mask.any(axis=(0, 1)))]
    if not filled[0].any():
        raise InputError("must not be empty", argument="mask", value="0 voxels")
    z, y, x = (
        slice(max(int(np.argmax(line)) - margin, 0), min(line.size - int(np.argmax(line[::-1])) + margin, line.size))
        for line, margin in zip(filled, margin_zyx)
    )
    return (z, y, x)


def surface_voxels(mask: Mask) -> Int[np.ndarray, "n 3"]:
    """Return indices (z, y, x) of the mask's voxels with a face neighbour outside it, in C order.

    What lies beyond the array counts as outside.

    Raises:
        InputError: If the mask is empty.
    """
    box = bounding_box(mask)
    padded = np.pad(mask[box], 1)
    inner = padded[1:-1, 1:-1, 1:-1]
    enclosed = (
        padded[:-2, 1:-1, 1:-1]
        & padded[2:, 1:-1, 1:-1]
        & padded[1:-1, :-2, 1:-1]
        & padded[1:-1, 2:, 1:-1]
        & padded[1:-1, 1:-1, :-2]
        & padded[1:-1, 1:-1, 2:]
    )
    return np.argwhere(inner & ~enclosed) + np.array([piece.start for piece in box])
