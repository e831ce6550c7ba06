from dataclasses import replace

import numpy as np
import pytest

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.dose.case_dose import CaseDose
from dosewright.objectives.criteria import HEAD_NECK, Criterion, evaluate_criteria
from extraction_cases import counted_case


def dosed(**doses_gy: float) -> PatientCase:
    """A case with a uniform dose in each structure named, one after the other, and 5 Gy elsewhere."""
    case = counted_case()
    dose = np.full(case.grid.shape_zyx, 5.0, np.float32)
    for name, value in doses_gy.items():
        dose[case.structures[name]] = value
    return case.with_dose(dose)


def test_the_criteria_are_those_of_the_source() -> None:
    assert [criterion.describe() for criterion in HEAD_NECK] == [
        "Brainstem D0.1cc ≤ 50 Gy",
        "SpinalCord D0.1cc ≤ 45 Gy",
        "Bone_Mandible D0.1cc ≤ 73.5 Gy",
        "Parotid_L Dmean ≤ 26 Gy",
        "Parotid_R Dmean ≤ 26 Gy",
        "Esophagus Dmean ≤ 45 Gy",
        "Larynx Dmean ≤ 45 Gy",
        "targets D99 ≥ 95 %",
    ]


@pytest.mark.parametrize(("dose_gy", "met"), [(44.9, True), (45.0, True), (45.1, False)])
def test_a_limit_may_be_reached_but_not_crossed(dose_gy: float, met: bool) -> None:
    assert Criterion("SpinalCord", "D0.1cc", "at most", 45.0).met(dosed(SpinalCord=dose_gy)) is met


def test_the_hottest_tenth_of_a_cc_decides() -> None:
    case = dosed()
    dose = case.dose_gy.copy()  # type: ignore[union-attr]
    cord = np.argwhere(case.structures["SpinalCord"])
    for place in cord[:24]:  # of 4 mm³ each: less than 100 mm³
        dose[tuple(place)] = 60.0
    criterion = Criterion("SpinalCord", "D0.1cc", "at most", 45.0)
    assert criterion.met(case, dose) is True
    dose[tuple(cord[24])] = 60.0
    assert criterion.met(case, dose) is False


def test_targets_stand_for_each_and_all() -> None:
    case = dosed(PTV_High=70.0, PTV_Low=53.0)
    found = evaluate_criteria(case, criteria=HEAD_NECK[-1:])
    assert [result.criterion.structure for result in found] == ["PTV_High", "PTV_Low"]
    assert [result.value for result in found] == pytest.approx([100.0, 100 * 53 / 56])
    assert [result.met for result in found] == [True, False]
    assert HEAD_NECK[-1].met(case) is False
    assert HEAD_NECK[-1].met(dosed(PTV_High=70.0, PTV_Low=53.3)) is True


def test_absent_structures_are_neither_met_nor_not() -> None:
    case = dosed()
    (result,) = evaluate_criteria(case, criteria=HEAD_NECK[:1])
    assert (result.value, result.met) == (None, None)
    assert HEAD_NECK[0].met(case) is None


def test_sorted_voxels_can_be_reused() -> None:
    case = dosed(PTV_High=71.0, PTV_Low=57.0, Parotid_L=30.0, Parotid_R=10.0)
    again = evaluate_criteria(CaseDose.of(case))
    assert [(r.criterion, r.value) for r in again] == [(r.criterion, r.value) for r in evaluate_criteria(case)]
    met = {result.criterion.structure: result.met for result in again}
    assert met == {
        "Brainstem": None,
        "SpinalCord": True,
        "Bone_Mandible": None,
        "Parotid_L": False,
        "Parotid_R": True,
        "Esophagus": None,
        "Larynx": False,
        "PTV_High": True,
        "PTV_Low": False,
    }  # Larynx lies in PTV_High; the row of Parotid_L in PTV_Low is cold


def test_doses_that_cannot_be_judged_are_refused() -> None:
    case = counted_case()
    with pytest.raises(InputError, match="dose_gy must be given: case counted has none of its own"):
        HEAD_NECK[1].met(replace(case, dose_gy=None))
    with pytest.raises(GridMismatchError, match=r"dose_gy must have the grid's shape \(12, 30, 40\)"):
        HEAD_NECK[1].met(case, np.zeros((2, 3, 4), np.float32))
    with pytest.raises(InputError, match="dose_gy must be finite in PTV_High"):
        HEAD_NECK[1].met(case, np.full(case.grid.shape_zyx, np.nan, np.float32))
    with pytest.raises(InputError, match="prescription_gy must be given for D99"):
        Criterion("SpinalCord", "D99[%]", "at least", 95.0).met(case)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (("SpinalCord", "D0.1xx", "at most", 45.0), "index must be a dose-volume index"),
        (("PTV_High", "CI", "at least", 0.8), "index must be an index of one structure's voxels; got 'CI'"),
        (("SpinalCord", "Dmax", "below", 45.0), 'sense must be "at most" or "at least"; got \'below\''),
        (("SpinalCord", "Dmax", "at most", 0.0), "limit must be positive and finite; got 0.0"),
        (("spinal cord", "Dmax", "at most", 45.0), "must be a structure name"),
    ],
)
def test_criteria_that_make_no_sense_are_refused(values: tuple[str, str, str, float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Criterion(*values)
