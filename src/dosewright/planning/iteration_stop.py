"""When a planner stops asking for a better plan."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dosewright.core import InputError


@dataclass(frozen=True)
class IterationStop:
    """When the score has converged, and where to go on from until then.

    Args:
        max_iterations: Most plans.
        patience: Stop when these many plans in a row …
        tolerance: … have not lifted the best score by more than this many points together.
        max_seconds: Begin no further plan after this wall time; None for no limit.
        shrink: In (0, 1]. After a plan that did not lift the best score the next goes on from the best plan, and this
            times as far beyond it; 1 goes on from the latest plan whatever it is worth, as far as ever.

    Raises:
        InputError: If a number is out of range.

    >>> stop = IterationStop(max_iterations=10, patience=2, tolerance=0.5)
    >>> stop.reason([80.0, 90.0, 90.1, 90.3], 0.0)
    'converged: 2 plans in a row lifted the best score by 0.30 points together'
    >>> stop.reason([80.0, 90.0, 89.0, 90.6], 0.0)
    ''
    """

    max_iterations: int = 12
    patience: int = 3
    tolerance: float | int = 0.5
    max_seconds: float | int | None = None
    shrink: float | int = 0.5

    def __post_init__(self) -> None:
        for name in ("max_iterations", "patience"):
            if getattr(self, name) < 1:
                raise InputError("must be at least 1", argument=f"stop.{name}", value=getattr(self, name))
        if not 0 <= self.tolerance < math.inf:
            raise InputError("must be finite and at least 0", argument="stop.tolerance", value=self.tolerance)
        if not 0 < self.shrink <= 1:
            raise InputError("must be in (0, 1]", argument="stop.shrink", value=self.shrink)
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise InputError("must be positive, or null", argument="stop.max_seconds", value=self.max_seconds)

    def reach(self, scores: Sequence[float]) -> float:
        """Return how far beyond a plan the next one should go, as a share.

        >>> IterationStop(shrink=0.5).reach([50.0, 60.0, 55.0, 61.0, 58.0])
        0.25
        """
        failed = sum(score <= max(scores[:at]) for at, score in enumerate(scores) if at > 0)
        return float(self.shrink) ** failed

    def reason(self, scores: Sequence[float], seconds: float) -> str:
        """Return why to stop, in words; "" to go on.

        Args:
            scores: Of all plans so far.
            seconds: Wall time of these.
        """
        if len(scores) >= self.max_iterations:
            return f"{self.max_iterations} plans made"
        if self.max_seconds is not None and seconds >= self.max_seconds:
            return f"out of time after {seconds:.0f} s"
        if len(scores) <= self.patience:
            return ""
        gain = max(scores) - max(scores[: -self.patience])
        if gain > self.tolerance:
            return ""
        return f"converged: {self.patience} plans in a row lifted the best score by {gain:.2f} points together"
