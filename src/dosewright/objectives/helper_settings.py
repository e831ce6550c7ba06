"""Which structures take part in an optimisation and which helpers are made, as data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dosewright.core import InputError

Number = float | int  # YAML gives ints


class Part(StrEnum):
    """What a structure is to an optimisation.

    A core is a target away from those of higher prescription, a cropped organ one without the targets, a prv a planning
    risk volume.
    """

    TARGET = "target"
    CORE = "core"
    ORGAN = "organ"
    CROPPED = "cropped"
    PRV = "prv"
    RING = "ring"
    TISSUE = "tissue"


class Status(StrEnum):
    """What became of a structure."""

    USED = "used"
    REPLACED = "replaced"
    DROPPED = "dropped"
    ABSENT = "absent"


@dataclass(frozen=True)
class HelperSettings:
    """Which organs take part, and what is made of them.

    Args:
        whole: Serial organs, whose hottest voxels matter wherever they are: never cropped, never dropped for their
            size or their overlap.
        crop_gap_mm: OAR-PTV leaves out voxels this near to a target, too.
        smallest_cc: Organs with less than this in the body, or outside the targets, are dropped.
        largest_overlap_percent: An organ of which more lies in targets is dropped.
        prv_mm: Organ → margin of its planning risk volume; only whole millimetres, as they are in its name.
        level_gy: A step between two prescriptions of this much …
        level_mm: … needs this much space.
        ring_inner_mm: Rings begin this far from their target; 0 right beside it.
        ring_outer_mm: And end here; None makes no rings.
        ring_gap_mm: Rings keep this much further from targets of higher prescription than these steps need.
        tissue: Whether the body beyond the rings takes part.

    Raises:
        InputError: If a value is out of its range.
    """

    whole: Sequence[str] = (
        *("SpinalCord", "SpinalCanal", "Brainstem", "OpticChiasm", "OpticNrv_L", "OpticNrv_R"),
        *("BrachialPlex_L", "BrachialPlex_R"),
    )
    crop_gap_mm: Number = 0.0
    smallest_cc: Number = 0.1
    largest_overlap_percent: Number = 85.0
    prv_mm: Mapping[str, Number] = field(default_factory=lambda: {"SpinalCord": 5, "Brainstem": 3})
    level_gy: Number = 7.0
    level_mm: Number = 3.0
    ring_inner_mm: Number = 2.0
    ring_outer_mm: Number | None = 30.0
    ring_gap_mm: Number = 3.0
    tissue: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "whole", tuple(self.whole))
        object.__setattr__(self, "prv_mm", dict(self.prv_mm))
        for name in ("crop_gap_mm", "smallest_cc", "level_mm", "ring_inner_mm", "ring_gap_mm"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError("must be finite, zero or more", argument=name, value=getattr(self, name))
        if not 0.0 < self.level_gy < math.inf:
            raise InputError("must be positive and finite", argument="level_gy", value=self.level_gy)
        if not 0.0 <= self.largest_overlap_percent <= 100.0:
            raise InputError(
                "must be in [0, 100]", argument="largest_overlap_percent", value=self.largest_overlap_percent
            )
        outer = self.ring_outer_mm
        if outer is not None and not self.ring_inner_mm < outer < math.inf:
            raise InputError("must be above ring_inner_mm and finite, or null", argument="ring_outer_mm", value=outer)
        for name, margin in self.prv_mm.items():
            if not 1 <= margin <= 99 or int(margin) != margin:
                raise InputError("must be whole millimetres in [1, 99]", argument=f"prv_mm[{name}]", value=margin)

    def step_mm(self, higher_gy: float, lower_gy: float) -> float:
        """Return the space in mm that the dose needs to fall from one prescription to a lower one.

        >>> HelperSettings().step_mm(70.0, 56.0)
        6.0
        """
        return float(self.level_mm) * (higher_gy - lower_gy) / float(self.level_gy)
