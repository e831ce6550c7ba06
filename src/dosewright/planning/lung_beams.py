"""Beams for the lung, by the side that the target is on."""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from dosewright.core import Beam, InputError, PatientCase
from dosewright.core.case import Technique
from dosewright.geometry.isocenter import isocenter_of, targets_mask
from dosewright.planning.beam_setup import AbstractBeamSetup, Number

Side = Literal["left", "right", "central"]


@final
@dataclass(frozen=True)
class LungBeams(AbstractBeamSetup):
    """One template of three: for targets on the left, on the right, or near the middle, as AIRTP (arXiv:2501.11803).

    The paper tells the numbers of fields and arcs and where the templates change, 5 cm; the angles inside are not
    published.

    Args:
        left: Setup where the isocentre lies more than `lateral_mm` left of the mid-sagittal plane.
        right: Where it lies more than that right of it.
        central: Else.
        lateral_mm: See above.

    Raises:
        InputError: If `lateral_mm` is not positive and finite.
    """

    left: AbstractBeamSetup
    right: AbstractBeamSetup
    central: AbstractBeamSetup
    lateral_mm: Number = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.lateral_mm < np.inf:
            raise InputError("must be positive and finite", argument="lateral_mm", value=self.lateral_mm)

    def chosen(self, case: PatientCase) -> AbstractBeamSetup:
        """Return the template of a case."""
        templates = {"left": self.left, "right": self.right, "central": self.central}
        return templates[side_of(case, float(self.lateral_mm))]

    def beams(self, case: PatientCase) -> tuple[Beam, ...]:
        """Return the template's beams; see `AbstractBeamSetup.beams`."""
        return self.chosen(case).beams(case)

    def technique(self, case: PatientCase) -> Technique:
        """Return the template's technique."""
        return self.chosen(case).technique(case)


def side_of(case: PatientCase, lateral_mm: float) -> Side:
    """Return the side of the patient that the isocentre is on: more than `lateral_mm` off the mid-sagittal plane."""
    off_mm = isocenter_of(case)[0] - mid_sagittal_x_mm(case)
    if abs(off_mm) <= lateral_mm:
        return "central"
    return "left" if off_mm > 0 else "right"  # LPS: x grows to the patient's left


def mid_sagittal_x_mm(case: PatientCase) -> float:
    """Return where the mid-sagittal plane is taken to lie: the mean x in mm of the body in the targets' slices.

    The whole body stands in where no slice of the targets holds any.
    """
    slices = targets_mask(case).any(axis=(1, 2))
    weights = np.count_nonzero(case.body[slices], axis=(0, 1))
    if not weights.any():
        weights = np.count_nonzero(case.body, axis=(0, 1))
    return float(weights @ case.grid.axis_mm("x") / weights.sum())
