"""From a case to goals: parts of organs, absent organs, and objectives that stand in for those of a dose."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from anatomy_cases import SHAPE, block, sided_case

from dosewright.core import Grid, PatientCase
from dosewright.objectives.anatomy.engine import anatomy_goals
from dosewright.objectives.anatomy.history import PatientHistory
from dosewright.objectives.anatomy.organ_part import OrganPart
from dosewright.objectives.anatomy.settings import AnatomySettings
from dosewright.objectives.extraction import extract_objectives
from dosewright.objectives.extraction_rules import ExtractionSettings, Origin
from dosewright.objectives.objective import Objective
from dosewright.objectives.parts import Status
from dosewright.planning.extracted_planner import ExtractedPlanner

GRID = Grid(SHAPE, (2.0, 3.0, 4.0))


def test_a_wall_and_its_sides_are_told_slice_by_slice() -> None:
    organ = block((2, 8), (4, 10), (10, 16))
    organ[5:8] = np.roll(organ[5:8], 6, axis=1)  # the upper half lies two centimetres further back
    wall = OrganPart("zWall", "Rectum", wall_mm=3).mask(organ, GRID)
    inner = block((3, 7), (5, 9), (11, 15))
    inner[5:7] = np.roll(inner[5:7], 6, axis=1)
    assert not wall[inner & ~wall].any()
    assert wall[organ & (np.arange(SHAPE[2]) == 10)].all()
    anterior = OrganPart("zFront", "Rectum", ["anterior"]).mask(organ, GRID)
    assert (anterior[2:5] == block((2, 5), (4, 7), (10, 16))[2:5]).all()
    assert (anterior[5:8] == block((5, 8), (10, 13), (10, 16))[5:8]).all()
    lower = OrganPart("zLow", "Rectum", ["posterior", "inferior"]).mask(organ, GRID)
    assert (lower == block((2, 5), (7, 10), (10, 16))).all()


@pytest.mark.parametrize(("columns", "part"), [(11, "zRectum_WallPI"), (10, None), (5, None), (4, "zRectum_WallA")])
def test_a_rectum_gets_the_wall_that_its_filling_asks_for(
    prostate: AnatomySettings, columns: int, part: str | None
) -> None:
    rectum = block((1, 9), (11, 21), (10, 10 + columns))  # 8 cc a column
    case = sided_case(absent=("Parotid_L", "Parotid_R", "Larynx", "SpinalCord"), Rectum=rectum)
    large = PatientCase(**{**vars(case), "grid": Grid(SHAPE, (2.5, 5.0, 8.0))})
    found = anatomy_goals(large, prostate)
    assert found.measures[0].values["volume_cc"] == pytest.approx(8.0 * columns)
    assert list(found.parts) == ([] if part is None else [part])
    assert [goal.objective.structure for goal in found.goals] == ["Rectum", *found.parts]
    extraction = extract_objectives(large, settings=ExtractionSettings(anatomy=prostate))
    assert set(found.parts) <= set(extraction.case.structures)


def test_absent_and_empty_organs_are_told_and_break_nothing(head_neck: AnatomySettings) -> None:
    case = sided_case(absent=("Parotid_L", "Larynx"), SpinalCord=block((1, 3), (0, 1), (0, 3)))  # outside the body
    found = anatomy_goals(case, head_neck)
    assert [goal.organ for goal in found.goals] == ["Parotid_R"]
    assert "Parotid_L: the case does not have it, so nothing is asked of it." in found.remarks
    assert "SpinalCord: no voxel of it is in the body, so nothing is asked of it." in found.remarks
    assert [review.rule.name for review in found.reviews] == ["partner absent"]
    assert anatomy_goals(sided_case(absent=("Parotid_L", "Parotid_R", "Larynx", "SpinalCord")), head_neck).goals == ()


def test_the_sided_case_gets_what_its_boxes_say(head_neck: AnatomySettings) -> None:
    found = anatomy_goals(sided_case(), head_neck)
    doses = {goal.objective.structure: goal.objective.dose_gy for goal in found.goals}
    values = {measures.organ: measures.values for measures in found.measures}
    assert values["Parotid_L"]["overlap_percent"] == pytest.approx(20.0)  # ipsilateral, above 15 %
    assert values["SpinalCord"]["gap_mm"] == pytest.approx(np.hypot(6 * 3.0, 4 * 2.0), abs=1e-4)
    assert 32.0 <= float(doses["Parotid_L"] or 0.0) <= 35.0
    assert float(doses["Parotid_R"] or 0.0) < 26.0  # 1.4 cc, contralateral
    assert doses["SpinalCord"] == 50.0  # 19.7 mm away
    assert doses["Larynx"] == 45.0
    assert not found.reviews
    assert any("2.4 times as much" in remark for remark in found.remarks)


def test_goals_stand_in_for_objectives_that_follow_the_dose(head_neck: AnatomySettings) -> None:
    case = sided_case()
    plain = extract_objectives(case)
    found = extract_objectives(case, settings=ExtractionSettings(anatomy=head_neck))
    goals = [item for item in found.derived if item.origin is Origin.GOAL]
    others = [item for item in found.derived if item.origin is not Origin.GOAL]
    about = {"Parotid_L", "Parotid_L-PTV", "Parotid_R", "SpinalCord", "SpinalCord_PRV05", "Larynx"}
    assert others == [item for item in plain.derived if item.objective.structure not in about]
    assert {item.objective.structure for item in goals} == about - {"Parotid_L-PTV"}
    assert all(item.dose_has_gy == pytest.approx(20.0) for item in goals)
    by_name = {note.name: note for note in found.structures}
    assert by_name["Parotid_L"].status is Status.USED
    assert by_name["Parotid_L-PTV"].status is Status.REPLACED
    assert found.anatomy is not None
    assert json.loads(json.dumps(found.anatomy.to_plain()))["target_side"]["side"] == "left"


def test_without_rules_the_goals_are_the_same_for_everyone(head_neck: AnatomySettings) -> None:
    generic = AnatomySettings(goals=head_neck.goals)
    for case in (sided_case(), sided_case(target_x=(10, 16))):
        goals = {goal.objective for goal in anatomy_goals(case, generic).goals}
        assert {Objective(f"Parotid_{side}", "mean_upper", 26.0, priority=120.0) for side in "LR"} <= goals
        assert Objective("SpinalCord", "squared_overdose", 45.0, priority=120.0) in goals


def test_a_prior_dose_lowers_goals_and_demands_review(
    head_neck: AnatomySettings, caplog: pytest.LogCaptureFixture
) -> None:
    prior = np.full(SHAPE, 10.0, np.float32)
    found = anatomy_goals(sided_case(), head_neck, PatientHistory((), (), prior))
    doses = {goal.objective.structure: goal.objective.dose_gy for goal in found.goals}
    assert doses["SpinalCord"] == 35.0  # 45, not relaxed to 50, less 10
    assert doses["Parotid_L"] == 16.0
    assert {review.organ for review in found.reviews} == {"Parotid_L", "Parotid_R", "SpinalCord", "Larynx"}


def test_reviews_are_logged_wherever_an_extraction_is_made(
    head_neck: AnatomySettings, caplog: pytest.LogCaptureFixture
) -> None:
    case = sided_case(absent=("Parotid_L",))
    ExtractedPlanner(ExtractionSettings(anatomy=head_neck)).goals(case, case.dose_gy)
    assert "sided: REVIEW Parotid_R, partner absent" in caplog.text


def test_a_planner_gets_goals_and_the_helpers_they_name(tmp_path: Path, head_neck: AnatomySettings) -> None:
    case = sided_case()
    goals = ExtractedPlanner(ExtractionSettings(anatomy=head_neck)).goals(case, case.dose_gy)
    assert Objective("SpinalCord_PRV05", "squared_overdose", 50.0, priority=120.0) in goals.objectives
    assert "SpinalCord_PRV05" in goals.helpers
    told = "SpinalCord_PRV05: every voxel at most 45 Gy, priority 120 → every voxel at most 50 Gy, priority 120"
    assert [remark for remark in goals.remarks if remark.startswith(told)]
    told = ("structures that could not be made: Brainstem_PRV03 (the case does not have Brainstem)",)
    assert ExtractedPlanner(ExtractionSettings()).goals(case, case.dose_gy).remarks == told


def test_a_plan_is_made_anew_when_the_history_of_its_case_changes(tmp_path: Path, head_neck: AnatomySettings) -> None:
    history = tmp_path / "history.json"
    marks = []
    for organs in (["Parotid_R"], ["Parotid_L"]):
        history.write_text(json.dumps({"sided": {"unusual_function": organs}, "other": {}}))
        planner = ExtractedPlanner(ExtractionSettings(anatomy=replace(head_neck, history=str(history))))
        marks.append((planner.fingerprint("sided"), planner.fingerprint("other")))
    assert marks[0][0] != marks[1][0]
    assert marks[0][1] == marks[1][1]
    assert ExtractedPlanner(ExtractionSettings()).fingerprint("sided") == ""


@pytest.mark.shared
def test_real_patients_get_goals_within_what_the_source_allows(openkbp_root: Path, head_neck: AnatomySettings) -> None:
    from dosewright.io.openkbp import OpenKBPReader

    reader = OpenKBPReader(openkbp_root, "validation")
    for case_id in reader.case_ids[:3]:
        found = anatomy_goals(reader.read(case_id), head_neck)
        doses = {goal.objective.structure: float(goal.objective.dose_gy or 0.0) for goal in found.goals}
        assert all(8.0 <= doses[name] <= 35.0 for name in ("Parotid_L", "Parotid_R") if name in doses)
        assert 36.0 <= doses["SpinalCord"] <= 50.0
        assert all(measures.number("volume_z") is not None for measures in found.measures)
