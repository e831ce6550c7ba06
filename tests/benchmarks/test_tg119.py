import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import io

from dosewright.core import InputError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE_YXZ = (4, 5, 3)


@pytest.fixture
def tg119(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("harness.tg119")


def cell(*values: object) -> np.ndarray:
    found = np.empty((1, len(values)), object)
    for index, value in enumerate(values):
        found[0, index] = value
    return found


def rows(**changed: Any) -> dict[str, list[Any]]:
    """Structures as matRad keeps them: voxels counted from one, y fastest; the core and the body overlap the target."""
    kinds = {"over": "DoseObjectives.matRad_SquaredOverdosing", "both": "DoseObjectives.matRad_SquaredDeviation"}

    def row(name: str, voxels: list[int], kind: str, gy: float, penalty: float) -> list[Any]:
        goal = {"className": kinds[kind], "parameters": cell(gy), "penalty": penalty}
        return [0.0, name, "OAR", cell(np.array(voxels, float)[:, None]), {"Priority": 1.0}, cell(goal)]

    found = {
        "Core": row("Core", [24, 25], "over", 25.0, 300.0),
        "OuterTarget": row("OuterTarget", [25, 26], "both", 50.0, 1000.0),
        "BODY": row("BODY", list(range(21, 41)), "over", 30.0, 100.0),
    }
    return found | changed


def write(path: Path, structures: dict[str, list[Any]], **changed: Any) -> Path:
    cst = np.empty((len(structures), 6), object)
    for index, row in enumerate(structures.values()):
        for column, value in enumerate(row):
            cst[index, column] = value
    hu = np.arange(np.prod(SHAPE_YXZ), dtype=float).reshape(SHAPE_YXZ)
    axes = {"x": np.arange(5) * 3.0 - 6, "y": np.arange(4) * 2.0 + 1, "z": np.arange(3) * 2.5}
    ct = {"cubeHU": cell(hu), "resolution": {"x": 3.0, "y": 2.0, "z": 2.5}, **axes}
    io.savemat(path, {"ct": ct, "cst": cst} | changed)
    return path


def test_voxels_axes_and_goals_are_those_of_the_file(tg119: ModuleType, tmp_path: Path) -> None:
    case, goals = tg119.read_tg119(write(tmp_path / "small.mat", rows()))
    assert (case.grid.shape_zyx, case.grid.spacing_xyz_mm) == ((3, 4, 5), (3.0, 2.0, 2.5))
    assert case.grid.origin_xyz_mm == (-6.0, 1.0, 0.0)
    y, x, z = np.unravel_index(np.arange(60), SHAPE_YXZ)
    np.testing.assert_array_equal(case.ct_hu[z, y, x], np.arange(60))
    # Number 25 is 24 from zero: 20 voxels a slice, 4 a column, so z 1, x 1, y 0; number 26 lies beside it.
    np.testing.assert_array_equal(np.argwhere(case.structures["PTV"]), [[1, 0, 1], [1, 1, 1]])
    np.testing.assert_array_equal(np.argwhere(case.structures["Core"]), [[1, 3, 0]])  # 24; 25 is the target's
    np.testing.assert_array_equal(np.argwhere(case.body.any((1, 2))), [[1]])
    assert (case.body.sum(), case.structures["zTissue"].sum()) == (20, 17)
    assert case.prescription_gy == {"PTV": 50.0}
    assert case.isocenter_xyz_mm == pytest.approx((-3.0, 2.0, 2.5))
    assert [(goal.structure, goal.kind, goal.dose_gy, goal.priority) for goal in goals] == [
        ("Core", "squared_overdose", 25.0, 300.0),
        ("PTV", "squared_deviation", 50.0, 1000.0),
        ("zTissue", "squared_overdose", 30.0, 100.0),
    ]


def test_the_phantom_is_what_its_owner_reads(tg119: ModuleType) -> None:
    rad, image = pytest.importorskip("pyRadPlan"), pytest.importorskip("SimpleITK")
    case, goals = tg119.read_tg119()
    ct, structures = rad.load_tg119()
    np.testing.assert_allclose(case.ct_hu, image.GetArrayFromImage(ct.cube_hu), rtol=1e-6)
    masks = {voi.name: image.GetArrayFromImage(voi.mask).astype(bool) for voi in structures.vois}
    np.testing.assert_array_equal(case.structures["PTV"], masks["OuterTarget"])
    np.testing.assert_array_equal(case.structures["Core"], masks["Core"] & ~masks["OuterTarget"])
    np.testing.assert_array_equal(case.body, masks["BODY"])
    assert case.grid.origin_xyz_mm == pytest.approx(tuple(ct.origin))
    theirs = {voi.name: (voi.objectives[0].parameters[0], voi.objectives[0].priority) for voi in structures.vois}
    assert {(goal.dose_gy, goal.priority) for goal in goals} == set(theirs.values())


def test_a_file_without_the_phantom_is_refused(tg119: ModuleType, tmp_path: Path) -> None:
    io.savemat(tmp_path / "other.mat", {"ct": np.zeros(1)})
    with pytest.raises(InputError, match=r"other\.mat: variables must hold ct and cst; got"):
        tg119.read_tg119(tmp_path / "other.mat")
    few = write(tmp_path / "few.mat", {name: row for name, row in rows().items() if name != "Core"})
    with pytest.raises(InputError, match=r"few\.mat: structures must be \['BODY', 'Core', 'OuterTarget'\]; got"):
        tg119.read_tg119(few)
    odd = rows()
    odd["Core"][5][0, 0]["className"] = "DoseObjectives.matRad_EUD"
    with pytest.raises(InputError, match=r"odd\.mat: goal of Core must be of .*; got 'DoseObjectives\.matRad_EUD'"):
        tg119.read_tg119(write(tmp_path / "odd.mat", odd))


def test_the_phantom_comes_with_pyradplan(tg119: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pyRadPlan must be installed with its phantoms; got \[\]"):
        tg119.tg119_path()
