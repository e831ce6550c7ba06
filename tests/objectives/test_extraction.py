from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.io.openkbp import OpenKBPReader
from dosewright.objectives.extraction import Derived, Extraction, extract_objectives
from dosewright.objectives.extraction_rules import ExtractionSettings, MarginRule, Origin, TargetRule
from dosewright.objectives.helper_set import HelperSet
from dosewright.objectives.objective import Objective
from dosewright.objectives.parts import Status
from extraction_cases import counted_case

EXACT = (MarginRule("as it is", 1.0, 0.0, 100.0),)


def with_doses(case: PatientCase, doses_gy: Mapping[str, float | tuple[float, float]]) -> PatientCase:
    """The case with a dose in each structure, one after the other: uniform, or spread evenly from low to high."""
    dose = np.where(case.body, 20.0, 0.0).astype(np.float32)
    for name, value in doses_gy.items():
        mask = case.structures[name]
        low, high = value if isinstance(value, tuple) else (value, value)
        dose[mask] = np.linspace(low, high, int(mask.sum()))
    return case.with_dose(dose)


def derived_of(found: Extraction, structure: str, origin: Origin) -> list[Derived]:
    return [item for item in found.derived if item.objective.structure == structure and item.origin is origin]


def test_points_are_the_dose_at_each_volume_with_the_published_margin() -> None:
    case = with_doses(counted_case(), {"Parotid_R": (0.0, 80.0)})  # D_v = 80 (1 - v/100)
    found = derived_of(extract_objectives(case), "Parotid_R", Origin.POINT)
    assert [item.objective for item in found] == [
        Objective("Parotid_R", "max_dvh", 78.2, 1.0, 80.0),  # 79.2 - 1, above 63 Gy
        Objective("Parotid_R", "max_dvh", 71.0, 10.0, 80.0),  # 72 - 1
        Objective("Parotid_R", "max_dvh", 63.0, 20.0, 80.0),  # 64 - 1
        Objective("Parotid_R", "max_dvh", 54.0, 30.0, 120.0),  # 56 - 2
        Objective("Parotid_R", "max_dvh", 46.0, 40.0, 120.0),  # 48 - 2
        Objective("Parotid_R", "max_dvh", 30.4, 60.0, 120.0),  # 32 × 0.95
        Objective("Parotid_R", "max_dvh", 15.2, 80.0, 120.0),  # 16 × 0.95, large volume
    ]
    assert [item.measure for item in found] == ["D1", "D10", "D20", "D30", "D40", "D60", "D80"]
    assert [item.dose_has_gy for item in found] == pytest.approx([79.2, 72, 64, 56, 48, 32, 16], abs=1e-4)
    assert [item.margin_gy for item in found] == pytest.approx([-1, -1, -1, -2, -2, -1.6, -0.8], abs=1e-4)
    assert found[0].rule == "high dose"


def test_an_organ_beside_a_target_keeps_further_from_its_dose() -> None:
    case = with_doses(counted_case(), {"Parotid_L": 70.0})
    case = with_doses(case, {"Parotid_L": 70.0, "PTV_Low": 56.0})
    found = derived_of(extract_objectives(case), "Parotid_L-PTV", Origin.POINT)
    assert [item.objective for item in found] == [Objective("Parotid_L-PTV", "max_dvh", 67.0, 1.0, 120.0)]
    assert derived_of(extract_objectives(case), "Parotid_L", Origin.POINT) == []


def test_points_that_another_implies_are_left_out() -> None:
    case = with_doses(counted_case(), {"Parotid_R": 30.0})  # flat: at most 1 % above 28.5 Gy says it all
    found = derived_of(extract_objectives(case), "Parotid_R", Origin.POINT)
    assert [item.objective for item in found] == [Objective("Parotid_R", "max_dvh", 28.5, 1.0, 120.0)]


def test_nothing_is_asked_to_get_less_than_the_floor() -> None:
    case = with_doses(counted_case(), {"Parotid_R": (0.0, 6.0)})
    found = derived_of(extract_objectives(case), "Parotid_R", Origin.POINT)
    assert [(item.objective.volume_percent, item.objective.dose_gy) for item in found] == [
        (1.0, 5.64),
        (10.0, 5.13),
        (20.0, 4.56),
        (30.0, 3.99),
        (40.0, 3.42),
        (60.0, 3.0),  # 2.28 otherwise; 80 % is implied
    ]
    assert found[-1].rule == "very low dose, no less than 3 Gy"


