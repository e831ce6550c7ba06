"""What a plan should reach, and where that comes from."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dosewright.core import PatientCase, Role
from dosewright.core.types import FloatVolume, Mask
from dosewright.objectives.objective import Objective

Absent = Literal["raise", "skip"]


@dataclass(frozen=True, eq=False)
class Goals:
    """Objectives of one case, with the helper structures they name.

    Args:
        objectives: What the dose should be.
        helpers: Structures besides the case's own, on its grid.
        roles: Structure → role, where it differs from what the name says; mimicking is two-sided in targets.
        shares: Structure → the share of a voxel of the dose grid that must be in it for the voxel to count, where that
            is not one half.
        absent: What befalls an objective whose structure is absent, or empty on the dose grid: "raise", or "skip" to
            leave it out and say so.
        remarks: What the user should know of how these came about, in sentences.
    """

    objectives: tuple[Objective, ...]
    helpers: Mapping[str, Mask] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    absent: Absent = "raise"
    remarks: tuple[str, ...] = ()


class AbstractPlanner(ABC):
    """Turns a wanted dose into objectives."""

    @abstractmethod
    def goals(self, case: PatientCase, wanted_gy: FloatVolume) -> Goals:
        """Return what a plan should reach.

        Args:
            case: The patient.
            wanted_gy: Dose asked for, total Gy on the case's grid.

        Raises:
            InputError: If nothing can be asked of this case.
        """

    @abstractmethod
    def fingerprint(self, case_id: str) -> str:
        """Return a text that changes when the goals of a case may have changed, besides by settings, case or dose."""
