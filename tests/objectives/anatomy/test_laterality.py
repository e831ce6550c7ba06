import numpy as np
import pytest
from anatomy_cases import block, sided_case

from dosewright.core import PatientCase
from dosewright.objectives.anatomy.laterality import Laterality, Side, laterality_of, name_fits, target_side


def laterality(case: PatientCase, organ: str) -> Laterality:
    return laterality_of(organ, case.structures[organ], case, target_side(case, 65.0))


def test_a_target_on_the_left_makes_the_left_gland_ipsilateral() -> None:
    case = sided_case(target_x=(24, 30))
    assert target_side(case, 65.0).side is Side.LEFT  # +x is the patient's left
    assert laterality(case, "Parotid_L") is Laterality.IPSILATERAL
    assert laterality(case, "Parotid_R") is Laterality.CONTRALATERAL
    assert laterality(case, "SpinalCord") is Laterality.UNPAIRED


def test_mirroring_the_patient_mirrors_the_answer() -> None:
    case = sided_case(target_x=(10, 16))
    assert target_side(case, 65.0).side is Side.RIGHT
    assert laterality(case, "Parotid_L") is Laterality.CONTRALATERAL
    assert laterality(case, "Parotid_R") is Laterality.IPSILATERAL


def test_a_target_astride_the_midline_is_never_given_a_side() -> None:
    case = sided_case(target_x=(15, 25))
    assert target_side(case, 65.0) == target_side(case, 50.1)
    assert target_side(case, 65.0).side is Side.MIDLINE
    assert laterality(case, "Parotid_L") is laterality(case, "Parotid_R") is Laterality.UNDECIDED


@pytest.mark.parametrize(("least_percent", "side"), [(69.9, Side.LEFT), (70.0, Side.LEFT), (70.1, Side.MIDLINE)])
def test_a_side_needs_its_share_of_the_target(least_percent: float, side: Side) -> None:
    case = sided_case(target_x=(17, 27))  # glands are mirrored at x index 19.5: 3 of 10 columns lie right of it
    found = target_side(case, least_percent)
    assert (found.left_percent, found.side) == (pytest.approx(70.0), side)
    assert found.midline_x_mm == pytest.approx(39.0)
    assert found.midline_from == "halfway between Parotid_L and Parotid_R"


def test_only_the_target_of_highest_prescription_counts() -> None:
    case = sided_case(target_x=(24, 30), PTV_Low=block((3, 7), (8, 14), (4, 24)))
    both = PatientCase(**{**vars(case), "prescription_gy": {"PTV_High": 70.0, "PTV_Low": 56.0}})
    assert target_side(both, 65.0).side is Side.LEFT


def test_one_gland_alone_gets_the_midline_from_other_organs_or_the_body() -> None:
    case = sided_case(absent=("Parotid_R",))
    found = target_side(case, 65.0)
    assert found.midline_from == "the centre of SpinalCord"
    assert found.midline_x_mm == pytest.approx(39.0)
    assert laterality(case, "Parotid_L") is Laterality.IPSILATERAL
    bare = sided_case(absent=("Parotid_R", "SpinalCord"))
    assert target_side(bare, 65.0).midline_from == "the centre of the body"
    assert target_side(bare, 65.0).midline_x_mm == pytest.approx(39.0)


def test_a_name_that_contradicts_its_position_is_not_trusted() -> None:
    left, right = block((4, 7), (8, 12), (29, 34)), block((4, 7), (8, 12), (6, 11))
    case = sided_case(Parotid_L=right, Parotid_R=left)
    assert laterality(case, "Parotid_L") is laterality(case, "Parotid_R") is Laterality.UNDECIDED
    assert not name_fits("Parotid_L", case.structures["Parotid_L"], case, target_side(case, 65.0))


def test_a_column_on_the_midline_counts_half_for_each_side() -> None:
    wide = np.zeros_like(block((0, 1), (0, 1), (0, 1)))
    wide[3:7, 8:14, 18:23] = True  # with a gland more the midline falls on column 20
    case = sided_case(
        PTV_High=wide, Parotid_L=block((4, 7), (8, 12), (30, 35)), Parotid_R=block((4, 7), (8, 12), (6, 11))
    )
    assert target_side(case, 65.0).left_percent == pytest.approx(50.0)