def test_means_have_the_margin_of_a_dose_without_a_volume() -> None:
    case = with_doses(counted_case(), {"Parotid_R": (0.0, 30.0)})
    (mean,) = derived_of(extract_objectives(case), "Parotid_R", Origin.MEAN)
    assert mean.objective == Objective("Parotid_R", "mean_upper", 14.25, None, 120.0)
    assert (mean.measure, mean.dose_has_gy) == ("Dmean", pytest.approx(15.0, abs=1e-5))
    without = extract_objectives(case, settings=ExtractionSettings(means=False))
    assert derived_of(without, "Parotid_R", Origin.MEAN) == []


def test_serial_organs_and_their_margins_get_a_maximum() -> None:
    case = with_doses(counted_case(), {"SpinalCord": (0.0, 43.2)})  # 108 voxels of 4 mm³: the 25th hottest is 0.1 cc
    found = extract_objectives(case)
    (cord,) = derived_of(found, "SpinalCord", Origin.MAXIMUM)
    hottest_gy = 43.2 * (107 - 24) / 107
    assert cord.dose_has_gy == pytest.approx(hottest_gy, abs=1e-4)
    assert cord.objective == Objective("SpinalCord", "squared_overdose", round(0.95 * hottest_gy, 2), None, 120.0)
    assert {item.objective.structure for item in found.derived if item.origin is Origin.MAXIMUM} == {
        "SpinalCord",
        "SpinalCord_PRV05",
    }
    none = extract_objectives(case, settings=ExtractionSettings(maximum_cc=None))
    assert [item for item in none.derived if item.origin is Origin.MAXIMUM] == []


def test_the_maximum_of_a_structure_below_the_volume_is_its_hottest_voxel() -> None:
    chiasm = np.zeros((12, 30, 40), bool)
    chiasm[6, 22, 20:30] = True  # 10 voxels of 4 mm³: no 0.1 cc
    case = with_doses(counted_case({"OpticChiasm": chiasm}), {"OpticChiasm": (10.0, 50.0)})
    (found,) = derived_of(extract_objectives(case), "OpticChiasm", Origin.MAXIMUM)
    assert (found.measure, found.dose_has_gy) == ("Dmax", pytest.approx(50.0))
    assert found.objective == Objective("OpticChiasm", "squared_overdose", 48.0, None, 120.0)


def test_targets_follow_the_prescription_whatever_the_dose() -> None:
    case = with_doses(counted_case(), {"PTV_High": 80.0, "PTV_Low": 40.0})
    found = extract_objectives(case)
    targets = [item.objective for item in found.derived if item.origin is Origin.TARGET]
    assert targets == [
        Objective("PTV_High", "squared_underdose", 70.7, None, 300.0),
        Objective("PTV_High", "squared_overdose", 73.5, None, 300.0),
        Objective("PTV_Low", "squared_underdose", 56.56, None, 300.0),
        Objective("zPTV_Low_Opt", "squared_overdose", 58.8, None, 300.0),
        Objective("Ring_PTV_High", "squared_overdose", 73.5, None, 250.0),
        Objective("Ring_PTV_Low", "squared_overdose", 58.8, None, 250.0),
    ]
    high = derived_of(found, "PTV_High", Origin.TARGET)
    assert [(item.measure, item.dose_has_gy, item.rule) for item in high] == [
        ("D98", 80.0, "prescription × 1.01"),
        ("D2", 80.0, "prescription × 1.05"),
    ]


def test_ceilings_may_follow_a_dose_that_breaks_them() -> None:
    case = with_doses(counted_case(), {"PTV_High": 72.0, "PTV_Low": 63.0})
    settings = ExtractionSettings(targets=TargetRule(ceilings_follow=True))
    found = extract_objectives(case, settings=settings)
    (core,) = derived_of(found, "zPTV_Low_Opt", Origin.TARGET)
    assert core.objective == Objective("zPTV_Low_Opt", "squared_overdose", 63.0, None, 300.0)
    assert core.rule == "as it is, above prescription × 1.05"
    high = derived_of(found, "PTV_High", Origin.TARGET)[1]
    assert (high.objective.dose_gy, high.rule) == (73.5, "prescription × 1.05")


def test_targets_of_one_prescription_each_get_a_ceiling() -> None:
    case = with_doses(counted_case(prescription_gy={"PTV_High": 60.0, "PTV_Low": 60.0}), {})
    found = extract_objectives(case)
    ceilings = [
        item.objective.structure
        for item in found.derived
        if item.origin is Origin.TARGET and item.objective.kind == "squared_overdose"
    ]
    assert ceilings == ["PTV_High", "PTV_Low", "Ring_PTV_High", "Ring_PTV_Low"]


