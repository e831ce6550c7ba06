"""The MAT file read back by scipy, and by pyRadPlan, which reads matRad's structs; the script run by Octave."""

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from export_samples import EVERY_KIND, HOSTILE, content, line
from scipy.io import loadmat

from dosewright.objectives import Objective
from dosewright.objectives.formats.matrad import MatRadFormat

STORED, SCRIPT = MatRadFormat.files


def written(folder: Path, *asked: object, names: dict[str, str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Structure → structs, as MATLAB sees them: every parameters is a cell."""
    MatRadFormat().write(folder, content(asked, names))  # type: ignore[arg-type]
    stored = loadmat(folder / STORED, chars_as_strings=True)
    assert stored["dose_unit"].item() == "Gy, total"
    structures = [cell.item() for cell in stored["structures"].ravel()]
    return {
        name: [_struct(one[0, 0]) for one in functions.ravel()]
        for name, functions in zip(structures, stored["functions"].ravel(), strict=True)
    }


def _struct(record: Any) -> dict[str, Any]:
    found = {name: record[name] for name in record.dtype.names}
    assert found["parameters"].dtype == object
    assert found["robustness"].item() == "none"
    found["parameters"] = [cell.item() for cell in found["parameters"].ravel()]
    return {name: value if isinstance(value, list) else value.item() for name, value in found.items()}


@pytest.mark.parametrize(
    ("objective", "class_name", "parameters"),
    [
        (Objective("PTV", "squared_overdose", 73.5, priority=3), "matRad_SquaredOverdosing", [73.5]),
        (Objective("PTV", "squared_underdose", 70.7, priority=3), "matRad_SquaredUnderdosing", [70.7]),
        (Objective("PTV", "squared_deviation", 70, priority=3), "matRad_SquaredDeviation", [70.0]),
        (Objective("PTV", "max_dvh", 30, 20, 3), "matRad_MaxDVH", [30.0, 20.0]),
        (Objective("PTV", "min_dvh", 66.5, 95, 3), "matRad_MinDVH", [66.5, 95.0]),
        (Objective("PTV", "mean", priority=3), "matRad_MeanDose", [0.0, 1.0]),
        (Objective("PTV", "mean_upper", 26, priority=3), "matRad_MeanDose", [26.0, 2.0]),
        (Objective("PTV", "geud_upper", 20, priority=3, exponent=8), "matRad_EUD", [20.0, 8.0]),
        (Objective("PTV", "geud_lower", 60, priority=3, exponent=-10), "matRad_EUD", [60.0, -10.0]),
    ],
)
def test_classes_and_parameters(objective: Objective, class_name: str, parameters: list, tmp_path: Path) -> None:
    (found,) = written(tmp_path, objective)["PTV"]
    expected = {"className": f"DoseObjectives.{class_name}", "parameters": parameters, "penalty": 3.0}
    assert found == {**expected, "robustness": "none"}


@pytest.mark.parametrize(
    ("objective", "class_name", "parameters"),
    [
        (Objective("PTV", "max_dose", 75, constraint=True), "matRad_MinMaxDose", [0.0, 75.0, 1.0]),
        (Objective("PTV", "min_dose", 60, constraint=True), "matRad_MinMaxDose", [60.0, math.inf, 1.0]),
        (Objective("PTV", "mean_upper", 26, constraint=True), "matRad_MinMaxMeanDose", [0.0, 26.0]),
        (Objective("PTV", "mean_lower", 66, constraint=True), "matRad_MinMaxMeanDose", [66.0, math.inf]),
    ],
)
def test_constraints(objective: Objective, class_name: str, parameters: list, tmp_path: Path) -> None:
    (found,) = written(tmp_path, objective)["PTV"]
    expected = {"className": f"DoseConstraints.{class_name}", "parameters": parameters}
    assert found == {**expected, "robustness": "none"}


def test_points_of_a_line_and_hostile_names(tmp_path: Path) -> None:
    for name in HOSTILE:
        found = written(tmp_path, *line("Larynx"), names={"Larynx": name})
        assert [entry["parameters"] for entry in found[name]] == [[60.0, 0.0], [30.0, 20.0], [10.5, 50.0]]
        assert name not in (tmp_path / SCRIPT).read_text("utf-8")


def test_pyradplan_takes_matrads_structs(tmp_path: Path) -> None:
    peers = pytest.importorskip("pyRadPlan.optimization.objectives", reason="needs the extra 'plans'")
    asked = [Objective("PTV", "squared_overdose", 73.5, priority=3), Objective("PTV", "max_dvh", 30, 20, 4)]
    over, point = (peers.get_objective(entry) for entry in written(tmp_path, *asked)["PTV"])
    assert (over.name, over.d_max, over.priority) == ("Squared Overdosing", 73.5, 3.0)
    assert (point.name, point.d, point.v_max, point.priority) == ("Max DVH", 30.0, 20.0, 4.0)


OCTAVE = """
addpath('{folder}');
cst = {{0, 'PTV', 'TARGET', [], [], []; 1, 'Brain', 'OAR', [], [], {{struct('className', 'old')}}}};
cst = add_dosewright_objectives(cst, '{folder}/{stored}');
for i = 1:2
    for j = 1:numel(cst{{i, 6}})
        s = cst{{i, 6}}{{j}};
        printf('%s %s\\n', cst{{i, 2}}, s.className);
        if isfield(s, 'parameters'), printf(' %g', s.parameters{{:}}); printf('\\n'); end
    end
end
try
    add_dosewright_objectives(cst(1, :), '{folder}/{stored}');
catch problem
    disp(problem.message);
end
"""


@pytest.mark.skipif(shutil.which("octave-cli") is None, reason="no Octave")
def test_the_script_adds_them_to_cst(tmp_path: Path) -> None:
    written(tmp_path, Objective("PTV", "min_dvh", 66.5, 95), *line("Brain"))
    code = OCTAVE.format(folder=tmp_path, stored=STORED)
    done = subprocess.run(["octave-cli", "--norc", "--eval", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        *("PTV DoseObjectives.matRad_MinDVH", " 66.5 95", "Brain old"),
        *("Brain DoseObjectives.matRad_MaxDVH", " 60 0"),
        *("Brain DoseObjectives.matRad_MaxDVH", " 30 20"),
        *("Brain DoseObjectives.matRad_MaxDVH", " 10.5 50"),
        "cst must have 'Brain' once, and has it 0 times.",
    ]


def test_every_kind_is_stored(tmp_path: Path) -> None:
    found = written(tmp_path, *EVERY_KIND)
    assert {name: len(entries) for name, entries in found.items()} == {
        "PTV": 9,
        "Parotid_L": 2,
        "Larynx": 3,
        "Brain": 3,
        "SpinalCord": 1,
    }
