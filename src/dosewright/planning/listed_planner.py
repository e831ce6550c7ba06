"""Plans for objectives that someone wrote down."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.objectives.helper_settings import HelperSettings
from dosewright.objectives.helpers import planning_structures
from dosewright.objectives.objective_file import read_objectives
from dosewright.planning.goals import AbstractPlanner, Goals


@final
@dataclass(frozen=True)
class ListedPlanner(AbstractPlanner):
    """Asks for what a file of objectives says; the wanted dose counts only where an objective mimics it.

    Helper structures that the objectives name are made as `objectives.helpers` makes them.

    Args:
        path: A JSON file for all cases, a folder of `<case_id>.json`, or one of `<case_id>/objectives.json` as the job
            `objectives` fills it.
        absent: "raise" refuses objectives for structures that a case lacks, "skip" leaves them out and says so.
        helpers: How helper structures are made.

    Raises:
        InputError: If `absent` is neither.
    """

    path: str | Path
    absent: str = "raise"
    helpers: HelperSettings = field(default_factory=HelperSettings)

    def __post_init__(self) -> None:
        if self.absent not in ("raise", "skip"):
            raise InputError('must be "raise" or "skip"', argument="planner.absent", value=self.absent)

    def goals(self, case: PatientCase, wanted_gy: FloatVolume) -> Goals:
        """Return the objectives of the case's file; see `AbstractPlanner.goals`."""
        objectives = read_objectives(self._path(case.case_id))
        unknown = {objective.structure for objective in objectives} - set(case.structures)
        made = planning_structures(case, self.helpers).case.structures if unknown else {}
        helpers = {name: made[name] for name in sorted(unknown & set(made))}
        return Goals(objectives, helpers, absent="skip" if self.absent == "skip" else "raise")

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
