"""Body outline on phantoms with known voxels; isocentre, bounding boxes and surfaces against plain loops."""

import dataclasses

import numpy as np
import pytest

from dosewright.core import CaseError, Grid, InputError
from dosewright.geometry import (
    body_mask,
    bounding_box,
    centroid_xyz_mm,
    isocenter_of,
    isocenter_voxel,
    surface_voxels,
    targets_mask,
)

SPACING = (3.0, 1.5, 1.5)


def phantom() -> tuple[np.ndarray, np.ndarray]:
    """A box of tissue with a lung, over a thin couch, beside a dense block; and the box with what it touches of both.

    Only ten columns touch the couch: the rest of the back is two rows above it.
    """
    ct = np.full((10, 60, 60), -1000, np.int16)
    truth = np.zeros(ct.shape, bool)
    truth[:, 10:40, 15:45] = True
    truth[:, 40:42, 25:35] = True
    ct[truth] = 20
    ct[2:8, 20:30, 20:30] = -700  # lung: enclosed in its slices
    ct[:, 42:44, 5:55] = 100  # couch: two rows thick
    truth[:, 42:44, 25:35] = True  # and the strip under the contact
    ct[3:6, 50:56, 2:8] = 800
    return ct, truth


def test_body_is_the_box_without_the_couch_beside_it():
    ct, truth = phantom()
    np.testing.assert_array_equal(body_mask(ct, SPACING), truth)


def test_without_opening_the_couch_stays():
    ct, truth = phantom()
    with_couch = truth.copy()
    with_couch[:, 42:44, 5:55] = True
    np.testing.assert_array_equal(body_mask(ct, SPACING, opening_mm=0.0), with_couch)


def test_threshold_decides_what_is_tissue():
    ct, truth = phantom()
    ct[truth & (np.arange(60) >= 35)] = -400
    cut = truth & (np.arange(60) < 35)
    np.testing.assert_array_equal(body_mask(ct, SPACING), cut)
    np.testing.assert_array_equal(body_mask(ct, SPACING, threshold_hu=-500.0), truth)


def test_a_patient_cut_by_the_image_keeps_its_edge():
    ct = np.full((4, 30, 30), -1000, np.int16)
    ct[:, 5:25, :] = 0
    np.testing.assert_array_equal(body_mask(ct, SPACING), ct == 0)


def test_no_patient():
    air = np.full((4, 20, 20), -1000, np.int16)
    with pytest.raises(CaseError, match=r"ct_hu must hold voxels above -300 HU.*got 'at most -1000 HU'"):
        body_mask(air, SPACING)
    air[:, 9:11, :] = 0
    with pytest.raises(CaseError, match=r"tissue thicker than 6 mm above -300 HU; got '160 thin voxels'"):
        body_mask(air, SPACING)


def test_isocenter_is_the_given_one(case):
    given = dataclasses.replace(case, isocenter_xyz_mm=(1.0, 2.0, 3.0))
    assert isocenter_of(given) == (1.0, 2.0, 3.0)


def test_isocenter_is_the_centroid_of_the_union(case):
    """By a plain loop; a third, overlapping target must not add weight."""
    overlap = case.structures["PTV_High"].copy()
    overlap[5, 8, 8] = True
    more = dataclasses.replace(
        case,
        structures={**case.structures, "PTV_Mid": overlap},
        prescription_gy={**case.prescription_gy, "PTV_Mid": 63.0},
    )
    places = [
        case.grid.position_xyz_mm(np.array(index, float))
        for index in np.ndindex(case.grid.shape_zyx)
        if overlap[index] or case.structures["PTV_Low"][index]
    ]
    assert isocenter_of(more) == pytest.approx(tuple(np.mean(places, axis=0)), rel=1e-12)
    assert np.count_nonzero(targets_mask(more)) == len(places)


def test_centroid_of_nothing():
    with pytest.raises(CaseError, match="mask must not be empty"):
        centroid_xyz_mm(np.zeros((2, 2, 2), bool), Grid((2, 2, 2), (1.0, 1.0, 1.0)))


def test_isocenter_voxel_survives_the_way_through_millimetres():
    grid = Grid((90, 91, 92), (2.5, 2.5, 2.0), (-113.7, -251.3, 17.9))
    for index in ((0, 0, 0), (13, 57, 29), (89, 90, 91), (7, 33, 61)):
        at = tuple(float(v) for v in grid.position_xyz_mm(np.array(index, float)))
        assert isocenter_voxel(grid, at) == index


def test_isocenter_outside():
    grid = Grid((4, 4, 4), (2.0, 2.0, 2.0))
    assert isocenter_voxel(grid, (-0.9, 6.9, 0.0)) == (0, 3, 0)
    for place in ((-1.1, 0.0, 0.0), (0.0, 7.1, 0.0), (0.0, 0.0, float("nan"))):
        with pytest.raises(InputError, match=r"isocenter_xyz_mm must lie inside the grid of shape \(4, 4, 4\)"):
            isocenter_voxel(grid, place)


def test_surface_against_a_plain_loop():
    mask = np.random.default_rng(1).random((8, 9, 7)) < 0.85
    mask[:2] = False
    expected = []
    for z, y, x in np.argwhere(mask):
        around = [(z - 1, y, x), (z + 1, y, x), (z, y - 1, x), (z, y + 1, x), (z, y, x - 1), (z, y, x + 1)]
        if not all(all(0 <= i < n for i, n in zip(p, mask.shape)) and mask[p] for p in around):
            expected.append([z, y, x])
    assert surface_voxels(mask).tolist() == [[int(v) for v in p] for p in expected]


def test_bounding_box_against_a_plain_loop():
    rng = np.random.default_rng(2)
    for _ in range(10):
        mask = rng.random((6, 7, 8)) < 0.02
        mask[3, 3, 3] = True
        places = np.argwhere(mask)
        tight = tuple(slice(int(a), int(b) + 1) for a, b in zip(places.min(axis=0), places.max(axis=0)))
        assert bounding_box(mask) == tight
        wide = tuple(slice(max(p.start - 2, 0), min(p.stop + 2, n)) for p, n in zip(tight, mask.shape))
        assert bounding_box(mask, (2, 2, 2)) == wide


def test_box_of_nothing():
    with pytest.raises(InputError, match="mask must not be empty"):
        bounding_box(np.zeros((2, 2, 2), bool))
    with pytest.raises(InputError, match="mask must not be empty"):
        surface_voxels(np.zeros((2, 2, 2), bool))
