"""Planners that judge a plan and ask for a better one: what they are, apart from what runs them (`iterate`)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from dosewright.core import PatientCase
from dosewright.core.types import FloatVolume
from dosewright.objectives.objective import Objective
from dosewright.planning.goals import AbstractPlanner, Goals
from dosewright.planning.iteration_stop import IterationStop


@dataclass(frozen=True)
class ItemOutcome:
    """One line of what a plan was judged by.

    Args:
        structure: Name.
        measure: What was measured, with its unit.
        value: Of the measure; None where it could not be measured.
        score: Points; None where it was not scored.
        maximum: The most points there are for it.
        reason: Why there is no score; "" where there is one.
    """

    structure: str
    measure: str
    value: float | None
    score: float | None
    maximum: float
    reason: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a plan is worth.

    Args:
        score: The more the better.
        maximum: The most it could be, of the items that were scored.
        items: What it consists of.
    """

    score: float
    maximum: float
    items: tuple[ItemOutcome, ...] = ()


class AbstractCourse(ABC):
    """One case's way from plan to plan.

    `next` depends on its arguments alone, so that a course can be taken up again where it was left.
    """

    @abstractmethod
    def first(self) -> Goals:
        """Return the goals of the first plan."""

    @abstractmethod
    def next(self, dose_gy: FloatVolume, reach: float) -> Goals | None:
        """Return the goals of the next plan, or None where they would be those of the last one.

        Args:
            dose_gy: Of the plan to go on from, total Gy on the case's grid.
            reach: How far beyond that plan to go, in (0, 1]: 1 as far as the planner's rules say.
        """

    @abstractmethod
    def of(self, objectives: Sequence[Objective]) -> Goals:
        """Return goals with these objectives, which an earlier `first` or `next` gave."""

    @abstractmethod
    def judge(self, dose_gy: FloatVolume) -> Judgement:
        """Return what a dose is worth."""

    @abstractmethod
    def factor(self, dose_gy: FloatVolume) -> float:
        """Return what to multiply a plan's fluence and dose by before it is judged; 1 where it stays as it is."""


class AbstractIterativePlanner(AbstractPlanner):
    """A planner that goes on from the plan its goals have led to.

    `goals`, of every planner, are those of its first plan.
    """

    stop: IterationStop

    @abstractmethod
    def course(self, case: PatientCase, wanted_gy: FloatVolume) -> AbstractCourse:
        """Return the course of a case.

        Args:
            case: The patient.
            wanted_gy: Dose asked for, total Gy on the case's grid.

        Raises:
            InputError: If nothing can be asked of this case, or no plan of it judged.
        """

    def goals(self, case: PatientCase, wanted_gy: FloatVolume) -> Goals:
        """Return the goals of the first plan; see `AbstractPlanner.goals`."""
        return self.course(case, wanted_gy).first()
