from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dosewright.core import InputError, PatientCase
from dosewright.objectives.helper_settings import HelperSettings, Part, Status
from dosewright.objectives.helpers import PlanningStructures, StructureNote, planning_structures
from extraction_cases import box, counted_case

EVERY = slice(2, 10)


def note_of(found: PlanningStructures, name: str) -> StructureNote:
    (note,) = (note for note in found.notes if note.name == name)
    return note


def distance_mm(mask: np.ndarray, case: PatientCase) -> np.ndarray:
    """Distance to the nearest voxel centre of a mask in mm, by search in a tree of its voxels."""
    spacing = np.array(case.grid.spacing_zyx_mm)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"), axis=-1)
    return cKDTree(np.argwhere(mask) * spacing).query(places * spacing)[0]


def test_an_organ_in_a_target_is_replaced_by_what_is_outside() -> None:
    found = planning_structures(counted_case())
    expected = box(EVERY, slice(16, 19), slice(20, 30))
    np.testing.assert_array_equal(found.case.structures["Parotid_L-PTV"], expected)
    assert found.parts["Parotid_L-PTV"] is Part.CROPPED
    assert "Parotid_L" not in found.parts
    note = note_of(found, "Parotid_L")
    assert (note.status, note.reason, note.part) == (Status.REPLACED, "by Parotid_L-PTV", Part.ORGAN)
    assert note.in_targets_percent == pytest.approx(25.0)
    assert note.volume_cc == pytest.approx(8 * 4 * 10 * 0.004)
    assert note_of(found, "Parotid_L-PTV").in_targets_percent == 0.0


def test_an_organ_away_from_targets_is_itself() -> None:
    found = planning_structures(counted_case())
    assert found.parts["Parotid_R"] is Part.ORGAN
    assert "Parotid_R-PTV" not in found.case.structures
    note = note_of(found, "Parotid_R")
    assert note.volume_cc == pytest.approx(0.64)
    assert replace(note, volume_cc=0.0) == StructureNote("Parotid_R", Part.ORGAN, Status.USED, "", 160, 0.0, 0.0, 0.0)


def test_covered_and_small_organs_are_dropped_with_a_reason() -> None:
    found = planning_structures(counted_case())
    assert note_of(found, "Larynx").reason == "100 % of it in targets, more than 85 %"
    assert note_of(found, "Cochlea_L").reason == "smaller than 0.1 cc"
    assert {note_of(found, name).status for name in ("Larynx", "Cochlea_L")} == {Status.DROPPED}
    assert not {"Larynx", "Cochlea_L"} & set(found.parts)
    kept = planning_structures(counted_case(), HelperSettings(smallest_cc=0.01))
    assert kept.parts["Cochlea_L"] is Part.ORGAN


def test_an_organ_with_too_little_outside_is_dropped() -> None:
    shell = box(slice(2, 6), slice(14, 17), slice(20, 26))  # a third of it, 0.096 cc, below the target
    found = planning_structures(counted_case({"Larynx": shell}))
    assert note_of(found, "Larynx").reason == "less than 0.1 cc of it outside the targets"
    assert note_of(found, "Larynx").in_targets_percent == pytest.approx(200 / 3)


def test_a_gap_widens_what_is_cropped() -> None:
    found = planning_structures(counted_case(), HelperSettings(crop_gap_mm=2.5))
    np.testing.assert_array_equal(
        found.case.structures["Parotid_L-PTV"], box(EVERY, slice(17, 19), slice(20, 30))
    )  # the row at 2 mm is gone, the one at 4 mm is not


def test_serial_organs_stay_whole_whatever_their_size_and_overlap() -> None:
    inside = box(slice(4, 6), slice(11, 13), slice(9, 12))
    found = planning_structures(counted_case({"Brainstem": inside}))
    assert found.parts["Brainstem"] is Part.ORGAN
    assert note_of(found, "Brainstem").reason == "100 % of it in targets, kept whole"


def test_only_voxels_in_the_body_count() -> None:
    half_out = box(EVERY, slice(26, 30), slice(20, 30))  # rows 26 to 28 of the body, 29 outside
    outside = box(EVERY, slice(29, 30), slice(2, 8))
    found = planning_structures(counted_case({"Parotid_R": half_out, "Trachea": outside}))
    note = note_of(found, "Parotid_R")
    assert (note.voxels, note.outside_body_percent) == (8 * 3 * 10, 25.0)
    assert note_of(found, "Trachea").reason == "no voxel of it is in the body"
    assert "Trachea" not in found.parts


