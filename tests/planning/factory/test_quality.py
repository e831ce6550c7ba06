"""Each rule on both sides of its limit, with doses whose indices are known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from cases import make_case
from dosewright.core import InputError, PatientCase
from dosewright.dose.case_dose import CaseDose
from dosewright.planning.factory.quality import QualityControl, QualityRules


@pytest.fixture
def case() -> PatientCase:
    return make_case()


def flat(case: PatientCase, **shares: float) -> np.ndarray:
    """Prescriptions times a share in the targets, 20 Gy elsewhere in the body."""
    dose = np.where(case.body, 20.0, 0.0).astype(np.float32)
    for name, prescribed in sorted(case.prescription_gy.items(), key=lambda pair: pair[1]):
        dose[case.structures[name]] = prescribed * shares.get(name, 1.0)
    return dose


def reasons(case: PatientCase, dose: np.ndarray, factor: float = 1.0, **rules: object) -> tuple[str, ...]:
    return QualityControl(case, QualityRules(**rules)).reasons(CaseDose.of(case, dose), factor)


def test_a_plan_as_prescribed_is_kept(case: PatientCase) -> None:
    assert reasons(case, flat(case)) == ()


@pytest.mark.parametrize(
    ("share", "found"), [(0.901, ()), (0.899, ("D95 of PTV_Low is 89.9% of its prescription, less than 90%",))]
)
def test_coverage_of_every_target(case: PatientCase, share: float, found: tuple[str, ...]) -> None:
    assert reasons(case, flat(case, PTV_Low=share)) == found


@pytest.mark.parametrize(("share", "count"), [(1.119, 0), (1.121, 1)])
def test_the_mean_of_the_highest_target(case: PatientCase, share: float, count: int) -> None:
    found = reasons(case, flat(case, PTV_High=share))
    assert [reason for reason in found if "mean of PTV_High" in reason] == (
        ["mean of PTV_High is 112.1% of the highest prescription, more than 112%"] * count
    )


@pytest.mark.parametrize(("gray", "count"), [(83.9, 0), (84.1, 1)])
def test_hot_spots_anywhere(case: PatientCase, gray: float, count: int) -> None:
    dose = flat(case)
    dose[6, 9, 9:13] = gray  # four voxels of 36 mm³ hold 0.144 cc
    assert len(reasons(case, dose)) == count


def test_a_hot_spot_smaller_than_a_tenth_of_a_cc_is_no_reason(case: PatientCase) -> None:
    dose = flat(case)
    dose[6, 9, 9:11] = 90.0  # 0.072 cc
    assert reasons(case, dose) == ()


def test_spill_counts_far_from_targets_only(case: PatientCase) -> None:
    near, far = flat(case), flat(case)
    near[6, 8:12, 14] = 75.0  # 6 mm beside PTV_High
    far[6, 8:12, 20] = 75.0  # 24 mm
    assert reasons(case, near) == ()
    assert reasons(case, far) == (
        "D0.1cc further than 10 mm from targets is 107.1% of the highest prescription, more than 105%",
    )


@pytest.mark.parametrize(("gray", "count"), [(49.9, 0), (50.1, 1)])
def test_the_cord_keeps_its_limit(case: PatientCase, gray: float, count: int) -> None:
    dose = flat(case)
    dose[case.structures["SpinalCord"]] = gray
    assert reasons(case, dose) == ("D0.1cc of SpinalCord is 50.1 Gy, more than 50",) * count


def test_a_limit_a_target_forbids_does_not_apply(case: PatientCase) -> None:
    target = case.structures["PTV_Low"].copy()
    target[5:11, 14:16, 11:13] = True  # 56 Gy prescribed to 0.86 cc of the cord
    overlapping = replace(case, structures={**case.structures, "PTV_Low": target})
    dose = flat(overlapping)
    assert reasons(overlapping, dose) == ()


@pytest.mark.parametrize(("factor", "count"), [(0.81, 0), (0.79, 1), (1.24, 0), (1.26, 1)])
def test_a_plan_scaled_far_is_rejected(case: PatientCase, factor: float, count: int) -> None:
    assert len(reasons(case, flat(case), factor)) == count


@pytest.mark.parametrize("name", ["least_d95", "most_hot", "most_spill", "spill_mm", "most_mean_excess"])
def test_limits_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"quality\.{name} must be positive and finite; got 0"):
        QualityRules(**{name: 0.0})


@pytest.mark.parametrize("factors", [(1.1, 1.2), (0.8, 0.9), (0.0, 1.2), (1.0,)])
def test_factors_that_do_not_hold_one_are_refused(factors: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"quality\.factors must be two numbers with 1 between them"):
        QualityRules(factors=factors)
