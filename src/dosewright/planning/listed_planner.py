"""Plans for objectives that someone wrote down."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.objectives.default_helpers import default_helpers
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.helpers import planning_structures
from dosewright.objectives.objective_file import read_objectives
from dosewright.objectives.parts import left_out
from dosewright.planning.goals import Absent, AbstractPlanner, Goals


@final
@dataclass(frozen=True)
class ListedPlanner(AbstractPlanner):
    """Asks for what a file of objectives says; the wanted dose counts only where an objective mimics it.

    Helper structures that the objectives name are made by a set.

    Args:
        path: A JSON file for all cases, a folder of `<case_id>.json`, or one of `<case_id>/objectives.json` as the job
            `objectives` fills it.
        absent: "raise" refuses objectives for structures that a case lacks, "skip" leaves them out and says so.
        helpers: The set.

    Raises:
        InputError: If `absent` is neither.
    """

    path: str | Path
    absent: str = "raise"
    helpers: HelperSet = field(default_factory=default_helpers)

    def __post_init__(self) -> None:
        if self.absent not in ("raise", "skip"):
            raise InputError('must be "raise" or "skip"', argument="planner.absent", value=self.absent)

    def goals(self, case: PatientCase, wanted_gy: FloatVolume) -> Goals:
        """Return the objectives of the case's file; see `AbstractPlanner.goals`."""
        objectives = read_objectives(self._path(case.case_id))
        unknown = {objective.structure for objective in objectives} - set(case.structures)
        if not unknown:
            return Goals(objectives, absent=self._absent)
        planned = planning_structures(case, self.helpers)
        made = planned.case.structures
        helpers = {name: made[name] for name in sorted(unknown & set(made))}
        remarks = tuple(left_out(note for note in planned.notes if note.name in unknown))
        return Goals(objectives, helpers, absent=self._absent, remarks=remarks)

    @property
    def _absent(self) -> Absent:
        return "skip" if self.absent == "skip" else "raise"

    def fingerprint(self, case_id: str) -> str:
        """Return a hash of the case's file; nothing where it is missing, which `goals` tells."""
        path = self._path(case_id)
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""

    def _path(self, case_id: str) -> Path:
        path = Path(self.path).expanduser()
        if not path.is_dir():
            return path
        nested = path / case_id / "objectives.json"
        return nested if nested.is_file() else path / f"{case_id}.json"
