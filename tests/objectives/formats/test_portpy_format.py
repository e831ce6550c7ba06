import json
from pathlib import Path

import pytest
from export_samples import HOSTILE, content, line

from dosewright.objectives import Objective
from dosewright.objectives.formats.portpy import PortPyFormat

CRITERIA, PARAMETERS = PortPyFormat.files


def documents(folder: Path) -> tuple[dict, dict]:
    return json.loads((folder / CRITERIA).read_text("utf-8")), json.loads((folder / PARAMETERS).read_text("utf-8"))


def test_heads_hold_the_prescription_total_and_per_fraction(tmp_path: Path) -> None:
    PortPyFormat().write(tmp_path, content([], fractions=33, prescription_gy={"PTV_Low": 56.1, "PTV_High": 66.0}))
    criteria, parameters = documents(tmp_path)
    assert (criteria["pres_per_fraction_gy"], criteria["num_of_fractions"], criteria["criteria"]) == (2.0, 33, [])
    assert (parameters["prescription_gy"], parameters["objective_functions"]) == (66.0, [])
    assert parameters["constraints"] == []
    assert criteria["dose_unit"] == parameters["dose_unit"] == "Gy, total"


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("PTV", "squared_overdose", 73.5, priority=3), [("quadratic-overdose", 73.5, 3.0)]),
        (Objective("PTV", "squared_underdose", 70.7, priority=3), [("quadratic-underdose", 70.7, 3.0)]),
        (
            Objective("PTV", "squared_deviation", 70),
            [("quadratic-underdose", 70.0, 1.0), ("quadratic-overdose", 70.0, 1.0)],
        ),
        (Objective("PTV", "max_dvh", 60, 0, 3), [("quadratic-overdose", 60.0, 3.0)]),
        (Objective("PTV", "min_dvh", 60, 100, 3), [("quadratic-underdose", 60.0, 3.0)]),
    ],
)
def test_objective_functions_hold_total_doses(objective: Objective, expected: list, tmp_path: Path) -> None:
    assert PortPyFormat().write(tmp_path, content([objective])).remarks == ()
    criteria, parameters = documents(tmp_path)
    found = [(entry["type"], entry["dose_gy"], entry["weight"]) for entry in parameters["objective_functions"]]
    assert (found, criteria["criteria"]) == (expected, [])
    assert all(entry["structure_name"] == "PTV" for entry in parameters["objective_functions"])


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("PTV", "max_dose", 75, constraint=True), ("max_dose", {}, {"limit_dose_gy": 75.0})),
        (Objective("PTV", "mean_upper", 26, constraint=True), ("mean_dose", {}, {"limit_dose_gy": 26.0})),
        (Objective("PTV", "mean_upper", 26), ("mean_dose", {}, {"goal_dose_gy": 26.0})),
        (
            Objective("PTV", "max_dvh", 30, 20, 80),
            ("dose_volume_V", {"dose_gy": 30.0, "weight": 80.0}, {"goal_volume_perc": 20.0}),
        ),
    ],
)
def test_criteria_are_limits_where_required_and_goals_else(
    objective: Objective, expected: tuple, tmp_path: Path
) -> None:
    PortPyFormat().write(tmp_path, content([objective]))
    criteria, parameters = documents(tmp_path)
    (found,) = criteria["criteria"]
    assert list(found) == ["type", "parameters", "constraints"]
    name, parameters_of, limits = expected
    assert found == {"type": name, "parameters": {"structure_name": "PTV", **parameters_of}, "constraints": limits}
    assert parameters["objective_functions"] == []


def test_a_line_is_points_of_its_dvh(tmp_path: Path) -> None:
    PortPyFormat().write(tmp_path, content(line("Larynx")))
    criteria, parameters = documents(tmp_path)
    points = [(e["parameters"]["dose_gy"], e["constraints"]["goal_volume_perc"]) for e in criteria["criteria"]]
    assert points == [(30.0, 20.0), (10.5, 50.0)]
    assert [entry["dose_gy"] for entry in parameters["objective_functions"]] == [60.0]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_name(name: str, tmp_path: Path) -> None:
    asked = [Objective("PTV", "squared_overdose", 60), Objective("PTV", "max_dose", 75, constraint=True)]
    PortPyFormat().write(tmp_path, content(asked, {"PTV": name}))
    criteria, parameters = documents(tmp_path)
    assert criteria["criteria"][0]["parameters"]["structure_name"] == name
    assert parameters["objective_functions"][0]["structure_name"] == name
