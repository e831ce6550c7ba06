"""Random draws that the sites share: truncated normals, stature, warps and texture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dosewright.io.phantom.anatomy import Warp, Waves
from dosewright.io.phantom.shapes import Ellipsoid, Number, Point


@dataclass(frozen=True)
class Jitter:
    """Draws around anatomical means; normal, cut at two standard deviations so that no draw is absurd."""

    rng: np.random.Generator

    def number(self, mean: Number, sd: Number) -> float:
        """Return mean ± sd, at most 2 sd away."""
        return mean + sd * float(np.clip(self.rng.standard_normal(), -2, 2))

    def uniform(self, low: Number, high: Number) -> float:
        """Return a number in [low, high)."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: Number) -> bool:
        """Return True with the given probability."""
        return bool(self.rng.random() < probability)

    def point(self, mean_xyz_mm: Point, sd_mm: Number = 1.5) -> Point:
        """Return a position around a mean."""
        x, y, z = mean_xyz_mm
        return (self.number(x, sd_mm), self.number(y, sd_mm), self.number(z, sd_mm))

    def radii(self, mean_xyz_mm: Point, sd: Number = 0.06) -> Point:
        """Return radii around means, `sd` relative."""
        x, y, z = mean_xyz_mm
        return (x * self.number(1, sd), y * self.number(1, sd), z * self.number(1, sd))

    def ellipsoid(
        self, center: Point, radii: Point, *, sd_mm: Number = 1.5, sd: Number = 0.06, **shape: Number
    ) -> Ellipsoid:
        """Return an ellipsoid with drawn centre (sd in mm) and radii (relative sd)."""
        return Ellipsoid(self.point(center, sd_mm), self.radii(radii, sd), **shape)

    def stations(
        self, rows: Sequence[tuple[Number, Number, Number, Number]], sd: Number = 0.03
    ) -> tuple[tuple[Number, Number, Number, Number], ...]:
        """Return loft stations (z, half-width, front, back) with drawn widths and depths, common to all stations."""
        wide, front, back = self.number(1, sd), self.number(1, sd), self.number(1, sd)
        return tuple((z, w * wide, f * front, b * back) for z, w, f, b in rows)

    def waves(self, count: int, shortest_mm: Number, longest_mm: Number) -> Waves:
        """Return a random smooth field with wavelengths in a range."""
        directions = self.rng.standard_normal((count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = np.exp(self.rng.uniform(np.log(shortest_mm), np.log(longest_mm), (count, 1)))
        vectors = 2 * np.pi * directions / lengths
        phases = self.rng.uniform(0, 2 * np.pi, count)
        return Waves(tuple((float(a), float(b), float(c)) for a, b, c in vectors), tuple(phases.tolist()))

    def warp(self, *, stature_sd: Number = 0.04, amplitude_mm: Number = 2.0) -> Warp:
        """Return stature and a smooth displacement that differs between left and right."""
        size = self.number(1, stature_sd)
        scale = (size * self.number(1, 0.02), size * self.number(1, 0.02), size * self.number(1, 0.02))
        fields = (self.waves(4, 130, 260), self.waves(4, 130, 260), self.waves(4, 130, 260))
        return Warp(scale, amplitude_mm, fields)
