"""Plans that mimic a wanted dose voxel by voxel."""

from dataclasses import dataclass
from typing import final

import numpy as np

from dosewright.core import InputError, PatientCase, Role
from dosewright.core.types import FloatVolume, Mask
from dosewright.geometry.distance import distance_to_mm
from dosewright.geometry.isocenter import targets_mask
from dosewright.objectives.objective import Objective
from dosewright.planning.goals import AbstractPlanner, Goals

BODY, OTHER, RIM = "zBody", "zOther", "zRim"
SERIAL = frozenset({"SpinalCord", "SpinalCanal", "Brainstem", "OpticChiasm"})


@final
@dataclass(frozen=True)
class MimicPlanner(AbstractPlanner):
    """Asks for the wanted dose in targets, and for no more than it in organs at risk and other tissue.

    Each structure's mean squared difference counts by its priority, whatever its size. `zRim` is the tissue next to the
    targets, where the wanted dose is asked for as in them: the outermost voxels of a target may lie between planes of
    the dose grid, and then have their dose from there. `zOther` is all other tissue where dose is scored outside
    targets and organs at risk. Structures that fall between the voxels of the dose grid are left out.

    Args:
        two_sided: Mimic the dose everywhere, up and down, every voxel alike, as one does to replay a delivered dose.
        target_priority: Of each target, and of the rim, up and down; of the whole body where `two_sided`.
        oar_priority: Of each organ at risk, above the wanted dose only.
        serial_priority: Of the serial ones among them instead: what harms them is their hottest voxels, which weigh
            little in a mean.
        other_priority: Of other tissue, above the wanted dose only.
        rim_mm: How far the rim reaches from the targets' voxels, between voxel centres; 0 makes none. Half a voxel of
            the dose grid is enough; more costs the tissue around.

    Raises:
        InputError: If a number is negative or not finite.
    """

    two_sided: bool = False
    target_priority: float | int = 100.0
    oar_priority: float | int = 1.0
    serial_priority: float | int = 20.0
    other_priority: float | int = 5.0
    rim_mm: float | int = 3.0

    def __post_init__(self) -> None:
        for name in ("target_priority", "oar_priority", "serial_priority", "other_priority", "rim_mm"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError("must be finite and at least 0", argument=f"planner.{name}", value=value)

    def goals(self, case: PatientCase, wanted_gy: FloatVolume) -> Goals:
        """Return objectives of the kind "mimic"; see `AbstractPlanner.goals`."""
        if self.two_sided:
            roles = {BODY: Role.TARGET}
            return Goals(
                (Objective(BODY, "mimic", priority=self.target_priority),), {BODY: case.scored_mask & case.body}, roles
            )
        priorities = dict.fromkeys(case.targets, self.target_priority)
        priorities |= {name: self.serial_priority if name in SERIAL else self.oar_priority for name in case.oars}
        rim, other = self._around(case)
        priorities |= {RIM: self.target_priority if rim.any() else 0.0, OTHER: self.other_priority}
        objectives = [Objective(name, "mimic", priority=value) for name, value in priorities.items() if value > 0]
        return Goals(tuple(objectives), {RIM: rim, OTHER: other}, {RIM: Role.TARGET}, absent="skip")

    def fingerprint(self, case_id: str) -> str:
        """Return nothing: all is in the settings."""
        return ""

    def _around(self, case: PatientCase) -> tuple[Mask, Mask]:
        """Return the tissue that is in no target and no organ, by the targets and beyond."""
        named = np.logical_or.reduce([case.structures[name] for name in (*case.targets, *case.oars)])
        unnamed = case.scored_mask & case.body & ~named
        near = distance_to_mm(targets_mask(case), case.grid.spacing_zyx_mm) <= self.rim_mm
        return unnamed & near, unnamed & ~near
