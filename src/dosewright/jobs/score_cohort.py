"""What the scores of a cohort say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dosewright.jobs.evaluation_tables import standard_deviation
from dosewright.jobs.score_record import CaseScore, ItemRow


@dataclass(frozen=True)
class ItemSummary:
    """One item of the card over the cases that have it.

    Args:
        structure: The card's name of the structure.
        metric: What is measured, unit in brackets.
        maximum: The most points it gives.
        values: The metric's value of each case scored.
        scores: Their points.
        lowest_case: The case with the fewest points, "" when none is scored.
    """

    structure: str
    metric: str
    maximum: float
    values: tuple[float, ...]
    scores: tuple[float, ...]
    lowest_case: str

    def to_plain(self) -> dict[str, Any]:
        """Return the summary as plain data: means and sample standard deviations, None where there are none."""
        return {
            "structure": self.structure,
            "metric": self.metric,
            "maximum": self.maximum,
            "cases": len(self.scores),
            "value_mean": float(np.mean(self.values)) if self.values else None,
            "value_sd": standard_deviation(self.values),
            "score_mean": float(np.mean(self.scores)) if self.scores else None,
            "score_sd": standard_deviation(self.scores),
            "score_least": min(self.scores, default=None),
            "lowest_case": self.lowest_case,
        }


@dataclass(frozen=True)
class CohortScores:
    """Scores of several cases on one card.

    Args:
        card: The card's name.
        dose: What the doses are, in words.
        cases: The cases, each with the same items.
        failed: Case → why it could not be scored.
    """

    card: str
    dose: str
    cases: tuple[CaseScore, ...]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def card_maximum(self) -> float:
        """The most points that the whole card gives."""
        return self.cases[0].card_maximum if self.cases else 0.0

    @cached_property
    def common(self) -> tuple[int, ...]:
        """Places of the items that every case has a score for."""
        places = range(len(self.cases[0].items)) if self.cases else range(0)
        return tuple(at for at in places if all(case.items[at].score is not None for case in self.cases))

    @property
    def common_maximum(self) -> float:
        """The most points that those items give."""
        return sum((self.cases[0].items[at].maximum for at in self.common), 0.0)

    def common_total(self, case: CaseScore) -> float:
        """Return a case's points of the items that every case has: what can be compared between cases."""
        return sum((case.items[at].score or 0.0 for at in self.common), 0.0)

    @cached_property
    def items(self) -> tuple[ItemSummary, ...]:
        """Every item of the card over the cases, in the card's order."""
        rows_of_items = zip(*(case.items for case in self.cases), strict=True)
        return tuple(self._summary(rows) for rows in rows_of_items)

    @property
    def missing(self) -> dict[str, tuple[str, ...]]:
        """Structure of the card → the cases that do not have it."""
        found: dict[str, list[str]] = {}
        for case in self.cases:
            for name in case.missing:
                found.setdefault(name, []).append(case.case_id)
        return {name: tuple(case_ids) for name, case_ids in found.items()}

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Structure that built ones were measured without → the cases that do not have it."""
        found: dict[str, dict[str, None]] = {}
        for case in self.cases:
            for row in case.items:
                for name in row.left_out:
                    found.setdefault(name, {})[case.case_id] = None
        return {name: tuple(case_ids) for name, case_ids in found.items()}

    @property
    def unmeasurable(self) -> dict[str, str]:
        """Case and item → why there is no score, where that is not for want of a structure of the case."""
        rows = ((case, row) for case in self.cases for row in case.items if row.score is None)
        return {f"{case.case_id} {row.label}": row.reason for case, row in rows if row.measured_on or not row.structure}

    def _summary(self, rows: Sequence[ItemRow]) -> ItemSummary:
        scored = [
            (row.score, row.value, case.case_id)
            for row, case in zip(rows, self.cases, strict=True)
            if row.score is not None and row.value is not None
        ]
        return ItemSummary(
            structure=rows[0].structure,
            metric=rows[0].metric,
            maximum=rows[0].maximum,
            values=tuple(value for _, value, _ in scored),
            scores=tuple(score for score, _, _ in scored),
            lowest_case=min(scored)[2] if scored else "",
        )

    def to_plain(self) -> dict[str, Any]:
        """Return what summary.json holds; totals and maxima in points, `_sd` sample standard deviations."""
        totals = [case.total for case in self.cases]
        common = [self.common_total(case) for case in self.cases]
        return {
            "card": self.card,
            "card_maximum": self.card_maximum,
            "dose": self.dose,
            "n_cases": len(self.cases),
            "total_mean": float(np.mean(totals)) if totals else None,
            "total_sd": standard_deviation(totals),
            "maximum_mean": float(np.mean([case.maximum for case in self.cases])) if self.cases else None,
            "common_items": len(self.common),
            "common_maximum": self.common_maximum,
            "common_total_mean": float(np.mean(common)) if common else None,
            "common_total_sd": standard_deviation(common),
            "cases": {case.case_id: self._case_plain(case) for case in self.cases},
            "items": [item.to_plain() for item in self.items],
            "missing": {name: list(case_ids) for name, case_ids in self.missing.items()},
            "left_out": {name: list(case_ids) for name, case_ids in self.left_out.items()},
            "unmeasurable": self.unmeasurable,
            "failed": dict(self.failed),
        }

    def _case_plain(self, case: CaseScore) -> dict[str, Any]:
        return {
            "total": case.total,
            "maximum": case.maximum,
            "common_total": self.common_total(case),
            "scored": case.scored,
            "dose_scale": case.dose_scale,
            "missing": list(case.missing),
        }
