"""From a crop to the dose grid: against scipy's interpolation, exact for linear doses, picky about its samples."""

import numpy as np
import pytest
import torch
from deliverability_cases import CHANNELS, batch_of, coarse_grid, drawn, lopsided
from scipy import ndimage

from cases import make_case
from dosewright.core import InputError, keys
from dosewright.datasets.augmentation import Draw
from dosewright.datasets.sample import sample_box, to_item
from dosewright.fluence.dose_grid import volume_on_grid
from dosewright.training.crop import random_crop
from dosewright.training.losses.crop_sampler import CropSampler


def _sampler(case=None) -> CropSampler:
    case = case or lopsided()
    grid = coarse_grid(case)
    return CropSampler(case, grid, np.arange(int(np.prod(grid.shape_zyx))))


def test_it_is_scipys_interpolation_over_scored_voxels() -> None:
    case, rng = lopsided(), np.random.default_rng(1)
    volume = rng.uniform(0, 70, case.grid.shape_zyx)
    sampler, grid = _sampler(case), coarse_grid(case)
    crop = torch.from_numpy(volume[sample_box(case, 0)])
    expected = torch.from_numpy(volume_on_grid(volume, case.grid, grid, inside=case.scored_mask).ravel())[sampler.rows]
    torch.testing.assert_close(sampler.sample(crop).double(), expected, rtol=1e-5, atol=1e-4)
    at = case.grid.index_zyx(grid.position_xyz_mm(np.argwhere(np.ones(grid.shape_zyx)) * 1.0))
    share = ndimage.map_coordinates(case.scored_mask.astype(float), at.T, order=1, mode="constant")
    assert np.array_equal(sampler.rows.numpy(), share >= 0.5 - 1e-9)


def test_a_linear_dose_is_exact_inside() -> None:
    case = lopsided()
    grid, sampler = coarse_grid(case), _sampler(case)
    slopes = np.array([0.3, -0.2, 0.7])
    crop = case.grid.crop(sample_box(case, 0))
    place = crop.position_xyz_mm(np.argwhere(np.ones(crop.shape_zyx)) * 1.0)
    volume = torch.from_numpy((place @ slopes).reshape(crop.shape_zyx))
    centres = grid.position_xyz_mm(np.argwhere(np.ones(grid.shape_zyx)) * 1.0)
    low, high = place.min(0), place.max(0)  # the scored voxels fill the crop
    inside = ((centres >= low) & (centres <= high)).all(1)
    assert inside.sum() == 9 * 10 * 12
    found = torch.zeros(len(centres), dtype=torch.float64)
    found[sampler.rows] = sampler.sample(volume)
    torch.testing.assert_close(found[inside], torch.from_numpy(centres @ slopes)[inside], rtol=1e-6, atol=1e-5)


def test_voxels_of_both_grids_that_coincide_are_copied() -> None:
    case = lopsided()
    sampler = CropSampler(case, case.grid, np.arange(int(np.prod(case.grid.shape_zyx))))
    box = sample_box(case, 0)
    volume = torch.rand(case.grid.crop(box).shape_zyx)
    assert torch.equal(sampler.rows, torch.from_numpy(case.scored_mask.ravel().copy()))
    torch.testing.assert_close(sampler.sample(volume), volume[torch.from_numpy(case.scored_mask[box].copy())])


def test_a_mirrored_sample_is_flipped_back_and_padding_is_ignored() -> None:
    case = lopsided()
    sampler = _sampler(case)
    plain, mirrored = batch_of(case), batch_of(case, draw=Draw(flip=True))
    assert not sampler.is_flipped(plain, 0)
    assert sampler.is_flipped(mirrored, 0)
    doses = [sampler.sample(plain[keys.DOSE][0, 0]), sampler.sample(mirrored[keys.DOSE][0, 0], flipped=True)]
    padded = torch.nn.functional.pad(plain[keys.DOSE][0, 0], (0, 5, 0, 3, 0, 1), value=99.0)
    for dose in (doses[1], sampler.sample(padded)):
        assert torch.equal(dose, doses[0])


def test_gradients_arrive_at_the_voxels_they_came_from() -> None:
    sampler = _sampler()
    volume = torch.rand(sampler.shape_zyx, dtype=torch.float64, requires_grad=True)
    sampled = sampler.sample(volume, flipped=True)
    weights = torch.rand(sampled.shape, dtype=torch.float64)
    gradient = torch.autograd.grad(sampled, volume, weights)[0]
    torch.testing.assert_close((gradient * volume).sum(), (weights * sampled).sum(), rtol=1e-12, atol=0)
    totals = torch.autograd.grad(sampler.sample(volume).sum(), volume)[0].sum()  # the weights of a row sum to 1
    torch.testing.assert_close(totals, torch.tensor(float(sampler.rows.sum()), dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "draw",
    [Draw(rotation_zyx_deg=(10.0, 0.0, 0.0)), Draw(translation_zyx_mm=(0.0, 0.0, 7.0))],
    ids=["turned", "shifted"],
)
def test_samples_that_no_longer_fit_the_beams_are_refused(draw: Draw) -> None:
    item = to_item(drawn(lopsided(), draw), 8)
    with pytest.raises(
        InputError, match=r"must be case case_1 as its reader gives it.*wants augmentation=none or flips"
    ):
        _sampler().is_flipped({k: v[None] if isinstance(v, torch.Tensor) else v for k, v in item.items()}, 0)


def test_parts_and_other_cases_are_refused() -> None:
    cut = random_crop(batch_of(lopsided()), (8, 8, 8))
    with pytest.raises(InputError, match="no random crops"):
        _sampler().is_flipped(cut, 0)
    with pytest.raises(InputError, match="must be case case_1"):  # the same body, other targets
        _sampler().is_flipped(batch_of(make_case()), 0)
    assert len(CHANNELS.structures) == 4
