from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dosewright.core import PatientCase
from dosewright.objectives.default_helpers import default_helpers
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.helpers import PlanningStructures, planning_structures
from dosewright.objectives.parts import Part, Status, StructureNote
from extraction_cases import box, counted_case

EVERY = slice(2, 10)
TISSUE = {"part": "tissue"}


def changed(name: str, **values: object) -> HelperSet:
    """The default set with one helper changed."""
    default = default_helpers()
    return default.with_helpers({name: replace(default.helpers[name], **values)})


def prv(organ: str, margin_mm: int) -> HelperSet:
    entry = {"expression": f"{organ} + {margin_mm}mm", "part": "prv", "needs": organ, "differs_from": organ}
    return default_helpers().with_helpers({f"{organ}_PRV{margin_mm:02}": entry})


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
    assert note_of(found, "Cochlea_L").reason == "less than 0.1 cc of it outside the targets"
    assert {note_of(found, name).status for name in ("Larynx", "Cochlea_L")} == {Status.DROPPED}
    assert not {"Larynx", "Cochlea_L"} & set(found.parts)
    kept = planning_structures(counted_case(), replace(default_helpers(), smallest_cc=0.01))
    assert kept.parts["Cochlea_L"] is Part.ORGAN


def test_an_organ_with_too_little_outside_is_dropped() -> None:
    shell = box(slice(2, 6), slice(14, 17), slice(20, 26))  # a third of it, 0.096 cc, below the target
    found = planning_structures(counted_case({"Larynx": shell}))
    assert note_of(found, "Larynx").reason == "less than 0.1 cc of it outside the targets"
    assert note_of(found, "Larynx").in_targets_percent == pytest.approx(200 / 3)


def test_a_gap_widens_what_is_cropped() -> None:
    found = planning_structures(counted_case(), changed("{organ}-PTV", expression="{organ} - (Targets + 2.5mm)"))
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
    found = planning_structures(case, prv("SpinalCord", 3))
    cord = case.structures["SpinalCord"]
    expected = (distance_mm(cord, case) <= 3.0) & case.body
    np.testing.assert_array_equal(found.case.structures["SpinalCord_PRV03"], expected)
    assert found.parts["SpinalCord_PRV03"] is Part.PRV


def test_a_planning_risk_volume_leaves_targets_alone_but_not_its_organ() -> None:
    cord = box(slice(0, 12), slice(15, 17), slice(10, 12))  # one row of two in PTV_High
    case = counted_case({"SpinalCord": cord})
    grown = planning_structures(case).case.structures["SpinalCord_PRV05"]
    targets = case.structures["PTV_High"] | case.structures["PTV_Low"]
    np.testing.assert_array_equal(grown & targets, cord & targets)


def test_a_margin_that_adds_nothing_is_dropped() -> None:
    case = counted_case()
    thick = replace(case, grid=replace(case.grid, spacing_xyz_mm=(4.0, 4.0, 4.0)))
    found = planning_structures(thick, prv("SpinalCord", 3))
    note = note_of(found, "SpinalCord_PRV03")
    assert (note.status, note.reason) == (Status.DROPPED, "the same as SpinalCord on this grid")


def test_a_planning_risk_volume_of_the_case_is_one_also_where_it_meets_a_target() -> None:
    own = box(slice(0, 12), slice(15, 28), slice(9, 14))  # reaches into PTV_High
    found = planning_structures(counted_case({"SpinalCord_PRV05": own}))
    assert found.parts["SpinalCord_PRV05"] is Part.PRV
    np.testing.assert_array_equal(found.case.structures["SpinalCord_PRV05"], own)
    assert "SpinalCord_PRV05-PTV" not in found.case.structures
    note = note_of(found, "SpinalCord_PRV05")  # one note
    assert (note.status, note.reason) == (Status.USED, "the case's own")


def test_a_planning_risk_volume_of_an_organ_that_is_not_whole_is_noted() -> None:
    found = planning_structures(counted_case(), prv("Parotid_L", 3))
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
    ring = "({target} + 8mm) - ({target} + 2mm) - Targets"
    near = changed("Ring_{target}", expression=ring).with_helpers(
        {"zTissue": {**TISSUE, "expression": "Body - (Targets + 8mm)"}}
    )
    found = planning_structures(case, near)
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


