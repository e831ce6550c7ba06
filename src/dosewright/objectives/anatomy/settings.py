"""All of an anatomy-aware set of objectives, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dosewright.core import InputError
from dosewright.objectives.anatomy.dose_predictor import DosePredictor
from dosewright.objectives.anatomy.goal import Goal
from dosewright.objectives.anatomy.history import history_fingerprint
from dosewright.objectives.anatomy.organ_part import OrganPart
from dosewright.objectives.anatomy.population import Population
from dosewright.objectives.anatomy.rule import ReviewRule, Rule

Plain = Any  # what YAML gives, or the object it stands for


@dataclass(frozen=True)
class AnatomySettings:
    """Baseline goals, the rules that change them, and what the rules read; conf/anatomy/ has some.

    Args:
        goals: Baseline of each organ, whatever the anatomy; the organs that have one no longer follow the dose.
        rules: Applied in this order, each on what the ones before it left.
        reviews: What a person must look at.
        parts: Parts of organs that rules name.
        population: JSON file of volume norms; None means the one that ships.
        predictor: JSON file of the predictor of mean doses; None means the one that ships.
        history: JSON file of what a CT does not show (`history.read_history`); None for nothing known.
        side_percent: Share of the target of highest prescription that must lie on one side for it to be the ipsilateral
            one.
        floor_gy: No goal is lowered below this, as scatter reaches it everywhere.

    Raises:
        InputError: If a part is not allowed, two goals are for one organ and kind, or a rule is for an organ without a
            goal or names an unknown part.
    """

    goals: Sequence[Plain] = ()
    rules: Sequence[Plain] = ()
    reviews: Sequence[Plain] = ()
    parts: Sequence[Plain] = ()
    population: str | Path | None = None
    predictor: str | Path | None = None
    history: str | Path | None = None
    side_percent: float | int = 65.0
    floor_gy: float | int = 3.0

    def __post_init__(self) -> None:
        for name, kind in (("goals", Goal), ("rules", Rule), ("reviews", ReviewRule), ("parts", OrganPart)):
            made = [item if isinstance(item, kind) else kind.from_plain(item) for item in getattr(self, name)]
            object.__setattr__(self, name, tuple(made))
        if not 50.0 < self.side_percent <= 100.0:
            raise InputError("must be in (50, 100]", argument="side_percent", value=self.side_percent)
        if not self.floor_gy >= 0.0:
            raise InputError("must be zero or more", argument="floor_gy", value=self.floor_gy)
        pairs = [(organ, goal.kind, goal.volume_percent) for goal in self.goals for organ in goal.organs]
        twice = sorted({pair[0] for pair in pairs if pairs.count(pair) > 1})
        if twice:
            raise InputError("must have one of a kind for an organ", argument="goals", value=twice)
        self._check_rules()

    @property
    def organs(self) -> tuple[str, ...]:
        """Organs with a goal, in the order of the goals."""
        return tuple(dict.fromkeys(organ for goal in self.goals for organ in goal.organs))

    def read_population(self) -> Population:
        """Return the volume norms; raises what `Population.read` does."""
        return Population.read(self.population)

    def read_predictor(self) -> DosePredictor:
        """Return the predictor of mean doses; raises what `DosePredictor.read` does."""
        return DosePredictor.read(self.predictor)

    def fingerprint(self, case_id: str) -> str:
        """Return a text that changes when a case's history does; raises what `read_history` does."""
        return history_fingerprint(self.history, case_id)

    def _check_rules(self) -> None:
        of = {part.name: part.of for part in self.parts}
        for rule in self.rules:
            without = [organ for organ in rule.organs if organ not in self.organs]
            if without:
                raise InputError("must have a goal", argument=f"organs of the rule {rule.name!r}", value=without)
            unknown = [item.part for item in rule.add if of.get(item.part) not in rule.organs]
            if unknown:
                raise InputError(
                    "must be parts of its organs", argument=f"add of the rule {rule.name!r}", value=unknown
                )
