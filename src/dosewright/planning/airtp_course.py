"""One case's way from plan to plan by AIRTP's rules (arXiv:2501.11803, Algorithm 1)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

import numpy as np

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.objectives.derived import Derived
from dosewright.objectives.extraction import DECIMALS, derive_objectives
from dosewright.objectives.extraction_rules import Origin
from dosewright.objectives.helpers import planning_structures
from dosewright.objectives.objective import Objective
from dosewright.objectives.parts import Part, left_out
from dosewright.planning.airtp_items import ScoredItems
from dosewright.planning.airtp_margin import Asked, value_worth
from dosewright.planning.goals import Goals
from dosewright.planning.iterative_planner import AbstractCourse, ItemOutcome, Judgement
from dosewright.scorecards.score_card import Curve
from dosewright.scorecards.scorer import Scorer

if TYPE_CHECKING:
    from dosewright.planning.airtp_planner import AirtpPlanner


@final
class AirtpCourse(AbstractCourse):
    """See `airtp_planner.AirtpPlanner`.

    Args:
        case: The patient.
        wanted_gy: Dose asked for, total Gy on the case's grid.
        planner: The settings.
        scorer: Of the case.

    Raises:
        InputError: If no item of the card can be scored.
    """

    def __init__(self, case: PatientCase, wanted_gy: FloatVolume, planner: "AirtpPlanner", scorer: Scorer) -> None:
        self.case, self.planner, self.scorer, self.wanted_gy = case, planner, scorer, wanted_gy
        if all(bound.mask is None for bound in scorer.bound):
            rule = f"must hold a structure of the scorecard {scorer.card.name!r}"
            raise InputError(rule, argument=f"structures of {case.case_id}", value=tuple(case.structures))
        self.items = ScoredItems(scorer)
        self.planned = planning_structures(self.items.case, planner.extraction.helpers)
        known = self.planned.case.structures.items()
        self._helpers = {name: mask for name, mask in known if name not in case.structures}
        self._helpers |= {_cover(name): case.structures[name] for name in case.targets}

    def first(self) -> Goals:
        """Return the goals of the first plan: by the dose, the card or the protocol."""
        if self.planner.follow == "dose":
            return self._refined(self.wanted_gy)
        if self.planner.start == "dose":
            return self._goals(self._derived(self.wanted_gy), ())
        own = self._from_card() if self.planner.start == "card" else self._from_protocol()
        return self._goals(self._prescribed(), own)

    def next(self, dose_gy: FloatVolume, reach: float = 1.0) -> Goals | None:
        """Return goals a margin beyond a plan, of that a share; None where they follow the dose asked for."""
        return None if self.planner.follow == "dose" else self._refined(dose_gy, reach)

    def of(self, objectives: Sequence[Objective]) -> Goals:
        """Return goals with these objectives."""
        share = self.planner.cover_share
        rings = (name for name, part in self.planned.parts.items() if part is Part.RING)
        edged = (*map(_cover, self.case.targets), *rings)
        shares = {} if share is None else dict.fromkeys(edged, float(share))
        remarks = tuple(left_out(self.planned.notes))
        return Goals(tuple(objectives), self._helpers, shares=shares, absent="skip", remarks=remarks)

    def judge(self, dose_gy: FloatVolume) -> Judgement:
        """Return what the card says of a dose."""
        report = self.scorer(dose_gy)
        outcomes = tuple(
            ItemOutcome(
                structure=entry.item.name,
                measure=entry.item.metric.describe(),
                value=None if entry.value is None else float(entry.value),
                score=None if entry.score is None else float(entry.score),
                maximum=float(entry.item.maximum),
                reason=entry.reason,
            )
            for entry in report.items
        )
        return Judgement(float(report.total), float(report.maximum), outcomes)

    def factor(self, dose_gy: FloatVolume) -> float:
        """Return what brings the highest target to its coverage; 1 without normalisation."""
        rule = self.planner.normalise
        return 1.0 if rule is None else rule.factor(self.case, dose_gy, lambda scaled: float(self.scorer(scaled).total))

    def _refined(self, dose_gy: FloatVolume, reach: float = 1.0) -> Goals:
        """Return Algorithm 1's objectives: prescriptions, DVH points and card items, a margin beyond a dose."""
        values = [entry.value for entry in self.scorer(dose_gy).items]

        def asked(place: int) -> Asked | None:
            value = values[place]
            wish = None if value is None else self.planner.margin.asked(self._curve(place), float(value))
            return None if wish is None or value is None else Asked(value + reach * (wish.value - value), wish.priority)

        return self._goals(self._derived(dose_gy, reach), self.items.objectives(asked))

    def _derived(self, dose_gy: FloatVolume, reach: float = 1.0) -> tuple[Objective, ...]:
        found = derive_objectives(self.planned, dose_gy, self.planner.extraction).derived
        return tuple(_reaching(self._sharpened(item), item, reach) for item in found)

    def _prescribed(self) -> tuple[Objective, ...]:
        """Return the objectives of targets and rings alone, which no dose decides."""
        nowhere = np.ones(self.case.grid.shape_zyx, np.float32)
        found = derive_objectives(self.planned, nowhere, self.planner.extraction).derived
        return tuple(self._sharpened(item) for item in found if item.origin is Origin.TARGET)

    def _sharpened(self, item: Derived) -> Objective:
        """Return an objective; one by the prescription for a target's edge, too, and a ceiling for few voxels alike."""
        objective, name = item.objective, item.objective.structure
        if item.origin is not Origin.TARGET:
            return objective
        if objective.kind == "squared_overdose" and self.planner.hot_cc is not None:
            volume_cc = float(np.count_nonzero(self.planned.case.structures[name])) * self.case.grid.voxel_volume_cc
            share = max(volume_cc / float(self.planner.hot_cc), 1.0)
            objective = replace(objective, priority=round(float(objective.priority) * share, DECIMALS))
        edged = self.planner.cover_share is not None and name in self.case.targets
        return replace(objective, structure=_cover(name)) if edged else objective

    def _from_card(self) -> tuple[Objective, ...]:
        """Return an objective per item: the value that has a share of its points."""

        def asked(place: int) -> Asked | None:
            value = value_worth(self._curve(place), float(self.planner.card_share))
            wish = self.planner.margin.asked(self._curve(place), value)
            return None if wish is None else Asked(value, wish.priority)

        return tuple(self.items.objectives(asked))

    def _from_protocol(self) -> tuple[Objective, ...]:
        known = self.planned.case.structures
        found = (Objective.from_dict(dict(goal)) for goal in self.planner.protocol)
        return tuple(goal for goal in found if goal.structure in known)

    def _goals(self, derived: Sequence[Objective], own: Iterable[Objective]) -> Goals:
        return self.of((*derived, *own))

    def _curve(self, place: int) -> Curve:
        return self.scorer.card.items[place].curve


def _reaching(objective: Objective, item: Derived, reach: float) -> Objective:
    """Return an objective with a share of its margin; one of the prescription as it is."""
    if item.origin is Origin.TARGET or reach == 1.0:
        return objective
    dose_gy = item.dose_has_gy + reach * item.margin_gy
    return replace(objective, dose_gy=round(dose_gy, DECIMALS))


def _cover(target: str) -> str:
    """Return the name of a target with its edge."""
    return f"z{target}_Cover"
