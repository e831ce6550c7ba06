"""Objectives together with what they were made from."""

from dataclasses import dataclass

from dosewright.core import PatientCase
from dosewright.objectives.anatomy.outcome import AnatomyOutcome
from dosewright.objectives.extraction_rules import Origin
from dosewright.objectives.objective import Objective
from dosewright.objectives.parts import Part, StructureNote


@dataclass(frozen=True)
class Derived:
    """An objective and what it was made from.

    Args:
        objective: The objective.
        part: What its structure is to the optimisation.
        origin: Where it comes from.
        measure: What was read off the dose ("D10", "Dmean", "D0.1cc").
        dose_has_gy: The dose's own value of that, total Gy.
        rule: Name of the margin rule, or what the prescription was multiplied by.
    """

    objective: Objective
    part: Part
    origin: Origin
    measure: str
    dose_has_gy: float
    rule: str

    @property
    def margin_gy(self) -> float:
        """How far the objective lies from the dose, Gy; negative where it asks for less."""
        return self.wanted_gy - self.dose_has_gy

    @property
    def wanted_gy(self) -> float:
        """The objective's dose in Gy; 0 where it has none."""
        return float(self.objective.dose_gy or 0.0)


@dataclass(frozen=True, eq=False)
class Extraction:
    """The objectives of a dose.

    Args:
        case: The case; the helper structures that objectives name are among its structures.
        derived: Objectives with their origin, targets first.
        structures: What became of every structure.
        anatomy: What the patient's anatomy did to the goals of organs; None where it was not asked.
    """

    case: PatientCase
    derived: tuple[Derived, ...]
    structures: tuple[StructureNote, ...]
    anatomy: AnatomyOutcome | None = None

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives alone."""
        return tuple(item.objective for item in self.derived)
