"""Which contour plane a slice of the grid takes: the rule for contours between slices, and for gaps.

Each plane of contours stands for a slab about it, as thick as the structure's planes are usually apart: the slab
reaches half that distance up and down, or to the middle between two planes that are closer. A slice takes the plane in
whose slab its centre lies. So on the CT that was contoured each slice takes its own plane; on another grid, or with
contours off the slices, the volume stays area × distance; and where a plane is missing, a gap stays. A structure
contoured on every second or third slice is filled between; planes further apart count as separate pieces, one CT slice
thick each.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

PLANE_TOLERANCE_MM = 0.05  # contours so close in z lie in one plane
MAX_SKIPPED = 3.0  # planes up to so many CT slices apart are joined

_EDGE = 1e-4  # of a slab; slices exactly between two planes take the upper one, whatever rounding says


@dataclass(frozen=True)
class Slabs:
    """The planes of one structure and how far each reaches.

    Args:
        z_mm: Planes, growing.
        thickness_mm: Usual distance of the planes.
        gaps: How many neighbours are further apart than that.
    """

    z_mm: Float[np.ndarray, " n"]
    thickness_mm: float
    gaps: int

    def planes_of(self, slices_mm: Float[np.ndarray, " z"]) -> Int[np.ndarray, " z"]:
        """Return the index of the plane that each slice takes, −1 for none."""
        shifted = slices_mm + _EDGE * self.thickness_mm
        above = np.clip(np.searchsorted(self.z_mm, shifted), 0, self.z_mm.size - 1)
        below = np.maximum(above - 1, 0)
        nearer_above = np.abs(self.z_mm[above] - shifted) <= np.abs(self.z_mm[below] - shifted)
        nearest = np.where(nearer_above, above, below)
        offset = shifted - self.z_mm[nearest]
        inside = (offset >= -self.thickness_mm / 2) & (offset < self.thickness_mm / 2)
        return np.where(inside, nearest, -1)


def planes_in(z_mm: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " planes"], Int[np.ndarray, " n"]]:
    """Return the planes that contours at these z lie in, growing, and the plane of each contour.

    >>> planes, which = planes_in(np.array([3.0, 0.0, 3.01]))
    >>> planes.round(3).tolist(), which.tolist()
    ([0.0, 3.005], [1, 0, 1])
    """
    order = np.argsort(z_mm, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.diff(z_mm[order]) > PLANE_TOLERANCE_MM)])
    which = np.empty(z_mm.size, int)
    which[order] = starts
    return np.bincount(which, z_mm) / np.bincount(which), which


def slabs_of(z_mm: Float[np.ndarray, " n"], slice_mm: float) -> Slabs:
    """Return the slabs of a structure.

    Args:
        z_mm: Its planes, growing.
        slice_mm: Distance of the slices of the CT it was drawn on.

    >>> slabs = slabs_of(np.array([0.0, 3.0, 6.0, 12.0]), 3.0)
    >>> slabs.planes_of(np.arange(-3.0, 16.0, 3.0)).tolist(), slabs.gaps
    ([-1, 0, 1, 2, -1, 3, -1], 1)
    """
    distances = np.diff(z_mm)
    thickness = slice_mm
    if distances.size:
        # The most frequent distance; of equally frequent ones, the least.
        values, counts = np.unique(np.round(distances / PLANE_TOLERANCE_MM), return_counts=True)
        usual = float(np.median(distances[np.round(distances / PLANE_TOLERANCE_MM) == values[np.argmax(counts)]]))
        thickness = usual if usual <= MAX_SKIPPED * slice_mm + PLANE_TOLERANCE_MM else slice_mm
    return Slabs(z_mm, thickness, int(np.count_nonzero(distances > thickness + 2 * PLANE_TOLERANCE_MM)))
