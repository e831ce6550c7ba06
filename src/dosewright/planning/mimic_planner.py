"""Plans that mimic a wanted dose voxel by voxel."""

from dataclasses import dataclass
from typing import final

import numpy as np

from dosewright.core import InputError, PatientCase, Role
from dosewright.core.types import FloatVolume, Mask
from dosewright.objectives.objective import Objective
from dosewright.planning.goals import AbstractPlanner, Goals

BODY, OTHER = "zBody", "zOther"
SERIAL = frozenset({"SpinalCord", "SpinalCanal", "Brainstem", "OpticChiasm"})


@final
@dataclass(frozen=True)
class MimicPlanner(AbstractPlanner):
    """Asks for the wanted dose in targets, and for no more than it in organs at risk and other tissue.

    Each structure's mean squared difference counts by its priority, whatever its size. `zOther` is all tissue where
    dose is scored outside targets and organs at risk. Structures that fall between the voxels of the dose grid are left
    out.

    Args:
        two_sided: Mimic the dose everywhere, up and down, every voxel alike, as one does to replay a delivered dose.
        target_priority: Of each target, up and down; of the whole body where `two_sided`.
        oar_priority: Of each organ at risk, above the wanted dose only.
        serial_priority: Of the serial ones among them instead: what harms them is their hottest voxels, which weigh
            little in a mean.
        other_priority: Of other tissue, above the wanted dose only.

    Raises:
        InputError: If a priority is negative or not finite.
    """

    two_sided: bool = False
    target_priority: float | int = 100.0
    oar_priority: float | int = 1.0
    serial_priority: float | int = 20.0
    other_priority: float | int = 5.0

    def __post_init__(self) -> None:
        for name in ("target_priority", "oar_priority", "serial_priority", "other_priority"):
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
        helpers = {OTHER: self._other(case)}
        priorities |= dict.fromkeys(helpers, self.other_priority)
        objectives = [Objective(name, "mimic", priority=value) for name, value in priorities.items() if value > 0]
        return Goals(tuple(objectives), helpers, absent="skip")

    def fingerprint(self, case_id: str) -> str:
        """Return nothing: all is in the settings."""
        return ""

    def _other(self, case: PatientCase) -> Mask:
        named = np.logical_or.reduce([case.structures[name] for name in (*case.targets, *case.oars)])
        return case.scored_mask & case.body & ~named
