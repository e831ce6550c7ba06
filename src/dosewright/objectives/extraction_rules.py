"""What turns a dose into objectives: margins, priorities and sampled volumes, as data.

The margin rules are those of AIRTP (arXiv:2501.11803, Fig. 3); numbers it does not give are ours and say so. Doses are
total Gy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dosewright.core import InputError
from dosewright.objectives.anatomy.settings import AnatomySettings
from dosewright.objectives.default_helpers import default_helpers
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.parts import Part

#: Parts of a plan whose objectives follow the dose; targets follow their prescription.
FOLLOWING = (Part.ORGAN, Part.CROPPED, Part.PRV, Part.RING, Part.TISSUE)

Number = float | int  # YAML gives ints


def _check_positive(name: str, value: Number) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError("must be positive and finite", argument=name, value=value)


def _check_not_negative(name: str, value: Number) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError("must be finite, zero or more", argument=name, value=value)


class Origin(StrEnum):
    """Where an objective comes from."""

    POINT = "point"
    LINE = "line"
    MEAN = "mean"
    MAXIMUM = "maximum"
    TARGET = "target"
    GOAL = "goal"


@dataclass(frozen=True)
class MarginRule:
    """How much better than the dose an objective asks for, and how strongly.

    The objective's dose is max(factor · d, d − subtract_gy) for a dose d.

    Args:
        name: Shown with each objective the rule made.
        factor: In [0, 1]; 0 leaves `subtract_gy` alone to rule.
        subtract_gy: Largest distance from the dose in Gy.
        priority: Of the objective, positive.
        of: Parts the rule is for.
        above_gy: Only doses greater than this; None for all.
        below_gy: Only doses less than this; None for all.
        below_volume_percent: Only D_v at volumes less than this; means and maxima have none and do not match.

    Raises:
        InputError: If a value is out of its range.

    >>> rule = MarginRule("near target", 0.95, 2.0, 120.0)
    >>> rule.objective_gy(60.0), rule.objective_gy(20.0)
    (58.0, 19.0)
    """

    name: str
    factor: Number
    subtract_gy: Number
    priority: Number
    of: Sequence[str] = FOLLOWING
    above_gy: Number | None = None
    below_gy: Number | None = None
    below_volume_percent: Number | None = None

    def __post_init__(self) -> None:
        label = f"rule {self.name!r}"
        if not 0.0 <= self.factor <= 1.0:
            raise InputError("must be in [0, 1]", argument=f"factor of {label}", value=self.factor)
        _check_not_negative(f"subtract_gy of {label}", self.subtract_gy)
        _check_positive(f"priority of {label}", self.priority)
        unknown = sorted(set(self.of) - set(FOLLOWING))
        if unknown or not self.of:
            allowed = tuple(part.value for part in FOLLOWING)
            raise InputError(f"must be some of {allowed}", argument=f"of in {label}", value=tuple(self.of))
        object.__setattr__(self, "of", tuple(Part(part) for part in self.of))

    @property
    def is_general(self) -> bool:
        """Whether the rule holds at every dose and volume."""
        return self.above_gy is None and self.below_gy is None and self.below_volume_percent is None

    def matches(self, part: Part, dose_gy: float, volume_percent: float | None) -> bool:
        """Whether the rule is for this part, dose and volume (None: a mean or a maximum)."""
        if part not in self.of:
            return False
        if self.above_gy is not None and not dose_gy > self.above_gy:
            return False
        if self.below_gy is not None and not dose_gy < self.below_gy:
            return False
        limit = self.below_volume_percent
        return limit is None or (volume_percent is not None and volume_percent < limit)

    def objective_gy(self, dose_gy: float) -> float:
        """Return the dose in Gy to ask for where the plan should have `dose_gy`."""
        return max(float(self.factor) * dose_gy, dose_gy - float(self.subtract_gy))


#: AIRTP's rules (first match counts); rings and tissue, which it does not sample, as they are in the dose (ours).
AIRTP_RULES = (
    MarginRule("as it is", 1.0, 0.0, 60.0, (Part.RING, Part.TISSUE)),
    MarginRule("beside a target", 0.95, 3.0, 120.0, (Part.CROPPED,), above_gy=20.0),
    MarginRule("high dose", 0.0, 1.0, 80.0, (Part.ORGAN, Part.PRV), above_gy=63.0),
    MarginRule("low dose, small volume", 0.95, 2.0, 80.0, below_gy=20.0, below_volume_percent=50.0),
    MarginRule("very low dose", 0.95, 2.0, 80.0, below_gy=10.0),
    MarginRule("else", 0.95, 2.0, 120.0),
)


@dataclass(frozen=True)
class TargetRule:
    """Objectives of targets and rings, as shares of the prescription.

    Args:
        lower_factor: A target's voxels should have at least this times its prescription.
        upper_factor: And at most this; away from targets of higher prescription.
        priority: Of both.
        ring_factor: Voxels of a target's ring should have at most this times its prescription.
        ring_priority: Of that.
        ceilings_follow: Whether a ceiling below the dose's own D2 is raised to that D2, so that the plan is not asked
            for a better dose than the one it should repeat.

    Raises:
        InputError: If a value is not positive and finite, or lower is not below upper.
    """

    lower_factor: Number = 1.01
    upper_factor: Number = 1.05
    priority: Number = 300.0
    ring_factor: Number = 1.05
    ring_priority: Number = 250.0
    ceilings_follow: bool = False

    def __post_init__(self) -> None:
        for name in ("lower_factor", "upper_factor", "priority", "ring_factor", "ring_priority"):
            _check_positive(name, getattr(self, name))
        if not self.lower_factor < self.upper_factor:
            values = (self.lower_factor, self.upper_factor)
            raise InputError("must be below upper_factor", argument="lower_factor", value=values)


@dataclass(frozen=True)
class ExtractionSettings:
    """All numbers of an extraction; the defaults are conf/objectives/airtp.yaml.

    Args:
        volumes_percent: Volumes v at which D_v of an organ becomes a point objective; empty for none.
        around_volumes_percent: The same for rings and tissue.
        line_step_percent: Spacing of the volumes of a line, from 0 % up to below 100 %; None for no lines. A line is
            as many points with one priority, falling with volume.
        line_priority: Of every point of a line.
        means: Whether the mean becomes an objective.
        maximum_cc: The dose of the hottest volume of organs that are kept whole becomes an upper limit; None for none.
        floor_gy: No objective asks for less than this, as scatter reaches it everywhere.
        rules: Margin rules; the first that matches counts.
        targets: Objectives from the prescription.
        helpers: Which helper structures are made, and which structures are dropped.
        expected: Structures the plan should know; absent ones are listed.
        absent: "report" lists absent structures, "raise" refuses the case.
        anatomy: Goals that follow the patient's anatomy: the organs they are for do not follow the dose; None for none.

    Raises:
        InputError: If a value is out of its range, or a part has no rule that holds everywhere.
    """

    volumes_percent: Sequence[Number] = (1.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0)
    around_volumes_percent: Sequence[Number] = (1.0, 20.0, 60.0)
    line_step_percent: Number | None = None
    line_priority: Number = 40.0
    means: bool = True
    maximum_cc: Number | None = 0.1
    floor_gy: Number = 3.0
    rules: Sequence[MarginRule] = AIRTP_RULES
    targets: TargetRule = field(default_factory=TargetRule)
    helpers: HelperSet = field(default_factory=default_helpers)
    expected: Sequence[str] = ()
    absent: str = "report"
    anatomy: AnatomySettings | None = None

    def __post_init__(self) -> None:
        for name in ("volumes_percent", "around_volumes_percent"):
            volumes = tuple(float(volume) for volume in getattr(self, name))
            if not all(0.0 <= volume < 100.0 for volume in volumes) or len(set(volumes)) != len(volumes):
                raise InputError("must be different numbers in [0, 100)", argument=name, value=volumes)
            object.__setattr__(self, name, tuple(sorted(volumes)))
        object.__setattr__(self, "rules", tuple(self.rules))
        object.__setattr__(self, "expected", tuple(self.expected))
        if self.line_step_percent is not None and not 0.5 <= self.line_step_percent <= 50.0:
            raise InputError("must be null or in [0.5, 50]", argument="line_step_percent", value=self.line_step_percent)
        _check_positive("line_priority", self.line_priority)
        if self.maximum_cc is not None:
            _check_positive("maximum_cc", self.maximum_cc)
        _check_not_negative("floor_gy", self.floor_gy)
        if self.absent not in ("report", "raise"):
            raise InputError('must be "report" or "raise"', argument="absent", value=self.absent)
        for part in FOLLOWING:
            if not any(rule.is_general and part in rule.of for rule in self.rules):
                raise InputError(f"must hold a rule without bounds for {part}", argument="rules", value=self._names)

    def point_volumes_percent(self, part: Part) -> tuple[float, ...]:
        """Return the volumes of a part's points, ascending."""
        around = part in (Part.RING, Part.TISSUE)
        return tuple(self.around_volumes_percent if around else self.volumes_percent)

    @property
    def line_volumes_percent(self) -> tuple[float, ...]:
        """Volumes of a line's points.

        >>> ExtractionSettings(line_step_percent=25).line_volumes_percent
        (0.0, 25.0, 50.0, 75.0)
        """
        step = self.line_step_percent
        return () if step is None else tuple(float(step) * at for at in range(math.ceil(100.0 / float(step))))

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(rule.name for rule in self.rules)

    def rule_for(self, part: Part, dose_gy: float, volume_percent: float | None) -> MarginRule:
        """Return the first rule that matches; a mean or a maximum has no volume."""
        return next(rule for rule in self.rules if rule.matches(part, dose_gy, volume_percent))
