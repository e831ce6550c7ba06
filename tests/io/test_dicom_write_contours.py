"""Contours follow the edges of voxels, whatever way they are filled."""

import numpy as np
import pytest
from scipy import ndimage

from dicom_written import _filled
from dosewright.core import Grid
from dosewright.io.dicom.write_contours import contours_mm, outlines

RNG_SEEDS = range(12)


def noise(seed: int) -> np.ndarray:
    """Slices with pieces, holes, islands and voxels that touch at corners."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 18, 2))
    if seed % 2:
        return rng.random(shape) < rng.uniform(0.3, 0.9)
    return ndimage.gaussian_filter(rng.random(shape), 1) > 0.5


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_keyholes_give_the_mask_back_however_contours_add_up(seed: int) -> None:
    mask = noise(seed)
    grid = Grid((1, *mask.shape), (1.3, 0.7, 2.0), (-11.0, 5.0, 3.0))
    pieces = [_filled(points, grid) for _, points in contours_mm(mask[None], grid)]
    assert np.array_equal(np.sum(pieces, axis=0), mask)  # each voxel in one piece exactly: union, XOR and sum agree
    assert len(pieces) == ndimage.label(mask)[1]


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_holes_of_their_own_give_the_mask_back_by_even_odd_filling(seed: int) -> None:
    mask = noise(seed)
    grid = Grid((1, *mask.shape), (1.3, 0.7, 2.0))
    pieces = [_filled(points, grid) for _, points in contours_mm(mask[None], grid, "xor")]
    assert np.array_equal(np.logical_xor.reduce(pieces), mask)


def test_a_hole_comes_after_its_outline() -> None:
    mask = np.ones((5, 6), bool)
    mask[2, 2:4] = False
    outer, hole = outlines(mask, "xor")
    assert outer.tolist() == [[0, 0], [6, 0], [6, 5], [0, 5]]
    assert sorted(map(tuple, hole.tolist())) == [(2, 2), (2, 3), (4, 2), (4, 3)]


def test_a_keyhole_has_no_width() -> None:
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    (corners,) = outlines(mask)
    x, y = corners.T
    assert abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 == 8  # voxels
    assert [0, 1] in corners.tolist()  # the cut runs left from the hole along the edges of voxels, not through them


def test_volume_of_the_contours_is_that_of_the_voxels() -> None:
    z, y, x = np.ogrid[-8:9, -10:11, -12:13]
    mask = (z / 7) ** 2 + (y / 9) ** 2 + (x / 11) ** 2 <= 1
    grid = Grid(mask.shape, (0.9, 1.1, 2.5))
    area = 0.0
    for _, points in contours_mm(mask, grid):
        px, py = points.T
        area += abs(px @ np.roll(py, -1) - py @ np.roll(px, -1)) / 2
    assert area * 2.5 == pytest.approx(mask.sum() * grid.voxel_volume_mm3, rel=1e-12)
