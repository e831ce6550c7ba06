"""What a plan's dose is worth, in numbers: against the dose it was asked for, and against the reference.

The doses of a plan go by label: "predicted" is the dose asked for ("reference" where that is the reference itself),
"achieved" what the optimised fluence gives, "sequenced" what its apertures give, "reference" the case's own dose.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.core.types import FloatVolume, Mask
from dosewright.dose.case_dose import CaseDose
from dosewright.dose.openkbp import dose_score, dvh_score
from dosewright.dose.table import index_table

PREDICTED, ACHIEVED, SEQUENCED, REFERENCE = "predicted", "achieved", "sequenced", "reference"
HIGH_DOSE_GY = 50.0


@dataclass(frozen=True, eq=False)
class PlanDoses:
    """The doses of one plan on the grid of its case, in Gy.

    Args:
        case: The case.
        wanted: Label of the dose that was asked for, one of `doses`.
        doses: Label → dose, in the order they are shown.

    Raises:
        InputError: If the wanted or the achieved dose is not there.
        GridMismatchError: If a dose has another shape than the case.
    """

    case: PatientCase
    wanted: str
    doses: Mapping[str, FloatVolume]

    def __post_init__(self) -> None:
        for label in (self.wanted, ACHIEVED):
            if label not in self.doses:
                raise InputError(f"must hold {label!r}", argument="doses", value=tuple(self.doses))
        for label, dose_gy in self.doses.items():
            if dose_gy.shape != self.case.grid.shape_zyx:
                rule = f"must have the case's shape {self.case.grid.shape_zyx}"
                raise GridMismatchError(rule, argument=f"{label} dose", value=dose_gy.shape)

    @classmethod
    def of(
        cls,
        case: PatientCase,
        wanted_gy: FloatVolume,
        achieved_gy: FloatVolume,
        sequenced_gy: FloatVolume | None = None,
        wanted: str = PREDICTED,
    ) -> "PlanDoses":
        """Return the doses of a plan, with the case's own where it has one and it is not the one asked for."""
        doses = {wanted: wanted_gy, ACHIEVED: achieved_gy}
        if sequenced_gy is not None:
            doses[SEQUENCED] = sequenced_gy
        if case.dose_gy is not None and wanted != REFERENCE:
            doses[REFERENCE] = case.dose_gy
        return cls(case, wanted, doses)

    @property
    def planned(self) -> tuple[str, ...]:
        """Labels of the doses that a machine gives: achieved, and sequenced where it was."""
        return tuple(label for label in (ACHIEVED, SEQUENCED) if label in self.doses)


@dataclass(frozen=True)
class IndexGap:
    """One dose-volume index of one structure, for every dose.

    Args:
        structure: TG-263 name.
        index: "D95", "Dmean"…
        unit: "Gy", "%", "cc" or "".
        values: Label → value.
        gaps: Label of a planned dose → its value minus that of the dose asked for.
    """

    structure: str
    index: str
    unit: str
    values: Mapping[str, float]
    gaps: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """All numbers of one plan's doses.

    Args:
        case_id: The case.
        wanted: Label of the dose that was asked for.
        labels: All doses.
        gaps: Dose-volume indices, structure by structure.
        errors_gy: Label of a planned dose → its mean absolute difference from the dose asked for: "all" over the voxels
            where dose is scored, "high" over those asked to get 50 Gy or more (absent where there are none).
        scores_gy: Label → "dose_score" and "dvh_score" against the reference; empty without one.
    """

    case_id: str
    wanted: str
    labels: tuple[str, ...]
    gaps: tuple[IndexGap, ...]
    errors_gy: Mapping[str, Mapping[str, float]]
    scores_gy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "case_id": self.case_id,
            "wanted": self.wanted,
            "labels": list(self.labels),
            "errors_gy": {label: dict(errors) for label, errors in self.errors_gy.items()},
            "scores_gy": {label: dict(scores) for label, scores in self.scores_gy.items()},
            "gaps": [
                {
                    "structure": gap.structure,
                    "index": gap.index,
                    "unit": gap.unit,
                    "values": dict(gap.values),
                    "gaps": dict(gap.gaps),
                }
                for gap in self.gaps
            ],
        }


def compare(doses: PlanDoses) -> Comparison:
    """Return the numbers of a plan's doses.

    Raises:
        InputError: If a dose is not finite.
    """
    case = doses.case
    wanted_gy = doses.doses[doses.wanted]
    return Comparison(
        case.case_id,
        doses.wanted,
        tuple(doses.doses),
        _index_gaps(doses),
        {label: _errors_gy(doses.doses[label], wanted_gy, case.scored_mask) for label in doses.planned},
        _scores_gy(doses),
    )


def _errors_gy(dose_gy: FloatVolume, wanted_gy: FloatVolume, scored: Mask) -> dict[str, float]:
    difference = np.abs(dose_gy[scored].astype(np.float64) - wanted_gy[scored])
    high = wanted_gy[scored] >= HIGH_DOSE_GY
    return {"all": float(difference.mean())} | ({"high": float(difference[high].mean())} if high.any() else {})


def _scores_gy(doses: PlanDoses) -> dict[str, dict[str, float]]:
    case = doses.case
    if case.dose_gy is None:
        return {}
    mm3 = case.grid.voxel_volume_mm3
    return {
        label: {
            "dose_score": dose_score(dose_gy, case.dose_gy, case.scored_mask),
            "dvh_score": dvh_score(dose_gy, case.dose_gy, case.structures, mm3),
        }
        for label, dose_gy in doses.doses.items()
        if label != REFERENCE
    }


def _index_gaps(doses: PlanDoses) -> tuple[IndexGap, ...]:
    tables = {label: index_table(CaseDose.of(doses.case, dose_gy)) for label, dose_gy in doses.doses.items()}
    gaps = []
    for rows in zip(*tables.values(), strict=True):
        values = {label: row.value for label, row in zip(tables, rows, strict=True)}
        differences = {label: values[label] - values[doses.wanted] for label in doses.planned}
        gaps.append(IndexGap(rows[0].structure, rows[0].name, rows[0].unit, values, differences))
    return tuple(gaps)
