"""Arcs as sampled control points, for VMAT-like plans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from dosewright.core import Beam, InputError, PatientCase
from dosewright.core.case import Technique
from dosewright.fluence.arcs import Arc
from dosewright.planning.beam_setup import AbstractBeamSetup, Number

_DIGITS = 6  # angles that agree to so many are one


@dataclass(frozen=True)
class PlannedArc:
    """An arc and the collimator's angle in it.

    Args:
        start_deg: Gantry angle at which it starts, in [0, 360).
        span_deg: Degrees it turns, in (0, 360].
        clockwise: Whether the gantry angle grows.
        collimator_deg: In [0, 360).
        couch_deg: In [0, 360).

    Raises:
        InputError: If an angle is out of range.
    """

    start_deg: Number
    span_deg: Number = 360.0
    clockwise: bool = True
    collimator_deg: Number = 0.0
    couch_deg: Number = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.collimator_deg < 360:
            raise InputError("must be in [0, 360)", argument="collimator_deg", value=self.collimator_deg)
        self.arc.angle_deg(0.0)

    @property
    def arc(self) -> Arc:
        """The gantry's way."""
        return Arc(float(self.start_deg), float(self.span_deg), self.clockwise, float(self.couch_deg))


@dataclass(frozen=True)
class SampledPoint:
    """A control point that stands for a sector of an arc.

    Args:
        arc: Index of the arc.
        beam: Index of its beam among those optimised.
        gantry_angle_deg: In the middle of the sector.
        collimator_deg: Of the arc.
    """

    arc: int
    beam: int
    gantry_angle_deg: float
    collimator_deg: float


@final
@dataclass(frozen=True)
class ArcBeams(AbstractBeamSetup):
    """Photon arcs, optimised as a beam every few degrees.

    Arcs that pass the same angles share their beams: a beam's fluence is what all arcs give from there. Beamlets stay
    parallel to the axes, whatever the collimator; its angles are for those who sequence the arcs.

    Args:
        arcs: In the order of delivery, each as `PlannedArc` or its arguments.
        spacing_deg: Most degrees between control points.

    Raises:
        InputError: If there is no arc, an angle is out of range, or the spacing is not in (0, 120].
    """

    arcs: Sequence[Any]
    spacing_deg: Number = 20.0

    def __post_init__(self) -> None:
        arcs = tuple(PlannedArc(**arc) if isinstance(arc, Mapping) else arc for arc in self.arcs)
        object.__setattr__(self, "arcs", arcs)
        if not arcs:
            raise InputError("must hold an arc", argument="arcs", value=())
        if not 0 < self.spacing_deg <= 120:
            raise InputError("must be in (0, 120]", argument="spacing_deg", value=self.spacing_deg)

    def beams(self, case: PatientCase) -> tuple[Beam, ...]:
        """Return a beam for each angle at which an arc has a control point; see `AbstractBeamSetup.beams`."""
        return self._sampled()[0]

    def control_points(self) -> tuple[SampledPoint, ...]:
        """Return the control points of all arcs, in the order of delivery."""
        return self._sampled()[1]

    def technique(self, case: PatientCase) -> Technique:
        """Return "VMAT"."""
        return "VMAT"

    def _sampled(self) -> tuple[tuple[Beam, ...], tuple[SampledPoint, ...]]:
        beams: list[Beam] = []
        places: dict[tuple[float, float], int] = {}
        points = []
        for index, planned in enumerate(self.arcs):
            for beam in planned.arc.beams(float(self.spacing_deg)):
                key = (round(beam.gantry_angle_deg, _DIGITS) % 360.0, round(beam.couch_angle_deg, _DIGITS))
                if key not in places:
                    places[key] = len(beams)
                    beams.append(beam)
                points.append(SampledPoint(index, places[key], beam.gantry_angle_deg, float(planned.collimator_deg)))
        return tuple(beams), tuple(points)
