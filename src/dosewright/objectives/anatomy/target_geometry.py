"""Distances of a case's voxels to its targets, computed once for all its organs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dosewright.core import PatientCase
from dosewright.core.types import Mask
from dosewright.geometry import bounding_box, signed_distance_mm, targets_mask
from dosewright.geometry.surface import Box
from dosewright.objectives.anatomy.dose_predictor import Approach
from dosewright.objectives.anatomy.target_distance import TargetDistance

BoxVolume = Float[np.ndarray, "box_z box_y box_x"]


@dataclass(frozen=True, eq=False)
class TargetGeometry:
    """The targets of a case and the distances to them; make it with `of`.

    Args:
        case: The case.
        targets: All targets with a prescription together.
        box: Around targets and organs; the distances are of its voxels.
        any_mm: Signed distance to the nearest target in mm, in the box.
        highest_mm: The same to the target of highest prescription.
    """

    case: PatientCase
    targets: Mask
    box: Box
    any_mm: BoxVolume
    highest_mm: BoxVolume

    @classmethod
    def of(cls, case: PatientCase) -> "TargetGeometry":
        """Return the distances of a case.

        Raises:
            InputError: If a target fills the whole grid.
        """
        targets = targets_mask(case)
        organs = [case.structures[name] for name in case.oars]
        box = bounding_box(np.logical_or.reduce([targets, *organs]), (1, 1, 1))
        spacing = case.grid.spacing_zyx_mm
        any_mm = signed_distance_mm(targets[box], spacing)
        highest = case.structures[case.targets[0]]
        same = np.array_equal(highest, targets)
        highest_mm = any_mm if same else signed_distance_mm(highest[box], spacing)
        return cls(case, targets, box, any_mm, highest_mm)

    def distance(self, mask: Mask) -> TargetDistance:
        """Return the signed distances of a structure's voxels to the nearest target."""
        return TargetDistance.of(self.any_mm[mask[self.box]])

    def approach(self, mask: Mask) -> Approach:
        """Return how a structure lies to the targets, as the predictor of its mean dose wants it."""
        inside = mask[self.box]
        slices = np.flatnonzero(self.targets.any(axis=(1, 2)))
        index = np.nonzero(inside)[0] + (self.box[0].start or 0)
        beyond = np.maximum(np.maximum(slices[0] - index, index - slices[-1]), 0)
        highest_gy = max(self.case.prescription_gy.values())
        return Approach(
            any_mm=self.any_mm[inside].astype(np.float64),
            highest_mm=self.highest_mm[inside].astype(np.float64),
            beyond_mm=beyond * self.case.grid.spacing_zyx_mm[0],
            prescription_gy=highest_gy,
        )
