"""The script is read by `ast`, and run against a stub of RayStation that remembers what was set."""

import ast
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from export_samples import EVERY_KIND, HOSTILE, content, line, text

from dosewright.core import InputError
from dosewright.objectives import Objective
from dosewright.objectives.formats.raystation import RayStationFormat

(SCRIPT,) = RayStationFormat.files
KEYS = ["roi", "function", "dose_level_cgy", "percent_volume", "eud_parameter_a", "weight", "is_constraint"]


def listed(folder: Path) -> list[dict[str, object]]:
    """The objectives in the script, as literals: evaluating them runs nothing."""
    for node in ast.parse(text(folder, SCRIPT)).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "OBJECTIVES":
            rows = ast.literal_eval(node.value)
            assert all(list(row) == KEYS for row in rows)
            return rows
    raise AssertionError("no objectives")


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("PTV", "squared_underdose", 70.7, priority=300), ("MinDose", 7070.0, None, None, 300.0, False)),
        (Objective("PTV", "squared_overdose", 73.5, priority=300), ("MaxDose", 7350.0, None, None, 300.0, False)),
        (Objective("PTV", "squared_deviation", 70), ("UniformDose", 7000.0, None, None, 1.0, False)),
        (Objective("PTV", "max_dvh", 30, 20, 80), ("MaxDvh", 3000.0, 20.0, None, 80.0, False)),
        (Objective("PTV", "max_dvh", 30, 0), ("MaxDose", 3000.0, None, None, 1.0, False)),
        (Objective("PTV", "min_dvh", 66.5, 95), ("MinDvh", 6650.0, 95.0, None, 1.0, False)),
        (Objective("PTV", "min_dvh", 66.5, 100), ("MinDose", 6650.0, None, None, 1.0, False)),
        (Objective("PTV", "mean_upper", 26), ("MaxEud", 2600.0, None, 1.0, 1.0, False)),
        (Objective("PTV", "mean_lower", 60), ("MinEud", 6000.0, None, 1.0, 1.0, False)),
        (Objective("PTV", "geud_upper", 20, exponent=4), ("MaxEud", 2000.0, None, 4.0, 1.0, False)),
        (Objective("PTV", "geud_lower", 60, exponent=-10), ("MinEud", 6000.0, None, -10.0, 1.0, False)),
        (Objective("PTV", "max_dose", 45, constraint=True), ("MaxDose", 4500.0, None, None, None, True)),
        (Objective("PTV", "min_dose", 45, constraint=True), ("MinDose", 4500.0, None, None, None, True)),
        (Objective("PTV", "mean_upper", 26, constraint=True), ("MaxEud", 2600.0, None, 1.0, None, True)),
    ],
)
def test_functions_and_units(objective: Objective, expected: tuple, tmp_path: Path) -> None:
    RayStationFormat().write(tmp_path, content([objective]))
    assert [tuple(row.values()) for row in listed(tmp_path)] == [("PTV", *expected)]


def test_points_of_a_line_are_dvh_functions(tmp_path: Path) -> None:
    assert RayStationFormat().write(tmp_path, content(line("Larynx"))).remarks == ()
    assert [(row["function"], row["dose_level_cgy"], row["percent_volume"]) for row in listed(tmp_path)] == [
        *(("MaxDose", 6000.0, None), ("MaxDvh", 3000.0, 20.0), ("MaxDvh", 1050.0, 50.0)),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_string_and_nothing_else(name: str, tmp_path: Path) -> None:
    asked = [Objective("PTV", "squared_overdose", 60)]
    RayStationFormat().write(tmp_path / "hostile", content(asked, {"PTV": name}))
    RayStationFormat().write(tmp_path / "tame", content(asked))
    assert [row["roi"] for row in listed(tmp_path / "hostile")] == [name]
    hostile, tame = (text(tmp_path / folder, SCRIPT) for folder in ("hostile", "tame"))
    assert hostile.isascii()
    kinds = [[type(node) for node in ast.walk(ast.parse(script))] for script in (hostile, tame)]
    assert kinds[0] == kinds[1]


class Optimization:
    """Remembers the functions that were added to it."""

    def __init__(self, label: str) -> None:
        self.OptimizedBeamSets = [SimpleNamespace(DicomPlanLabel=label)]
        self.added: list[dict[str, object]] = []

    def AddOptimizationFunction(self, **arguments: object) -> SimpleNamespace:
        parameters = SimpleNamespace()
        self.added.append({"call": arguments, "set": vars(parameters)})
        return SimpleNamespace(DoseFunctionParameters=parameters)


def run(folder: Path, present: list[str], label: str, monkeypatch: pytest.MonkeyPatch) -> Optimization:
    """Run the script in a plan with two optimisations; return that of beam set B."""
    other, wanted = Optimization("A"), Optimization("B")
    regions = [SimpleNamespace(Name=name) for name in present]
    current = {
        "Case": SimpleNamespace(PatientModel=SimpleNamespace(RegionsOfInterest=regions)),
        "Plan": SimpleNamespace(PlanOptimizations=[other, wanted]),
        "BeamSet": SimpleNamespace(DicomPlanLabel=label),
    }
    actions = []

    @contextmanager
    def composite(title: str) -> Iterator[None]:
        actions.append(title)
        yield

    connect = ModuleType("connect")
    connect.CompositeAction, connect.get_current = composite, current.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "connect", connect)
    runpy.run_path(str(folder / SCRIPT), run_name="__main__")
    assert (other.added, len(actions)) == ([], 1)
    return wanted


def test_the_script_adds_them_to_the_current_beam_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (
        Objective("PTV", "squared_underdose", 70.7, priority=300),
        Objective("Larynx", "max_dvh", 30, 20, 80),
        Objective("PTV", "mean_lower", 60, constraint=True),
    )
    RayStationFormat().write(tmp_path, content(asked, {"PTV": "Größe '1'"}))
    added = run(tmp_path, ["Larynx", "Größe '1'", "x"], "B", monkeypatch).added
    assert added == [
        {
            "call": {"FunctionType": "MinDose", "RoiName": "Größe '1'", "IsConstraint": False},
            "set": {"DoseLevel": 7070.0, "Weight": 300.0},
        },
        {
            "call": {"FunctionType": "MinEud", "RoiName": "Größe '1'", "IsConstraint": True},
            "set": {"DoseLevel": 6000.0, "EudParameterA": 1.0},
        },
        {
            "call": {"FunctionType": "MaxDvh", "RoiName": "Larynx", "IsConstraint": False},
            "set": {"DoseLevel": 3000.0, "PercentVolume": 20.0, "Weight": 80.0},
        },
    ]


def test_the_script_adds_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RayStationFormat().write(tmp_path, content(EVERY_KIND))
    with pytest.raises(ValueError, match="These ROIs are missing, nothing was added: Parotid_L, SpinalCord"):
        run(tmp_path, ["PTV", "Larynx", "Brain"], "B", monkeypatch)
    with pytest.raises(ValueError, match=r"No plan optimization has the current beam set\."):
        run(tmp_path, ["PTV", "Larynx", "Brain", "Parotid_L", "SpinalCord"], "C", monkeypatch)


def test_a_template_without_its_mark_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.objectives.formats.raystation._MARK", "NOWHERE = 1")
    with pytest.raises(InputError, match=r"template must hold 'NOWHERE = 1'"):
        RayStationFormat().write(tmp_path, content([]))
