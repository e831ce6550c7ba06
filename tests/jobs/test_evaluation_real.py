"""The ten-patient twin: `evaluate` on published files against plain numpy that reads the same files itself."""

import csv
from pathlib import Path

import numpy as np
import pytest

from dosewright.io.openkbp import OpenKBPReader
from dosewright.jobs.evaluation import evaluate
from dosewright.submission.openkbp import write_submission

TARGETS = ("PTV56", "PTV63", "PTV70")
ORGANS = ("Brainstem", "SpinalCord", "RightParotid", "LeftParotid", "Esophagus", "Larynx", "Mandible")
# The n-th patient lacks these: different sets, so that pooling over metrics and averaging over patients differ.
REMOVED = (("Larynx",), ("PTV63", "Mandible"), (), ("PTV56",), ORGANS, ("SpinalCord", "Brainstem"))
TOLERANCE_GY = 1e-4


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open() as stream:
        rows = list(csv.reader(stream))[1:]
    return np.array([int(row[0]) for row in rows]), np.array([float(row[1] or 1) for row in rows])


def flat(path: Path) -> np.ndarray:
    """The volume of a file, flat in OpenKBP's order."""
    volume = np.zeros(128**3)
    indices, values = read(path)
    volume[indices] = values
    return volume


def without_some_structures(source: Path, root: Path) -> list[Path]:
    """Link the validation patients below `root`, leaving structures out; return their folders by number."""
    folders = []
    patients = sorted((source / "provided-data" / "validation-pats").iterdir(), key=lambda p: int(p.name[3:]))
    for number, patient in enumerate(patients):
        folder = root / "provided-data" / "validation-pats" / patient.name
        folder.mkdir(parents=True)
        for path in patient.glob("*.csv"):
            if path.stem not in REMOVED[number % len(REMOVED)]:
                (folder / path.name).symlink_to(path)
        folders.append(folder)
    return folders


def perturbed(dose: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noisy = np.clip(dose * rng.uniform(0.9, 1.05) + rng.normal(0, 2, dose.size), 0, None)
    return np.where(mask > 0, noisy, 0).astype(np.float32)


def twin_of_metrics(folder: Path, dose: np.ndarray) -> list[float]:
    """The challenge's metrics of one patient, after the text of Babier et al. 2021."""
    voxel_mm3 = np.prod([float(line) for line in (folder / "voxel_dimensions.csv").read_text().split()])
    voxels_of_tenth_cc = max(1, round(100 / voxel_mm3))
    metrics = []
    for name in (*ORGANS, *TARGETS):
        path = folder / f"{name}.csv"
        if path.exists():
            values = dose[read(path)[0]].astype(float)
            if name in TARGETS:
                metrics += [np.percentile(values, p) for p in (1, 5, 99)]
            else:
                metrics += [np.percentile(values, 100 - voxels_of_tenth_cc / values.size * 100), values.mean()]
    return metrics


def test_ten_patients_score_what_plain_numpy_says(openkbp_root: Path, tmp_path: Path) -> None:
    folders = without_some_structures(openkbp_root, tmp_path)
    predictions, dose_scores, differences, counts = [], [], [], []
    for seed, folder in enumerate(folders):
        dose, mask = flat(folder / "dose.csv"), flat(folder / "possible_dose_mask.csv")
        predicted = perturbed(dose, mask, seed)
        lps = predicted.reshape(128, 128, 128).transpose(2, 0, 1)[::-1]
        predictions.append((folder.name, np.ascontiguousarray(lps)))
        dose_scores.append(np.abs(dose - predicted).sum() / mask.sum())
        pairs = zip(twin_of_metrics(folder, dose), twin_of_metrics(folder, predicted), strict=True)
        of_patient = [abs(a - b) for a, b in pairs]
        counts.append(len(of_patient))
        differences += of_patient

    submission = write_submission(predictions, tmp_path / "sub.zip")
    evaluation = evaluate(OpenKBPReader(tmp_path, "validation"), submission)

    assert [result.case_id for result in evaluation.results] == [folder.name for folder in folders]
    assert len(folders) == 10
    assert len(set(counts)) >= 4
    assert [len(result.dvh_metrics) for result in evaluation.results] == counts
    found = [result.dose_score_gy for result in evaluation.results]
    assert found == pytest.approx(dose_scores, abs=TOLERANCE_GY)
    assert evaluation.score.dose_score_gy == pytest.approx(np.mean(dose_scores), abs=TOLERANCE_GY)
    assert evaluation.score.dvh_score_gy == pytest.approx(np.mean(differences), abs=TOLERANCE_GY)
    of_patients = [result.dvh_score_gy for result in evaluation.results]
    assert abs(np.mean(of_patients) - np.mean(differences)) > 10 * TOLERANCE_GY  # pooled, not averaged by patient
