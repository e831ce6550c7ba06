"""GDP-HMM's metric 1 of a whole case, in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from cases import make_case
from dosewright.core import InputError, PatientCase
from dosewright.dose.gdphmm import case_error, reference_target


@pytest.fixture
def plan() -> PatientCase:
    """70 Gy prescribed; the target has 35 Gy, the rest of the body 1 Gy: scaled, the reference is 70 and 2 Gy."""
    case = make_case()
    dose = np.where(case.structures["PTV_High"], 35.0, 1.0).astype(np.float32)
    return case.with_dose(dose)


def test_a_perfect_prediction_of_the_scaled_dose_scores_nothing(plan: PatientCase) -> None:
    predicted = np.where(plan.structures["PTV_High"], 70.0, 2.0)
    assert case_error(plan, predicted) == pytest.approx(0.0, abs=1e-4)


def test_the_unscaled_dose_is_half_the_prescription_off(plan: PatientCase) -> None:
    assert plan.dose_gy is not None
    assert case_error(plan, plan.dose_gy) == pytest.approx(35.0, rel=1e-5)


def test_false_dose_counts_in_the_body_alone_and_by_the_references_voxels(plan: PatientCase) -> None:
    target, body = plan.structures["PTV_High"], plan.body
    predicted = np.where(target, 70.0, 2.0)
    added = np.zeros_like(body)
    added[12, 3, 3:13] = True  # ten voxels in the body, at 12 Gy where the reference has 2
    added[0, 0, :5] = True  # five outside
    predicted[added] = 12.0
    assert not (added & target).any()
    assert case_error(plan, predicted) == pytest.approx(10 * 10.0 / target.sum(), rel=1e-4)


def test_d97_is_that_of_the_optimised_part(plan: PatientCase) -> None:
    """The 64 voxels are at 35 Gy but for two layers at 28; of the optimised part, without them, D97 is 35."""
    dose = plan.dose_gy.copy()  # type: ignore[union-attr]
    dose[5:7][plan.structures["PTV_High"][5:7]] = 28.0
    part = plan.structures["PTV_High"].copy()
    part[5:7] = False
    predicted = np.where(plan.structures["PTV_High"], 2 * dose, 2.0)
    whole = plan.with_dose(dose)
    with_part = replace(whole, structures={**plan.structures, "zPTV_High_Opt": part})
    assert case_error(with_part, predicted) == pytest.approx(0.0, abs=1e-4)
    expected = np.mean([abs(70 - 35 * 70 / 28), abs(56 - 70)])  # scaled by 70 / 28 instead of 2
    assert case_error(whole, predicted) == pytest.approx(expected, rel=1e-4)


def test_the_lungs_target_is_ptv() -> None:
    assert reference_target(["PTV", "Heart"], {"PTV": 60.0}) == ("PTV", 60.0)


def test_what_has_no_reference_is_refused(plan: PatientCase) -> None:
    with pytest.raises(InputError, match="case_1 must have a reference dose; got None"):
        case_error(plan.with_dose(None), plan.dose_gy)  # type: ignore[arg-type]
    masks = {"PTV_A": plan.structures["PTV_High"]}
    with pytest.raises(InputError, match=r"targets must hold one of .*got \['PTV_A'\]"):
        case_error(replace(plan, structures=masks, prescription_gy={"PTV_A": 70.0}), plan.dose_gy)  # type: ignore[arg-type]
