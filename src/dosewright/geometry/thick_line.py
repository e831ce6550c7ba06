"""A line four pixels wide, drawn as OpenCV 4 draws it.

The published angle plates were drawn by `cv2.line(..., thickness=4)` of OpenCV 4, so its raster is part of their
definition: a rectangle in 16-bit fixed point, outlined and filled, with a diamond of radius 2 on either end. Pixel
(y, x) has its centre at integer coordinates. OpenCV 5 draws lines that leave the image otherwise; inside they agree.
"""

import math

import numpy as np
from jaxtyping import Bool

WIDTH = 4  # pixels
_SHIFT = 16
_ONE = 1 << _SHIFT
_HALF = _ONE >> 1

_Point = tuple[int, int]  # (x, y)


def draw_thick_line(image: Bool[np.ndarray, "y x"], start_xy: _Point, end_xy: _Point) -> None:
    """Set the pixels of a line 4 pixels wide; what leaves the image is clipped.

    Args:
        image: Changed in place.
        start_xy: Pixel (x, y) of one end, possibly outside the image.
        end_xy: Pixel (x, y) of the other end.

    >>> image = np.zeros((5, 9), bool)
    >>> draw_thick_line(image, (3, 2), (6, 2))
    >>> for row in image:
    ...     print("".join("-#"[int(v)] for v in row))
    ---####--
    --######-
    -########
    --######-
    ---####--
    """
    if start_xy != end_xy:
        corners = _corners(start_xy, end_xy)
        for first, second in zip(corners[-1:] + corners[:-1], corners):
            _draw_edge(image, first, second)
        _fill(image, corners)
    for center in (start_xy, end_xy):
        _draw_cap(image, center)


def _corners(start_xy: _Point, end_xy: _Point) -> list[_Point]:
    """Return the rectangle's corners in fixed point, in order around it."""
    dx, dy = float(start_xy[0] - end_xy[0]), float(end_xy[1] - start_xy[1])
    scale = WIDTH * _HALF / math.sqrt(dx * dx + dy * dy)
    across_x, across_y = round(dy * scale), round(dx * scale)
    (x0, y0), (x1, y1) = ((x << _SHIFT, y << _SHIFT) for x, y in (start_xy, end_xy))
    return [
        (x0 + across_x, y0 + across_y),
        (x0 - across_x, y0 - across_y),
        (x1 - across_x, y1 - across_y),
        (x1 + across_x, y1 + across_y),
    ]


def _draw_cap(image: Bool[np.ndarray, "y x"], center_xy: _Point) -> None:
    radius = WIDTH // 2
    for row in range(-radius, radius + 1):
        reach = radius - abs(row)
        _set_run(image, center_xy[1] + row, center_xy[0] - reach, center_xy[0] + reach)


def _set_run(image: Bool[np.ndarray, "y x"], row: int, left: int, right: int) -> None:
    if 0 <= row < image.shape[0] and right >= 0:
        image[row, max(left, 0) : right + 1] = True


def _draw_edge(image: Bool[np.ndarray, "y x"], first: _Point, second: _Point) -> None:
    """Set the pixels along an edge in fixed point, one per step of its longer axis."""
    clipped = _clip(first, second, (image.shape[1] << _SHIFT) - 1, (image.shape[0] << _SHIFT) - 1)
    if clipped is None:
        return
    start, stop = clipped
    major = 0 if abs(stop[0] - start[0]) > abs(stop[1] - start[1]) else 1
    if stop[major] < start[major]:
        start, stop = stop, start
    length, rise = stop[major] - start[major], stop[1 - major] - start[1 - major]
    step = _divide(rise << _SHIFT, length | 1)
    count = np.arange((length >> _SHIFT) + 1)
    along = ((start[major] + _HALF) >> _SHIFT) + count
    across = (start[1 - major] + _HALF + step * count) >> _SHIFT
    _set_points(image, *((along, across) if major == 0 else (across, along)))
    _set_points(image, np.array([(stop[0] + _HALF) >> _SHIFT]), np.array([(stop[1] + _HALF) >> _SHIFT]))


def _set_points(image: Bool[np.ndarray, "y x"], x: np.ndarray, y: np.ndarray) -> None:
    inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
    image[y[inside], x[inside]] = True


def _fill(image: Bool[np.ndarray, "y x"], corners: list[_Point]) -> None:
    """Set the rows between the two chains of edges that run down from the topmost corner."""
    rows = [(y + _HALF) >> _SHIFT for _, y in corners]
    top = min(range(4), key=lambda i: corners[i][1])
    chains = [_chain_x(corners, rows, top, way) for way in (1, -1)]
    for k in range(max(rows) - rows[top] + 1):
        left, right = sorted((chains[0][k], chains[1][k]))
        _set_run(image, rows[top] + k, (left + _HALF) >> _SHIFT, (right + _HALF) >> _SHIFT)


def _chain_x(corners: list[_Point], rows: list[int], top: int, way: int) -> list[int]:
    """Return a chain's x in fixed point for every row from the top corner's to the lowest."""
    here, row, x, step = top, rows[top], -_ONE, 0
    xs: list[int] = []
    for k in range(1, 4):
        below = (top + way * k) % 4
        height = rows[below] - row
        if height > 0:
            x = corners[here][0]
            step = _divide((corners[below][0] - x) * 2 + height, 2 * height)
            xs += [x + step * i for i in range(height)]
            x, row = x + step * height, rows[below]
        here = below
    return [*xs, x]


def _clip(first: _Point, second: _Point, right: int, bottom: int) -> tuple[_Point, _Point] | None:
    """Return the part of a segment inside [0, right] × [0, bottom] (Cohen–Sutherland, y before x), or None."""
    ends = [list(first), list(second)]
    for axis, most in ((1, bottom), (0, right)):
        sides = [(e[axis] < 0, e[axis] > most) for e in ends]
        if any(a and b for a, b in zip(*sides)):
            return None
        for end, (low, high) in zip(ends, sides):
            if low or high:
                bound = most if high else 0
                run, rise = ends[1][axis] - ends[0][axis], ends[1][1 - axis] - ends[0][1 - axis]
                end[1 - axis] += _divide((bound - end[axis]) * rise, run)
                end[axis] = bound
    return (ends[0][0], ends[0][1]), (ends[1][0], ends[1][1])


def _divide(numerator: int, denominator: int) -> int:
    """Return the quotient rounded toward zero."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient
