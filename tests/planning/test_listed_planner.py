from pathlib import Path

import numpy as np
import pytest

from dosewright.core import InputError, PatientCase
from dosewright.objectives.helpers import planning_structures
from dosewright.objectives.objective import Objective
from dosewright.objectives.objective_file import write_objectives
from dosewright.planning.listed_planner import ListedPlanner

MEAN = Objective("Parotid_L", "mean_upper", 26.0)


@pytest.fixture
def wanted(case: PatientCase) -> np.ndarray:
    assert case.dose_gy is not None
    return np.asarray(case.dose_gy)


@pytest.mark.parametrize("name", ["all.json", "case_1.json", "case_1/objectives.json"])
def test_objectives_come_from_a_file_or_a_folder_of_files(
    tmp_path: Path, case: PatientCase, wanted: np.ndarray, name: str
) -> None:
    path = write_objectives(tmp_path / name, [MEAN])
    planner = ListedPlanner(path if name == "all.json" else tmp_path)
    goals = planner.goals(case, wanted)
    assert (goals.objectives, dict(goals.helpers), goals.absent) == ((MEAN,), {}, "raise")
    before = planner.fingerprint("case_1")
    write_objectives(path, [MEAN, MEAN])
    assert planner.fingerprint("case_1") not in ("", before)


def test_helpers_that_objectives_name_are_made(tmp_path: Path, case: PatientCase, wanted: np.ndarray) -> None:
    made = planning_structures(case).case.structures
    ring = next(name for name in made if name.startswith("Ring"))
    path = write_objectives(tmp_path / "all.json", [MEAN, Objective(ring, "squared_overdose", 60.0)])
    helpers = ListedPlanner(path).goals(case, wanted).helpers
    assert list(helpers) == [ring]
    np.testing.assert_array_equal(helpers[ring], made[ring])


def test_a_missing_file_is_named(tmp_path: Path, case: PatientCase, wanted: np.ndarray) -> None:
    assert ListedPlanner(tmp_path).fingerprint("case_1") == ""
    with pytest.raises(InputError, match=r"case_1\.json"):
        ListedPlanner(tmp_path).goals(case, wanted)


def test_absent_is_raise_or_skip() -> None:
    with pytest.raises(InputError, match=r'planner\.absent must be "raise" or "skip"; got \'ignore\''):
        ListedPlanner("x.json", absent="ignore")
