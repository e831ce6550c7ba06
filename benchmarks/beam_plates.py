"""Time nine beam plates of one patient against plain Python loops over rays.

    python benchmarks/beam_plates.py [--root DIR] [--case pt_1] [--repeats 5]

DIR holds OpenKBP's `provided-data`; without it the patient is an ellipsoid of water with an off-centre target on a grid
of the same size. Two peers draw the same voxel plate: one steps along every ray in Python, as the published code does,
the other hands the steps of one ray to numpy at a time. Both must give the same bits before anything is timed. The last
three rows are another plate (projection in millimetres); their ratio shows what that one costs beside the first peer.
"""

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import ndimage

from dosewright.core import Beam, Grid, PatientCase
from dosewright.core.types import Mask, Shape, Triple
from dosewright.geometry import beam_plate, isocenter_of, isocenter_voxel, primary_fluence_plate, targets_mask

ANGLES = tuple(float(a) for a in range(0, 360, 40))
Tracer = Callable[[np.ndarray, Shape, Shape], None]


def phantom() -> PatientCase:
    grid = Grid((128, 128, 128), (3.906, 3.906, 2.5), (-248.0, -248.0, -159.0))
    z, y, x = np.meshgrid(*(grid.axis_mm(a) for a in "zyx"), indexing="ij")
    body = (x / 200) ** 2 + (y / 130) ** 2 <= 1
    target = ((x - 30) / 60) ** 2 + ((y + 20) / 45) ** 2 + (z / 70) ** 2 <= 1
    return PatientCase(
        case_id="phantom",
        grid=grid,
        ct_hu=np.where(body, 0, -1000).astype(np.int16),
        body=body,
        structures={"PTV": target},
        prescription_gy={"PTV": 70.0},
    )


def steps_in_python(hit: np.ndarray, source: Shape, end: Shape) -> None:
    size_z, size_y, size_x = hit.shape
    steps = max(abs(e - s) for e, s in zip(end, source))
    dz, dy, dx = ((e - s) / steps for e, s in zip(end, source))
    for i in range(steps + 1):
        z, y, x = round(source[0] + i * dz), round(source[1] + i * dy), round(source[2] + i * dx)
        if 0 <= z < size_z and 0 <= y < size_y and 0 <= x < size_x:
            hit[z, y, x] = True


def steps_in_numpy(hit: np.ndarray, source: Shape, end: Shape) -> None:
    steps = max(abs(e - s) for e, s in zip(end, source))
    path = np.rint(np.linspace(source, end, steps + 1)).astype(int)
    path = path[((path >= 0) & (path < hit.shape)).all(axis=1)]
    hit[path[:, 0], path[:, 1], path[:, 2]] = True


def loop_plate(target: Mask, grid: Grid, isocenter: Triple, trace: Tracer) -> np.ndarray:
    """Return the plate by a loop over beams and surface voxels."""
    iz, iy, ix = isocenter_voxel(grid, isocenter)
    surface = np.argwhere(target & ~ndimage.binary_erosion(target)).tolist()
    spacing_x, spacing_y, _ = grid.spacing_xyz_mm
    z, y, x = np.indices(target.shape)
    plate = np.zeros(target.shape)
    for angle in ANGLES:
        way = np.pi / 180 * (angle - 90)
        source = (iz, int(iy + 1000 * np.sin(way) / spacing_y), int(ix + 1000 * np.cos(way) / spacing_x))
        hit = np.zeros(target.shape, bool)
        for pz, py, px in surface:
            end_y = 0 if source[1] > py else target.shape[1] - 1
            ratio = (end_y - source[1]) / ((py - source[1]) or 1)
            end = (
                math.trunc(source[0] + ratio * (pz - source[0])),
                end_y,
                math.trunc(source[2] + ratio * (px - source[2])),
            )
            trace(hit, source, end)
        closed = ndimage.binary_erosion(ndimage.binary_dilation(hit, np.ones((4,) * 3)), np.ones((3,) * 3))
        distance_2 = (z - source[0]) ** 2 + (y - source[1]) ** 2 + (x - source[2]) ** 2
        plate += closed * (((source[1] - iy) ** 2 + (source[2] - ix) ** 2) / distance_2)
    return plate


def times_s(work: Callable[[], object], repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def load(root: Path | None, case_id: str) -> PatientCase:
    if root is None:
        return phantom()
    from dosewright.io.openkbp import OpenKBPReader

    return OpenKBPReader(root).read(case_id)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder that holds provided-data; default a phantom")
    parser.add_argument("--case", default="pt_1", help="training patient under --root")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each plate; the loops run once")
    options = parser.parse_args(arguments)
    case = load(options.root, options.case)
    target, grid, isocenter = targets_mask(case), case.grid, isocenter_of(case)
    beams = [Beam(a) for a in ANGLES]

    def rays(**extra: np.ndarray | None) -> Callable[[], np.ndarray]:
        return lambda: primary_fluence_plate(target, grid, isocenter, beams, **extra)  # type: ignore[arg-type]

    rows: list[tuple[str, Callable[[], np.ndarray], int]] = [
        ("loop over rays, steps in Python", lambda: loop_plate(target, grid, isocenter, steps_in_python), 1),
        ("loop over rays, steps in numpy", lambda: loop_plate(target, grid, isocenter, steps_in_numpy), 1),
        ("beam_plate", lambda: beam_plate(target, grid, isocenter, ANGLES), options.repeats),
        ("primary_fluence_plate, whole grid", rays(), options.repeats),
        ("primary_fluence_plate, body", rays(body=case.body), options.repeats),
        ("primary_fluence_plate, body, CT", rays(body=case.body, ct_hu=case.ct_hu), options.repeats),
    ]
    ours = beam_plate(target, grid, isocenter, ANGLES)
    for name, work, _ in rows[:2]:
        if not np.array_equal(work(), ours):
            raise SystemExit(f"{name}: not the same bits as beam_plate")
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}, scipy {version('scipy')}")
    print(f"{case.case_id}: grid {grid.shape_zyx}, {np.count_nonzero(target)} target voxels, {len(beams)} beams")
    print(f"median of {options.repeats} runs (loops 1); the first three give the same bits\n")
    print(f"{'nine plates':<36}{'s':>9}{'times faster':>14}")
    reference = None
    for name, work, repeats in rows:
        seconds = statistics.median(times_s(work, repeats))
        reference = seconds if reference is None else reference
        print(f"{name:<36}{seconds:>9.3f}{reference / seconds:>14.1f}")


if __name__ == "__main__":
    main()