def test_a_line_has_one_priority_and_falls_with_volume() -> None:
    case = with_doses(counted_case(), {"Parotid_R": (55.5, 65.5)})  # the margin grows from 1 to 2 Gy at 63 Gy
    settings = ExtractionSettings(volumes_percent=(), line_step_percent=10, means=False)
    found = derived_of(extract_objectives(case, settings=settings), "Parotid_R", Origin.LINE)
    has_gy = [65.5 - v / 10 for v in range(0, 100, 10)]
    wanted_gy = [d - (1 if d > 63 else 2) for d in has_gy]
    assert [item.objective.dose_gy for item in found] == pytest.approx(wanted_gy, abs=0.006)
    assert [item.objective.volume_percent for item in found] == [float(v) for v in range(0, 100, 10)]
    assert {(item.objective.kind, item.objective.priority) for item in found} == {("max_dvh", 40.0)}


def test_a_line_never_rises_where_margins_jump() -> None:
    jump = (MarginRule("much", 0.0, 10.0, 1.0, above_gy=30.0), MarginRule("none", 1.0, 0.0, 1.0))
    case = with_doses(counted_case(), {"Parotid_R": (20.0, 40.0)})  # 40 → 30, …, 31 → 21, then 29 → 29
    settings = ExtractionSettings(volumes_percent=(), line_step_percent=5, means=False, rules=jump)
    found = derived_of(extract_objectives(case, settings=settings), "Parotid_R", Origin.LINE)
    doses = [float(item.objective.dose_gy or 0.0) for item in found]
    assert doses == sorted(set(doses), reverse=True)
    assert [item.objective.volume_percent for item in found] == [float(v) for v in range(0, 50, 5)]
    # at 50 % and beyond 30 … 21 Gy are wanted, which "at most 45 % above 21 Gy" implies, down to the last: 21 at 95 %


def test_without_margins_the_dose_itself_meets_all_but_the_targets() -> None:
    case = with_doses(counted_case(), {"PTV_High": 71.0, "PTV_Low": 57.0, "Parotid_R": (0.0, 44.0)})
    found = extract_objectives(case, settings=ExtractionSettings(rules=EXACT, floor_gy=0.0))
    assert case.dose_gy is not None
    for item in found.derived:
        objective, voxels = item.objective, case.dose_gy[found.case.structures[item.objective.structure]]
        limit_gy = float(objective.dose_gy or 0.0) + 0.0051
        if objective.kind == "max_dvh":
            assert 100 * (voxels > limit_gy).mean() <= float(objective.volume_percent or 0.0) + 100 / voxels.size
        elif objective.kind == "mean_upper":
            assert voxels.mean() <= limit_gy


def test_only_the_body_counts() -> None:
    case = with_doses(counted_case(), {"Parotid_R": 30.0})
    half = case.structures["Parotid_R"].copy()
    half[:, 29, 2:7] = True  # outside the body, where the dose is zero
    wider = replace(case, structures=dict(case.structures) | {"Parotid_R": half})
    one, other = (derived_of(extract_objectives(c), "Parotid_R", Origin.MEAN)[0] for c in (case, wider))
    assert one == other


def test_zeros_where_no_dose_was_calculated_do_not_count() -> None:
    case = with_doses(counted_case(), {"Parotid_R": 30.0})
    scored = case.body.copy()
    scored[:, :, 2:4] = False  # two of the five columns of Parotid_R, all of a new organ
    trachea = np.zeros_like(case.body)
    trachea[2:10, 12:16, 2:4] = True
    assert case.dose_gy is not None
    dose = np.where(scored, case.dose_gy, 0.0).astype(np.float32)
    structures = dict(case.structures) | {"Trachea": trachea}
    found = extract_objectives(replace(case, structures=structures, dose_mask=scored, dose_gy=dose))
    (mean,) = derived_of(found, "Parotid_R", Origin.MEAN)
    assert mean.dose_has_gy == pytest.approx(30.0)
    (note,) = (note for note in found.structures if note.name == "Trachea")
    assert (note.status, note.reason) == (Status.DROPPED, "no voxel of it in the body has a dose")
    assert "Trachea" not in {objective.structure for objective in found.objectives}


def test_a_given_dose_comes_before_the_cases_own() -> None:
    case = with_doses(counted_case(), {"Parotid_R": 30.0})
    given = with_doses(case, {"Parotid_R": 40.0}).dose_gy
    (mean,) = derived_of(extract_objectives(case, given), "Parotid_R", Origin.MEAN)
    assert mean.dose_has_gy == pytest.approx(40.0)


def test_objectives_name_structures_of_the_extended_case() -> None:
    found = extract_objectives(counted_case())
    assert {objective.structure for objective in found.objectives} <= set(found.case.structures)
    used = {note.name for note in found.structures if note.status is Status.USED}
    assert {objective.structure for objective in found.objectives} == used


