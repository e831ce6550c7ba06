"""Applies rules to the goals of a case.

Rules run in their order, each on what the ones before it left. Where a review withholds them, the goals stay as their
baseline is, and what the rules would do is a proposal.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from dosewright.core import PatientCase
from dosewright.core.types import Mask
from dosewright.objectives.anatomy.history import PatientHistory, read_history
from dosewright.objectives.anatomy.measures import NUMBERS, Measurer, MeasureValue, OrganMeasures
from dosewright.objectives.anatomy.outcome import AnatomyOutcome, Change, OrganGoal, Review
from dosewright.objectives.anatomy.rule import Rule
from dosewright.objectives.anatomy.settings import AnatomySettings
from dosewright.objectives.objective import Objective

DECIMALS = 2  # of a dose in Gy


@dataclass(frozen=True)
class Step:
    """What came of a rule for an organ: its goals, changes, and a remark where it could not be applied."""

    goals: tuple[OrganGoal, ...]
    changes: tuple[Change, ...] = ()
    remarks: tuple[str, ...] = ()


def anatomy_goals(
    case: PatientCase, settings: AnatomySettings, history: PatientHistory | None = None
) -> AnatomyOutcome:
    """Return what is asked of a case's organs, given its anatomy.

    Args:
        case: The case; structures that goals name besides organs (`Goal.also_on`) count where it has them.
        settings: Goals, rules, reviews.
        history: What the CT does not show; None reads it from the settings' file.

    Raises:
        InputError: If a file of the settings cannot be read.
        GridMismatchError: If a prior dose lies on another grid than the case.
    """
    history = read_history(settings.history, case) if history is None else history
    measurer = Measurer(
        case, settings.read_population(), settings.read_predictor(), history, float(settings.side_percent)
    )
    found = [OrganDecision(settings, organ, measurer.measure(organ), case.structures) for organ in settings.organs]
    goals = [goal for organ in found for goal in organ.step.goals]
    return AnatomyOutcome(
        goals=(*(g for g in goals if g.baseline), *(g for g in goals if not g.baseline)),
        changes=tuple(change for organ in found for change in organ.step.changes),
        reviews=tuple(review for organ in found for review in organ.reviews),
        remarks=tuple(remark for organ in found for remark in organ.step.remarks),
        measures=tuple(organ.measures for organ in found if organ.measures is not None),
        side=measurer.side,
        parts=_parts(case, settings, goals),
    )


class OrganDecision:
    """What the rules decide for one organ: `step` holds goals, changes and remarks, `reviews` who must look.

    Args:
        settings: Goals, rules, reviews.
        organ: The organ.
        measures: Its measures; None where there is nothing to measure.
        structures: Names of the structures that there are.
    """

    def __init__(
        self, settings: AnatomySettings, organ: str, measures: OrganMeasures | None, structures: Collection[str]
    ) -> None:
        self.settings, self.organ, self.measures, self.structures = settings, organ, measures, structures
        self.reviews: tuple[Review, ...] = ()
        if measures is None:
            why = "no voxel of it is in the body" if organ in structures else "the case does not have it"
            self.step = Step((), (), (f"{organ}: {why}, so nothing is asked of it.",))
            return
        self.reviews = tuple(self._reviews(measures))
        rules = [rule for rule in settings.rules if rule.holds(organ, measures.values)]
        withheld = any(review.rule.withhold for review in self.reviews)
        done = self._run([rule for rule in rules if rule.always or not withheld], measures, applied=True)
        proposed = self._run([rule for rule in rules if not rule.always] if withheld else [], measures, applied=False)
        remarks = dict.fromkeys((*done.remarks, *proposed.remarks))
        self.step = Step(done.goals, (*done.changes, *proposed.changes), tuple(remarks))

    def _reviews(self, measures: OrganMeasures) -> Iterator[Review]:
        for rule in self.settings.reviews:
            if rule.holds(self.organ, measures.values):
                values = {condition.measure: measures.values[condition.measure] for condition in rule.when}
                yield Review(self.organ, rule, values)

    def _run(self, rules: Iterable[Rule], measures: OrganMeasures, *, applied: bool) -> Step:
        step = Step(tuple(self._baseline()))
        for rule in rules:
            now = self._apply(rule, step.goals, measures, applied)
            step = Step(now.goals, step.changes + now.changes, step.remarks + now.remarks)
        return step

    def _baseline(self) -> Iterator[OrganGoal]:
        for goal in self.settings.goals:
            for objective in goal.objectives(self.organ) if self.organ in goal.organs else ():
                if objective.structure in self.structures:
                    yield OrganGoal(self.organ, objective, objective, (), goal.source)

    def _apply(self, rule: Rule, goals: tuple[OrganGoal, ...], measures: OrganMeasures, applied: bool) -> Step:
        remarks = [f"{self.organ}: {rule.warning} (rule “{rule.name}”)."] if rule.warning else []
        changes: list[Change] = []
        after: list[OrganGoal] = []
        for goal in goals:
            numbers = _numbers(measures, goal)
            changed = self._changed(rule, goal.objective, numbers)
            if changed is None:
                missing = [name for name in rule.names if name in numbers and numbers[name] is None]
                remarks.append(f"{self.organ}: rule “{rule.name}” not applied, as {missing} cannot be said.")
            if changed is None or changed == goal.objective:
                after.append(goal)
                continue
            values = _read(rule, measures)
            changes.append(Change(self.organ, rule, goal.objective, changed, values, applied))
            after.append(replace(goal, objective=changed, rules=(*goal.rules, rule.name)))
        for item in rule.add:
            values = _read(rule, measures)
            changes.append(Change(self.organ, rule, None, item.objective, values, applied))
            after.append(OrganGoal(self.organ, item.objective, None, (rule.name,), rule.source))
        return Step(tuple(after), tuple(changes), tuple(remarks))

    def _changed(self, rule: Rule, objective: Objective, numbers: Mapping[str, float | None]) -> Objective | None:
        """Return an objective after a rule; None where the rule reads a measure that cannot be said."""
        dose_gy, times = objective.dose_gy, 1.0
        if rule.dose_gy is not None:
            wanted_gy = rule.dose_gy.evaluate(numbers)
            if wanted_gy is None:
                return None
            dose_gy = round(max(wanted_gy, float(self.settings.floor_gy)), DECIMALS)
        if rule.priority_times is not None:
            factor = rule.priority_times.evaluate(numbers)
            if factor is None:
                return None
            times = factor
        return replace(objective, dose_gy=dose_gy, priority=round(objective.priority * times, DECIMALS))


def _numbers(measures: OrganMeasures, goal: OrganGoal) -> dict[str, float | None]:
    """Return the measures that are numbers, with the goal's own doses."""
    numbers = {name: measures.number(name) for name in NUMBERS}
    baseline = goal.baseline or goal.objective  # one that a rule added has no other
    return numbers | {"goal_gy": goal.objective.dose_gy, "baseline_gy": baseline.dose_gy}


def _read(rule: Rule, measures: OrganMeasures) -> dict[str, MeasureValue]:
    """Return the values that a rule read, apart from the goal's own."""
    return {name: measures.values[name] for name in rule.names if name in measures.values}


def _parts(case: PatientCase, settings: AnatomySettings, goals: Iterable[OrganGoal]) -> dict[str, Mask]:
    """Return the parts of organs that goals name and the case has not got."""
    named = {goal.objective.structure for goal in goals} - set(case.structures)
    made = {part.name: part.mask(case.structures[part.of], case.grid) for part in settings.parts if part.name in named}
    return {name: mask for name, mask in made.items() if mask.any()}