def test_helpers_that_are_null_are_not_made() -> None:
    case = counted_case()
    nearer = {"Ring_{target}": None, "zTissue": {**TISSUE, "expression": "Body - (Targets + 4mm)"}}
    found = planning_structures(case, default_helpers().with_helpers(nearer))
    targets = case.structures["PTV_High"] | case.structures["PTV_Low"]
    np.testing.assert_array_equal(found.case.structures["zTissue"], case.body & (distance_mm(targets, case) > 4.0))
    assert not [note.name for note in found.notes if note.name.startswith("Ring")]
    without = planning_structures(case, default_helpers().with_helpers({"zTissue": None}))
    assert "zTissue" not in [*without.case.structures, *(note.name for note in without.notes)]


def test_without_any_helpers_targets_and_organs_take_part_as_they_are() -> None:
    case = counted_case()
    found = planning_structures(case, HelperSet({}))
    assert list(found.parts) == ["PTV_High", "PTV_Low", "Parotid_L", "Parotid_R", "SpinalCord"]
    assert found.case.structures.keys() == case.structures.keys()
    assert [note.name for note in found.notes if note.status is Status.DROPPED] == ["Larynx", "Cochlea_L"]


def test_parts_are_in_order_whatever_that_of_the_set() -> None:
    middle = box(EVERY, slice(10, 16), slice(30, 36))
    case = counted_case({"PTV_Mid": middle}, {"PTV_High": 70.0, "PTV_Mid": 63.0, "PTV_Low": 56.0})
    default = default_helpers()
    backwards = replace(default, helpers=dict(reversed(default.helpers.items())))
    assert list(planning_structures(case, backwards).parts) == [
        *("PTV_High", "PTV_Mid", "zPTV_Mid_Opt", "PTV_Low", "zPTV_Low_Opt"),
        *("Parotid_L-PTV", "Parotid_R", "SpinalCord", "SpinalCord_PRV05"),
        *("Ring_PTV_High", "Ring_PTV_Mid", "Ring_PTV_Low"),
    ]


def test_what_organs_structures_are_made_of() -> None:
    both = {
        "expression": "(Parotid_L | Parotid_R + 2mm) - Larynx",
        "part": "organ",
        "replaces": ["Parotid_L", "Parotid_R"],
    }
    found = planning_structures(counted_case(), default_helpers().with_helpers({"Parotids": both}))
    assert dict(found.organs_of) == {
        "SpinalCord": frozenset({"SpinalCord"}),
        "SpinalCord_PRV05": frozenset({"SpinalCord"}),
        "Parotid_L-PTV": frozenset({"Parotid_L"}),
        "Parotids": frozenset({"Parotid_L", "Parotid_R"}),
    }
    assert note_of(found, "Parotid_R").reason == "by Parotids"


def test_what_the_case_has_of_its_own_is_used() -> None:
    own = {
        "Parotid_L-PTV": box(EVERY, slice(17, 19), slice(20, 25)),
        "Larynx-PTV": box(EVERY, slice(17, 19), slice(9, 13)),
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
    larynx = note_of(found, "Larynx")  # all of it in a target
    assert (larynx.status, larynx.reason) == (Status.REPLACED, "by Larynx-PTV")
    assert note_of(found, "zOther").reason == "a helper structure of the case"
    assert note_of(found, "CTV").reason == "a target without prescription"


def test_every_structure_is_noted_once_and_absent_ones_where_expected() -> None:
    case = counted_case()
    found = planning_structures(case, expected=("Esophagus", "Larynx"))
    names = [note.name for note in found.notes]
    assert len(names) == len(set(names))
    not_made = {note.name: note.reason for note in found.notes if note.voxels == 0}
    assert set(found.case.structures) | set(not_made) == set(names)
    assert not_made == {
        "zPTV_High_Opt": "there is no target of higher prescription",
        "Parotid_R-PTV": "the same as Parotid_R on this grid",
        "SpinalCord-PTV": "SpinalCord kept whole",
        "Larynx-PTV": "Larynx left out",
        "Cochlea_L-PTV": "Cochlea_L left out",
        "Brainstem_PRV03": "the case does not have Brainstem",
        "zTissue": "no voxel is left of it",  # rings reach every corner of this small body
        "Esophagus": "the case does not have it",
    }
    assert set(case.structures) < set(found.case.structures)
    assert note_of(found, "Esophagus") == StructureNote("Esophagus", None, Status.ABSENT, "the case does not have it")
    assert {note.name for note in found.notes if note.status is Status.USED} == set(found.parts)


def test_a_helper_of_which_nothing_is_left_is_dropped() -> None:
    thin = box(EVERY, slice(10, 16), slice(14, 18))
    found = planning_structures(counted_case({"PTV_Low": thin}))
    note = note_of(found, "zPTV_Low_Opt")
    assert (note.status, note.reason, note.voxels) == (Status.DROPPED, "no voxel is left of it", 0)
