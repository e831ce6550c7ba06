"""Parts of an organ that rules may ask something of, such as a wall of the rectum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dosewright.core import Grid, InputError
from dosewright.core.structures import Role, role_of
from dosewright.core.types import Mask
from dosewright.geometry import centroid_xyz_mm, signed_distance_mm
from dosewright.objectives.anatomy.directional_gap import DIRECTIONS
from dosewright.objectives.anatomy.goal import checked_keys


@dataclass(frozen=True)
class OrganPart:
    """A part of an organ: its wall, and of that the voxels on some sides of the middle.

    Left, right, anterior and posterior are told slice by slice from the middle of the organ in the slice, superior and
    inferior from that of the whole organ.

    Args:
        name: Of the part; that of a helper structure (`z…`).
        of: The organ.
        sides: Directions (`directional_gap.DIRECTIONS`), all of which must hold.
        wall_mm: Voxels at most this deep belong to the wall; None takes the whole organ.

    Raises:
        InputError: If the name is not a helper's, a side is unknown, or the wall is not positive.
    """

    name: str
    of: str
    sides: Sequence[str] = ()
    wall_mm: float | int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", tuple(self.sides))
        if role_of(self.name) is not Role.HELPER:
            raise InputError("must start with z, as helper structures do", argument="name of a part", value=self.name)
        unknown = [side for side in self.sides if side not in DIRECTIONS]
        if unknown:
            raise InputError(f"must be of {tuple(DIRECTIONS)}", argument=f"sides of {self.name}", value=unknown)
        if self.wall_mm is not None and not self.wall_mm > 0:
            raise InputError("must be positive, or null", argument=f"wall_mm of {self.name}", value=self.wall_mm)

    @classmethod
    def from_plain(cls, content: Any) -> "OrganPart":
        """Return the part of plain data.

        Raises:
            InputError: If a key is unknown or missing.
        """
        return cls(**checked_keys(content, cls, "part"))

    def mask(self, organ: Mask, grid: Grid) -> Mask:
        """Return the part's voxels; possibly none.

        Args:
            organ: Voxels of the organ, at least one.
            grid: Its grid.

        Raises:
            CaseError: If the organ is empty.
        """
        part = organ.copy()
        if self.wall_mm is not None and not organ.all():
            part &= signed_distance_mm(organ, grid.spacing_zyx_mm) >= -float(self.wall_mm) - 1e-3
        for side in self.sides:
            axis, sign = DIRECTIONS[side]
            position = np.expand_dims(grid.axis_mm("zyx"[axis]), [a for a in range(3) if a != axis])
            part &= sign * (position - self._middle(organ, grid, axis)) > 0
        return part

    @staticmethod
    def _middle(organ: Mask, grid: Grid, axis: int) -> np.ndarray:
        """Return the organ's middle along an axis in mm: of the whole for z, of each slice for the others."""
        if axis == 0:
            return np.array(centroid_xyz_mm(organ, grid)[2])
        position = grid.axis_mm("zyx"[axis])
        along = np.count_nonzero(organ, axis=3 - axis)  # (slice, position)
        count = np.maximum(along.sum(axis=1), 1)
        return (along @ position / count)[:, None, None]