def test_absent_structures_are_reported_or_refused() -> None:
    settings = ExtractionSettings(expected=("Esophagus", "SpinalCord"))
    found = extract_objectives(counted_case(), settings=settings)
    absent = [note.name for note in found.structures if note.status is Status.ABSENT]
    assert absent == ["Brainstem_PRV03", "Esophagus"]
    with pytest.raises(InputError, match=r"structures of counted must hold \['Esophagus'\]; got \('PTV_High'"):
        extract_objectives(counted_case(), settings=replace(settings, absent="raise"))


def test_doses_that_cannot_be_used_are_refused() -> None:
    case = counted_case()
    assert case.dose_gy is not None
    with pytest.raises(InputError, match="dose_gy must be given: case counted has none of its own; got None"):
        extract_objectives(case.with_dose(None))
    with pytest.raises(GridMismatchError, match=r"dose_gy must have the grid's shape \(12, 30, 40\); got \(2, 3, 4\)"):
        extract_objectives(case, np.zeros((2, 3, 4), np.float32))
    broken = case.dose_gy.copy()
    broken[3, 4, 5:7] = np.nan
    with pytest.raises(InputError, match="dose_gy must be finite; got '2 voxels NaN or infinite'"):
        extract_objectives(case, broken)
    for value in (-1.0, 7000.0):
        with pytest.raises(InputError, match=r"dose_gy must be in \[0, 250\] Gy total; got"):
            extract_objectives(case, np.full_like(case.dose_gy, value))
    cold = np.where(case.structures["PTV_Low"], 0.0, case.dose_gy).astype(np.float32)
    with pytest.raises(InputError, match="dose_gy must not be zero in a target; got '0 Gy in all of PTV_Low'"):
        extract_objectives(case, cold)


def test_a_target_beside_the_body_is_refused() -> None:
    case = counted_case()
    beside = np.zeros_like(case.body)
    beside[4:8, 29, 10:20] = True
    outside = replace(case, structures=dict(case.structures) | {"PTV_Low": beside}, dose_mask=case.body | beside)
    with pytest.raises(InputError, match="PTV_Low must have voxels with a dose in the body; got '0 voxels in common'"):
        extract_objectives(outside)


def test_real_patients_give_objectives_their_own_dose_nearly_meets(openkbp_root: Path) -> None:
    reader = OpenKBPReader(openkbp_root, "validation", require_dose=True)
    case = reader.read("pt_206")
    found = extract_objectives(case)
    replaced = {note.name: note.reason for note in found.structures if note.status is Status.REPLACED}
    assert replaced == {name: f"by {name}-PTV" for name in ("Parotid_R", "Parotid_L", "Larynx")}
    parotid = next(note for note in found.structures if note.name == "Parotid_L")
    assert parotid.in_targets_percent == pytest.approx(73.5, abs=0.05)
    following = [item for item in found.derived if item.origin is not Origin.TARGET]
    assert all(-3.01 <= item.margin_gy <= 3.0 for item in following)
    # OpenKBP's own DVH of the organ that overlaps nothing, by its own definition of percentiles
    assert case.dose_gy is not None
    cord = case.dose_gy[case.structures["SpinalCord"]]
    points = derived_of(found, "SpinalCord", Origin.POINT)
    for item in points:
        expected = np.percentile(cord, 100 - float(item.objective.volume_percent or 0.0))
        assert item.dose_has_gy == pytest.approx(expected, abs=1e-3)
    assert len(points) == 7


def test_a_helper_set_reaches_the_structures() -> None:
    shell = {"expression": "(PTV_High + 8mm) - PTV_High", "part": "ring"}
    helpers = {
        "Ring_Near": shell,
        "Ring_PTV_High": {**shell, "of": "PTV_High"},
        "Ring_Gone": {**shell, "of": "PTV_Mid"},
    }
    found = extract_objectives(counted_case(), settings=ExtractionSettings(helpers=HelperSet(helpers)))
    assert set(found.case.structures) - set(counted_case().structures) == {"Ring_Near", "Ring_PTV_High"}
    ceilings = [item.objective for item in found.derived if item.part == "ring" and item.origin is Origin.TARGET]
    assert [(one.structure, one.dose_gy) for one in ceilings] == [("Ring_PTV_High", 73.5)]  # the other knows no target
    assert [item for item in found.derived if item.objective.structure == "Ring_Near"]
    (gone,) = (note for note in found.structures if note.name == "Ring_Gone")
    assert (gone.status, gone.reason) == (Status.ABSENT, "the case does not have PTV_Mid")
