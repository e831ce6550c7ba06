"""Apertures as the plan that goes into a DICOM RTPLAN."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from dosewright.core import InputError, PatientCase
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.arcs import ControlPoint
from dosewright.fluence.mlc import Mlc
from dosewright.geometry.isocenter import isocenter_of
from dosewright.io.dicom.write_plan_types import Rotation, RtBeam, RtControlPoint, RtPlan
from dosewright.planning.arc_beams import ArcBeams
from dosewright.planning.arc_delivery import delivered_arcs
from dosewright.planning.deliver import Delivered

_LATTICE = 1e-3  # mm by which the edges of leaves may be off their lattice
MakePoint = Callable[[Aperture, int, float, float], RtControlPoint]


def rt_plan_of(case: PatientCase, apertures: Sequence[Aperture], monitor_units: float, mlc: Mlc) -> RtPlan:
    """Return the plan that delivers apertures from the case's beams, gantry at rest.

    A static aperture gives two control points that stand alike; of a sweep each aperture starts where the one before
    ended. Beams without apertures are left out.

    Args:
        case: The patient, with the beams that the apertures are of.
        apertures: In the order of delivery; those of a beam on one lattice of leaves.
        monitor_units: Of one fraction, of all apertures together.
        mlc: The collimator that they were made for.

    Raises:
        InputError: If there is no aperture with a weight, one is of a beam the case does not have, those of a beam
            have leaves on different lattices, or the monitor units are not positive.
    """
    units = _mu_per_weight(apertures, monitor_units)
    stray = sorted({one.beam for one in apertures} - set(range(len(case.beams))))
    if stray:
        raise InputError(f"must be of the case's {len(case.beams)} beams", argument="apertures", value=stray)
    beams = []
    for index, beam in enumerate(case.beams):
        own = [one for one in apertures if one.beam == index and one.weight > 0]
        if own:
            edges_mm, point = _leaves(own, mlc)
            angle = float(beam.gantry_angle_deg)
            points = _static_points(own, units, angle, point)
            beams.append(RtBeam(angle, float(beam.couch_angle_deg), edges_mm, points))
    return _plan(case, beams, mlc)


def rt_plan_of_arcs(case: PatientCase, setup: ArcBeams, delivered: Delivered, mlc: Mlc) -> RtPlan:
    """Return the plan that delivers apertures while the gantry turns.

    Each aperture stands, as it is in its middle, in the middle of its share of the arc, and half of its monitor units
    are given before and half after; leaves and gantry move evenly in between. The dose was computed for apertures at
    rest in the middle of their sectors. Collimators stand at 0°, as the beamlets do.

    Args:
        case: The patient.
        setup: The arcs that the plan was optimised for.
        delivered: The plan's apertures.
        mlc: The collimator that they were made for.

    Raises:
        InputError: See `rt_plan_of` and `planning.arc_delivery`.
    """
    units = _mu_per_weight(delivered.apertures, delivered.monitor_units)
    beams = []
    for planned, arc in zip(setup.arcs, delivered_arcs(setup, delivered, mlc), strict=True):
        shots = [one for one in arc.points if one.aperture.weight > 0]
        if not shots:
            continue
        edges_mm, point = _leaves([one.aperture for one in shots], mlc)
        way = planned.arc
        points = _turning_points(shots, units, way.start_deg, way.angle_deg(way.span_deg), point)
        rotation: Rotation = "CW" if way.clockwise else "CC"
        beams.append(RtBeam(way.start_deg, way.couch_angle_deg, edges_mm, points, rotation))
    return _plan(case, beams, mlc)


def _plan(case: PatientCase, beams: list[RtBeam], mlc: Mlc) -> RtPlan:
    return RtPlan(
        beams=tuple(beams),
        isocenter_xyz_mm=isocenter_of(case),
        prescription_gy=case.prescription_gy,
        fractions=case.fractions,
        dose_rate_mu_min=float(mlc.dose_rate_mu_min),
    )


def _mu_per_weight(apertures: Sequence[Aperture], monitor_units: float) -> float:
    weight = sum(one.weight for one in apertures)
    if not weight > 0:
        raise InputError("must have a weight", argument="apertures", value=f"{len(apertures)} of weight 0")
    if not (math.isfinite(monitor_units) and monitor_units > 0):
        raise InputError("must be finite and positive", argument="monitor_units", value=monitor_units)
    return monitor_units / weight


def _static_points(
    apertures: Sequence[Aperture], mu_per_weight: float, angle_deg: float, point: MakePoint
) -> tuple[RtControlPoint, ...]:
    points: list[RtControlPoint] = []
    given = 0.0
    for aperture in apertures:
        start = point(aperture, 0, given, angle_deg)
        if not points or not points[-1].stands_like(start):
            points.append(start)
        given += aperture.weight * mu_per_weight
        points.append(point(aperture, 1, given, angle_deg))
    return tuple(points)


def _turning_points(
    shots: Sequence[ControlPoint], mu_per_weight: float, start_deg: float, end_deg: float, point: MakePoint
) -> tuple[RtControlPoint, ...]:
    still = [_stilled(one.aperture) for one in shots]
    points, given = [point(still[0], 0, 0.0, start_deg)], 0.0
    for shot, aperture in zip(shots, still, strict=True):
        half = aperture.weight * mu_per_weight / 2
        points.append(point(aperture, 0, given + half, shot.gantry_angle_deg))
        given += 2 * half
    return (*points, point(still[-1], 0, given, end_deg))


def _stilled(aperture: Aperture) -> Aperture:
    """Return an aperture that stands as it does in the middle of its segment."""
    left, right = (np.repeat(side.mean(0)[None], 2, 0) for side in (aperture.left_mm, aperture.right_mm))
    return Aperture(aperture.beam, aperture.edges_mm, left, right, aperture.jaws_mm, aperture.weight)


def _leaves(apertures: Sequence[Aperture], mlc: Mlc) -> tuple[tuple[float, ...], MakePoint]:
    """Return the edges of all the collimator's leaves, and what makes a control point of an aperture's start or end.

    Pairs that an aperture does not speak of stand behind its right jaw, as far apart as the collimator asks for.
    """
    edges_mm = _lattice(apertures, mlc)

    def point(aperture: Aperture, end: int, monitor_units: float, angle_deg: float) -> RtControlPoint:
        first = int(np.abs(edges_mm - aperture.edges_mm[0]).argmin())
        rows = slice(first, first + aperture.left_mm.shape[1])
        left = np.full(len(edges_mm) - 1, aperture.jaws_mm[1])
        right = left + mlc.minimum_gap_mm
        left[rows], right[rows] = aperture.left_mm[end], aperture.right_mm[end]
        jaws_y = (float(aperture.edges_mm[0]), float(aperture.edges_mm[-1]))
        jaws_x = (float(aperture.jaws_mm[0]), float(aperture.jaws_mm[1]))
        return RtControlPoint(float(monitor_units), float(angle_deg), left, np.maximum(left, right), jaws_x, jaws_y)

    return tuple(edges_mm.tolist()), point


def _lattice(apertures: Sequence[Aperture], mlc: Mlc) -> np.ndarray:
    """Return leaf edges that hold those of all apertures and fill the collimator's reach.

    Raises:
        InputError: If the apertures' edges are not all on one lattice of the leaves' width.
    """
    start, width = float(apertures[0].edges_mm[0]), float(mlc.leaf_width_mm)
    every = np.concatenate([one.edges_mm for one in apertures])
    steps = (every - start) / width
    even = all(abs(b - a - width) < _LATTICE for one in apertures for a, b in pairwise(one.edges_mm.tolist()))
    if not even or np.abs(steps - np.rint(steps)).max() * width > _LATTICE:
        rule = f"must have the edges of their leaves on one lattice of {width:g} mm"
        raise InputError(rule, argument="apertures", value=f"beam {apertures[0].beam}")
    low = min(math.ceil((-mlc.reach_mm - start) / width - 1e-6), round(float(steps.min())))
    high = max(math.floor((mlc.reach_mm - start) / width + 1e-6), round(float(steps.max())))
    return start + width * np.arange(low, high + 1)
