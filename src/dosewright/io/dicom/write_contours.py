"""Masks as contours along the edges of their voxels.

The outline of a slice runs between voxels, half a voxel from the nearest centre: whoever asks which centres lie inside
gets the mask back exactly, and the area is that of the voxels. Voxels that touch at a corner only are apart. Corners
are numbered like voxels: corner (x, y) is where the voxels of columns x - 1, x and rows y - 1, y meet.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dosewright.core import Grid
from dosewright.core.types import Mask

Holes = Literal["keyhole", "xor"]
Corner = tuple[int, int]  # x, y

# Ways along an edge with the structure to the right of the way (y grows downwards): +x, +y, -x, -y.
_WAYS: tuple[Corner, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))


def contours_mm(mask: Mask, grid: Grid, holes: Holes = "keyhole") -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield slice index and outline, x and y in LPS mm, of all pieces of a mask, from the lowest slice to the highest.

    Args:
        mask: Voxels of a structure.
        grid: Their grid.
        holes: "keyhole" joins each hole to the outline around it by a cut without width, so that every piece is one
            contour whatever way it is filled; "xor" gives holes as contours of their own after those around them, for
            even-odd filling.
    """
    spacing, origin = np.array(grid.spacing_xyz_mm[:2]), np.array(grid.origin_xyz_mm[:2])
    for k in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for corners in outlines(mask[k], holes):
            yield k, origin + spacing * (corners - 0.5)


def outlines(mask: Bool[np.ndarray, "y x"], holes: Holes = "keyhole") -> list[Int[np.ndarray, "n 2"]]:
    """Return the outlines of a slice as corners (x, y); see `contours_mm`.

    >>> outlines(np.array([[False, True], [False, True]]))[0].tolist()
    [[1, 0], [2, 0], [2, 2], [1, 2]]
    """
    rings = list(_rings(mask))
    areas = [_signed_area(ring) for ring in rings]
    if holes == "xor":
        order = sorted(range(len(rings)), key=lambda i: (-abs(areas[i]), rings[i][0]))
        return [_straightened(rings[i]) for i in order]
    return [_straightened(ring) for ring in _joined(rings, areas)]


def _rings(mask: Bool[np.ndarray, "y x"]) -> Iterator[list[Corner]]:
    """Yield closed ways along the edges, corner by corner, each from its topmost and there leftmost corner.

    They go clockwise on the screen around voxels, and counter-clockwise around holes.
    """
    ways = _edges(mask)
    for start in sorted(ways, key=lambda corner: (corner[1], corner[0])):
        while ways[start]:
            yield _followed(start, ways)


def _edges(mask: Bool[np.ndarray, "y x"]) -> dict[Corner, list[int]]:
    """Return the ways that lead away from each corner."""
    inside = np.pad(mask, 1)
    upper_left, upper_right = inside[:-1, :-1], inside[:-1, 1:]
    lower_left, lower_right = inside[1:, :-1], inside[1:, 1:]
    leads = (
        lower_right & ~upper_right,  # +x along a top edge
        lower_left & ~lower_right,  # +y along a right edge
        upper_left & ~lower_left,  # -x along a bottom edge
        upper_right & ~upper_left,  # -y along a left edge
    )
    ways: dict[Corner, list[int]] = {}
    for way, found in enumerate(leads):
        for y, x in np.argwhere(found).tolist():
            ways.setdefault((x, y), []).append(way)
    return ways


def _followed(start: Corner, ways: dict[Corner, list[int]]) -> list[Corner]:
    """Return the ring that starts at its topmost corner, and take its edges away.

    Where two voxels touch at a corner, the way turns right and stays with its own: they are apart. A ring meets its
    topmost corner once, so that it is closed when it is back.
    """
    ring, at, way = [start], start, ways[start].pop(0)
    while True:
        at = (at[0] + _WAYS[way][0], at[1] + _WAYS[way][1])
        if at == start:
            return ring
        ring.append(at)
        right = (way + 1) % 4
        way = ways[at].pop(ways[at].index(right) if right in ways[at] else 0)


def _joined(rings: list[list[Corner]], areas: list[float]) -> list[list[Corner]]:
    """Return the outer rings with the holes in them joined to them by cuts.

    The cut goes left from a hole's first corner to the next ring. That ring surrounds the hole, or is a hole whose own
    first corner comes before (higher, or as high and further left): so no two holes are joined in a circle, and
    from the last to the first each is whole when it is joined to another.
    """
    owner = {corner: index for index, ring in enumerate(rings) for corner in ring}
    inserts: dict[int, dict[Corner, list[list[Corner]]]] = {}
    outer = []
    for index in sorted(range(len(rings)), key=lambda i: rings[i][0][::-1], reverse=True):
        whole = _with_inserts(rings[index], inserts.pop(index, {}))
        if areas[index] > 0:
            outer.append(whole)
            continue
        x, y = rings[index][0]
        x -= 1
        while (x, y) not in owner:
            x -= 1
        inserts.setdefault(owner[x, y], {}).setdefault((x, y), []).append([*whole, whole[0], (x, y)])
    return outer[::-1]


def _with_inserts(ring: list[Corner], inserts: dict[Corner, list[list[Corner]]]) -> list[Corner]:
    if not inserts:
        return ring
    found: list[Corner] = []
    for corner in ring:
        found.append(corner)
        for insert in inserts.pop(corner, ()):
            found += insert
    return found


def _signed_area(ring: list[Corner]) -> float:
    """Return the area within a ring, in voxels; negative for holes."""
    x, y = np.array(ring).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _straightened(ring: list[Corner]) -> Int[np.ndarray, "n 2"]:
    """Return the corners at which a way turns, or turns back."""
    at = np.array(ring)
    before, after = at - np.roll(at, 1, axis=0), np.roll(at, -1, axis=0) - at
    return at[(np.sign(before) != np.sign(after)).any(axis=1)]
