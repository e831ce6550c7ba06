"""How a planner came to its plan: the score of every plan on the way."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dosewright.planning.iterative_planner import ItemOutcome, Judgement

_COLUMNS = (
    "iteration",
    "score",
    "best",
    "maximum",
    "objectives",
    "factor",
    "penalty",
    "status",
    "evaluations",
    "seconds",
    "processor_seconds",
)


@dataclass(frozen=True)
class Step:
    """One plan on the way.

    Args:
        iteration: From 1.
        judgement: What it is worth.
        best: The best score so far, its own included.
        objectives: How many took part.
        factor: What its fluence was multiplied by after the solve.
        penalty: What was minimised, before that.
        status: How the solve ended.
        evaluations: Pairs of products with the dose influence.
        seconds: Wall time of the solve and the judgement; what was asked had been worked out before.
        processor_seconds: Processor time of this process in that.
    """

    iteration: int
    judgement: Judgement
    best: float
    objectives: int
    factor: float
    penalty: float
    status: str
    evaluations: int
    seconds: float
    processor_seconds: float

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "Step":
        """Return the step of `dataclasses.asdict`'s form."""
        found = content["judgement"]
        items = tuple(ItemOutcome(**item) for item in found["items"])
        return cls(**{**content, "judgement": Judgement(found["score"], found["maximum"], items)})


@dataclass(frozen=True)
class Trace:
    """All plans on the way to the best one.

    Args:
        steps: In order.
        stopped: Why there were no more, in words.
        failed: Whether that was a plan that failed.
        delivered: What the best plan is worth once sequenced; None where it was not.
    """

    steps: tuple[Step, ...]
    stopped: str
    failed: bool = False
    delivered: Judgement | None = None

    @property
    def best(self) -> Step:
        """The plan with the highest score; the first of several."""
        return max(self.steps, key=lambda step: step.judgement.score)

    @property
    def gain(self) -> float:
        """Points from the first plan to the best."""
        return self.best.judgement.score - self.steps[0].judgement.score

    @property
    def seconds(self) -> float:
        """Wall time of all plans."""
        return sum(step.seconds for step in self.steps)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "first_score": self.steps[0].judgement.score,
            "best_score": self.best.judgement.score,
            "best_iteration": self.best.iteration,
            "maximum": self.best.judgement.maximum,
            "gain": self.gain,
            "stopped": self.stopped,
            "failed": self.failed,
            "seconds": self.seconds,
            "processor_seconds": sum(step.processor_seconds for step in self.steps),
            "delivered": None if self.delivered is None else asdict(self.delivered),
            "steps": [asdict(step) for step in self.steps],
        }

    def to_csv(self) -> str:
        """Return a line per plan; further columns give each item's score."""
        names = [f"{item.structure} {item.measure}" for item in self.steps[0].judgement.items]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((*_COLUMNS, *names))
        for step in self.steps:
            row = asdict(step) | {"score": step.judgement.score, "maximum": step.judgement.maximum}
            scores = ["" if item.score is None else item.score for item in step.judgement.items]
            writer.writerow((*(row[name] for name in _COLUMNS), *scores))
        return text.getvalue()
