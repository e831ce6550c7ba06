"""Arcs as a machine turns them: a plan's apertures at the gantry angles where they are delivered, and the time."""

from collections.abc import Sequence
from dataclasses import dataclass

from dosewright.fluence.arcs import ControlPoint, control_points, delivery_seconds, leaf_travel_mm_per_deg
from dosewright.fluence.mlc import Mlc
from dosewright.planning.arc_beams import ArcBeams
from dosewright.planning.deliver import Delivered


@dataclass(frozen=True, eq=False)
class DeliveredArc:
    """One arc of a plan.

    Args:
        points: Its control points, in the order of delivery.
        monitor_units: Of one fraction.
        seconds: Beam on, see `fluence.arcs.delivery_seconds`.
        leaf_travel_mm_per_deg: Of the fastest leaf.
    """

    points: tuple[ControlPoint, ...]
    monitor_units: float
    seconds: float
    leaf_travel_mm_per_deg: float

    def to_plain(self) -> dict[str, float | int]:
        """Return the arc's numbers by name, the points as their count."""
        return {
            "control_points": len(self.points),
            "monitor_units": self.monitor_units,
            "seconds": self.seconds,
            "leaf_travel_mm_per_deg": self.leaf_travel_mm_per_deg,
        }


def delivered_arcs(setup: ArcBeams, delivered: Delivered, mlc: Mlc) -> tuple[DeliveredArc, ...]:
    """Return the arcs that deliver a plan's apertures, in the order of delivery.

    The dose stays that of the apertures at the middle of their sectors.

    Args:
        setup: The arcs that the plan was optimised for.
        delivered: The plan's apertures.
        mlc: The collimator that they were made for.

    Raises:
        InputError: If an aperture is of a beam that no arc passes.
    """
    beams = [[point.beam for point in setup.control_points() if point.arc == arc] for arc in range(len(setup.arcs))]
    found = control_points([planned.arc for planned in setup.arcs], beams, delivered.apertures)
    mu_per_fluence = delivered.monitor_units / sum(one.weight for one in delivered.apertures)
    return tuple(_delivered(points, mu_per_fluence, mlc) for points in found)


def _delivered(points: Sequence[ControlPoint], mu_per_fluence: float, mlc: Mlc) -> DeliveredArc:
    units = sum(point.aperture.weight for point in points) * mu_per_fluence
    seconds = delivery_seconds(points, mu_per_fluence, mlc)
    return DeliveredArc(tuple(points), units, seconds, leaf_travel_mm_per_deg(points))
