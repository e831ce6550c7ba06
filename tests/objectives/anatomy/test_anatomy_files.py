"""The population table, the predictor of mean doses and histories: what is read, written and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from anatomy_cases import SHAPE, SPACING_XYZ_MM, sided_case

from dosewright.core import Grid, GridMismatchError, InputError
from dosewright.io.predictions import write_prediction
from dosewright.objectives.anatomy.dose_predictor import (
    BEYOND_MM,
    EDGES_MM,
    LEAST_PLANS,
    Approach,
    DosePredictor,
    fit_organ,
)
from dosewright.objectives.anatomy.history import history_fingerprint, read_history
from dosewright.objectives.anatomy.population import Population, VolumeNorm
from dosewright.objectives.anatomy.target_geometry import TargetGeometry

BINS = 2 * (len(EDGES_MM) + 1) + len(BEYOND_MM) + 1


def random_approach(rng: np.random.Generator, voxels: int = 400) -> Approach:
    any_mm = rng.uniform(-10, 60, voxels)
    beyond_mm = np.where(rng.random(voxels) < 0.3, rng.uniform(1, 40, voxels), 0.0)
    return Approach(any_mm, any_mm + rng.uniform(0, 30, voxels), beyond_mm, 70.0)


def test_shares_count_each_voxel_once_a_distance_or_once_beyond() -> None:
    approach = Approach(np.array([-1.0, 6.0, 50.0]), np.array([2.0, 6.0, 90.0]), np.array([0.0, 0.0, 12.0]), 70.0)
    expected = np.zeros(BINS)
    expected[[0, 2]] = 1 / 3  # nearest target: inside, and 4 to 8 mm away
    expected[[10, 11]] = 0.0
    expected[9 + 1] = expected[9 + 2] = 1 / 3  # highest target: 0 to 4 mm, 4 to 8 mm
    expected[18 + 2] = 1 / 3  # 10 to 20 mm beyond
    np.testing.assert_allclose(approach.shares, expected)


def test_the_fit_finds_the_mean_doses_that_bins_made() -> None:
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.05, 0.5, BINS)
    plans = [random_approach(rng) for _ in range(200)]
    clinical = [70.0 * float(truth @ one.shares) for one in plans]
    fit = fit_organ(plans, clinical)
    assert [fit.mean_gy(one) for one in plans] == pytest.approx(clinical, abs=0.01)
    assert fit.residual_sd_gy == pytest.approx(0.0, abs=0.01)
    assert fit.plans == 200


def test_a_tenth_of_the_plans_lies_below_what_is_unavoidable() -> None:
    rng = np.random.default_rng(6)
    plans = [random_approach(rng) for _ in range(200)]
    clinical = [20.0 + 5.0 * rng.standard_normal() for _ in plans]
    fit = fit_organ(plans, clinical)
    below = np.mean([dose < fit.unavoidable_gy(one) for one, dose in zip(plans, clinical, strict=True)])
    assert below == pytest.approx(0.1, abs=0.011)


def test_too_few_plans_are_not_fitted() -> None:
    plans = [random_approach(np.random.default_rng(0))] * (LEAST_PLANS - 1)
    with pytest.raises(InputError, match="approaches must be at least 20, one mean dose for each"):
        fit_organ(plans, [1.0] * len(plans))


def test_what_ships_knows_openkbps_organs() -> None:
    norms, predictor = Population.read(), DosePredictor.read()
    assert norms.volumes["Parotid_L"].patients == 163
    assert norms.volumes["Parotid_L"].mean_cc == pytest.approx(27.03, abs=0.01)
    assert norms.volumes["Parotid_L"].sd_cc == pytest.approx(10.47, abs=0.01)
    assert predictor.fits["Parotid_L"] == predictor.fits["Parotid_R"]
    assert sorted(predictor.fits) == sorted(norms.volumes)
    assert "169 training patients" in norms.source
    near = TargetGeometry.of(sided_case()).approach(sided_case().structures["Parotid_L"])
    far = TargetGeometry.of(sided_case()).approach(sided_case().structures["Parotid_R"])
    fit = predictor.fits["Parotid_L"]
    assert 0.0 <= fit.unavoidable_gy(far) < fit.mean_gy(far) < fit.mean_gy(near) < 70.0


def test_both_tables_survive_their_files(tmp_path: Path) -> None:
    norms = Population({"Parotid_L": VolumeNorm.of([20.0, 31.0, 40.0])}, "made up")
    assert Population.read(norms.write(tmp_path / "norms.json")) == norms
    assert norms.z_score("Parotid_R", 3.0) is None
    predictor = DosePredictor.read()
    assert DosePredictor.read(predictor.write(tmp_path / "doses.json")) == predictor


@pytest.mark.parametrize("table", [Population, DosePredictor])
@pytest.mark.parametrize("text", [None, "{", "[]", '{"source": "x"}', '{"source": "x", "volumes": 3, "fits": 3}'])
def test_files_that_are_no_tables_are_refused(tmp_path: Path, table: type, text: str | None) -> None:
    path = tmp_path / "table.json"
    if text is not None:
        path.write_text(text)
    message = "cannot be read: No such file" if text is None else "must be (norms|a predictor) in JSON"
    with pytest.raises(InputError, match=message):
        table.read(path)


def test_tables_of_other_bins_or_impossible_norms_are_refused(tmp_path: Path) -> None:
    path = DosePredictor.read().write(tmp_path / "doses.json")
    path.write_text(path.read_text().replace('"edges_mm": [\n  0.0', '"edges_mm": [\n  1.0'))
    with pytest.raises(InputError, match="must have the 22 bins of this version"):
        DosePredictor.read(path)
    path.write_text('{"source": "x", "volumes": {"A": {"mean_cc": 1.0, "sd_cc": 0.0, "patients": 3}}}')
    with pytest.raises(InputError, match=r"sd_cc must be positive and finite; got 0\.0"):
        Population.read(path)
    with pytest.raises(InputError, match="volumes_cc must be at least two"):
        VolumeNorm.of([3.0])


def history_file(tmp_path: Path, entry: object) -> Path:
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"sided": entry}))
    return path


def test_a_history_tells_surgery_function_and_prior_dose(tmp_path: Path) -> None:
    case = sided_case()
    prior = np.where(case.body, np.float32(12.0), np.float32(0.0))
    write_prediction(tmp_path, "first_course", case.grid, prior)
    entry = {"post_operative": ["Parotid_L"], "unusual_function": ["Larynx"], "prior_dose": "first_course.npz"}
    found = read_history(history_file(tmp_path, entry), case)
    assert found.is_post_operative("Parotid_L")
    assert not found.is_post_operative("Parotid_R")
    assert found.has_unusual_function("Larynx")
    assert found.prior_dose_gy is not None
    np.testing.assert_array_equal(found.prior_dose_gy, prior)
    everywhere = read_history(history_file(tmp_path, {"post_operative": True}), case)
    assert everywhere.is_post_operative("Parotid_R")


def test_nothing_is_known_of_a_case_that_no_file_names(tmp_path: Path) -> None:
    other = tmp_path / "history.json"
    other.write_text(json.dumps({"another": {"post_operative": True}}))
    for path in (None, other):
        found = read_history(path, sided_case())
        assert not found.is_post_operative("Parotid_L")
        assert found.prior_dose_gy is None
        assert history_fingerprint(path, "sided") == ""


def test_the_fingerprint_follows_the_entry_and_the_prior_dose(tmp_path: Path) -> None:
    case, path = sided_case(), history_file(tmp_path, {"prior_dose": "prior.npz"})
    write_prediction(tmp_path, "prior", case.grid, np.zeros(SHAPE, np.float32))
    first = history_fingerprint(path, "sided")
    write_prediction(tmp_path, "prior", case.grid, np.ones(SHAPE, np.float32))
    assert len({first, history_fingerprint(path, "sided")}) == 2
    assert history_fingerprint(path, "sided") == history_fingerprint(path, "sided")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"post_op": True}, "history must be case id → some of"),
        ([], "history must be case id → some of"),
        ({"post_operative": "Parotid_L"}, "post_operative must be true, false or a list of organs; got 'Parotid_L'"),
        ({"unusual_function": [3]}, "unusual_function must be true, false or a list of organs"),
        ({"prior_dose": "nowhere.npz"}, "prior_dose must be a .npz file with dose_gy"),
    ],
)
def test_histories_that_cannot_be_meant_are_refused(tmp_path: Path, entry: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_history(history_file(tmp_path, entry), sided_case())


def test_missing_and_broken_history_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="history cannot be read: No such file"):
        read_history(tmp_path / "none.json", sided_case())
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="history must be JSON"):
        read_history(tmp_path / "broken.json", sided_case())


def test_a_prior_dose_elsewhere_or_beyond_reason_is_refused(tmp_path: Path) -> None:
    case, path = sided_case(), history_file(tmp_path, {"prior_dose": "prior.npz"})
    shifted = Grid(SHAPE, SPACING_XYZ_MM, (5.0, 0.0, 0.0))
    write_prediction(tmp_path, "prior", shifted, np.zeros(SHAPE, np.float32))
    with pytest.raises(GridMismatchError, match="prior_dose must be on the case's grid"):
        read_history(path, case)
    dose = np.full(SHAPE, np.nan, np.float32)
    np.savez(tmp_path / "prior.npz", dose_gy=dose, spacing_xyz_mm=SPACING_XYZ_MM, origin_xyz_mm=(0.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"prior_dose must be finite and in \[0, 250\] Gy total"):
        read_history(path, case)
