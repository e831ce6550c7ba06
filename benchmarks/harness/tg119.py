"""TG-119's C-shape, the phantom that pyRadPlan ships: case and goals as its file has them.

The file is matRad's, in MATLAB's format. Its volumes are (y, x, z) and its voxels one-based indices in Fortran order;
its axes are the patient's (LPS). A C-shaped target around a core is to get 50 Gy (AAPM Task Group 119, Med. Phys. 36:
5359, 2009) from nine beams 40° apart, which are those that a case without beams gets.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io

from dosewright.core import Grid, InputError, PatientCase
from dosewright.core.types import Mask
from dosewright.geometry.isocenter import centroid_xyz_mm
from dosewright.objectives.objective import Kind, Objective

TARGET, CORE, TISSUE = "PTV", "Core", "zTissue"
NAMES = {"OuterTarget": TARGET, "Core": CORE, "BODY": TISSUE}
KINDS: dict[str, Kind] = {"SquaredDeviation": "squared_deviation", "SquaredOverdosing": "squared_overdose"}
FRACTIONS = 25


def tg119_path() -> Path:
    """Return the file of the installed pyRadPlan.

    Raises:
        InputError: If pyRadPlan is not installed, or has no such file.
    """
    package = importlib.util.find_spec("pyRadPlan")
    folders = [] if package is None else package.submodule_search_locations or []
    paths = [Path(folder) / "data" / "phantoms" / "TG119.mat" for folder in folders]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise InputError("must be installed with its phantoms", argument="pyRadPlan", value=[str(p) for p in paths])
    return found


def read_tg119(path: Path | None = None) -> tuple[PatientCase, tuple[Objective, ...]]:
    """Return the phantom and the goals of its file.

    What is in several structures belongs to the target first, then to the core; `zTissue` is the rest of the body, as
    matRad lets goals of overlapping structures count.

    Args:
        path: A file of matRad with these structures; None takes pyRadPlan's.

    Raises:
        InputError: If the file does not hold the phantom, or pyRadPlan's is asked for and not there.
    """
    path = path or tg119_path()
    stored = io.loadmat(path, variable_names=["ct", "cst"], squeeze_me=True, struct_as_record=False)
    absent = [name for name in ("ct", "cst") if name not in stored]
    if absent:
        raise InputError("must hold ct and cst", argument="variables", value=sorted(stored), path=path)
    ct, rows = stored["ct"], {row[1]: row for row in stored["cst"]}
    if sorted(rows) != sorted(NAMES):
        raise InputError(f"must be {sorted(NAMES)}", argument="structures", value=sorted(rows), path=path)
    hu = np.ascontiguousarray(ct.cubeHU.transpose(2, 0, 1), np.float32)
    masks = {NAMES[name]: _mask(row[3], ct.cubeHU.shape) for name, row in rows.items()}
    body = masks[TISSUE].copy()
    masks[CORE] &= ~masks[TARGET]
    masks[TISSUE] &= ~(masks[TARGET] | masks[CORE])
    goals = tuple(_goal(NAMES[name], row[5], path) for name, row in rows.items())
    prescription_gy = next(float(goal.dose_gy or 0.0) for goal in goals if goal.structure == TARGET)
    grid = _grid(ct, hu.shape)
    case = PatientCase(
        case_id="TG119",
        grid=grid,
        ct_hu=hu,
        body=body,
        structures=masks,
        prescription_gy={TARGET: prescription_gy},
        isocenter_xyz_mm=centroid_xyz_mm(masks[TARGET], grid),
        site="phantom",
        fractions=FRACTIONS,
    )
    return case, goals


def _grid(ct: Any, shape_zyx: tuple[int, ...]) -> Grid:
    spacing, nz, ny, nx = ct.resolution, *shape_zyx
    return Grid(
        (nz, ny, nx),
        (float(spacing.x), float(spacing.y), float(spacing.z)),
        (float(ct.x[0]), float(ct.y[0]), float(ct.z[0])),
    )


def _mask(indices: np.ndarray, shape_yxz: tuple[int, ...]) -> Mask:
    flat = np.zeros(int(np.prod(shape_yxz)), bool)
    flat[np.atleast_1d(indices).astype(int) - 1] = True
    return np.ascontiguousarray(flat.reshape(shape_yxz, order="F").transpose(2, 0, 1))


def _goal(name: str, stored: Any, path: Path) -> Objective:
    kind = KINDS.get(str(stored.className).rpartition("_")[2])
    if kind is None:
        raise InputError(f"must be of {sorted(KINDS)}", argument=f"goal of {name}", value=stored.className, path=path)
    return Objective(name, kind, float(stored.parameters), priority=float(stored.penalty))
