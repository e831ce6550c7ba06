"""Implicit shapes in LPS mm: closed forms whose level is negative inside and about the distance to the surface in mm.

Levels are first-order distances f / |∇f| (Taubin 1994), exact at the surface and good within a few centimetres of it,
which is what margins and partial volumes need.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

Number = int | float
Point = tuple[Number, Number, Number]  # LPS mm
Field = Float[np.ndarray, "..."]  # mm, one value per point
Bounds = tuple[Point, Point]  # lowest and highest corner, mm
FAR_MM = 1e4
SPACE: Bounds = ((-FAR_MM,) * 3, (FAR_MM,) * 3)


class AbstractShape(ABC):
    """A solid given by its level: negative inside, zero on the surface, positive outside, in mm."""

    @abstractmethod
    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""

    @property
    @abstractmethod
    def bounds(self) -> Bounds:
        """A box that holds the shape."""


@final
@dataclass(frozen=True)
class Ellipsoid(AbstractShape):
    """Superellipsoid Σ|p_i / r_i|^exponent <= 1; exponent 2 is an ellipsoid, more is boxier.

    `tilt_deg` turns it about the x axis (head nods: +y towards +z), `roll_deg` about the y axis (+x towards +z).
    """

    center_xyz_mm: Point
    radii_xyz_mm: Point
    exponent: Number = 2.0
    tilt_deg: Number = 0.0
    roll_deg: Number = 0.0

    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""
        u, v, w = (p - c for p, c in zip((x, y, z), self.center_xyz_mm))
        tilt, roll = np.deg2rad([self.tilt_deg, self.roll_deg]).tolist()
        v, w = np.cos(tilt) * v + np.sin(tilt) * w, np.cos(tilt) * w - np.sin(tilt) * v
        u, w = np.cos(roll) * u + np.sin(roll) * w, np.cos(roll) * w - np.sin(roll) * u
        return _superellipse_level((u, v, w), self.radii_xyz_mm, self.exponent)

    @property
    def bounds(self) -> Bounds:
        """A box that holds the shape."""
        center, reach = np.array(self.center_xyz_mm, float), np.array(self.radii_xyz_mm, float)
        if self.tilt_deg or self.roll_deg:
            reach = np.full(3, np.linalg.norm(reach))
        return _corners(center - reach, center + reach)


@final
@dataclass(frozen=True)
class Tube(AbstractShape):
    """Rounded tube along a polyline with a radius at each point.

    Args:
        points_xyz_mm: Points of the axis; see `spline_tube` for smooth ones.
        radii_mm: Radius at each point.
        squash_xyz: Stretch of the cross-section along x, y, z (1 is round; 1.5 is half as long again).
    """

    points_xyz_mm: tuple[Point, ...]
    radii_mm: tuple[Number, ...]
    squash_xyz: Point = (1.0, 1.0, 1.0)

    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""
        squash = np.array(self.squash_xyz)
        points = (np.array(self.points_xyz_mm) / squash).astype(x.dtype)
        x, y, z = (p / x.dtype.type(s) for p, s in zip((x, y, z), squash))
        level = np.full_like(x, FAR_MM)
        for a, b, ra, rb in zip(points[:-1], points[1:], self.radii_mm[:-1], self.radii_mm[1:]):
            axis = b - a
            along = ((x - a[0]) * axis[0] + (y - a[1]) * axis[1] + (z - a[2]) * axis[2]) / (axis @ axis)
            along = np.clip(along, 0, 1)
            square = sum((p - a[i] - along * axis[i]) ** 2 for i, p in enumerate((x, y, z)))
            level = np.minimum(level, np.sqrt(square) - (ra + (rb - ra) * along))
        return level

    @property
    def bounds(self) -> Bounds:
        """A box that holds the shape."""
        points, reach = np.array(self.points_xyz_mm, float), max(self.radii_mm) * np.array(self.squash_xyz)
        return _corners(points.min(0) - reach, points.max(0) + reach)


@final
@dataclass(frozen=True)
class Loft(AbstractShape):
    """Skin through stacked superellipses: half-width, front and back of the cross-section as functions of z.

    Args:
        stations_mm: Rows (z, half-width, front y, back y), rising in z; held constant beyond the ends.
        exponent: Of the superellipse, 2 for an ellipse.
    """

    stations_mm: tuple[tuple[Number, Number, Number, Number], ...]
    exponent: Number = 2.3

    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""
        rows = np.array(self.stations_mm, float)
        inside = np.clip(z, rows[0, 0], rows[-1, 0])
        half, front, back = PchipInterpolator(rows[:, 0], rows[:, 1:])(inside).astype(x.dtype).transpose(3, 0, 1, 2)
        return _superellipse_level((x, y - (front + back) / 2), (half, (back - front) / 2), self.exponent)

    @property
    def bounds(self) -> Bounds:
        """A box that holds the shape."""
        _, half, front, back = np.array(self.stations_mm, float).T
        return (-half.max(), front.min(), -FAR_MM), (half.max(), back.max(), FAR_MM)


@final
@dataclass(frozen=True)
class Slabs(AbstractShape):
    """Parallel slabs repeated along a direction: discs, ribs, spinous processes.

    Args:
        direction_xyz: Direction of the repetition (not normalised: a slope).
        pitch_mm: Distance between slab centres along the direction.
        thickness_mm: Of each slab.
        offset_mm: Position of one slab's centre.
    """

    direction_xyz: Point
    pitch_mm: Number
    thickness_mm: Number
    offset_mm: Number = 0.0

    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""
        a, b, c = self.direction_xyz
        along = np.mod(a * np.abs(x) + b * y + c * z - self.offset_mm + self.pitch_mm / 2, self.pitch_mm)
        return np.abs(along - self.pitch_mm / 2) - self.thickness_mm / 2

    @property
    def bounds(self) -> Bounds:
        """All of space."""
        return SPACE


@final
@dataclass(frozen=True)
class Inflated(AbstractShape):
    """A shape grown by a margin in mm (negative: shrunk)."""

    shape: AbstractShape
    margin_mm: Number

    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""
        return self.shape.level_mm(x, y, z) - self.margin_mm

    @property
    def bounds(self) -> Bounds:
        """A box that holds the shape."""
        low, high = np.array(self.shape.bounds, float)
        # first-order distances overrate growth where curvature is high: leave room
        reach = 1.5 * max(self.margin_mm, 0.0)
        return _corners(low - reach, high + reach)


@final
@dataclass(frozen=True)
class Union(AbstractShape):
    """All points in any of the shapes."""

    shapes: tuple[AbstractShape, ...]

    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""
        return np.minimum.reduce([s.level_mm(x, y, z) for s in self.shapes])

    @property
    def bounds(self) -> Bounds:
        """A box that holds the shape."""
        boxes = np.array([s.bounds for s in self.shapes], float)
        return _corners(boxes[:, 0].min(0), boxes[:, 1].max(0))


@final
@dataclass(frozen=True)
class Within(AbstractShape):
    """Points of `shape` that are in all of `inside` and none of `outside`."""

    shape: AbstractShape
    inside: tuple[AbstractShape, ...] = ()
    outside: tuple[AbstractShape, ...] = ()

    def level_mm(self, x: Field, y: Field, z: Field) -> Field:
        """Return the level at points (LPS mm)."""
        level = self.shape.level_mm(x, y, z)
        for other in self.inside:
            level = np.maximum(level, other.level_mm(x, y, z))
        for other in self.outside:
            level = np.maximum(level, -other.level_mm(x, y, z))
        return level

    @property
    def bounds(self) -> Bounds:
        """A box that holds the shape."""
        boxes = np.array([s.bounds for s in (self.shape, *self.inside)], float)
        return _corners(boxes[:, 0].max(0), boxes[:, 1].min(0))


def spline_tube(
    points_xyz_mm: Sequence[Point],
    radii_mm: Sequence[Number],
    *,
    step_mm: Number = 8.0,
    squash_xyz: Point = (1.0, 1.0, 1.0),
) -> Tube:
    """Return a tube along a smooth curve (monotone cubic per coordinate) through the points."""
    points = np.array(points_xyz_mm, float)
    chord = np.concatenate([[0.0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    at = np.linspace(0, chord[-1], max(2, int(np.ceil(chord[-1] / step_mm)) + 1))
    axis = PchipInterpolator(chord, points)(at)
    radii = PchipInterpolator(chord, np.array(radii_mm, float))(at)
    return Tube(tuple((float(a), float(b), float(c)) for a, b, c in axis), tuple(radii.tolist()), squash_xyz)


def shell(shape: AbstractShape, outer_mm: Number, inner_mm: Number) -> Within:
    """Return the layer of a shape between two margins, `inner_mm` < `outer_mm`."""
    return Within(Inflated(shape, outer_mm), outside=(Inflated(shape, inner_mm),))


def _superellipse_level(offsets: Sequence[Field], radii: Sequence[Field | Number], exponent: Number) -> Field:
    """Return k (k - 1) / |k ∇k| for the gauge k = (Σ|p_i / r_i|^n)^(1/n), the first-order distance."""
    ratios = [np.abs(p / r) for p, r in zip(offsets, radii)]
    gauge = np.maximum(sum(q**exponent for q in ratios), 1e-12) ** (1 / exponent)
    slope = np.sqrt(sum(((q / gauge) ** (exponent - 1) / r) ** 2 for q, r in zip(ratios, radii)))
    return ((gauge - 1) / np.maximum(slope, 1e-6)).astype(offsets[0].dtype)


def _corners(low: Float[np.ndarray, " 3"], high: Float[np.ndarray, " 3"]) -> Bounds:
    a, b = low.tolist(), high.tolist()
    return (a[0], a[1], a[2]), (b[0], b[1], b[2])
