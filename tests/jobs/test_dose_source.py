from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from dosewright.core import CaseError, Grid, GridMismatchError, InputError, PatientCase
from dosewright.inference.mean_dose import MeanDosePredictor
from dosewright.io.predictions import write_prediction
from dosewright.jobs.dose_source import ModelDoses, ReferenceDoses, StoredDoses, build_dose_source
from tiny import config


def plan_config(*overrides: str) -> DictConfig:
    return config("plan", *overrides)


def test_the_reference_is_the_cases_own_dose(case: PatientCase) -> None:
    source = build_dose_source(plan_config("dose=reference"))
    assert isinstance(source, ReferenceDoses)
    assert source.dose_gy(case) is case.dose_gy
    assert (source.label, source.describe()) == ("reference", "the reference dose")
    with pytest.raises(CaseError, match="case_1 must have a reference dose for dose=reference"):
        source.dose_gy(case.with_dose(None))


def test_stored_doses_are_read_and_their_fingerprint_changes_with_them(tmp_path: Path, case: PatientCase) -> None:
    assert case.dose_gy is not None
    path = write_prediction(tmp_path, "case_1", case.grid, case.dose_gy)
    source = build_dose_source(plan_config("dose=predictions", f"predictions={tmp_path}"))
    np.testing.assert_array_equal(source.dose_gy(case), case.dose_gy)
    assert source.describe() == f"read from {tmp_path}"
    before = source.fingerprint("case_1")
    assert StoredDoses(path).fingerprint("case_1") == before
    write_prediction(tmp_path, "case_1", case.grid, case.dose_gy * np.float32(0.5))
    assert source.fingerprint("case_1") != before
    assert source.fingerprint("case_2") == ""


def test_a_stored_dose_on_another_grid_is_refused(tmp_path: Path, case: PatientCase) -> None:
    assert case.dose_gy is not None
    coarse = Grid(case.grid.shape_zyx, (6.0, 3.0, 4.0), case.grid.origin_xyz_mm)
    write_prediction(tmp_path, "case_1", coarse, case.dose_gy)
    with pytest.raises(GridMismatchError, match="must be on the case's grid"):
        StoredDoses(tmp_path).dose_gy(case)


def test_a_missing_folder_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="predictions must be a folder or a zip"):
        build_dose_source(plan_config("dose=predictions", f"predictions={tmp_path / 'none'}"))


def test_a_model_gives_its_prediction_and_its_settings(case: PatientCase) -> None:
    baseline = MeanDosePredictor(np.full(case.grid.shape_zyx, 7.0, np.float32))
    source = ModelDoses(baseline, {"flip": True})
    np.testing.assert_array_equal(source.dose_gy(case), np.where(case.scored_mask, 7.0, 0.0))
    assert source.describe() == "the mean dose of the training cases"
    assert source.fingerprint("case_1") == '{"flip": true}'


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dose=guess"], r"dose must be one of \('model', 'predictions', 'reference'\); got 'guess'"),
        (["dose=predictions"], "predictions must name a folder with dose=predictions, and be null otherwise; got None"),
        (["dose=reference", "predictions=x"], "predictions must name a folder with dose=predictions"),
    ],
)
def test_kind_and_folder_must_fit(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_dose_source(plan_config(*overrides))
