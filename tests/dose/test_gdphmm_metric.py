"""GDP-HMM's metric 1: by hand, and against a voxel-by-voxel twin of the published definition."""

import numpy as np
import pytest

from dosewright.core import GridMismatchError, InputError
from dosewright.dose.gdphmm import challenge_error, plan_error, scaled_reference


def twin_error(predicted: np.ndarray, reference: np.ndarray, body: np.ndarray) -> float:
    total, count = 0.0, 0
    for p, r, inside in zip(predicted.flat, reference.flat, body.flat, strict=True):
        if inside and (r > 5 or p > 5):
            total += abs(r - p)
        count += bool(inside and r > 5)
    return total / count


def random_plan() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = rng.gamma(1.0, 10.0, (6, 7, 8))
    predicted = np.maximum(reference + rng.normal(0, 4, reference.shape), 0)
    body = rng.random(reference.shape) < 0.8
    target = reference > np.quantile(reference, 0.8)
    return predicted, reference, body, target


def test_reference_is_scaled_to_the_prescription_at_d97() -> None:
    _, reference, _, target = random_plan()
    scaled = scaled_reference(reference, target, 66.0)
    d97 = np.percentile(scaled[target], 3)
    assert d97 == pytest.approx(66.0, rel=1e-6)
    factor = 66.0 / (np.percentile(reference[target], 3) + 1e-5)
    np.testing.assert_allclose(scaled, reference * factor, rtol=1e-14)


def test_error_matches_the_twin() -> None:
    predicted, reference, body, target = random_plan()
    scaled = scaled_reference(reference, target, 66.0)
    assert plan_error(predicted, scaled, body) == pytest.approx(twin_error(predicted, scaled, body), rel=1e-12)


def test_false_dose_counts_above_the_line_only() -> None:
    reference = np.array([10.0, 10.0, 0.0, 0.0, 5.0, 0.0])
    predicted = np.array([10.0, 10.0, 6.0, 5.0, 0.0, 9.0])
    body = np.array([True, True, True, True, True, False])
    assert plan_error(predicted, reference, body) == 3.0  # only the third voxel: 6 Gy over two reference voxels


def test_float32_is_computed_in_float64() -> None:
    predicted, reference, body, _ = (a.astype(np.float32) if a.dtype != bool else a for a in random_plan())
    expected = twin_error(predicted.astype(np.float64), reference.astype(np.float64), body)
    assert plan_error(predicted, reference, body) == pytest.approx(expected, rel=1e-12)


def test_challenge_error_is_the_mean_of_plans() -> None:
    assert challenge_error([1.0, 2.0, 6.0]) == 3.0


def test_bad_input_is_refused() -> None:
    predicted, reference, body, target = random_plan()
    with pytest.raises(InputError, match="target must not be empty"):
        scaled_reference(reference, ~(target | True), 66.0)
    with pytest.raises(InputError, match="prescription_gy must be positive and finite; got nan"):
        scaled_reference(reference, target, float("nan"))
    with pytest.raises(InputError, match="reference_gy must give the target a positive D97; got 0"):
        scaled_reference(reference * 0, target, 66.0)
    with pytest.raises(InputError, match="reference_gy must be finite"):
        scaled_reference(reference * np.nan, target, 66.0)
    with pytest.raises(InputError, match="reference_gy must exceed 5 Gy somewhere in the body"):
        plan_error(predicted, np.minimum(reference, 5.0), body)
    with pytest.raises(InputError, match="plan_errors_gy must hold at least one plan"):
        challenge_error([])


def test_other_shapes_are_refused() -> None:
    predicted, reference, body, target = random_plan()
    with pytest.raises(GridMismatchError, match="target must have the dose's shape"):
        scaled_reference(reference, target[1:], 66.0)
    with pytest.raises(GridMismatchError, match="predicted_gy must have the dose's shape"):
        plan_error(predicted[1:], reference, body)
    with pytest.raises(GridMismatchError, match="body must have the dose's shape"):
        plan_error(predicted, reference, body[1:])