def test_a_planning_risk_volume_has_its_margin() -> None:
    case = counted_case()
    found = planning_structures(case, HelperSettings(prv_mm={"SpinalCord": 3}))
    cord = case.structures["SpinalCord"]
    expected = (distance_mm(cord, case) <= 3.0) & case.body
    np.testing.assert_array_equal(found.case.structures["SpinalCord_PRV03"], expected)
    assert found.parts["SpinalCord_PRV03"] is Part.PRV


def test_a_planning_risk_volume_leaves_targets_alone_but_not_its_organ() -> None:
    cord = box(slice(0, 12), slice(15, 17), slice(10, 12))  # one row of two in PTV_High
    case = counted_case({"SpinalCord": cord})
    prv = planning_structures(case).case.structures["SpinalCord_PRV05"]
    targets = case.structures["PTV_High"] | case.structures["PTV_Low"]
    np.testing.assert_array_equal(prv & targets, cord & targets)


def test_a_margin_that_adds_nothing_is_dropped() -> None:
    case = counted_case()
    thick = replace(case, grid=replace(case.grid, spacing_xyz_mm=(4.0, 4.0, 4.0)))
    found = planning_structures(thick, HelperSettings(prv_mm={"SpinalCord": 3}))
    note = note_of(found, "SpinalCord_PRV03")
    assert (note.status, note.reason) == (Status.DROPPED, "3 mm adds no voxel on this grid")


def test_a_planning_risk_volume_of_the_case_is_one_also_where_it_meets_a_target() -> None:
    own = box(slice(0, 12), slice(15, 28), slice(9, 14))  # reaches into PTV_High
    found = planning_structures(counted_case({"SpinalCord_PRV05": own}))
    assert found.parts["SpinalCord_PRV05"] is Part.PRV
    np.testing.assert_array_equal(found.case.structures["SpinalCord_PRV05"], own)
    assert "SpinalCord_PRV05-PTV" not in found.case.structures
    note = note_of(found, "SpinalCord_PRV05")  # one note
    assert (note.status, note.reason) == (Status.USED, "the case's own")


def test_a_planning_risk_volume_of_an_organ_that_is_not_whole_is_noted() -> None:
    found = planning_structures(counted_case(), HelperSettings(prv_mm={"Parotid_L": 3, "Heart": 3}))
    note = note_of(found, "Parotid_L_PRV03")
    assert (note.status, note.part, note.reason) == (Status.DROPPED, Part.PRV, "Parotid_L takes no part as a whole")
    assert "Parotid_L_PRV03" not in found.parts


def test_lower_targets_keep_away_from_higher_ones() -> None:
    case = counted_case()
    found = planning_structures(case)
    expected = box(EVERY, slice(10, 16), slice(20, 30))  # 14 Gy less: 6 mm, and x = 13 + 6 is still too near
    np.testing.assert_array_equal(found.case.structures["zPTV_Low_Opt"], expected)
    assert found.parts["zPTV_Low_Opt"] is Part.CORE
    assert found.target_of["zPTV_Low_Opt"] == "PTV_Low"
    assert "zPTV_High_Opt" not in found.case.structures


def test_three_levels_step_by_three_and_six_mm() -> None:
    middle = box(EVERY, slice(10, 16), slice(30, 36))
    doses = {"PTV_High": 70.0, "PTV_Mid": 63.0, "PTV_Low": 56.0}
    case = counted_case({"PTV_Mid": middle}, doses)
    found = planning_structures(case)
    high, mid = (distance_mm(case.structures[name], case) for name in ("PTV_High", "PTV_Mid"))
    low = case.structures["PTV_Low"]
    np.testing.assert_array_equal(found.case.structures["zPTV_Low_Opt"], low & (high > 6.0) & (mid > 3.0))
    np.testing.assert_array_equal(found.case.structures["zPTV_Mid_Opt"], middle & (high > 3.0))


