"""Plans refined by a scorecard until it no longer rises, after AIRTP (arXiv:2501.11803)."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.objectives.extraction_rules import ExtractionSettings
from dosewright.objectives.objective import Objective
from dosewright.planning.airtp_course import AirtpCourse
from dosewright.planning.airtp_margin import CardMargin
from dosewright.planning.airtp_normalisation import Normalisation
from dosewright.planning.iteration_stop import IterationStop
from dosewright.planning.iterative_planner import AbstractIterativePlanner
from dosewright.scorecards.absent import reduced_structures
from dosewright.scorecards.cards import load_card
from dosewright.scorecards.scorer import Scorer

STARTS, FOLLOWED = ("dose", "card", "protocol"), ("plan", "dose")


@final
@dataclass(frozen=True)
class AirtpPlanner(AbstractIterativePlanner):
    """Asks each plan to be a margin better than the one before.

    Targets and their rings keep to the prescription. The DVH of every organ and helper is read off the latest plan at
    some volumes, and a margin rule makes an objective of each point; so does another rule of each item of the
    scorecard. The next plan starts from the fluence of the one before, and the plan with the highest score is kept.

    What a case lacks of a structure that the card builds is left out of it (`scorecards.absent`); other items of
    structures that it lacks are not scored.

    Args:
        card: A scorecard that ships, or the path of one.
        start: What the first plan goes by: "dose", the DVHs of the dose asked for; "card", the values that have
            `card_share` of each item's points; "protocol", the goals in `protocol`.
        follow: "plan" reads DVHs off the latest plan; "dose" off the dose asked for, to replay it: one plan.
        extraction: Volumes, margins and priorities of DVH points, targets and rings, and the helper structures.
        margin: The rule for items of the card.
        stop: When the score has converged.
        normalise: How plans are scaled before they are judged; None leaves them.
        cover_share: Limits of targets and rings are asked for in voxels of the dose grid that have this share in them:
            with half, those between target and ring would belong to neither. None takes half.
        hot_cc: Ceilings of targets and rings weigh as if the structure were this large, so that a few hot voxels count;
            None weighs them by the mean over the structure.
        card_share: In (0, 1], see `start`.
        protocol: Objectives as in a file of them; those of structures that a case lacks are left out.
        names: Card's structure name → the case's, or an expression of such.
        dose_scale: What doses are multiplied by before they are scored.

    Raises:
        InputError: If a value is not allowed.
    """

    card: str = "head_neck_sib"
    start: str = "dose"
    follow: str = "plan"
    extraction: ExtractionSettings = field(
        default_factory=lambda: ExtractionSettings(means=False, maximum_cc=None)  # the card's items ask for these
    )
    margin: CardMargin = field(default_factory=CardMargin)
    stop: IterationStop = field(default_factory=IterationStop)
    normalise: Normalisation | None = field(default_factory=Normalisation)
    cover_share: float | int | None = 0.1
    hot_cc: float | int | None = 0.5
    card_share: float | int = 0.75
    protocol: Sequence[Mapping[str, Any]] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    dose_scale: float | int = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (("start", STARTS), ("follow", FOLLOWED)):
            if getattr(self, name) not in allowed:
                raise InputError(f"must be one of {allowed}", argument=f"planner.{name}", value=getattr(self, name))
        if self.follow == "dose" and self.start != "dose":
            raise InputError("must be 'dose' where the dose is followed", argument="planner.start", value=self.start)
        if self.extraction.anatomy is not None:
            rule = "must be null: organs follow the latest plan here, not their anatomy"
            raise InputError(rule, argument="planner.extraction.anatomy", value=type(self.extraction.anatomy).__name__)
        if not 0 < self.card_share <= 1:
            raise InputError("must be in (0, 1]", argument="planner.card_share", value=self.card_share)
        if self.cover_share is not None and not 0 < self.cover_share < 1:
            raise InputError("must be in (0, 1), or null", argument="planner.cover_share", value=self.cover_share)
        if self.hot_cc is not None and not 0 < self.hot_cc < math.inf:
            raise InputError("must be positive and finite, or null", argument="planner.hot_cc", value=self.hot_cc)
        for goal in self.protocol:
            Objective.from_dict(dict(goal))
        if self.start == "protocol" and not self.protocol:
            raise InputError("must hold a goal", argument="planner.protocol", value=())

    def course(self, case: PatientCase, wanted_gy: FloatVolume) -> AirtpCourse:
        """Return the course of a case; see `AbstractIterativePlanner.course`."""
        card, names = load_card(self.card), dict(self.names)
        left = {name: found.expression for name, found in reduced_structures(card, case, names).items()}
        return AirtpCourse(case, wanted_gy, self, Scorer(card, case, names | left, float(self.dose_scale)))

    def fingerprint(self, case_id: str) -> str:
        """Return a hash of the card."""
        return hashlib.sha256(repr(load_card(self.card)).encode()).hexdigest()[:16]
