"""Left and right by the masks, and targets by their doses."""

from pathlib import Path

import numpy as np
import pytest

from dosewright.core import GridMismatchError
from dosewright.core.types import Mask
from dosewright.io.openkbp import OpenKBPReader
from dosewright.io.tg263 import NameReport, TG263Matcher, level_names, settle_sides, with_levels
from dosewright.io.tg263.side_evidence import side_evidence

SHAPE = (6, 20, 101)  # x index 50 is the midline of a body that fills the grid
BODY = np.ones(SHAPE, dtype=bool)


def block(first: int, last: int) -> Mask:
    """Voxels from x index `first` to `last`: above 50 is the patient's left."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:4, 5:15, first : last + 1] = True
    return mask


def settled(masks: dict[str, Mask], overrides: dict[str, str] | None = None, body: Mask = BODY) -> NameReport:
    return settle_sides(TG263Matcher(overrides).match(masks), masks, body)


def test_what_lies_where_it_says_is_kept() -> None:
    report = settled({"Lt Parotid": block(80, 90), "Rt Parotid": block(10, 20), "Brain": block(0, 100)})
    assert report.mapping == {"Lt Parotid": "Parotid_L", "Rt Parotid": "Parotid_R", "Brain": "Brain"}


def test_crosswise_twins_are_withdrawn_not_swapped() -> None:
    report = settled({"Parotid_L": block(10, 20), "Parotid_R": block(80, 90), "Heart": block(50, 70)})
    assert report.mapping == {"Heart": "Heart"}
    assert report.of("Parotid_L").note == "read as Parotid_L, but does not lie on the left of 'Parotid_R'"
    assert report.of("Parotid_R").note == "read as Parotid_R, but does not lie on the right of 'Parotid_L'"


@pytest.mark.parametrize(
    "name", ["Eye_L", "OpticNrv_PRV03_L", "Lung_LUL", "zCochlea_L_Opt", "Lung_L-GTV", "PTVn_L_5400"]
)
def test_a_lone_side_is_held_against_the_midline(name: str) -> None:
    assert settled({name: block(60, 70)}).mapping == {name: name}
    report = settled({name: block(30, 40)})
    assert report.mapping == {}
    assert report.of(name).note == f"read as {name}, but lies on the patient's right"


def test_one_of_two_on_the_wrong_side_is_withdrawn_alone() -> None:
    report = settled({"Kidney_L": block(80, 90), "Kidney_R": block(60, 70)})
    assert report.mapping == {"Kidney_L": "Kidney_L"}


def test_near_the_midline_nothing_is_said() -> None:
    """2 % of a body 101 voxels wide are 2.02 voxels."""
    assert settled({"OpticNrv_L": block(48, 48)}).mapping == {"OpticNrv_L": "OpticNrv_L"}
    assert settled({"OpticNrv_L": block(47, 47)}).mapping == {}


def test_the_midline_is_the_body_s_in_the_slices_of_the_structure() -> None:
    body = np.zeros(SHAPE, dtype=bool)
    body[:, :, 20:61] = True  # midline 40
    body[:2] = True  # shoulders elsewhere
    assert settled({"Eye_L": block(44, 46)}, body=body).mapping == {"Eye_L": "Eye_L"}
    assert settled({"Eye_R": block(44, 46)}, body=body).mapping == {}


def test_what_crosses_the_midline_by_nature_is_held_against_its_twin_only() -> None:
    assert settled({"Ventricle_R": block(60, 70)}).mapping == {"Ventricle_R": "Ventricle_R"}
    assert settled({"Ventricle_R": block(60, 70), "Ventricle_L": block(50, 55)}).mapping == {}
    assert settled({"VB_L": block(10, 20)}).mapping == {"VB_L": "VB_L"}  # lumbar


def test_an_override_is_kept_and_told_of() -> None:
    report = settled({"Par": block(10, 20)}, {"Par": "Parotid_L"})
    assert report.mapping == {"Par": "Parotid_L"}
    assert report.of("Par").confidence == 0.5
    assert "lies on the patient's right; kept, as the override says so" in report.of("Par").note


def test_names_without_a_side_get_the_one_of_their_mask() -> None:
    masks = {"ParotidIps": block(80, 90), "ParotidCon": block(10, 20), "Submand": block(10, 90), "Eye": block(49, 60)}
    report = settled(masks)
    assert report.mapping == {"ParotidIps": "Parotid_L", "ParotidCon": "Parotid_R", "Submand": "Glnd_Submands"}
    assert report.of("ParotidIps").how == "synonym"
    assert report.of("ParotidIps").note == "side from its mask: 100 % of it on the left"
    assert report.of("Eye").note == "without a side: Eye_L or Eye_R; its mask does not say: 88 % of it on the left"


def test_names_without_a_side_take_no_other_s() -> None:
    report = settled({"Parotid": block(80, 90), "Parotid_L": block(82, 88)})
    assert report.mapping == {"Parotid_L": "Parotid_L"}
    assert "by its mask Parotid_L, which another structure is" in report.of("Parotid").note
    report = settled({"Parotid": block(80, 90), "ParotidIps": block(82, 88)})
    assert report.mapping == {}
    # A withdrawn name stays taken: what it was said of is in doubt.
    report = settled({"Parotid": block(10, 20), "Parotid_R": block(80, 90)})
    assert report.mapping == {}


def test_ipsilateral_is_never_the_pair() -> None:
    assert settled({"ParotidIps": block(10, 90)}).mapping == {}


def test_empty_missing_and_misfitting_masks() -> None:
    report = TG263Matcher().match(["Eye_L", "Parotid"])
    empty = np.zeros(SHAPE, dtype=bool)
    assert settle_sides(report, {"Eye_L": empty, "Parotid": empty}, BODY) == report
    assert settle_sides(report, {}, BODY) == report
    assert side_evidence(empty, BODY) is None
    assert side_evidence(block(80, 90), empty).side == "L"  # without a body, the grid's middle
    with pytest.raises(GridMismatchError, match="must have the shape of the body"):
        settle_sides(report, {"Eye_L": np.ones((1, 2, 3), dtype=bool)}, BODY)


def test_a_real_patient_agrees_and_its_mirror_image_does_not(openkbp_root: Path) -> None:
    reader = OpenKBPReader(openkbp_root, "validation")
    case = reader.read(reader.case_ids[0])
    sided = {name: mask for name, mask in case.structures.items() if name.endswith(("_L", "_R"))}
    assert settle_sides(TG263Matcher().match(sided), sided, case.body).mapping == {name: name for name in sided}
    mirrored = {name: mask[:, :, ::-1] for name, mask in sided.items()}
    assert settle_sides(TG263Matcher().match(sided), mirrored, case.body[:, :, ::-1]).mapping == {}


def test_levels_follow_the_doses() -> None:
    report = with_levels(TG263Matcher().match(["PTV56", "PTV70", "PTV_6300", "CTV70", "PTVn 54", "Brain"]))
    assert report.mapping == {
        "PTV56": "PTV_Low",
        "PTV70": "PTV_High",
        "PTV_6300": "PTV_Mid",
        "CTV70": "CTV_7000",
        "PTVn 54": "PTVn_5400",
        "Brain": "Brain",
    }
    assert report.of("PTV_6300").note == "by the order of doses, 63 Gy"


def test_levels_of_one_two_and_five_doses() -> None:
    assert level_names({"a": 50.4}) == {"a": "PTV_High"}
    assert level_names({"a": 50.0, "b": 60.0}) == {"a": "PTV_Low", "b": "PTV_High"}
    five = level_names({name: float(dose) for name, dose in zip("abcde", (50, 54, 60, 66, 70))})
    assert five == {"a": "PTV_Low", "b": "PTV_Mid03", "c": "PTV_Mid02", "d": "PTV_Mid01", "e": "PTV_High"}
    assert level_names({}) == {}


def test_levels_are_left_alone_where_they_are_told_or_unclear() -> None:
    told = TG263Matcher().match(["PTVHigh", "PTV 56"])
    assert with_levels(told) == told
    twice = TG263Matcher().match(["PTV 60", "PTV_L_6000", "PTV boost"])
    assert with_levels(twice).mapping == {"PTV 60": "PTV_High", "PTV_L_6000": "PTV_L_6000", "PTV boost": "PTV_Boost"}
    plan = with_levels(TG263Matcher().match(["PTV", "CTV"]), {"PTV": 60.0, "CTV": 60.0})
    assert plan.mapping == {"PTV": "PTV_High", "CTV": "CTV"}
    kept = with_levels(TG263Matcher({"PTV 60": "PTV_6000"}).match(["PTV 60"]))
    assert kept.mapping == {"PTV 60": "PTV_6000"}
