"""Beam plates against a plain loop over rays and voxels, bit for bit."""

import math
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import Grid, GridMismatchError, InputError
from dosewright.geometry import beam_plate, isocenter_voxel
from dosewright.geometry.beam_plate import source_voxel


def loop_hits(target: np.ndarray, source: tuple[int, int, int]) -> np.ndarray:
    """Voxels on the rays, one ray and one step at a time."""
    size_z, size_y, size_x = target.shape
    sz, sy, sx = source
    hit = np.zeros(target.shape, bool)
    for z, y, x in np.argwhere(target):
        neighbours = ((z - 1, y, x), (z + 1, y, x), (z, y - 1, x), (z, y + 1, x), (z, y, x - 1), (z, y, x + 1))
        inner = all(
            0 <= a < size_z and 0 <= b < size_y and 0 <= c < size_x and target[a, b, c] for a, b, c in neighbours
        )
        if inner:
            continue
        end_y = 0 if sy > y else size_y - 1
        ratio = (end_y - sy) / (int(y) - sy if y != sy else 1)
        end = (math.trunc(sz + ratio * (int(z) - sz)), end_y, math.trunc(sx + ratio * (int(x) - sx)))
        steps = max(abs(e - s) for e, s in zip(end, source))
        for i in range(steps + 1):
            a, b, c = (round(s + i * ((e - s) / steps)) for s, e in zip(source, end))
            if 0 <= a < size_z and 0 <= b < size_y and 0 <= c < size_x:
                hit[a, b, c] = True
    return hit


def loop_close(hit: np.ndarray) -> np.ndarray:
    """Each voxel spreads over offsets -2 to 1; what has a neighbour outside falls."""
    wide = np.zeros_like(hit)
    for z, y, x in np.argwhere(hit):
        wide[max(z - 2, 0) : z + 2, max(y - 2, 0) : y + 2, max(x - 2, 0) : x + 2] = True
    narrow = np.zeros_like(hit)
    for z in range(1, hit.shape[0] - 1):
        for y in range(1, hit.shape[1] - 1):
            for x in range(1, hit.shape[2] - 1):
                narrow[z, y, x] = wide[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].all()
    return narrow


def loop_plate(target: np.ndarray, isocenter: tuple[int, int, int], spacing_zyx: tuple, angles: list) -> np.ndarray:
    plate = np.zeros(target.shape)
    iz, iy, ix = isocenter
    for angle in angles:
        way = np.pi / 180 * (angle - 90)
        source = (
            iz,
            int(iy + 1000 * np.sin(way) / spacing_zyx[1]),
            int(ix + 1000 * np.cos(way) / spacing_zyx[2]),
        )
        closed = loop_close(loop_hits(target, source))
        reference = (source[1] - iy) ** 2 + (source[2] - ix) ** 2
        for z, y, x in np.argwhere(closed):
            plate[z, y, x] += reference / sum(float(s - i) ** 2 for s, i in zip(source, (z, y, x)))
    return plate


