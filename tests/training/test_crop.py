"""Boxes of a batch: cut alike from every volume, on the mask, and drawn from torch's generator alone."""

import torch

from dosewright.core import keys
from dosewright.training.crop import random_crop

SHAPE = (16, 20, 12)


def batch(size: int = 2) -> dict:
    """Volumes that hold their own coordinates, and a mask of two far corners."""
    place = torch.stack(torch.meshgrid(*(torch.arange(n) for n in SHAPE), indexing="ij")).float()
    mask = torch.zeros((size, 1, *SHAPE), dtype=torch.bool)
    mask[..., 0, 0, 0] = mask[..., -1, -1, -1] = True
    image = torch.stack([place + 100 * i for i in range(size)])
    return {keys.IMAGE: image, keys.DOSE: image[:, :1], keys.DOSE_MASK: mask, keys.CASE_ID: ["a"] * size}


def test_every_volume_of_a_sample_is_cut_at_one_box_that_holds_a_voxel_of_its_mask():
    torch.manual_seed(0)
    places = set()
    for _ in range(50):
        cut = random_crop(batch(), (8, 4, 40))
        assert cut[keys.CASE_ID] == ["a", "a"]
        for i in range(2):
            image = cut[keys.IMAGE][i] - 100 * i
            assert image.shape == (3, 8, 4, 12)  # the last axis is shorter than the box
            first = image[:, 0, 0, 0]
            places.add((i, *first.tolist()))
            assert torch.equal(image[0], (first[0] + torch.arange(8.0))[:, None, None].expand(8, 4, 12))
            assert torch.equal(image[1], (first[1] + torch.arange(4.0))[None, :, None].expand(8, 4, 12))
            assert torch.equal(cut[keys.DOSE][i, 0], cut[keys.IMAGE][i, 0])
            assert int(cut[keys.DOSE_MASK][i].sum()) == 1
    assert places == {(i, z, y, 0.0) for i in range(2) for z, y in ((0.0, 0.0), (8.0, 16.0))}


def test_boxes_may_lie_anywhere_around_a_voxel():
    torch.manual_seed(0)
    one = batch(1)
    one[keys.DOSE_MASK].zero_()[..., 8, 10, 6] = True
    starts = {tuple(random_crop(one, (4, 4, 4))[keys.IMAGE][0, :, 0, 0, 0].int().tolist()) for _ in range(600)}
    assert starts == {(z, y, x) for z in range(5, 9) for y in range(7, 11) for x in range(3, 7)}


def test_draws_follow_the_seed():
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append([random_crop(batch(), (4, 4, 4))[keys.IMAGE] for _ in range(6)])
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))


def test_a_mask_without_voxels_still_gives_a_box():
    empty = batch()
    empty[keys.DOSE_MASK].zero_()
    assert random_crop(empty, (4, 4, 4))[keys.DOSE].shape == (2, 1, 4, 4, 4)
