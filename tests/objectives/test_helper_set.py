"""Helper sets: against brute force, and what is left out and why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cases import make_case
from dosewright.core import InputError, PatientCase
from dosewright.objectives.default_helpers import default_helpers
from dosewright.objectives.helper_maker import HelperResult, make_helpers
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.parts import Part, Status

CONF = Path(__file__).parents[2] / "conf" / "helpers"


def shipped(name: str) -> HelperSet:
    return instantiate(OmegaConf.load(CONF / f"{name}.yaml"))


def mask_of(case: PatientCase, z: slice, y: slice, x: slice) -> np.ndarray:
    mask = np.zeros(case.grid.shape_zyx, bool)
    mask[z, y, x] = True
    return mask


def with_structures(**more: np.ndarray) -> PatientCase:
    case = make_case()
    return replace(case, structures={**case.structures, **more})


def notes(result: HelperResult) -> dict[str, tuple[Status, str]]:
    return {note.name: (note.status, note.reason) for note in result.notes}


def near(case: PatientCase, mask: np.ndarray, margin_mm: float) -> np.ndarray:
    """Voxels within a margin of a mask, by trying every pair."""
    places = np.indices(mask.shape).reshape(3, -1).T * np.array(case.grid.spacing_zyx_mm)
    inside = places[mask.ravel()]
    distances = np.array([((inside - place) ** 2).sum(axis=1).min() for place in places])
    return (distances <= margin_mm**2 + 1e-9).reshape(mask.shape)


def crowded() -> PatientCase:
    """A case with organs in, beside, far from and wholly within targets, and helpers of its own."""
    case = make_case()
    structures = {
        **case.structures,
        "PTV_Mid": mask_of(case, slice(3, 6), slice(8, 12), slice(9, 15)),
        "Larynx": mask_of(case, slice(4, 8), slice(9, 14), slice(10, 16)),
        "Esophagus": mask_of(case, slice(6, 8), slice(9, 11), slice(10, 12)),
        "Glnd_Thyroid": mask_of(case, slice(5, 6), slice(12, 13), slice(11, 12)),
        "Brainstem": mask_of(case, slice(12, 15), slice(9, 12), slice(10, 13)),
        "Bone_Mandible": mask_of(case, slice(4, 6), slice(4, 9), slice(9, 14)),
        "Trachea-PTV": mask_of(case, slice(2, 4), slice(4, 6), slice(6, 8)),
        "zOwn": mask_of(case, slice(2, 4), slice(4, 6), slice(6, 8)),
        "Outside": mask_of(case, slice(0, 1), slice(0, 2), slice(0, 2)),
    }
    return replace(case, structures=structures, prescription_gy={"PTV_High": 70.0, "PTV_Mid": 63.0, "PTV_Low": 56.0})


def test_the_default_is_every_target():
    assert default_helpers() == shipped("every_target")


def test_the_default_set_is_brute_force():
    case = crowded()
    result = make_helpers(case, shipped("every_target").of_whole_case())
    masks = {**case.structures, **result.masks}
    high, mid, low = (case.structures[f"PTV_{level}"] for level in ("High", "Mid", "Low"))
    cord, total = case.structures["SpinalCord"], high | mid | low
    mid_ring = near(case, mid, 30.0) & ~near(case, mid, 2.0) & ~near(case, high, 6.0)
    low_ring = near(case, low, 30.0) & ~near(case, low, 2.0) & ~near(case, mid, 6.0) & ~near(case, high, 9.0)
    expected = {
        "zPTV_Mid_Opt": mid & ~near(case, high, 3.0),
        "zPTV_Low_Opt": low & ~near(case, mid, 3.0) & ~near(case, high, 6.0),
        "Ring_PTV_High": near(case, high, 30.0) & ~near(case, high, 2.0) & ~total,
        "Ring_PTV_Mid": mid_ring & ~total,
        "Ring_PTV_Low": low_ring & ~total,
        "SpinalCord_PRV05": cord | near(case, cord & case.body, 5.0) & ~total,
        "Larynx-PTV": case.structures["Larynx"] & ~total,
    }
    for name, mask in expected.items():
        np.testing.assert_array_equal(masks[name], mask & case.body, err_msg=name)
    assert expected.keys() <= result.parts.keys()
    assert result.target_of == {
        name: f"PTV_{name.split('_')[2 if name[0] == 'R' else 1]}" for name in list(expected)[:5]
    }


def test_the_head_and_neck_set_is_brute_force():
    case = crowded()
    masks = {**case.structures, **make_helpers(case, shipped("head_neck")).masks}
    high, mid, low = (case.structures[f"PTV_{level}"] for level in ("High", "Mid", "Low"))
    total = high | mid | low
    expected = {
        "PTV_Total": total,
        "zPTV_Mid_Opt": mid & ~near(case, high, 3.0),
        "zPTV_Low_Opt": low & ~near(case, mid, 3.0) & ~near(case, high, 6.0),
        "PTV_Mid-PTV_High": mid & ~high,
        "Ring_PTV_Mid": near(case, mid, 30.0) & ~near(case, mid, 2.0) & ~near(case, high, 6.0),
        "Ring_PTV_Low": near(case, low, 30.0) & ~near(case, low, 2.0) & ~near(case, mid, 6.0) & ~near(case, high, 9.0),
        "SpinalCord_PRV05": near(case, case.structures["SpinalCord"], 5.0),
        "Larynx-PTV": case.structures["Larynx"] & ~total,
        "Parotids-PTV": (case.structures["Parotid_L"] | case.structures["Parotid_R"]) & ~total,
    }
    for name, mask in expected.items():
        np.testing.assert_array_equal(masks[name], mask & case.body, err_msg=name)


def test_every_entry_of_the_paper_is_there_and_says_where_it_is_from():
    paper = (
        "PTV_Total zPTV_High_Opt zPTV_Mid_Opt zPTV_Low_Opt PTV_Mid-PTV_High PTV_Low-PTV_Mid Ring_PTV_High Ring_PTV_Mid "
        "Ring_PTV_Low Brainstem_PRV03 SpinalCord_PRV05 Larynx-PTV Bone_Mandible-PTV Cavity_Oral-PTV Parotid_Ipsi-PTV "
        "Parotid_Contra-PTV Parotids-PTV Musc_Constrict-PTV Glnd_Submands-PTV Glnd_Submand_L-PTV Glnd_Submand_R-PTV"
    )
    entries = shipped("head_neck").helpers
    assert set(paper.split()) <= set(entries)
    assert all("Table" in entry.source for entry in entries.values())
    assert all(entry.source for entry in shipped("lung").helpers.values())


def test_the_lung_set():
    case = make_case()
    target = case.structures["PTV_High"]
    lungs = {
        side: mask_of(case, slice(2, 12), slice(4, 14), x) for side, x in (("L", slice(14, 21)), ("R", slice(3, 9)))
    }
    gtv = mask_of(case, slice(6, 8), slice(9, 11), slice(10, 15))
    structures = {"PTV": target, "GTV": gtv, "Lung_L": lungs["L"], "Lung_R": lungs["R"]}
    case = replace(case, structures=structures, prescription_gy={"PTV": 60.0}, site="Lung")
    masks = make_helpers(case, shipped("lung")).masks
    np.testing.assert_array_equal(masks["Lungs-GTV"], (lungs["L"] | lungs["R"]) & ~gtv)
    ring = near(case, target, 20.0) & ~near(case, target, 3.0) & case.body
    np.testing.assert_array_equal(masks["Ring_PTV"], ring)
    np.testing.assert_array_equal(masks["zBody_Ring"], case.body & near(case, ~case.body, 30.0) & ~target)


def test_absent_structures_are_told():
    result = make_helpers(make_case(), shipped("head_neck"))
    told = notes(result)
    assert told["zPTV_Mid_Opt"] == (Status.ABSENT, "the case does not have PTV_Mid")
    assert told["PTV_Low-PTV_Mid"] == (Status.ABSENT, "the case does not have PTV_Mid")
    assert told["zPTV_Low_Opt"] == (Status.USED, "without PTV_Mid: not there")
    assert str(result.expressions["zPTV_Low_Opt"]) == "PTV_Low - (PTV_High + 6mm)"
    assert told["Glnd_Submands-PTV"] == (Status.ABSENT, "zSubmands was not made")
    assert list(told) == list(shipped("head_neck").helpers)
    assert set(result.masks) == {name for name, (status, _) in told.items() if status is Status.USED}


def test_small_and_covered_structures_are_left_out_with_reasons():
    case = crowded()
    told = notes(make_helpers(case, shipped("every_target").of_whole_case()))
    assert told["Esophagus"] == (Status.DROPPED, "100 % of it in targets, more than 85 %")
    assert told["Esophagus-PTV"] == (Status.UNNEEDED, "Esophagus left out")
    assert told["Glnd_Thyroid"] == (Status.DROPPED, "less than 0.1 cc of it outside the targets")
    assert told["Larynx"] == (Status.REPLACED, "by Larynx-PTV")
    assert told["Parotid_L-PTV"] == (Status.UNNEEDED, "the same as Parotid_L on this grid")
    assert told["SpinalCord-PTV"] == (Status.UNNEEDED, "SpinalCord kept whole")
    assert told["zPTV_High_Opt"] == (Status.UNNEEDED, "there is no target of higher prescription")
    assert told["Trachea-PTV"] == (Status.USED, "the case's own")
    assert told["Outside"] == (Status.DROPPED, "no voxel of it is in the body")
    rings = HelperSet({"Ring_PTV_High": {"expression": "(PTV_High + 4mm) - PTV_High", "part": "ring"}}, smallest_cc=9.0)
    assert notes(make_helpers(case, rings))["Ring_PTV_High"] == (Status.DROPPED, "less than 9 cc of it")
    kept = replace(rings, keep=["Ring_PTV_High"])
    assert notes(make_helpers(case, kept))["Ring_PTV_High"] == (Status.USED, "")


def test_targets_are_never_left_out():
    case = with_structures(PTV_Low=mask_of(make_case(), slice(9, 10), slice(8, 9), slice(9, 10)))  # 0.036 cc
    result = make_helpers(case, shipped("every_target").of_whole_case())
    assert result.parts["PTV_Low"] is Part.TARGET
    assert notes(result)["zPTV_Low_Opt"] == (Status.DROPPED, "no voxel is left of it")


def test_targets_cores_and_rings_need_a_prescription():
    case = make_case()
    helpers = {
        "zEval": {"expression": "PTV_High - Parotid_L", "part": "target", "of": "PTV_High"},
        "zMid": {"expression": "PTV_High", "part": "core", "of": "PTV_Mid"},
        "zRing": {"expression": "Parotid_L + 4mm", "part": "ring", "of": "Parotid_L"},
        "zNone": {"expression": "PTV_High", "part": "target"},
    }
    result = make_helpers(case, HelperSet(helpers))
    assert notes(result) == {
        "zEval": (Status.USED, ""),
        "zMid": (Status.ABSENT, "the case does not have PTV_Mid"),
        "zRing": (Status.ABSENT, "Parotid_L has no prescription"),
        "zNone": (Status.ABSENT, "the case does not have zNone"),
    }
    assert dict(result.target_of) == {"zEval": "PTV_High"}


def test_organs_are_replaced_by_what_stands_for_several():
    case, helper_set = crowded(), shipped("head_neck").of_whole_case()
    result = make_helpers(case, helper_set)
    told = notes(result)
    assert told["Parotid_L"] == told["Parotid_R"] == (Status.REPLACED, "by Parotids-PTV")
    assert told["Larynx"] == (Status.REPLACED, "by Larynx-PTV")
    assert told["Esophagus"][0] is Status.DROPPED
    assert told["zPTV_High_Opt"] == (Status.UNNEEDED, "the same as PTV_High on this grid")
    assert result.organs_of["Parotids-PTV"] == {"Parotid_L", "Parotid_R"}
    assert {result.organs_of[f"Parotid_{side}-PTV"] for side in ("Ipsi", "Contra")} == {
        frozenset({"Parotid_L"}),
        frozenset({"Parotid_R"}),
    }
    kept = replace(helper_set, keep=["Parotid_L"])
    assert notes(make_helpers(case, kept))["Parotid_L"] == (Status.USED, "")


def test_what_a_note_tells_of_a_helper():
    case = crowded()
    (note,) = make_helpers(case, HelperSet({"zA": "Larynx | PTV_High"})).notes
    mask = case.structures["Larynx"] | case.structures["PTV_High"]
    total = case.structures["PTV_High"] | case.structures["PTV_Mid"] | case.structures["PTV_Low"]
    assert (note.voxels, note.outside_body_percent) == (mask.sum(), 0.0)
    assert note.volume_cc == pytest.approx(mask.sum() * 0.036)
    assert note.in_targets_percent == pytest.approx(100 * (mask & total).sum() / mask.sum())


def test_a_planning_risk_volume_needs_its_organ_as_a_whole():
    prv = {"expression": "Larynx + 4mm", "part": "prv", "needs": "Larynx"}
    told = notes(make_helpers(crowded(), shipped("every_target").of_whole_case().with_helpers({"Larynx_PRV04": prv})))
    assert told["Larynx_PRV04"] == (Status.DROPPED, "Larynx takes no part as a whole")


def test_the_ipsilateral_gland_is_the_nearer_one():
    case = make_case()  # the target's centre is at x index 10.5, the glands' at 18 and 5
    masks = make_helpers(case, shipped("head_neck")).masks
    np.testing.assert_array_equal(masks["zParotid_Ipsi"], case.structures["Parotid_R"])
    np.testing.assert_array_equal(masks["Parotid_Contra-PTV"], case.structures["Parotid_L"])
    one = {name: mask for name, mask in case.structures.items() if name != "Parotid_R"}
    told = notes(make_helpers(replace(case, structures=one), shipped("head_neck")))
    assert told["zParotid_Ipsi"] == (Status.ABSENT, "the case does not have Parotid_R")
    assert told["Parotid_Ipsi-PTV"] == (Status.ABSENT, "zParotid_Ipsi was not made")
    choice = {"among": ["Parotid_L", "Parotid_R"], "to": "PTV_High - PTV_High", "side": "ipsilateral"}
    told = notes(make_helpers(case, HelperSet({"zIpsi": {"choice": choice}})))
    assert told["zIpsi"] == (Status.DROPPED, "PTV_High - PTV_High is empty")


def test_the_cases_own_structure_comes_first():
    case = make_case()
    own = mask_of(case, slice(5, 9), slice(8, 12), slice(4, 5))
    out = mask_of(case, slice(0, 1), slice(0, 2), slice(0, 2))
    case = with_structures(Ring_PTV_High=own, Ring_PTV_Low=out)
    result = make_helpers(case, shipped("head_neck"))
    assert notes(result)["Ring_PTV_High"] == (Status.USED, "the case's own")
    assert notes(result)["Ring_PTV_Low"] == (Status.DROPPED, "no voxel of it is in the body")
    assert not {"Ring_PTV_High", "Ring_PTV_Low"} & set(result.masks)
    assert result.parts["Ring_PTV_High"] is Part.RING
    assert result.target_of["Ring_PTV_High"] == "PTV_High"


def test_helpers_may_use_earlier_ones_only():
    case = make_case()
    good = HelperSet({"zA": "PTV_High + 4mm", "zB": "zA - PTV_High"})
    np.testing.assert_array_equal(
        make_helpers(case, good).masks["zB"],
        near(case, case.structures["PTV_High"], 4.0) & ~case.structures["PTV_High"],
    )
    rings = {"Ring_{target}": {"each": "target", "expression": "{target} + 4mm"}}
    with pytest.raises(InputError, match=r"helpers\[zB\] must use helpers .* got \['Ring_PTV_High'\]"):
        make_helpers(case, HelperSet({"zB": "Ring_PTV_High - PTV_High", **rings}))


def test_names_with_odd_characters_are_quoted_in_patterns():
    case = with_structures(**{"Bowel-2": mask_of(make_case(), slice(5, 9), slice(8, 12), slice(11, 18))})
    helpers = {"{organ}-PTV": {"each": "organ", "expression": "{organ} - Targets", "part": "cropped", "of": "{organ}"}}
    result = make_helpers(case, HelperSet(helpers))
    assert str(result.expressions["Bowel-2-PTV"]) == '"Bowel-2" - Targets'
