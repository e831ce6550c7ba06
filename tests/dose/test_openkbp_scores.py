"""OpenKBP's scores: by hand, and against a naive twin of the published definition on real patients."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosewright.core import GridMismatchError, InputError
from dosewright.dose.openkbp import (
    PatientScore,
    cohort_score,
    dose_score,
    dvh_differences,
    dvh_metrics,
    dvh_score,
    patient_score,
    voxels_in_tenth_cc,
)

TARGETS = {"PTV70": "PTV_High", "PTV63": "PTV_Mid", "PTV56": "PTV_Low"}
OARS = {
    "Brainstem": "Brainstem",
    "SpinalCord": "SpinalCord",
    "RightParotid": "Parotid_R",
    "LeftParotid": "Parotid_L",
    "Esophagus": "Esophagus",
    "Larynx": "Larynx",
    "Mandible": "Bone_Mandible",
}
SIZE = 128**3


# --- the twin: scalar arithmetic on sorted lists, NaN where a structure is missing ---


def twin_percentile(values: list[float], percent: float) -> float:
    position = percent / 100 * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values[low] * (1 - (position - low)) + values[high] * (position - low)


def twin_metrics(dose: np.ndarray, indices: dict[str, np.ndarray], voxel_mm3: float) -> list[float]:
    """One row of the published table: OARs D_0.1_cc and mean, targets D_99, D_95, D_1; NaN where absent."""
    row = []
    for name in OARS:
        values = sorted(dose[indices[name]].tolist()) if name in indices else []
        tenth_cc = max(1, round(100 / voxel_mm3))
        row.append(twin_percentile(values, 100 - 100 * tenth_cc / len(values)) if values else math.nan)
        row.append(math.fsum(values) / len(values) if values else math.nan)
    for name in TARGETS:
        values = sorted(dose[indices[name]].tolist()) if name in indices else []
        row += [twin_percentile(values, p) if values else math.nan for p in (1, 5, 99)]
    return row


def twin_scores(patients: list[dict]) -> tuple[float, float]:
    dose_scores, differences = [], []
    for p in patients:
        dose_scores.append(math.fsum(abs(p["predicted"] - p["reference"])) / len(p["allowed"]))
        ours = twin_metrics(p["predicted"], p["structures"], p["voxel_mm3"])
        theirs = twin_metrics(p["reference"], p["structures"], p["voxel_mm3"])
        differences += [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    present = [d for d in differences if not math.isnan(d)]
    return math.fsum(dose_scores) / len(dose_scores), math.fsum(present) / len(present)


def read_patient(folder: Path, seed: int) -> dict:
    """A published patient, flat, with a prediction made by disturbing its dose also outside the allowed voxels."""

    def column(path: Path) -> np.ndarray:
        return np.loadtxt(path, delimiter=",", skiprows=1, usecols=0, dtype=np.int64, ndmin=1)

    dose = np.loadtxt(folder / "dose.csv", delimiter=",", skiprows=1, ndmin=2)
    reference = np.zeros(SIZE)
    reference[dose[:, 0].astype(np.int64)] = dose[:, 1]
    allowed = column(folder / "possible_dose_mask.csv")
    rng = np.random.default_rng(seed)
    predicted = np.zeros(SIZE)
    predicted[allowed] = np.maximum(reference[allowed] * rng.uniform(0.9, 1.05) + rng.normal(0, 2, allowed.size), 0)
    predicted[rng.integers(0, SIZE, 500)] = 3.0
    names = [name for name in (*OARS, *TARGETS) if (folder / f"{name}.csv").exists()]
    return {
        "reference": reference,
        "predicted": predicted,
        "allowed": allowed,
        "structures": {name: column(folder / f"{name}.csv") for name in names},
        "voxel_mm3": float(np.prod(np.loadtxt(folder / "voxel_dimensions.csv"))),
    }


def mask_of(indices: np.ndarray) -> np.ndarray:
    flat = np.zeros(SIZE, bool)
    flat[indices] = True
    return flat.reshape(128, 128, 128)


@pytest.mark.shared
def test_scores_of_ten_real_patients_match_the_published_definition(openkbp_root: Path) -> None:
    folders = sorted((openkbp_root / "provided-data" / "train-pats").iterdir())[:10]
    patients = [read_patient(folder, seed) for seed, folder in enumerate(folders)]
    patients[0]["structures"].pop("Brainstem", None)
    patients[3]["structures"].pop("PTV56", None)
    assert any(len(p["structures"]) < 10 for p in patients[1:])  # real patients lack structures too
    scores = [
        patient_score(
            p["predicted"].reshape(128, 128, 128),
            p["reference"].reshape(128, 128, 128),
            mask_of(p["allowed"]),
            {(OARS | TARGETS)[name]: mask_of(found) for name, found in p["structures"].items()},
            p["voxel_mm3"],
        )
        for p in patients
    ]
    found = cohort_score(scores)
    expected_dose, expected_dvh = twin_scores(patients)
    assert found.dose_score_gy == pytest.approx(expected_dose, rel=1e-11)
    assert found.dvh_score_gy == pytest.approx(expected_dvh, rel=1e-11)


# --- by hand ---


def ramp_patient() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Two structures of 101 voxels, each with doses 0, 1, …, 100 Gy."""
    dose = np.tile(np.arange(101.0), 2)
    first = np.arange(202) < 101
    return dose, {"PTV_High": first, "Brainstem": ~first}


