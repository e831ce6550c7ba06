"""Scores of predicted doses against reference doses, case by case and for a cohort."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dosewright.core import CaseError, DosewrightError, InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.dose.gdphmm import case_error, challenge_error
from dosewright.dose.openkbp import (
    CohortScore,
    PatientScore,
    cohort_score,
    dose_score,
    dvh_metrics,
    metric_differences,
)
from dosewright.dose.table import index_table
from dosewright.io.predictions import list_predictions, read_prediction
from dosewright.io.reader import AbstractReader

log = logging.getLogger(__name__)

OUTSIDE_GY = 0.1  # less outside the dose mask is noise, not worth a warning


@dataclass(frozen=True)
class Comparison:
    """One metric of one structure, reference against prediction.

    Args:
        structure: TG-263 name.
        metric: "D_95", "HI"…
        unit: "Gy", "%", "cc" or "".
        reference: Value of the reference dose.
        predicted: Value of the predicted dose.
    """

    structure: str
    metric: str
    unit: str
    reference: float
    predicted: float

    @property
    def difference(self) -> float:
        """Predicted − reference."""
        return self.predicted - self.reference


@dataclass(frozen=True)
class CaseResult:
    """What one prediction scored.

    Args:
        case_id: The case.
        score: Its part of the cohort scores.
        dvh_metrics: OpenKBP's DVH metrics, which the DVH score averages.
        indices: The planner's indices (D95, V95%, HI…).
        outside_voxels: Voxels with more than 0.1 Gy outside the mask where dose is possible.
        gdp_hmm_error_gy: GDP-HMM's metric 1; None where it was not asked for.
    """

    case_id: str
    score: PatientScore
    dvh_metrics: tuple[Comparison, ...]
    indices: tuple[Comparison, ...]
    outside_voxels: int
    gdp_hmm_error_gy: float | None = None

    @property
    def dose_score_gy(self) -> float:
        """Mean absolute difference inside the dose mask, Gy."""
        return self.score.dose_score_gy

    @property
    def dvh_score_gy(self) -> float:
        """Mean absolute difference of this case's DVH metrics, Gy."""
        return float(np.mean(list(self.score.dvh_differences_gy.values())))


@dataclass(frozen=True)
class Evaluation:
    """What a cohort of predictions scored, and what could not be scored.

    Args:
        results: Scored cases, in the reader's order.
        without_reference: Cases that have no reference dose.
        missing: Cases without prediction.
        failed: Case → why its prediction (or the case itself) could not be used.
        unused: Predictions for cases that are not in the set.
        undrawn: Case → why `on_scored` failed for it, though it is scored.
    """

    results: tuple[CaseResult, ...]
    without_reference: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    undrawn: Mapping[str, str] = field(default_factory=dict)

    @property
    def score(self) -> CohortScore:
        """The challenge scores over all scored cases; DVH differences are pooled, as the challenge does."""
        return cohort_score([result.score for result in self.results])

    @property
    def gdp_hmm_error_gy(self) -> float | None:
        """GDP-HMM's metric 1 over all scored cases; None where it was not asked for."""
        errors = [r.gdp_hmm_error_gy for r in self.results if r.gdp_hmm_error_gy is not None]
        return challenge_error(errors) if errors else None


OnScored = Callable[[PatientCase, FloatVolume, CaseResult], None]
Track = Callable[[Sequence[str]], Iterable[str]]


def evaluate_case(case: PatientCase, predicted_gy: FloatVolume, gdp_hmm: bool = False) -> CaseResult:
    """Return the scores of one prediction.

    Args:
        case: A case with its reference dose.
        predicted_gy: Predicted total dose in Gy on the case's grid.
        gdp_hmm: Whether to compute GDP-HMM's metric 1.

    Raises:
        CaseError: If the case has no reference dose.
        GridMismatchError: If the prediction has another shape.
        InputError: If the prediction is not finite, or metric 1 is asked for and not defined for the case.
    """
    if case.dose_gy is None:
        raise CaseError("must have a reference dose", argument=case.case_id, value=None)
    mm3 = case.grid.voxel_volume_mm3
    reference = dvh_metrics(case.dose_gy, case.structures, mm3)
    predicted = dvh_metrics(predicted_gy, case.structures, mm3)
    metrics = tuple(Comparison(*key, "Gy", reference[key], predicted[key]) for key in reference)
    return CaseResult(
        case_id=case.case_id,
        score=PatientScore(
            dose_score(predicted_gy, case.dose_gy, case.scored_mask), metric_differences(predicted, reference)
        ),
        dvh_metrics=metrics,
        indices=_compare_indices(case, predicted_gy),
        outside_voxels=int(np.count_nonzero((predicted_gy > OUTSIDE_GY) & ~case.scored_mask)),
        gdp_hmm_error_gy=case_error(case, predicted_gy) if gdp_hmm else None,
    )


