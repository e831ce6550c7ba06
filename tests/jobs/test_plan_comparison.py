import numpy as np
import pytest

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.jobs.plan_comparison import PlanDoses, compare


@pytest.fixture
def doses(case: PatientCase) -> PlanDoses:
    """Predicted 1 Gy above the reference in the body, achieved 2 Gy above that, sequenced 0.5 Gy below that."""
    assert case.dose_gy is not None
    predicted = np.where(case.body, case.dose_gy + 1, 0).astype(np.float32)
    achieved = np.where(case.body, case.dose_gy + 3, 0).astype(np.float32)
    sequenced = np.where(case.body, case.dose_gy + 2.5, 0).astype(np.float32)
    return PlanDoses.of(case, predicted, achieved, sequenced)


def test_errors_scores_and_gaps_of_doses_that_differ_by_constants(doses: PlanDoses) -> None:
    found = compare(doses)
    assert found.labels == ("predicted", "achieved", "sequenced", "reference")
    assert {label: dict(errors) for label, errors in found.errors_gy.items()} == {
        "achieved": pytest.approx({"all": 2.0, "high": 2.0}, rel=1e-5),
        "sequenced": pytest.approx({"all": 1.5, "high": 1.5}, rel=1e-5),
    }
    for label, above in {"predicted": 1.0, "achieved": 3.0, "sequenced": 2.5}.items():
        assert found.scores_gy[label] == pytest.approx({"dose_score": above, "dvh_score": above}, rel=1e-5)
    assert set(found.scores_gy) == {"predicted", "achieved", "sequenced"}
    in_gy = [gap for gap in found.gaps if gap.unit == "Gy"]
    assert {gap.structure for gap in in_gy} == {"PTV_High", "PTV_Low", "Parotid_L", "Parotid_R", "SpinalCord"}
    for gap in in_gy:
        assert gap.gaps == pytest.approx({"achieved": 2.0, "sequenced": 1.5}, rel=1e-4)
        assert gap.values["predicted"] - gap.values["reference"] == pytest.approx(1.0, rel=1e-4)


def test_high_dose_is_what_was_asked_for_from_50_gy_on(case: PatientCase) -> None:
    wanted = np.where(case.structures["PTV_High"], 50.0, 49.9).astype(np.float32) * case.body
    off = np.where(case.structures["PTV_High"], 4.0, 1.0).astype(np.float32) * case.body
    errors = compare(PlanDoses.of(case, wanted, wanted + off)).errors_gy["achieved"]
    inside, everywhere = case.structures["PTV_High"].sum(), case.body.sum()
    mean = (4.0 * inside + 1.0 * (everywhere - inside)) / everywhere
    assert errors == pytest.approx({"high": 4.0, "all": mean}, rel=1e-5)
    low = compare(PlanDoses.of(case, wanted * 0.5, wanted)).errors_gy["achieved"]
    assert set(low) == {"all"}


def test_a_replay_has_the_reference_for_what_was_asked_for(case: PatientCase) -> None:
    assert case.dose_gy is not None
    doses = PlanDoses.of(case, case.dose_gy, case.dose_gy * np.float32(0.5), wanted="reference")
    found = compare(doses)
    assert (found.wanted, found.labels, doses.planned) == ("reference", ("reference", "achieved"), ("achieved",))
    assert set(found.scores_gy) == {"achieved"}
    assert found.errors_gy["achieved"]["all"] == pytest.approx(found.scores_gy["achieved"]["dose_score"], rel=1e-5)


def test_a_case_without_reference_has_no_scores(case: PatientCase) -> None:
    assert case.dose_gy is not None
    found = compare(PlanDoses.of(case.with_dose(None), case.dose_gy, case.dose_gy))
    assert (dict(found.scores_gy), found.labels) == ({}, ("predicted", "achieved"))


def test_doses_must_fit_the_case(case: PatientCase) -> None:
    assert case.dose_gy is not None
    with pytest.raises(GridMismatchError, match=r"achieved dose must have the case's shape \(16, 20, 24\)"):
        PlanDoses(case, "predicted", {"predicted": case.dose_gy, "achieved": case.dose_gy[1:]})
    with pytest.raises(InputError, match="doses must hold 'achieved'; got"):
        PlanDoses(case, "predicted", {"predicted": case.dose_gy})
