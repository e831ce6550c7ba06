"""On which side of a patient a structure lies.

Masks are (z, y, x) on an LPS grid: x grows to the patient's left.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dosewright.core.errors import GridMismatchError

AnyMask = Bool[np.ndarray, "_ _ _"]  # (z, y, x); that all have one shape is for us to say

SIDED_SHARE = 0.9  # of the voxels of a structure on one side for it to lie there
BOTH_SHARE = 0.2  # of its voxels on the lesser side for it to lie on both
UNDECIDED_SHARE = 0.02  # of the body's width: a centre nearer to the midline than that says nothing


@dataclass(frozen=True)
class SideEvidence:
    """Where a structure lies.

    Args:
        left_share: Share of its voxels to the left of the body's midline, in [0, 1].
        offset: Its centre's distance to the left of the midline, in widths of the body; negative to the right.
        center_x: x index of its centre.
    """

    left_share: float
    offset: float
    center_x: float

    @property
    def side(self) -> str:
        """The side its centre lies on, "L" or "R", "" too near to the midline to say."""
        if abs(self.offset) < UNDECIDED_SHARE:
            return ""
        return "L" if self.offset > 0 else "R"

    @property
    def extent(self) -> str:
        """The side all of it lies on, "L" or "R", "both" when it lies on both in earnest, "" in between."""
        if self.left_share >= SIDED_SHARE and self.side != "R":
            return "L"
        if self.left_share <= 1 - SIDED_SHARE and self.side != "L":
            return "R"
        return "both" if BOTH_SHARE <= self.left_share <= 1 - BOTH_SHARE else ""


def side_evidence(mask: AnyMask, body: AnyMask) -> SideEvidence | None:
    """Return where a structure lies, None when it is empty.

    The midline is the median x of the body's voxels in the slices of the structure, so that neither arms on one side of
    a slice nor a patient off the grid's centre matter much.

    Raises:
        GridMismatchError: If mask and body differ in shape.

    >>> body = np.ones((2, 4, 100), dtype=bool)
    >>> mask = np.zeros_like(body)
    >>> mask[:, :, 80:90] = True
    >>> side_evidence(mask, body)
    SideEvidence(left_share=1.0, offset=0.35, center_x=84.5)
    """
    if mask.shape != body.shape:
        raise GridMismatchError("must have the shape of the body", argument="mask", value=(mask.shape, body.shape))
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if slices.size == 0:
        return None
    around = body[slices[0] : slices[-1] + 1]
    counts, body_counts = _per_column(mask), _per_column(around if around.any() else body)
    if not body_counts.any():
        body_counts = np.ones_like(body_counts)
    midline, width = _median(body_counts), float(np.ptp(np.flatnonzero(body_counts))) + 1
    x = np.arange(mask.shape[2])
    center = float((x * counts).sum() / counts.sum())
    left = float(counts[x > midline].sum() + 0.5 * counts[x == midline].sum())
    return SideEvidence(left / float(counts.sum()), (center - midline) / width, center)


def _per_column(mask: AnyMask) -> Int[np.ndarray, " x"]:
    return np.count_nonzero(mask, axis=(0, 1))


def _median(counts: Int[np.ndarray, " x"]) -> float:
    """Return the median x index of voxels counted per index."""
    total: Float[np.ndarray, " x"] = np.cumsum(counts) / counts.sum()
    low = int(np.searchsorted(total, 0.5 - 1e-9))
    high = int(np.searchsorted(total, 0.5 + 1e-9))
    return (low + min(high, counts.size - 1)) / 2
