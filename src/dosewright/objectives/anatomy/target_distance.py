"""How far a structure's voxels lie from the targets: distance-to-target histogram and overlap-volume histogram.

Distances are signed as in `geometry.distance`: positive outside the targets, negative inside, between voxel centres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dosewright.core import InputError

TOLERANCE_MM = 1e-3


@dataclass(frozen=True, eq=False)
class TargetDistance:
    """Signed distances of a structure's voxels to the targets.

    Args:
        ascending_mm: One per voxel, ascending.

    Raises:
        InputError: If there are none.
    """

    ascending_mm: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if self.ascending_mm.size == 0:
            raise InputError("must have a distance for at least one voxel", argument="ascending_mm", value="none")

    @classmethod
    def of(cls, distances_mm: Float[np.ndarray, " n"]) -> "TargetDistance":
        """Return the distances sorted."""
        return cls(np.sort(distances_mm).astype(np.float64))

    @property
    def gap_mm(self) -> float:
        """Least distance to the targets in mm; 0 where they overlap."""
        return max(float(self.ascending_mm[0]), 0.0)

    @property
    def mean_mm(self) -> float:
        """Mean signed distance in mm."""
        return float(self.ascending_mm.mean())

    def histogram_percent(self, edges_mm: Sequence[float]) -> Float[np.ndarray, " bins"]:
        """Return the distance-to-target histogram: percent of the voxels between neighbouring edges.

        The first and the last bin are open, so that the percents add up to 100; a distance on an edge belongs to the
        bin above it.

        Args:
            edges_mm: Inner edges, ascending; one bin more than these.

        >>> TargetDistance.of(np.array([-2.0, 3.0, 8.0, 40.0])).histogram_percent([0.0, 5.0, 10.0]).tolist()
        [25.0, 25.0, 25.0, 25.0]
        """
        at = np.searchsorted(self.ascending_mm, np.asarray(edges_mm, float), side="left")
        return 100.0 * np.diff(np.concatenate(([0], at, [self.ascending_mm.size]))) / self.ascending_mm.size

    def overlap_volume_percent(self, expansion_mm: float) -> float:
        """Return the overlap-volume histogram at an expansion: percent of the volume in the targets grown by it.

        Targets grown by r hold the voxels at most r away; shrunk, those deeper than |r| (Wu et al. 2009, Med. Phys. 36,
        5497, eq. 1).

        Args:
            expansion_mm: Margin around the targets; 0 for the targets themselves, negative to shrink them.

        >>> distance = TargetDistance.of(np.array([-4.0, -2.0, 3.0, 8.0]))
        >>> [distance.overlap_volume_percent(r) for r in (-2.0, 0.0, 3.0, 8.0)]
        [25.0, 50.0, 75.0, 100.0]
        """
        side, least_mm = ("right", TOLERANCE_MM) if expansion_mm > 0 else ("left", -TOLERANCE_MM)
        inside = np.searchsorted(self.ascending_mm, expansion_mm + least_mm, side=side)  # type: ignore[call-overload]
        return 100.0 * float(inside) / self.ascending_mm.size

    def expansion_mm(self, volume_percent: float) -> float:
        """Return the least distance in mm within which a percent of the volume lies.

        Args:
            volume_percent: In (0, 100].

        Raises:
            InputError: If the percent is out of its range.

        >>> TargetDistance.of(np.array([-4.0, -2.0, 3.0, 8.0])).expansion_mm(75.0)
        3.0
        """
        if not 0.0 < volume_percent <= 100.0:
            raise InputError("must be in (0, 100]", argument="volume_percent", value=volume_percent)
        count = int(np.ceil(volume_percent / 100.0 * self.ascending_mm.size - 1e-9))
        return float(self.ascending_mm[max(count, 1) - 1])