def random_target(rng: np.random.Generator, shape: tuple[int, int, int], density: float) -> np.ndarray:
    target = np.zeros(shape, bool)
    low = [int(rng.integers(1, n // 2)) for n in shape]
    size = [int(rng.integers(2, n - a)) for n, a in zip(shape, low)]
    box = tuple(slice(a, a + b) for a, b in zip(low, size))
    target[box] = rng.random(size) < density
    target[low[0], low[1], low[2]] = True
    return target


@pytest.mark.parametrize("seed", range(8))
def test_bit_for_bit_on_random_targets(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(9, 16, 3))
    target = random_target(rng, shape, 0.9 if seed % 2 else 0.15)
    grid = Grid(shape, tuple(float(s) for s in rng.uniform(3, 8, 3)), tuple(float(s) for s in rng.uniform(-50, 50, 3)))
    isocenter = tuple(int(rng.integers(0, n)) for n in shape)
    at = tuple(float(v) for v in grid.position_xyz_mm(np.array(isocenter, float)))
    assert isocenter_voxel(grid, at) == isocenter
    angles = [float(rng.uniform(0, 360)), float(rng.integers(0, 4) * 90)]
    expected = loop_plate(target, isocenter, grid.spacing_zyx_mm, angles)
    assert np.array_equal(beam_plate(target, grid, at, angles), expected)
    assert np.count_nonzero(expected) >= 8


def test_bit_for_bit_at_the_border():
    """A target that fills the grid: what lies beyond is background."""
    grid = Grid((6, 7, 8), (5.0, 5.0, 4.0))
    target = np.ones(grid.shape_zyx, bool)
    expected = loop_plate(target, (3, 3, 4), grid.spacing_zyx_mm, [20.0])
    assert np.array_equal(beam_plate(target, grid, (20.0, 15.0, 12.0), [20.0]), expected)


def test_published_spacing_closed_form():
    """One voxel at the isocentre, gantry 0: a straight column of 2³ voxels' width, with the weight of each row."""
    grid = Grid((12, 20, 16), (2.5, 2.5, 2.0))
    target = np.zeros(grid.shape_zyx, bool)
    target[6, 10, 8] = True
    plate = beam_plate(target, grid, (20.0, 25.0, 12.0), [0.0])
    assert source_voxel(grid, (6, 10, 8), 0.0) == (6, -390, 8)
    # dilated to offsets -2..1, eroded by one on either side: offsets -1..0; in y the border erodes
    expected = np.zeros(grid.shape_zyx)
    for z in (5, 6):
        for x in (7, 8):
            for y in range(1, 19):
                expected[z, y, x] = 400**2 / ((z - 6) ** 2 + (y + 390) ** 2 + (x - 8) ** 2)
    np.testing.assert_array_equal(plate, expected)


def test_beams_add_up_and_arcs_take_every_second():
    rng = np.random.default_rng(3)
    grid = Grid((12, 14, 13), (4.0, 4.0, 3.0))
    target = random_target(rng, grid.shape_zyx, 0.8)
    at, angles = (24.0, 28.0, 18.0), [0.0, 33.0, 66.0, 99.0, 132.0]
    each = [beam_plate(target, grid, at, [a]) for a in angles]
    assert np.array_equal(beam_plate(target, grid, at, angles), each[0] + each[1] + each[2] + each[3] + each[4])
    assert np.array_equal(beam_plate(target, grid, at, angles, every_second=True), each[0] + each[2] + each[4])


def test_errors():
    grid = Grid((8, 8, 8), (3.0, 3.0, 3.0))
    target = np.zeros(grid.shape_zyx, bool)
    with pytest.raises(InputError, match="target must not be empty; got '0 voxels'"):
        beam_plate(target, grid, (9.0, 9.0, 9.0), [0.0])
    target[4, 4, 4] = True
    with pytest.raises(InputError, match="gantry_angles_deg must hold at least one beam"):
        beam_plate(target, grid, (9.0, 9.0, 9.0), [])
    with pytest.raises(InputError, match=r"isocenter_xyz_mm must lie inside the grid.*got \(9\.0, 9\.0, -2\.0\)"):
        beam_plate(target, grid, (9.0, 9.0, -2.0), [0.0])
    with pytest.raises(GridMismatchError, match=r"target must have the grid's shape \(8, 8, 8\)"):
        beam_plate(target[1:], grid, (9.0, 9.0, 9.0), [0.0])


def read_targets(folder: Path) -> tuple[np.ndarray, Grid]:
    """The union of a patient's PTVs, read naively: flat index, then LPS (z, y, x)."""
    flat = np.zeros(128**3, bool)
    for name in ("PTV70", "PTV63", "PTV56"):
        path = folder / f"{name}.csv"
        if path.exists():
            flat[np.array([int(line.split(",")[0]) for line in path.read_text().split()[1:]])] = True
    y, x, z = (float(v) for v in (folder / "voxel_dimensions.csv").read_text().split())
    mask = flat.reshape(128, 128, 128).transpose(2, 0, 1)[::-1]
    return np.ascontiguousarray(mask), Grid((128, 128, 128), (x, y, z))


def test_bit_for_bit_on_a_real_patient(openkbp_root):
    """Every fourth slice of the target, so that the loop stays short."""
    folder = sorted(openkbp_root.rglob("PTV70.csv"))[0].parent
    target, grid = read_targets(folder)
    target, grid = target[::4], Grid((32, 128, 128), grid.spacing_xyz_mm)
    middle = tuple(int(v) for v in np.argwhere(target).mean(axis=0))
    at = tuple(float(v) for v in grid.position_xyz_mm(np.array(middle, float)))
    expected = loop_plate(target, middle, grid.spacing_zyx_mm, [40.0])
    assert np.array_equal(beam_plate(target, grid, at, [40.0]), expected)
