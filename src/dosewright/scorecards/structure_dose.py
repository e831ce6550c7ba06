"""One structure's dose, read many times: sorted at most once, and only when something asks for an order."""

import numpy as np
import torch
from jaxtyping import Float

from dosewright.core import InputError
from dosewright.dose.voxels import Voxels, at_position

SORTED_MAX = 30_000  # voxels; a larger structure is selected from instead of sorted, which takes a tenth of the time


class StructureDose:
    """Dose of a structure's voxels.

    Args:
        voxels_gy: Dose of each voxel in Gy, in any order.
        voxel_volume_cc: Volume of one voxel.

    Raises:
        InputError: If there is no voxel.
    """

    def __init__(self, voxels_gy: Float[np.ndarray, " n"], voxel_volume_cc: float) -> None:
        if voxels_gy.size == 0:
            raise InputError("must have a voxel", argument="structure", value="0 voxels")
        self.voxels_gy, self.voxel_volume_cc = voxels_gy, voxel_volume_cc
        self._ascending: Voxels | None = None

    @property
    def count(self) -> int:
        """Number of voxels."""
        return int(self.voxels_gy.size)

    @property
    def volume_cc(self) -> float:
        """Volume in cm³."""
        return self.count * self.voxel_volume_cc

    @property
    def mean_gy(self) -> float:
        """Mean dose."""
        return float(self.voxels_gy.mean(dtype=np.float64))

    @property
    def max_gy(self) -> float:
        """Greatest dose."""
        return float(self.voxels_gy.max())

    @property
    def min_gy(self) -> float:
        """Least dose."""
        return float(self.voxels_gy.min())

    def count_at_or_above(self, threshold_gy: float) -> int:
        """Return how many voxels have a dose or more; the dose is rounded to the voxels' precision first."""
        return int(np.count_nonzero(self.voxels_gy >= self.voxels_gy.dtype.type(threshold_gy)))

    def at_position(self, position: float) -> float:
        """Return the dose at a position among the voxels in ascending order, linearly interpolated.

        Args:
            position: 0 is the least dose, `count` − 1 the greatest; clipped to these.
        """
        position = min(max(position, 0.0), self.count - 1.0)
        if self._ascending is None and self.count > SORTED_MAX:
            below = int(position)
            above = min(below + 1, self.count - 1)
            pair = np.partition(self.voxels_gy, [below, above])[[below, above]].astype(np.float64)
            return float(at_position(torch.from_numpy(pair), position - below))
        if self._ascending is None:
            self._ascending = torch.from_numpy(np.sort(self.voxels_gy).astype(np.float64))
        return float(at_position(self._ascending, position))
