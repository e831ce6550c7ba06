"""Helper sets: against the helpers of `objectives.helpers`, against brute force, and what is left out and why."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cases import make_case
from dosewright.core import InputError, PatientCase, Role, role_of
from dosewright.geometry.structure_expression import parse
from dosewright.objectives.helper_entry import HelperEntry, HigherTargets, SideChoice
from dosewright.objectives.helper_maker import HelperResult, make_helpers
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.helper_settings import HelperSettings, Part, Status
from dosewright.objectives.helpers import planning_structures

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


@pytest.mark.parametrize("case", [make_case(), crowded()], ids=["small", "crowded"])
def test_every_target_is_the_hard_wired_set(case):
    made, settled = make_helpers(case, shipped("every_target")), planning_structures(case, HelperSettings())
    assert dict(made.parts) == dict(settled.parts)
    assert dict(made.target_of) == dict(settled.target_of)
    ours = made.extended(case).structures
    for name in settled.parts:
        np.testing.assert_array_equal(ours[name], settled.case.structures[name], err_msg=name)
    replaced = {note.name for note in settled.notes if note.status is Status.REPLACED}
    assert {note.name for note in made.notes if note.status is Status.REPLACED} == replaced


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
    told = notes(make_helpers(case, shipped("every_target")))
    assert told["Esophagus"] == (Status.DROPPED, "100 % of Esophagus in targets, more than 85 %")
    assert told["Esophagus-PTV"][0] is Status.DROPPED
    assert told["Glnd_Thyroid"] == (Status.DROPPED, "less than 0.1 cc of it outside the targets")
    assert told["Larynx"] == (Status.REPLACED, "by Larynx-PTV")
    assert told["Parotid_L-PTV"] == (Status.DROPPED, "the same as Parotid_L on this grid")
    assert told["SpinalCord-PTV"] == (Status.DROPPED, "SpinalCord is kept whole")
    assert told["zPTV_High_Opt"] == (Status.DROPPED, "there is no target of higher prescription")
    assert told["Trachea-PTV"] == (Status.USED, "the case's own")
    assert told["Outside"] == (Status.DROPPED, "no voxel is left of it")
    rings = HelperSet({"Ring_PTV_High": {"expression": "(PTV_High + 4mm) - PTV_High", "part": "ring"}}, smallest_cc=9.0)
    assert notes(make_helpers(case, rings))["Ring_PTV_High"] == (Status.DROPPED, "less than 9 cc of it")
    kept = replace(rings, keep=["Ring_PTV_High"])
    assert notes(make_helpers(case, kept))["Ring_PTV_High"] == (Status.USED, "")


def test_targets_are_never_left_out():
    case = with_structures(PTV_Low=mask_of(make_case(), slice(9, 10), slice(8, 9), slice(9, 10)))  # 0.036 cc
    result = make_helpers(case, shipped("every_target"))
    assert result.parts["PTV_Low"] is Part.TARGET
    assert notes(result)["zPTV_Low_Opt"] == (Status.DROPPED, "no voxel is left of it")


def test_what_a_note_tells_of_a_helper():
    case = crowded()
    (note,) = make_helpers(case, HelperSet({"zA": "Larynx | PTV_High"})).notes
    mask = case.structures["Larynx"] | case.structures["PTV_High"]
    total = case.structures["PTV_High"] | case.structures["PTV_Mid"] | case.structures["PTV_Low"]
    assert (note.voxels, note.outside_body_percent) == (mask.sum(), 0.0)
    assert note.volume_cc == pytest.approx(mask.sum() * 0.036)
    assert note.in_targets_percent == pytest.approx(100 * (mask & total).sum() / mask.sum())


def test_a_planning_risk_volume_needs_its_organ_as_a_whole():
    prv = {"expression": "Larynx + 4mm", "part": "prv", "needs": ["Larynx"]}
    told = notes(make_helpers(crowded(), shipped("every_target").with_helpers({"Larynx_PRV04": prv})))
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
    with pytest.raises(InputError, match=r"helpers\[zB\] must use helpers that come before it only; got \['zA'\]"):
        make_helpers(case, HelperSet({"zB": "zA - PTV_High", "zA": "PTV_High + 4mm"}))


def test_names_with_odd_characters_are_quoted_in_patterns():
    case = with_structures(**{"Bowel-2": mask_of(make_case(), slice(5, 9), slice(8, 12), slice(11, 18))})
    helpers = {"{organ}-PTV": {"each": "organ", "expression": "{organ} - Targets", "part": "cropped", "of": "{organ}"}}
    result = make_helpers(case, HelperSet(helpers))
    assert str(result.expressions["Bowel-2-PTV"]) == '"Bowel-2" - Targets'


def test_sets_are_values():
    one = shipped("head_neck")
    assert pickle.loads(pickle.dumps(one)) == one == shipped("head_neck")
    more = one.with_helpers({"zMore": "PTV_High + 8mm"})
    assert [*more.helpers][-1] == "zMore"
    assert more.helpers["zMore"] == HelperEntry("zMore", "PTV_High + 8mm")


def test_all_shipped_names_are_legal_and_expressions_canonical_to_read():
    for name in ("head_neck", "lung", "every_target"):
        for entry in shipped(name).helpers.values():
            plain = entry.name.replace("{target}", "PTV").replace("{organ}", "Larynx")
            assert role_of(plain) is not Role.EXTERNAL
            if entry.each == "case" and entry.expression:
                assert parse(str(parse(entry.expression))) == parse(entry.expression)


WRONG = {
    "expression": ({"zA": "PTV_High + 3"}, r"helpers\[zA\] is not valid: expression must have a unit"),
    "name": ({"9lives": "A"}, "helpers has an illegal name: it must be a structure name: .* got '9lives'"),
    "body": ({"External": "A"}, "helpers must not be called as what there is in every case; got 'External'"),
    "targets": ({"Targets": "A"}, "must not be called as what there is in every case; got 'Targets'"),
    "number": ({"zA": 3}, r"helpers\[zA\] must be an expression, or the arguments of a HelperEntry; got 3"),
    "key": ({"zA": {"expresion": "A"}}, "must be an expression, or the arguments of a HelperEntry"),
    "part": ({"zA": {"expression": "A", "part": "wheel"}}, "part must be one of target, core, .* got 'wheel'"),
    "each": ({"zA": {"expression": "A", "each": "voxel"}}, 'each must be "case", "target" or "organ"; got \'voxel\''),
    "neither": ({"zA": {"part": "ring"}}, "expression must be given, or else choice; got ''"),
    "placeholder": ({"zA": "{organ} + 3mm"}, "zA must not hold {organ} where each is 'case'; got"),
    "pattern": ({"zA": {"each": "organ", "expression": "{organ}"}}, "name must hold {organ} where each is 'organ'"),
    "gap": ({"zA": {"expression": "A", "away_from_higher": {}}}, "of must name the target to keep away_from_higher"),
    "level": ({"zA": {"expression": "A", "of": "A", "away_from_higher": {"level_gy": 0}}}, "level_gy must be positive"),
    "side": (
        {"zA": {"choice": {"among": ["A", "B"], "to": "C", "side": "north"}}},
        'side must be "ipsilateral" or "contralateral"; got \'north\'',
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_sets_that_are_not_valid_are_refused(kind):
    helpers, rule = WRONG[kind]
    with pytest.raises(InputError, match=rule):
        HelperSet(helpers)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InputError, match="smallest_cc must be finite, zero or more; got -1"):
        HelperSet({}, smallest_cc=-1.0)
    with pytest.raises(InputError, match=r"largest_covered_percent must be in \[0, 100\]; got 101"):
        HelperSet({}, largest_covered_percent=101.0)
    with pytest.raises(InputError, match="extra_mm must be finite, zero or more"):
        HigherTargets(extra_mm=-1.0)
    with pytest.raises(InputError, match=r"among must name two organs; got \('A',\)"):
        SideChoice(("A",), "C", "ipsilateral")
