"""Arcs as sampled control points: beams every few degrees to optimise, apertures spread over the gantry's way.

A sector of the arc is optimised as one beam at its middle and delivered by a few apertures spread evenly over it,
leaves sweeping to the right in one sector and back in the next (as Bzdusek et al., Med Phys 36:2328, 2009). The dose
stays that of the sectors' middles: the finer the sectors, the closer. Apertures that were chosen for static beams make
an arc's leaves travel far: `delivery_seconds` tells how long that takes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from dosewright.core import Beam, InputError
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.mlc import Mlc

GANTRY_DEG_S = 6.0  # of a C-arm accelerator at full speed


@dataclass(frozen=True)
class Arc:
    """A way of the gantry with the beam on (IEC 61217).

    Args:
        start_deg: Gantry angle at which it starts, in [0, 360).
        span_deg: Degrees it turns, in (0, 360].
        clockwise: Whether the gantry angle grows.
        couch_angle_deg: In [0, 360).

    Raises:
        InputError: If an angle is out of range.
    """

    start_deg: float
    span_deg: float = 360.0
    clockwise: bool = True
    couch_angle_deg: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start_deg", "couch_angle_deg"):
            if not 0 <= getattr(self, name) < 360:
                raise InputError("must be in [0, 360)", argument=name, value=getattr(self, name))
        if not 0 < self.span_deg <= 360:
            raise InputError("must be in (0, 360]", argument="span_deg", value=self.span_deg)

    def angle_deg(self, turned_deg: float) -> float:
        """Return the gantry angle after some degrees.

        >>> Arc(350.0, 40.0).angle_deg(20.0), Arc(10.0, 40.0, clockwise=False).angle_deg(20.0)
        (10.0, 350.0)
        """
        angle = (self.start_deg + (turned_deg if self.clockwise else -turned_deg)) % 360.0
        return angle if angle < 360.0 else 0.0  # -1e-15 % 360.0 is 360.0

    def sectors(self, spacing_deg: float) -> int:
        """Return the number of equal sectors of at most `spacing_deg`.

        Raises:
            InputError: If the spacing is not positive.
        """
        if not spacing_deg > 0:
            raise InputError("must be positive", argument="spacing_deg", value=spacing_deg)
        return math.ceil(self.span_deg / spacing_deg - 1e-9)

    def beams(self, spacing_deg: float) -> tuple[Beam, ...]:
        """Return a photon beam at the middle of each sector, in the order of delivery.

        >>> [beam.gantry_angle_deg for beam in Arc(180.0, 90.0).beams(30.0)]
        [195.0, 225.0, 255.0]
        """
        count = self.sectors(spacing_deg)
        middles = (np.arange(count) + 0.5) * self.span_deg / count
        return tuple(Beam(self.angle_deg(float(at)), self.couch_angle_deg) for at in middles)


@dataclass(frozen=True, eq=False)
class ControlPoint:
    """An aperture of an arc and the gantry angle in the middle of its delivery.

    Args:
        gantry_angle_deg: In [0, 360).
        turned_deg: Degrees from the start of the arc.
        aperture: Leaves and weight; one that moves does so in the direction of its sector's sweep.
    """

    gantry_angle_deg: float
    turned_deg: float
    aperture: Aperture


def control_points(
    arcs: Sequence[Arc], beams: Sequence[Sequence[int]], apertures: Sequence[Aperture]
) -> tuple[tuple[ControlPoint, ...], ...]:
    """Return each arc's apertures spread over the gantry's way, in the order of delivery.

    Of a beam that several arcs pass, each takes its share of the apertures, those whose leaves stand together.

    Args:
        arcs: The arcs.
        beams: For each arc the plan's beam in the middle of each of its sectors, in the order of delivery; a beam comes
            once in an arc. For one arc alone, whose beams are the plan's, `[range(arc.sectors(spacing_deg))]`.
        apertures: Those of all beams of the plan.

    Raises:
        InputError: If there are not as many lists of beams as arcs, one is empty or names a beam twice, or an aperture
            is of a beam that no arc passes.
    """
    _check(arcs, beams, apertures)
    ordered = {beam: sorted((one for one in apertures if one.beam == beam), key=_middle_mm) for beam in _met(beams)}
    found = []
    for index, (arc, own) in enumerate(zip(arcs, beams, strict=True)):
        points: list[ControlPoint] = []
        width = arc.span_deg / len(own)
        for sector, beam in enumerate(own):
            share = _share(ordered[beam], [k for k, others in enumerate(beams) if beam in others], index)
            share = share if sector % 2 == 0 else [_reversed(one) for one in share[::-1]]
            turns = [(sector + (place + 0.5) / len(share)) * width for place in range(len(share))]
            points += (ControlPoint(arc.angle_deg(at), at, one) for at, one in zip(turns, share, strict=True))
        found.append(tuple(points))
    return tuple(found)


def leaf_travel_mm_per_deg(points: Sequence[ControlPoint]) -> float:
    """Return the fastest leaf of an arc, in mm per degree of gantry, over pairs open in both of two apertures.

    A machine that turns 6°/s with leaves of 25 mm/s follows 4.2 mm per degree at full speed, else it slows down.
    """
    ways = (_ways_mm(a.aperture, b.aperture) / (b.turned_deg - a.turned_deg) for a, b in pairwise(points))
    return max(ways, default=0.0)


def delivery_seconds(
    points: Sequence[ControlPoint], mu_per_fluence: float, mlc: Mlc, gantry_deg_s: float = GANTRY_DEG_S
) -> float:
    """Return how long an arc takes from its first control point to its last, beam on, in seconds.

    Between two points the slowest rules: the gantry, the leaf with the farthest way, or the monitor units at the
    largest dose rate, half of them of either aperture. Pairs that are shut in one of the two do not count.

    Args:
        points: In the order of delivery.
        mu_per_fluence: Monitor units of one fraction per unit of fluence.
        mlc: Speed of the leaves and dose rate.
        gantry_deg_s: Fastest turn of the gantry.

    Raises:
        InputError: If a factor is not positive.
    """
    for name, value in (("mu_per_fluence", mu_per_fluence), ("gantry_deg_s", gantry_deg_s)):
        if not (math.isfinite(value) and value > 0):
            raise InputError("must be finite and positive", argument=name, value=value)
    seconds = 0.0
    for one, other in pairwise(points):
        units = (one.aperture.weight + other.aperture.weight) / 2 * mu_per_fluence
        way = _ways_mm(one.aperture, other.aperture)
        turn = other.turned_deg - one.turned_deg
        seconds += max(turn / gantry_deg_s, way / mlc.leaf_speed_mm_s, units / (mlc.dose_rate_mu_min / 60))
    return seconds


def _check(arcs: Sequence[Arc], beams: Sequence[Sequence[int]], apertures: Sequence[Aperture]) -> None:
    if len(arcs) != len(beams):
        raise InputError(f"must be {len(arcs)}, one for each arc", argument="beams", value=len(beams))
    for own in beams:
        if not len(own) or len(set(own)) < len(own):
            raise InputError("must be different ones, at least one for each arc", argument="beams", value=list(own))
    stray = sorted({one.beam for one in apertures} - set(_met(beams)))
    if stray:
        raise InputError("must be of beams that the arcs pass", argument="apertures", value=f"of beams {stray}")


def _met(beams: Sequence[Sequence[int]]) -> list[int]:
    return sorted({beam for own in beams for beam in own})


def _share(apertures: list[Aperture], arcs: list[int], arc: int) -> list[Aperture]:
    """Return an arc's share of a beam's apertures, contiguous and as even as can be."""
    place, count = arcs.index(arc), len(arcs)
    return apertures[len(apertures) * place // count : len(apertures) * (place + 1) // count]


def _reversed(aperture: Aperture) -> Aperture:
    """Return an aperture whose leaves move the other way; the same fluence."""
    return replace(aperture, left_mm=aperture.left_mm[::-1], right_mm=aperture.right_mm[::-1])


def _middle_mm(aperture: Aperture) -> float:
    """Return the mean position of the opening."""
    left, right = aperture.sides_mm
    opening = right - left
    return float(((left + right) / 2) @ opening / max(float(opening.sum()), 1e-9))


def _ways_mm(one: Aperture, other: Aperture) -> float:
    places = {edge: index for index, edge in enumerate(other.edges_mm[:-1].round(3).tolist())}
    pairs = [(i, places[edge]) for i, edge in enumerate(one.edges_mm[:-1].round(3).tolist()) if edge in places]
    both = [(i, j) for i, j in pairs if one.opening_mm[i] > 0 and other.opening_mm[j] > 0]
    ways = [abs(a[i] - b[j]) for a, b in zip(one.sides_mm, other.sides_mm) for i, j in both]
    return float(max(ways, default=0.0))
