"""Contours of simple shapes, as planning systems draw them: what `dicom_files` makes structure sets of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def circle(x: float, y: float, z: float, radius: float, count: int = 120, clockwise: bool = False) -> np.ndarray:
    """Points of a circle in an axial plane, (n, 3), mm."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    if clockwise:
        angles = angles[::-1]
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles), np.full(count, float(z))], 1)


def box(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    """Corners of a rectangle in an axial plane, (4, 3), mm."""
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], float)


def keyhole(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """One contour round `outer`, along a channel of no width to `inner`, round it and back."""
    return np.concatenate([outer, outer[:1], inner, inner[:1]])


@dataclass(frozen=True)
class Roi:
    """A structure as contours: name, RT ROI Interpreted Type, and points (n, 3) in mm per contour."""

    name: str
    contours: tuple[np.ndarray, ...] = ()
    type: str = "ORGAN"
    geometry: str = "CLOSED_PLANAR"

    @classmethod
    def cylinder(
        cls, name: str, x: float, y: float, zs: Sequence[float], radius: float, type: str = "ORGAN", count: int = 120
    ) -> "Roi":
        return cls(name, tuple(circle(x, y, z, radius, count) for z in zs), type)

    @classmethod
    def sphere(
        cls, name: str, centre_xyz: Sequence[float], zs: Sequence[float], radius: float, type: str = "PTV"
    ) -> "Roi":
        x, y, z0 = centre_xyz
        inside = [z for z in zs if abs(z - z0) < radius]
        return cls(name, tuple(circle(x, y, z, float(np.sqrt(radius**2 - (z - z0) ** 2))) for z in inside), type)