def evaluate(
    reader: AbstractReader,
    predictions: str | Path,
    *,
    allow_missing: bool = False,
    gdp_hmm: bool = False,
    on_scored: OnScored | None = None,
    track: Track = iter,
) -> Evaluation:
    """Return the scores of all predictions for the cases of a reader, one case in memory at a time.

    A broken prediction costs only its own case, named under `failed`; a failing `on_scored` costs nothing of the
    scores, and the case is named under `undrawn`.

    Args:
        reader: Cases with reference doses.
        predictions: Folder of `.npz` or `.csv` files, or a zip of `pt_N.csv`.
        allow_missing: Whether cases without prediction are left out instead of refused.
        gdp_hmm: Whether to compute GDP-HMM's metric 1.
        on_scored: Called with the case, its prediction and its result, while they are in memory.
        track: Wraps the case ids, for a progress bar.

    Raises:
        CaseError: If predictions are missing and may not be, or no case at all could be scored.
    """
    available, wanted = set(list_predictions(predictions)), tuple(reader.case_ids)
    missing = tuple(case_id for case_id in wanted if case_id not in available)
    if missing and not allow_missing:
        raise CaseError(_some_missing(missing, len(wanted)), argument="predictions", path=predictions)
    results, without_reference, failed, undrawn = [], [], {}, {}
    for case_id in track([case_id for case_id in wanted if case_id in available]):
        try:
            case = reader.read(case_id)
            if case.dose_gy is None:
                without_reference.append(case_id)
                continue
            predicted_gy = read_prediction(predictions, case)
            results.append(evaluate_case(case, predicted_gy, gdp_hmm))
        except InputError as error:
            failed[case_id] = str(error)
            continue
        if on_scored is not None and (reason := _reason_of(on_scored, case, predicted_gy, results[-1])):
            undrawn[case_id] = reason
    if not results:
        raise CaseError(_nothing_scored(without_reference, failed), argument="predictions", path=predictions)
    unused = tuple(sorted(available - set(wanted)))
    return Evaluation(tuple(results), tuple(without_reference), missing, failed, unused, undrawn)


def _reason_of(on_scored: OnScored, case: PatientCase, predicted_gy: FloatVolume, result: CaseResult) -> str | None:
    """Call `on_scored` and return why it failed, None when it did not."""
    try:
        on_scored(case, predicted_gy, result)
    except (DosewrightError, OSError) as error:
        log.warning("%s is scored but not drawn: %s", case.case_id, error)
        return str(error) or type(error).__name__
    return None


def _compare_indices(case: PatientCase, predicted_gy: FloatVolume) -> tuple[Comparison, ...]:
    pairs = zip(index_table(case), index_table(case, predicted_gy), strict=True)
    return tuple(Comparison(r.structure, r.name, r.unit, r.value, p.value) for r, p in pairs)


def _some_missing(missing: Sequence[str], wanted: int) -> str:
    rule = f"must hold a prediction for each of the {wanted} cases (or set allow_missing=true)"
    return f"{rule}; {len(missing)} missing: {', '.join(missing)}"


def _nothing_scored(without_reference: Sequence[str], failed: Mapping[str, str]) -> str:
    reasons = [f"{len(without_reference)} cases have no reference dose"] if without_reference else []
    reasons += [f"{case_id}: {reason}" for case_id, reason in failed.items()]
    listed = "".join(f"\n  {reason}" for reason in reasons)
    return "must include one that can be scored" + (listed or "; the set holds no prediction")
