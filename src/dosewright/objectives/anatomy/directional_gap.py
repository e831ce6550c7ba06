"""Gap between a structure and the targets along the patient's axes.

Directions are the patient's: left is +x, posterior +y, superior +z (LPS). Gaps run between voxel centres, as all
distances of the package: structures that touch are one voxel apart.
"""

from collections.abc import Mapping

import numpy as np

from dosewright.core.types import Mask, Triple

#: Direction → (array axis, +1 or −1).
DIRECTIONS: Mapping[str, tuple[int, int]] = {
    "left": (2, 1),
    "right": (2, -1),
    "posterior": (1, 1),
    "anterior": (1, -1),
    "superior": (0, 1),
    "inferior": (0, -1),
}


def directional_gaps_mm(structure: Mask, targets: Mask, spacing_zyx_mm: Triple) -> dict[str, float | None]:
    """Return direction → how far the structure could move that way before it meets a target, in mm.

    0 where they overlap; None where no target lies that way of any of its voxels.

    Args:
        structure: Its voxels.
        targets: Voxels of all targets.
        spacing_zyx_mm: Voxel edge lengths in array order.

    >>> structure, targets = np.zeros((1, 1, 8), bool), np.zeros((1, 1, 8), bool)
    >>> structure[..., 1:3], targets[..., 6] = True, True
    >>> gaps = directional_gaps_mm(structure, targets, (3.0, 2.0, 2.0))
    >>> gaps["left"], gaps["right"], gaps["superior"]
    (8.0, None, None)
    """
    return {
        name: _gap_mm(structure, targets, axis, sign, spacing_zyx_mm[axis]) for name, (axis, sign) in DIRECTIONS.items()
    }


def _gap_mm(structure: Mask, targets: Mask, axis: int, sign: int, step_mm: float) -> float | None:
    along, wall = np.moveaxis(structure, axis, 0)[::sign], np.moveaxis(targets, axis, 0)[::sign]
    count = along.shape[0]
    index = np.arange(count).reshape(-1, 1, 1)
    ahead = np.minimum.accumulate(np.where(wall, index, 2 * count)[::-1])[::-1]  # next target voxel, itself included
    steps = (ahead - index)[along]
    least = int(steps.min()) if steps.size else count
    return least * step_mm if least < count else None
