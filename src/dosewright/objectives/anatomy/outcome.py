"""What anatomy did to a case's goals, and the words that explain it."""

from collections.abc import Mapping
from dataclasses import dataclass

from dosewright.core.types import Mask
from dosewright.objectives.anatomy.laterality import TargetSide
from dosewright.objectives.anatomy.measures import NUMBERS, MeasureValue, OrganMeasures
from dosewright.objectives.anatomy.rule import ReviewRule, Rule
from dosewright.objectives.objective import Objective


@dataclass(frozen=True)
class OrganGoal:
    """A goal as it stands after all rules.

    Args:
        organ: The organ it is about.
        objective: What is asked for.
        baseline: What would be asked for whatever the anatomy; None for a goal that a rule added.
        rules: Names of the rules that made it what it is.
        source: Of the baseline, or of the rule that added it.
    """

    organ: str
    objective: Objective
    baseline: Objective | None
    rules: tuple[str, ...]
    source: str


@dataclass(frozen=True, eq=False)
class Change:
    """What one rule did to one objective.

    Args:
        organ: The organ.
        rule: The rule.
        before: The objective as it was; None where the rule added it.
        after: The objective as it became.
        values: Measure → value, of those the rule read.
        applied: False for a proposal that waits for a review.
    """

    organ: str
    rule: Rule
    before: Objective | None
    after: Objective
    values: Mapping[str, MeasureValue]
    applied: bool

    def explain(self) -> str:
        """Return the change in plain language."""
        head = "" if self.applied else "PROPOSED, NOT APPLIED until reviewed. "
        before = "nothing asked for" if self.before is None else _wish(self.before)
        held = "; ".join(condition.describe(self.values[condition.measure]) for condition in self.rule.when)
        asked = {condition.measure for condition in self.rule.when}
        used = "; ".join(f"{name} {_shown(name, value)}" for name, value in self.values.items() if name not in asked)
        because = f"because {held}" if held else "for every patient"
        measured = f" With {used}." if used else ""
        return (
            f"{head}{self.after.structure}: {before} → {_wish(self.after)}, {because} (rule “{self.rule.name}”)."
            f"{measured} {_sentence(self.rule.why)} Source: {self.rule.source}."
        )


@dataclass(frozen=True, eq=False)
class Review:
    """Something a person must look at before the plan is used.

    Args:
        organ: The organ.
        rule: What asks for it.
        values: Measure → value, of those it read.
    """

    organ: str
    rule: ReviewRule
    values: Mapping[str, MeasureValue]

    def explain(self) -> str:
        """Return the demand in plain language."""
        held = "; ".join(condition.describe(self.values[condition.measure]) for condition in self.rule.when)
        waits = " Until then the rules' changes for it are proposals only." if self.rule.withhold else ""
        return (
            f"REVIEW {self.organ}, {self.rule.name}: {_sentence(self.rule.text)}{waits} Found: {held}."
            f" Source: {self.rule.source}."
        )


@dataclass(frozen=True, eq=False)
class AnatomyOutcome:
    """Goals of a case after all rules.

    Args:
        goals: In the order of their baselines; added ones last.
        changes: What the rules did, in order, proposals last.
        reviews: What a person must look at.
        remarks: What else to know, in sentences: absent organs, warnings, rules that could not be applied.
        measures: Of each organ with a goal.
        side: Where the target of highest prescription lies.
        parts: Helper structures that goals name.
    """

    goals: tuple[OrganGoal, ...]
    changes: tuple[Change, ...]
    reviews: tuple[Review, ...]
    remarks: tuple[str, ...]
    measures: tuple[OrganMeasures, ...]
    side: TargetSide
    parts: Mapping[str, Mask]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that people should read: reviews, changes, remarks."""
        reviews = (review.explain() for review in self.reviews)
        return (*reviews, *(change.explain() for change in self.changes), *self.remarks)

    def to_plain(self) -> dict[str, object]:
        """Return all of it as plain data."""
        return {
            "target_side": {
                "side": self.side.side.value,
                "left_percent": round(self.side.left_percent, 2),
                "midline_x_mm": round(self.side.midline_x_mm, 2),
                "midline_from": self.side.midline_from,
            },
            "measures": [measures.to_plain() for measures in self.measures],
            "goals": [
                {
                    "organ": goal.organ,
                    "objective": goal.objective.to_dict(),
                    "baseline": None if goal.baseline is None else goal.baseline.to_dict(),
                    "rules": list(goal.rules),
                    "source": goal.source,
                }
                for goal in self.goals
            ],
            "changes": [_plain_change(change) for change in self.changes],
            "review_required": bool(self.reviews),
            "reviews": [{"organ": item.organ, "name": item.rule.name, "text": item.explain()} for item in self.reviews],
            "remarks": list(self.remarks),
        }


def _plain_change(change: Change) -> dict[str, object]:
    return {
        "organ": change.organ,
        "rule": change.rule.name,
        "applied": change.applied,
        "before": None if change.before is None else change.before.to_dict(),
        "after": change.after.to_dict(),
        "measures": {name: round(v, 3) if isinstance(v, float) else v for name, v in change.values.items()},
        "source": change.rule.source,
        "explanation": change.explain(),
    }


def _wish(objective: Objective) -> str:
    """Return an objective without its structure's name."""
    return objective.describe().partition(": ")[2]


def _shown(name: str, value: MeasureValue) -> str:
    if isinstance(value, float):
        return f"{value:.1f} {NUMBERS[name]}" if name in NUMBERS else f"{value:.1f} Gy"
    return str(value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
