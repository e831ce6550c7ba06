"""What a multileaf collimator can do."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dosewright.core import InputError
from dosewright.fluence.fluence_map import FluenceMap


@dataclass(frozen=True)
class Mlc:
    """A multileaf collimator: pairs of leaves that move along u, stacked along v, lengths in the isocentre's plane.

    The edges of the leaves are those of the beamlets where the leaf width allows it: the isocentre is taken to be
    placed so. Neighbouring leaves of opposite banks may pass each other (they do on most machines). Transmission
    through leaves and their tongue and groove are not modelled. The defaults resemble a Varian Millennium 120.

    Args:
        leaf_width_mm: Of every leaf.
        minimum_gap_mm: Least distance of opposing leaves; pairs that ought to be closed stand this far apart behind a
            jaw.
        reach_mm: Leaf pairs and beamlets must lie this close to the axis, in u and in v.
        overtravel_mm: How far a leaf may go past the axis.
        leaf_speed_mm_s: Of a moving leaf.
        dose_rate_mu_min: While leaves move.

    Raises:
        InputError: If a number is out of range.
    """

    leaf_width_mm: float = 5.0
    minimum_gap_mm: float = 0.5
    reach_mm: float = 200.0
    overtravel_mm: float = 150.0
    leaf_speed_mm_s: float = 25.0
    dose_rate_mu_min: float = 600.0

    def __post_init__(self) -> None:
        for name in ("leaf_width_mm", "reach_mm", "overtravel_mm", "leaf_speed_mm_s", "dose_rate_mu_min"):
            _check(name, getattr(self, name), zero=name == "overtravel_mm")
        _check("minimum_gap_mm", self.minimum_gap_mm, zero=True)

    @property
    def mu_per_mm(self) -> float:
        """Least monitor units while a leaf moves a millimetre at full dose rate.

        >>> Mlc(leaf_speed_mm_s=25.0, dose_rate_mu_min=600.0).mu_per_mm
        0.4
        """
        return self.dose_rate_mu_min / 60 / self.leaf_speed_mm_s

    def leaf_map(self, beam: FluenceMap) -> tuple[Float[np.ndarray, " edges"], Float[np.ndarray, "pairs columns"]]:
        """Return the leaves' edges along v in mm, and the fluence each pair ought to give each column.

        A leaf that spans several beamlets gives them their mean, by width; absent beamlets do not count.

        Raises:
            InputError: If the beamlets lie out of the leaves' reach.
        """
        self._check_reach(beam)
        first = beam.v_edges_mm[0] % beam.size_mm  # all beams share this lattice, whatever their lowest row
        low = math.floor((beam.v_edges_mm[0] - first) / self.leaf_width_mm + 1e-6)
        high = math.ceil((beam.v_edges_mm[-1] - first) / self.leaf_width_mm - 1e-6)
        edges = first + self.leaf_width_mm * np.arange(low, high + 1)
        shared = overlap_mm(edges, beam.v_edges_mm)
        width = shared @ beam.inside
        return edges, (shared @ (beam.values * beam.inside)) / np.where(width > 1e-9, width, 1.0)

    def _check_reach(self, beam: FluenceMap) -> None:
        u, v = beam.u_edges_mm, beam.v_edges_mm
        if max(abs(u).max(), abs(v).max()) > self.reach_mm:
            rule = f"must lie within reach_mm = {self.reach_mm} of the axis"
            raise InputError(rule, argument=f"beam {beam.beam}", value=(u[0], u[-1], v[0], v[-1]))
        if max(u[-1], -u[0]) > self.overtravel_mm:
            rule = f"must span no more than overtravel_mm = {self.overtravel_mm} either side of the axis"
            raise InputError(rule, argument=f"beam {beam.beam}", value=(u[0], u[-1]))


def overlap_mm(
    edges_mm: Float[np.ndarray, " edges"], others_mm: Float[np.ndarray, " others"]
) -> Float[np.ndarray, "intervals other_intervals"]:
    """Return the lengths that intervals given by ascending edges share with others, in mm.

    >>> overlap_mm(np.array([0.0, 10.0]), np.array([-5.0, 2.0, 12.0]))
    array([[2., 8.]])
    """
    low = np.maximum(edges_mm[:-1, None], others_mm[None, :-1])
    high = np.minimum(edges_mm[1:, None], others_mm[None, 1:])
    return np.maximum(high - low, 0.0)


def _check(name: str, value: Any, *, zero: bool) -> None:
    if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
        raise InputError("must be finite and " + ("not negative" if zero else "positive"), argument=name, value=value)