def test_rings_and_tissue_are_those_of_the_formula() -> None:
    case = counted_case()
    found = planning_structures(case, HelperSettings(ring_outer_mm=8.0))
    high, low = (distance_mm(case.structures[name], case) for name in ("PTV_High", "PTV_Low"))
    free = case.body & (high > 0) & (low > 0)
    expected = {
        "Ring_PTV_High": free & (high > 2.0) & (high <= 8.0),
        "Ring_PTV_Low": free & (low > 2.0) & (low <= 8.0) & (high > 9.0),
        "zTissue": free & (high > 8.0) & (low > 8.0),
    }
    for name, mask in expected.items():
        np.testing.assert_array_equal(found.case.structures[name], mask, err_msg=name)
    parts = (Part.RING, Part.RING, Part.TISSUE)
    assert {name: found.parts[name] for name in expected} == dict(zip(expected, parts, strict=True))


@pytest.mark.parametrize("inner_mm", [4.0, 14.0])  # and beyond what the steps between prescriptions need
def test_without_rings_tissue_begins_where_they_would(inner_mm: float) -> None:
    case = counted_case()
    found = planning_structures(case, HelperSettings(ring_outer_mm=None, ring_inner_mm=inner_mm))
    targets = case.structures["PTV_High"] | case.structures["PTV_Low"]
    np.testing.assert_array_equal(found.case.structures["zTissue"], case.body & (distance_mm(targets, case) > inner_mm))
    assert not [name for name in found.case.structures if name.startswith("Ring")]
    assert "zTissue" not in planning_structures(case, HelperSettings(tissue=False)).case.structures


def test_what_the_case_has_of_its_own_is_used() -> None:
    own = {
        "Parotid_L-PTV": box(EVERY, slice(17, 19), slice(20, 25)),
        "Ring_PTV_High": box(EVERY, slice(5, 7), slice(8, 14)),
        "zOther": box(EVERY, slice(5, 7), slice(8, 14)),
        "CTV": box(EVERY, slice(11, 15), slice(9, 13)),
    }
    found = planning_structures(counted_case(own))
    for name in ("Parotid_L-PTV", "Ring_PTV_High"):
        np.testing.assert_array_equal(found.case.structures[name], own[name])
        assert (note_of(found, name).status, note_of(found, name).reason) == (Status.USED, "the case's own")
    assert found.parts["Ring_PTV_High"] is Part.RING
    assert note_of(found, "Parotid_L").status is Status.REPLACED
    assert note_of(found, "zOther").reason == "a helper structure of the case"
    assert note_of(found, "CTV").reason == "a target without prescription"


def test_every_structure_is_noted_once_and_absent_ones_where_expected() -> None:
    case = counted_case()
    found = planning_structures(case, expected=("Esophagus", "Larynx"))
    names = [note.name for note in found.notes]
    assert len(names) == len(set(names))
    nothing_left = {"zTissue"}  # rings reach every corner of this small body
    assert set(found.case.structures) | {"Esophagus"} | nothing_left == set(names)
    assert set(case.structures) < set(found.case.structures)
    assert note_of(found, "Esophagus") == StructureNote("Esophagus", None, Status.ABSENT, "the case does not have it")
    assert {note.name for note in found.notes if note.status is Status.USED} == set(found.parts)


def test_a_helper_of_which_nothing_is_left_is_dropped() -> None:
    thin = box(EVERY, slice(10, 16), slice(14, 18))
    found = planning_structures(counted_case({"PTV_Low": thin}))
    note = note_of(found, "zPTV_Low_Opt")
    assert (note.status, note.reason, note.voxels) == (Status.DROPPED, "no voxel is left of it", 0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"smallest_cc": -1.0}, "smallest_cc must be finite, zero or more; got -1.0"),
        ({"ring_gap_mm": float("nan")}, "ring_gap_mm must be finite, zero or more; got nan"),
        ({"level_gy": 0.0}, "level_gy must be positive and finite; got 0.0"),
        ({"largest_overlap_percent": 101}, r"largest_overlap_percent must be in \[0, 100\]; got 101"),
        ({"ring_outer_mm": 2.0}, "ring_outer_mm must be above ring_inner_mm and finite, or null; got 2.0"),
        ({"prv_mm": {"SpinalCord": 2.5}}, r"prv_mm\[SpinalCord\] must be whole millimetres in \[1, 99\]; got 2.5"),
        ({"prv_mm": {"SpinalCord": 0}}, r"prv_mm\[SpinalCord\] must be whole millimetres in \[1, 99\]; got 0"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        HelperSettings(**values)  # type: ignore[arg-type]
