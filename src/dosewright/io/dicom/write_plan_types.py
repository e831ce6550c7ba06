"""A plan to be written as RTPLAN: beams, control points and prescription, in plain numbers.

Angles, leaves and jaws are IEC 61217, patient supine and head first, collimator at 0°: leaves move along X and are
stacked along Y; lengths are in the plane of the isocentre.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float

from dosewright.core import InputError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.types import Triple

Rotation = Literal["NONE", "CW", "CC"]
_TOUCH_MM = 1e-6


@dataclass(frozen=True, eq=False)
class RtControlPoint:
    """Where gantry, jaws and leaves stand, and how much was given until then.

    Args:
        monitor_units: Of one fraction, cumulative from the start of the beam.
        gantry_angle_deg: In [0, 360).
        left_mm: Leaves on the side of negative X, from the lowest Y.
        right_mm: Those on the other side.
        jaws_x_mm: X1 and X2.
        jaws_y_mm: Y1 and Y2.

    Raises:
        InputError: If a number is not finite or negative where it may not be, or leaves or jaws pass each other.
    """

    monitor_units: float
    gantry_angle_deg: float
    left_mm: Float[np.ndarray, " pairs"]
    right_mm: Float[np.ndarray, " pairs"]
    jaws_x_mm: tuple[float, float]
    jaws_y_mm: tuple[float, float]

    def __post_init__(self) -> None:
        if self.left_mm.shape != self.right_mm.shape:
            raise InputError(f"must be of shape {self.left_mm.shape}", argument="right_mm", value=self.right_mm.shape)
        every = (self.left_mm, self.right_mm, self.jaws_x_mm, self.jaws_y_mm, self.monitor_units, self.gantry_angle_deg)
        if not all(np.isfinite(one).all() for one in every):
            raise InputError("must be finite", argument="control point", value=every[2:])
        if self.monitor_units < 0 or not 0 <= self.gantry_angle_deg < 360:
            rule = "must have monitor units of at least 0 and a gantry angle in [0, 360)"
            raise InputError(rule, argument="control point", value=(self.monitor_units, self.gantry_angle_deg))
        pairs = ((self.left_mm, self.right_mm), self.jaws_x_mm, self.jaws_y_mm)
        if any((np.asarray(low) > np.asarray(high) + _TOUCH_MM).any() for low, high in pairs):
            raise InputError("must not have leaves or jaws pass each other", argument="control point", value=every[2:4])

    def stands_like(self, other: "RtControlPoint") -> bool:
        """Whether gantry, jaws and leaves stand alike."""
        return (
            (self.gantry_angle_deg, self.jaws_x_mm, self.jaws_y_mm)
            == (other.gantry_angle_deg, other.jaws_x_mm, other.jaws_y_mm)
            and np.array_equal(self.left_mm, other.left_mm)
            and np.array_equal(self.right_mm, other.right_mm)
        )


@dataclass(frozen=True, eq=False)
class RtBeam:
    """A photon beam or an arc.

    Args:
        gantry_angle_deg: Where it starts, in [0, 360).
        couch_angle_deg: In [0, 360).
        edges_mm: Edges of the leaf pairs along Y, ascending; none where there are no control points.
        points: Control points, at least two, or none: then only the angles are known and the beam gives nothing.
        rotation: Way of the gantry: "NONE", "CW" (the angle grows) or "CC".

    Raises:
        InputError: If control points do not fit the leaves, a beam has one only, or monitor units do not start at 0,
            fall or stay 0.
    """

    gantry_angle_deg: float
    couch_angle_deg: float = 0.0
    edges_mm: tuple[float, ...] = ()
    points: tuple[RtControlPoint, ...] = ()
    rotation: Rotation = "NONE"

    def __post_init__(self) -> None:
        for name in ("gantry_angle_deg", "couch_angle_deg"):
            if not 0 <= getattr(self, name) < 360:
                raise InputError("must be in [0, 360)", argument=name, value=getattr(self, name))
        if self.rotation not in ("NONE", "CW", "CC"):
            raise InputError('must be "NONE", "CW" or "CC"', argument="rotation", value=self.rotation)
        if not self.points:
            return
        edges = np.array(self.edges_mm, float)
        if len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise InputError("must be at least two and ascend", argument="edges_mm", value=self.edges_mm)
        if any(point.left_mm.shape != (len(edges) - 1,) for point in self.points):
            raise InputError(f"must have {len(edges) - 1} leaf pairs each", argument="points", value=len(self.points))
        units = [point.monitor_units for point in self.points]
        if len(units) < 2 or units[0] != 0 or units[-1] <= 0 or any(b < a for a, b in pairwise(units)):
            rule = "must be at least two whose monitor units start at 0 and never fall, nor stay 0"
            raise InputError(rule, argument="points", value=units)

    @property
    def monitor_units(self) -> float:
        """Of one fraction; 0 where only angles are known."""
        return self.points[-1].monitor_units if self.points else 0.0

    @property
    def is_static(self) -> bool:
        """Whether nothing moves while the beam is on: step and shoot counts as static."""
        return all(a.stands_like(b) for a, b in pairwise(self.points) if b.monitor_units > a.monitor_units)


@dataclass(frozen=True, eq=False)
class RtPlan:
    """A plan of photon beams.

    Args:
        beams: In the order of delivery; none for a prescription alone.
        isocenter_xyz_mm: Of all beams, LPS mm.
        prescription_gy: TG-263 name of the target → total dose in Gy.
        fractions: Number of fractions.
        energy_mv: Nominal, of the photons.
        sad_mm: Distance from the source to the isocentre.
        dose_rate_mu_min: Of the machine; None where not known.
        comment: Said in the plan's description after the mark of research use; nothing of the patient.

    Raises:
        InputError: If a number is out of range.
    """

    beams: tuple[RtBeam, ...]
    isocenter_xyz_mm: Triple
    prescription_gy: Mapping[str, float]
    fractions: int
    energy_mv: float = 6.0
    sad_mm: float = 1000.0
    dose_rate_mu_min: float | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        if len(self.isocenter_xyz_mm) != 3 or not all(math.isfinite(v) for v in self.isocenter_xyz_mm):
            rule = "must be three finite positions in mm"
            raise InputError(rule, argument="isocenter_xyz_mm", value=self.isocenter_xyz_mm)
        if not self.prescription_gy or not all(0 < gy <= DOSE_MAX_GY for gy in self.prescription_gy.values()):
            rule = f"must name at least one target, with a dose in (0, {DOSE_MAX_GY:g}] Gy each"
            raise InputError(rule, argument="prescription_gy", value=dict(self.prescription_gy))
        numbers = {"fractions": self.fractions, "energy_mv": self.energy_mv, "sad_mm": self.sad_mm}
        if self.dose_rate_mu_min is not None:
            numbers["dose_rate_mu_min"] = self.dose_rate_mu_min
        for name, value in numbers.items():
            if not (math.isfinite(value) and value > 0):
                raise InputError("must be finite and positive", argument=name, value=value)