def test_metrics_of_a_ramp() -> None:
    dose, structures = ramp_patient()
    found = dvh_metrics(dose, structures, 50.0)  # 0.1 cc is 2 voxels of 101: percentile 100 − 200/101
    expected = {
        ("PTV_High", "D_99"): 1.0,
        ("PTV_High", "D_95"): 5.0,
        ("PTV_High", "D_1"): 99.0,
        ("Brainstem", "D_0.1_cc"): 100 - 200 / 101,
        ("Brainstem", "mean"): 50.0,
    }
    assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("voxel_mm3", "expected"), [(38.14, 3), (40.0, 2), (28.57, 4), (100.0, 1), (1000.0, 1), (27.0, 4)]
)
def test_voxels_in_a_tenth_of_a_cc(voxel_mm3: float, expected: int) -> None:
    assert voxels_in_tenth_cc(voxel_mm3) == expected  # 100 / 40 = 2.5 rounds to even


def test_a_structure_smaller_than_a_tenth_of_a_cc_gives_its_minimum() -> None:
    found = dvh_metrics(np.array([4.0, 9.0]), {"Larynx": np.array([True, True])}, 10.0)
    assert found == {("Larynx", "D_0.1_cc"): 4.0, ("Larynx", "mean"): 6.5}


def test_empty_masks_helpers_and_the_outline_are_left_out() -> None:
    everywhere = np.ones(3, bool)
    structures = {"Larynx": ~everywhere, "zRing": everywhere, "External": everywhere, "PTV_Low": everywhere}
    assert {name for name, _ in dvh_metrics(np.ones(3), structures, 10.0)} == {"PTV_Low"}


def test_dose_outside_the_mask_counts() -> None:
    mask = np.array([True, True, False])
    assert dose_score(np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 0.0]), mask) == 2.5


@given(st.floats(-30, 30, width=32))
@settings(deadline=None, max_examples=25)
def test_a_shift_of_the_dose_is_the_score(shift_gy: float) -> None:
    dose, structures = ramp_patient()
    everywhere = np.ones(dose.shape, bool)
    assert dose_score(dose + shift_gy, dose, everywhere) == pytest.approx(abs(shift_gy), abs=1e-9)
    assert dvh_score(dose + shift_gy, dose, structures, 50.0) == pytest.approx(abs(shift_gy), abs=1e-9)


def test_float32_doses_are_scored_in_float64() -> None:
    dose, structures = ramp_patient()
    shifted = (dose + 0.1).astype(np.float32)
    expected = float(np.mean(np.abs(shifted.astype(np.float64) - dose)))
    assert dose_score(shifted, dose.astype(np.float32), np.ones(202, bool)) == pytest.approx(expected, rel=1e-12)
    assert dvh_score(shifted, dose, structures, 50.0) == pytest.approx(0.1, abs=1e-5)


def test_a_cohort_pools_differences_and_averages_dose_scores() -> None:
    one = PatientScore(2.0, {("Larynx", "mean"): 1.0})
    other = PatientScore(4.0, {("Larynx", "mean"): 2.0, ("PTV_Low", "D_95"): 6.0})
    found = cohort_score([one, other])
    assert (found.dose_score_gy, found.dvh_score_gy) == (3.0, 3.0)  # not the mean of 1 and 4


def test_differences_are_absolute() -> None:
    dose, structures = ramp_patient()
    found = dvh_differences(dose - 7.0, dose, structures, 50.0)
    assert found == pytest.approx(dict.fromkeys(found, 7.0), rel=1e-12)
    assert len(found) == 5


def test_bad_input_is_refused() -> None:
    dose, structures = ramp_patient()
    everywhere = np.ones(dose.shape, bool)
    with pytest.raises(InputError, match="possible_dose_mask must not be empty"):
        dose_score(dose, dose, ~everywhere)
    with pytest.raises(InputError, match="predicted_gy must be finite; got '1 voxels NaN or infinite'"):
        dose_score(np.where(np.arange(202) == 3, np.nan, dose), dose, everywhere)
    with pytest.raises(InputError, match="dose_gy must be finite"):
        dvh_score(np.where(dose > 50, np.inf, dose), dose, structures, 50.0)
    with pytest.raises(InputError, match="voxel_volume_mm3 must be positive and finite; got 0"):
        dvh_metrics(dose, structures, 0.0)
    with pytest.raises(InputError, match="structures must hold at least one non-empty OAR or target"):
        dvh_score(dose, dose, {"Larynx": ~everywhere}, 50.0)
    with pytest.raises(InputError, match="patients must hold at least one patient"):
        cohort_score([])


def test_other_shapes_are_refused() -> None:
    dose, structures = ramp_patient()
    with pytest.raises(GridMismatchError, match=r"predicted_gy must have the dose's shape \(202,\); got \(3,\)"):
        dose_score(np.ones(3), dose, np.ones(202, bool))
    with pytest.raises(GridMismatchError, match="possible_dose_mask must have the dose's shape"):
        dose_score(dose, dose, np.ones(3, bool))
    with pytest.raises(GridMismatchError, match="PTV_High must have the dose's shape"):
        dvh_metrics(np.ones(3), structures, 50.0)
