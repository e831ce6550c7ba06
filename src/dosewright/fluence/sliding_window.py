"""Sliding window: both banks sweep from left to right once while the beam is on."""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.fluence_map import FluenceMap
from dosewright.fluence.mlc import Mlc
from dosewright.fluence.sequencer import AbstractSequencer

_NOTHING = 1e-6  # of the largest fluence


@final
@dataclass(frozen=True)
class SlidingWindow(AbstractSequencer):
    """Leaves that sweep over the field at full speed and wait where the fluence changes.

    The fluence at a point is the time between the leading leaf uncovering it and the trailing one covering it, so the
    trailing leaf waits for every rise of the fluence and the leading one for every fall (Spirou & Chui, Med Phys
    21:1031, 1994; Stein et al., Radiother Oncol 32:163, 1994). That is exact but for the minimum gap and for the
    control points, between which a machine moves leaves evenly: the more of them, the closer. Beam-on fluence of a
    beam: that of the sweep at full speed and the largest sum of positive gradients of a row.

    Args:
        mlc: The collimator.
        control_points: Intervals between control points, equal in monitor units; each gives one moving aperture.

    Raises:
        InputError: If there is not at least one.
    """

    mlc: Mlc = field(default_factory=Mlc)
    control_points: int = 60

    def __post_init__(self) -> None:
        if self.control_points < 1:
            raise InputError("must be at least 1", argument="control_points", value=self.control_points)

    def apertures(self, beam: FluenceMap, mu_per_fluence: float) -> tuple[Aperture, ...]:
        """Return the moving apertures of one beam; see `AbstractSequencer`."""
        edges, wanted = self.mlc.leaf_map(beam)
        lit = wanted > _NOTHING * max(float(wanted.max(initial=0.0)), np.finfo(float).tiny)
        if not lit.any():
            return ()
        rows, columns = _span(np.any(lit, axis=1)), _span(np.any(lit, axis=0))
        u_edges = beam.u_edges_mm[columns.start : columns.stop + 1]
        travel = self.mlc.mu_per_mm / mu_per_fluence * (u_edges - u_edges[0])
        wanted = np.where(lit, wanted, 0.0)[rows, columns]
        total, left, right = self._positions(wanted, np.any(lit[rows], axis=1), u_edges, travel)
        pairs, jaws = edges[rows.start : rows.stop + 1], (float(u_edges[0]), float(u_edges[-1]))
        weight = total / self.control_points
        return tuple(
            Aperture(beam.beam, pairs, left[i : i + 2], right[i : i + 2], jaws, weight)
            for i in range(self.control_points)
        )

    def _positions(
        self,
        wanted: Float[np.ndarray, "pairs columns"],
        used: np.ndarray,
        u_edges: Float[np.ndarray, " edges"],
        travel: Float[np.ndarray, " edges"],
    ) -> tuple[float, Float[np.ndarray, "points pairs"], Float[np.ndarray, "points pairs"]]:
        """Return the beam-on fluence and both banks' positions at the control points."""
        jumps = np.diff(wanted, axis=1, prepend=0.0, append=0.0)
        rises, falls = np.maximum(jumps, 0.0), np.maximum(-jumps, 0.0)
        total = float(travel[-1] + rises.sum(1).max())
        at = np.linspace(0.0, total, self.control_points + 1)
        left, right = (
            np.stack([_trajectory(at, row, u_edges, travel) for row in waits], 1) for waits in (rises, falls)
        )
        left[:, ~used] = right[:, ~used] = u_edges[-1]  # unused pairs stay behind a jaw
        gap = self.mlc.minimum_gap_mm
        started = left > u_edges[0]
        left = np.where(started, left, np.minimum(left, right - gap))  # before its start a leaf is behind the other jaw
        return total, left, np.maximum(right, left + gap)


def _trajectory(
    at: Float[np.ndarray, " points"],
    waits: Float[np.ndarray, " edges"],
    u_edges: Float[np.ndarray, " edges"],
    travel: Float[np.ndarray, " edges"],
) -> Float[np.ndarray, " points"]:
    """Return where a leaf is at the times `at`: it moves from edge to edge in `travel` and waits at them."""
    waited = np.cumsum(waits)
    times = np.stack([travel + waited - waits, travel + waited], 1).ravel()
    return np.interp(at, times, np.repeat(u_edges, 2))


def _span(lit: np.ndarray) -> slice:
    found = np.flatnonzero(lit)
    return slice(int(found[0]), int(found[-1]) + 1)
