"""Step and shoot: a fluence map in a few levels, each aperture delivered while the leaves stand still."""

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float, Int

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.fluence_map import FluenceMap
from dosewright.fluence.mlc import Mlc
from dosewright.fluence.segmentation import Segment, openable, segments
from dosewright.fluence.sequencer import AbstractSequencer

_STEPS_TRIED = np.linspace(0.5, 1.0, 51)  # of the largest fluence over the number of levels


@final
@dataclass(frozen=True)
class StepAndShoot(AbstractSequencer):
    """Static apertures that sum to the fluence map, rounded to levels.

    The height of a level is chosen for the least squared rounding error, so that single peaks may be cut rather than
    all else be rounded coarsely. The apertures sum to the levelled map exactly and with the fewest monitor units
    (`segmentation`).

    Args:
        mlc: The collimator.
        levels: Largest number of levels above zero.
        most_segments: Of one beam; takes fewer levels where there would be more, and refuses a beam of which one level
            takes more. None: no limit.
        least_mu: Of one aperture in one fraction; takes higher levels where they would be below.

    Raises:
        InputError: If a number is out of range.
    """

    mlc: Mlc = field(default_factory=Mlc)
    levels: int = 20
    most_segments: int | None = None
    least_mu: float = 1.0

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise InputError("must be at least 1", argument="levels", value=self.levels)
        if self.most_segments is not None and self.most_segments < 1:
            raise InputError("must be at least 1, or None", argument="most_segments", value=self.most_segments)
        if not (math.isfinite(self.least_mu) and self.least_mu >= 0):
            raise InputError("must be finite and not negative", argument="least_mu", value=self.least_mu)

    def apertures(self, beam: FluenceMap, mu_per_fluence: float) -> tuple[Aperture, ...]:
        """Return the apertures of one beam; see `AbstractSequencer`.

        Raises:
            InputError: If the beam is out of the leaves' reach, or a single level takes more than `most_segments`.
        """
        edges, wanted = self.mlc.leaf_map(beam)
        columns = max(1, math.ceil(self.mlc.minimum_gap_mm / beam.size_mm - 1e-9))
        levels = self.levels
        while levels > 0:
            step, whole = levelled(wanted, levels, self.least_mu / mu_per_fluence)
            whole = openable(whole, columns)
            found = [] if self._hopeless(whole) else segments(whole, columns)
            if self.most_segments is None or 0 < len(found) <= self.most_segments or not whole.any():
                return tuple(self._aperture(beam, edges, one, step) for one in found)
            levels -= 1
        rule = f"must allow for the fluence of beam {beam.beam}, of which a single level takes more"
        raise InputError(rule, argument="most_segments", value=self.most_segments)

    def _hopeless(self, whole: Int[np.ndarray, "pairs columns"]) -> bool:
        """Whether a levelled map surely takes too many segments: each removes two jumps of a row at most."""
        if self.most_segments is None:
            return False
        jumps = (np.diff(whole, axis=1, prepend=0, append=0) != 0).sum(1)
        return int(np.ceil(jumps / 2).max(initial=0)) > self.most_segments

    def _aperture(
        self, beam: FluenceMap, edges_mm: Float[np.ndarray, " edges"], segment: Segment, step: float
    ) -> Aperture:
        u_edges, gap = beam.u_edges_mm, self.mlc.minimum_gap_mm
        is_open = np.flatnonzero(segment.end > segment.first)
        rows = slice(is_open[0], is_open[-1] + 1)
        first, end = segment.first[rows], segment.end[rows]
        shut = end <= first
        jaws = float(u_edges[first[~shut].min()]), float(u_edges[end[~shut].max()])
        left = np.where(shut, jaws[1], u_edges[first])
        right = np.where(shut, jaws[1] + gap, u_edges[end])
        pairs = edges_mm[rows.start : rows.stop + 1]
        return Aperture(beam.beam, pairs, np.stack([left, left]), np.stack([right, right]), jaws, step * segment.weight)


def levelled(
    values: Float[np.ndarray, "rows columns"], levels: int, least_step: float = 0.0
) -> tuple[float, Int[np.ndarray, "rows columns"]]:
    """Return the height of a level, and the map in whole levels up to `levels`, with the least squared error.

    Args:
        values: Fluence, not negative.
        levels: Largest level.
        least_step: The height is no less.

    >>> levelled(np.array([[0.0, 1.1, 2.0, 3.9]]), 4)[1]
    array([[0, 1, 2, 4]])
    """
    top = float(values.max(initial=0.0))
    if top <= 0:
        return max(least_step, 1.0), np.zeros(values.shape, int)
    steps = np.unique(np.maximum(_STEPS_TRIED * top / levels, least_step))
    whole = [np.clip(np.rint(values / step), 0, levels).astype(int) for step in steps]
    errors = [float(((step * one - values) ** 2).sum()) for step, one in zip(steps, whole, strict=True)]
    best = int(np.argmin(errors))
    return float(steps[best]), whole[best]
