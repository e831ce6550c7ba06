"""What is kept of a course between two plans, so that a run that was stopped goes on from there."""

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dosewright.core.files import atomic_path
from dosewright.objectives.objective import Objective
from dosewright.planning.trace import Step

_BROKEN = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class BestPlan:
    """The best plan so far.

    Args:
        fluence: Per beamlet.
        objectives: What it was optimised for.
        status: How its solve ended, the value of a `fluence.status.Status`.
        kkt_residual: Of its solve.
    """

    fluence: Float[np.ndarray, " b"]
    objectives: tuple[Objective, ...]
    status: str
    kkt_residual: float


@dataclass(frozen=True, eq=False)
class CourseState:
    """Where a course stands.

    Args:
        fluence: Of the latest plan, per beamlet.
        best: The best plan so far.
        steps: All plans so far.
    """

    fluence: Float[np.ndarray, " b"]
    best: BestPlan
    steps: tuple[Step, ...]

    @property
    def scores(self) -> list[float]:
        """Scores of all plans so far."""
        return [step.judgement.score for step in self.steps]

    @property
    def seconds(self) -> float:
        """Wall time of all plans so far."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds a course's state.

    Args:
        path: Where; written in one step after each plan.
        key: Says what the course depends on: a state with another is not taken up.
    """

    path: Path
    key: str

    def save(self, state: CourseState) -> None:
        """Write a state.

        Raises:
            StorageError: If it cannot be written.
        """
        best = state.best
        facts = {
            "key": self.key,
            "steps": [asdict(step) for step in state.steps],
            "objectives": [objective.to_dict() for objective in best.objectives],
            "status": best.status,
            "kkt_residual": best.kkt_residual,
        }
        with atomic_path(self.path) as temporary:
            np.savez(temporary, fluence=state.fluence, best=best.fluence, facts=np.array(json.dumps(facts)))

    def load(self, beamlets: int) -> CourseState | None:
        """Return the state that was saved; None without one of this key and number of beamlets."""
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                fluence, best_fluence, facts = arrays["fluence"], arrays["best"], json.loads(str(arrays["facts"]))
            objectives = tuple(Objective.from_dict(content) for content in facts["objectives"])
            best = BestPlan(best_fluence, objectives, str(facts["status"]), float(facts["kkt_residual"]))
            state = CourseState(fluence, best, tuple(Step.from_plain(step) for step in facts["steps"]))
        except _BROKEN:
            return None
        fits = fluence.shape == best_fluence.shape == (beamlets,)
        return state if fits and state.steps and facts["key"] == self.key else None

    def remove(self) -> None:
        """Remove the file, the plan being kept elsewhere."""
        self.path.unlink(missing_ok=True)
