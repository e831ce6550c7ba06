"""Apertures: where the leaves of one beam stand while it is on, and the fluence that passes between them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float

from dosewright.core import InputError
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.fluence_map import FluenceMap, fluence_maps
from dosewright.fluence.mlc import overlap_mm

_TOUCH_MM = 1e-6  # rounding of positions


@final
@dataclass(frozen=True, eq=False)
class Aperture:
    """One segment of one beam: leaf positions at its start and at its end, between which the leaves move evenly.

    Conventions: lengths in the plane of the isocentre; leaves move along u, the collimator's X, and pairs are stacked
    along v, its Y (`geometry.beam_frame`). The first axis of positions is start, end; a static segment has both alike.

    Args:
        beam: Index of the beam.
        edges_mm: Edges of the leaf pairs along v, ascending; the jaws close all beyond the first and the last.
        left_mm: Positions of the leaves on the side of negative u.
        right_mm: Those on the other side.
        jaws_mm: The jaws along u: light passes between these two only.
        weight: Fluence where the aperture is open, in the unit of the dose influence.

    Raises:
        InputError: If shapes do not fit, a number is not finite, edges do not ascend, opposing leaves collide or the
            weight is negative.
    """

    beam: int
    edges_mm: Float[np.ndarray, " edges"]
    left_mm: Float[np.ndarray, "2 pairs"]
    right_mm: Float[np.ndarray, "2 pairs"]
    jaws_mm: tuple[float, float]
    weight: float

    def __post_init__(self) -> None:
        shape = (2, len(self.edges_mm) - 1)
        for name in ("left_mm", "right_mm"):
            if getattr(self, name).shape != shape:
                raise InputError(f"must be of shape {shape}", argument=name, value=getattr(self, name).shape)
        if not all(np.isfinite(v).all() for v in (self.edges_mm, self.left_mm, self.right_mm, self.jaws_mm)):
            raise InputError("must be finite", argument="aperture", value=self.jaws_mm)
        if shape[1] < 1 or (np.diff(self.edges_mm) <= 0).any():
            raise InputError("must be at least two and ascend", argument="edges_mm", value=self.edges_mm)
        if (self.left_mm > self.right_mm + _TOUCH_MM).any():
            worst = float((self.left_mm - self.right_mm).max())
            raise InputError("must not pass the opposing leaf", argument="left_mm", value=f"{worst} mm beyond")
        if not (np.isfinite(self.weight) and self.weight >= 0):
            raise InputError("must be finite and not negative", argument="weight", value=self.weight)

    @property
    def opening_mm(self) -> Float[np.ndarray, " pairs"]:
        """How far each pair is open between the jaws, at the middle of the segment."""
        left, right = self.sides_mm
        return right - left

    @property
    def sides_mm(self) -> tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
        """Left and right end of each pair's opening at the middle of the segment, cut by the jaws."""
        left, right = np.clip(self.left_mm.mean(0), *self.jaws_mm), np.clip(self.right_mm.mean(0), *self.jaws_mm)
        return left, np.maximum(left, right)

    @property
    def area_mm2(self) -> float:
        """Open area at the middle of the segment."""
        return float(self.opening_mm @ np.diff(self.edges_mm))

    def with_weight(self, weight: float) -> "Aperture":
        """Return the same aperture with another weight."""
        return replace(self, weight=weight)


def aperture_matrix(apertures: Sequence[Aperture], beamlets: Beamlets) -> Float[np.ndarray, "b s"]:
    """Return the mean fluence each aperture gives each beamlet per unit weight: its open share of area and time.

    Raises:
        InputError: If an aperture is of a beam without beamlets; see also `fluence_maps`.
    """
    lattices = {one.beam: one for one in fluence_maps(np.zeros(len(beamlets)), beamlets)}
    matrix = np.zeros((len(beamlets), len(apertures)), np.float32)
    for column, aperture in enumerate(apertures):
        lattice = lattices.get(aperture.beam)
        if lattice is None:
            raise InputError(f"must be one of {sorted(lattices)}", argument="beam", value=aperture.beam)
        matrix[lattice.place[lattice.inside], column] = open_share(aperture, lattice)[lattice.inside]
    return matrix


def aperture_fluence(apertures: Sequence[Aperture], beamlets: Beamlets) -> Float[np.ndarray, " b"]:
    """Return the fluence of each beamlet that apertures give together."""
    weights = np.array([aperture.weight for aperture in apertures], float)
    return aperture_matrix(apertures, beamlets).astype(np.float64) @ weights


def open_share(aperture: Aperture, lattice: FluenceMap) -> Float[np.ndarray, "rows columns"]:
    """Return the share of each lattice cell's area that is open, averaged over the time of the segment."""
    cells = np.clip(lattice.u_edges_mm, *aperture.jaws_mm)
    open_u = _covered(aperture.right_mm, cells) - _covered(aperture.left_mm, cells)
    shared_v = overlap_mm(lattice.v_edges_mm, aperture.edges_mm)
    return (shared_v @ np.maximum(open_u, 0.0)) / lattice.size_mm**2


def _covered(positions_mm: Float[np.ndarray, "2 pairs"], edges_mm: Float[np.ndarray, " edges"]) -> np.ndarray:
    """Return the mean length of each cell left of a leaf end that moves evenly from start to end, (pairs, cells).

    Left of position p lies ∫ over the cell of 1[u < p]; its mean over p is a difference of antiderivatives, which are
    a parabola within the cell and straight beyond.
    """
    low, high = edges_mm[None, :-1], edges_mm[None, 1:]
    start, end = positions_mm[0][:, None], positions_mm[1][:, None]
    still = np.clip((start + end) / 2, low, high) - low
    way = end - start
    moves = np.abs(way) > _TOUCH_MM
    swept = _antiderivative(end, low, high) - _antiderivative(start, low, high)
    return np.where(moves, swept / np.where(moves, way, 1.0), still)


def _antiderivative(at: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    within = np.clip(at, low, high) - low
    return within**2 / 2 + (high - low) * np.maximum(at - high, 0.0)
