"""Distances against brute force and closed forms."""

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.geometry import distance_to_mm, signed_distance_mm

SPACING = (3.0, 2.0, 1.5)


def brute(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Signed distance between voxel centres, by trying every voxel."""
    places = np.indices(mask.shape).reshape(3, -1).T * np.array(spacing)
    flat = mask.ravel()
    signed = np.empty(flat.size)
    for i, place in enumerate(places):
        others = places[flat != flat[i]]
        nearest = np.sqrt(((others - place) ** 2).sum(axis=1)).min()
        signed[i] = -nearest if flat[i] else nearest
    return signed.reshape(mask.shape)


def blobs(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = rng.random((7, 9, 10)) < 0.06
    mask[2:5, 3:7, int(seed) : int(seed) + 5] = True
    return mask


@pytest.mark.parametrize("seed", [0, 2, 5])  # 0 and 5 touch the array's border
def test_signed_distance_is_brute_force(seed):
    mask = blobs(seed)
    np.testing.assert_allclose(signed_distance_mm(mask, SPACING), brute(mask, SPACING), rtol=1e-6)


@pytest.mark.parametrize("limit", [1.0, 2.9, 3.0, 7.5, 100.0])
def test_limited_distance_is_clipped_brute_force(limit):
    mask = np.zeros((9, 12, 14), bool)
    mask[3:7, 4:8, 5:10] = True
    mask[4, 5, 11] = True
    expected = np.clip(brute(mask, SPACING), -limit, limit)
    np.testing.assert_allclose(signed_distance_mm(mask, SPACING, limit_mm=limit), expected, rtol=1e-6)
    np.testing.assert_allclose(distance_to_mm(mask, SPACING, limit_mm=limit), np.where(mask, 0, expected), rtol=1e-6)


def test_signed_is_unsigned_outside_and_complement_inside():
    mask = blobs(2)
    signed = signed_distance_mm(mask, SPACING)
    np.testing.assert_array_equal(signed[~mask], distance_to_mm(mask, SPACING)[~mask])
    np.testing.assert_array_equal(signed, -signed_distance_mm(~mask, SPACING))


def test_a_slab_closed_form():
    mask = np.zeros((20, 4, 4), bool)
    mask[5:11] = True
    expected = [3.0 * (5 - k) if k < 5 else -3.0 * min(k - 4, 11 - k) if k < 11 else 3.0 * (k - 10) for k in range(20)]
    np.testing.assert_allclose(signed_distance_mm(mask, SPACING)[:, 2, 2], expected, rtol=1e-6)


def test_errors():
    mask = np.zeros((3, 3, 3), bool)
    with pytest.raises(InputError, match="mask must not be empty; got '0 voxels'"):
        distance_to_mm(mask, SPACING)
    with pytest.raises(InputError, match="mask must not be empty"):
        signed_distance_mm(mask, SPACING, limit_mm=5.0)
    with pytest.raises(InputError, match="mask must leave a voxel outside; got '27 of 27 voxels'"):
        signed_distance_mm(~mask, SPACING)
    mask[1, 1, 1] = True
    with pytest.raises(InputError, match="spacing_zyx_mm must be positive and finite"):
        distance_to_mm(mask, (1.0, 0.0, 1.0))
    with pytest.raises(InputError, match=r"limit_mm must be positive and finite; got 0\.0"):
        distance_to_mm(mask, SPACING, limit_mm=0.0)
