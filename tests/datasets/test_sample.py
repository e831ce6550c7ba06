"""Cropping, padding and the way back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cases import make_case
from dosewright.core import CaseError, Grid, InputError, PatientCase, keys
from dosewright.datasets.channels import ChannelSet
from dosewright.datasets.sample import (
    bounding_box,
    collate,
    cropped,
    make_sample,
    padded,
    place_back,
    sample_box,
    to_item,
)
from dosewright.geometry.isocenter import centroid_xyz_mm


@pytest.fixture
def case() -> PatientCase:
    """The water box with a dose mask tighter than the body, and room around the body."""
    whole = make_case()
    scored = np.zeros(whole.grid.shape_zyx, bool)
    scored[3:13, 4:16, 4:20] = True
    return replace(whole, dose_mask=scored, dose_gy=np.where(scored, whole.dose_gy, 0).astype(np.float32))


def test_the_box_holds_scored_voxels_and_targets(case: PatientCase) -> None:
    assert sample_box(case, 0) == (slice(3, 13), slice(4, 16), slice(4, 20))
    assert sample_box(case, 2) == (slice(1, 15), slice(2, 18), slice(2, 22))
    assert sample_box(case, 9) == (slice(0, 16), slice(0, 20), slice(0, 24))  # not beyond the grid
    below = np.zeros(case.grid.shape_zyx, bool)
    below[1, 17, 5] = True
    reaching = replace(case, structures={"PTV_High": below}, prescription_gy={"PTV_High": 70.0})
    assert sample_box(reaching, 0) == (slice(1, 13), slice(4, 18), slice(4, 20))


def test_bounding_box_by_hand() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 1, 3] = mask[3, 4, 3] = True
    assert bounding_box(mask, 0) == (slice(2, 4), slice(1, 5), slice(3, 4))
    assert bounding_box(mask, 2) == (slice(0, 5), slice(0, 6), slice(1, 6))


def test_a_sample_holds_the_crop(case: PatientCase, channels: ChannelSet) -> None:
    sample = make_sample(case, channels)
    box = sample_box(case, 0)
    assert sample.box == box
    assert sample.case_id == "case_1"
    assert sample.image.shape == (13, 10, 12, 16)
    assert sample.image.dtype == torch.float16
    assert sample.spacing_zyx_mm == (4.0, 3.0, 3.0)
    assert sample.dose_gy is not None
    np.testing.assert_array_equal(sample.dose_gy[0], case.dose_gy[box])
    np.testing.assert_array_equal(sample.dose_mask[0], case.scored_mask[box])
    for mask, name in zip(sample.structures, channels.structures, strict=True):
        np.testing.assert_array_equal(mask, case.structures[name][box], err_msg=name)
    assert sample.prescription_gy.tolist() == [70.0, 56.0, 0.0, 0.0, 0.0]
    voxels = 10 * 12 * 16
    assert sample.nbytes == voxels * (13 * 2 + 5 + 1 + 4)


def test_absent_structures_are_empty_and_a_case_may_lack_a_dose(case: PatientCase, channels: ChannelSet) -> None:
    bare = replace(
        case,
        structures={"PTV_High": case.structures["PTV_High"]},
        prescription_gy={"PTV_High": 66.0},
        dose_gy=None,
    )
    sample = make_sample(bare, channels)
    assert sample.structures.flatten(1).any(1).tolist() == [True, False, False, False, False]
    assert sample.prescription_gy.tolist() == [66.0, 0.0, 0.0, 0.0, 0.0]
    assert sample.dose_gy is None
    assert keys.DOSE not in to_item(sample, 8)


@pytest.mark.parametrize("margin", [0, 2])
def test_crop_pad_and_place_back_is_the_identity(case: PatientCase, channels: ChannelSet, margin: int) -> None:
    sample = make_sample(case, channels, margin)
    item = to_item(sample, 16)
    dose = item[keys.DOSE]
    assert isinstance(dose, torch.Tensor)
    assert dose.shape == (1, 16, 16, 32 if margin else 16)
    np.testing.assert_array_equal(place_back(dose[0].numpy(), sample.box, case.grid), case.dose_gy)


def test_a_dose_smaller_than_its_box_is_refused(case: PatientCase) -> None:
    box = sample_box(case, 0)
    with pytest.raises(InputError, match=r"dose_gy must cover the box of shape \(10, 12, 16\); got \(10, 11, 16\)"):
        place_back(np.zeros((10, 11, 16), np.float32), box, case.grid)


def test_a_cropped_case_keeps_its_place_in_the_patient(case: PatientCase) -> None:
    box = (slice(2, 14), slice(3, 18), slice(3, 21))
    part = cropped(replace(case, isocenter_xyz_mm=(1.0, 2.0, 3.0)), box)
    assert part.grid == Grid((12, 15, 18), (3.0, 3.0, 4.0), (-40.0 + 9, -30.0 + 9, 5.0 + 8))
    assert part.isocenter_xyz_mm == (1.0, 2.0, 3.0)
    for name in ("PTV_High", "PTV_Low", "Parotid_L", "Parotid_R"):
        here, there = part.structures[name], case.structures[name]
        assert centroid_xyz_mm(here, part.grid) == pytest.approx(centroid_xyz_mm(there, case.grid), abs=1e-9), name
    np.testing.assert_array_equal(part.dose_gy, case.dose_gy[box])
    np.testing.assert_array_equal(part.scored_mask, case.scored_mask[box])


def test_cropping_drops_organs_and_refuses_to_lose_targets_or_body(case: PatientCase) -> None:
    middle = (slice(4, 13), slice(7, 13), slice(8, 14))
    part = cropped(replace(case, dose_mask=None), middle)
    assert list(part.structures) == ["PTV_High", "PTV_Low"]
    assert part.dose_mask is None
    with pytest.raises(CaseError, match="prescription_gy names PTV_High, which has no mask"):
        cropped(case, (slice(9, 12), slice(8, 12), slice(9, 13)))
    corner = np.zeros(case.grid.shape_zyx, bool)
    corner[0, 0, 0] = True
    with pytest.raises(CaseError, match="body must not be empty"):
        cropped(replace(case, body=corner, dose_mask=case.scored_mask | corner), middle)


def test_channels_do_not_depend_on_the_crop(case: PatientCase, channels: ChannelSet) -> None:
    sample = make_sample(case, channels)
    whole = channels.compute(case)[(slice(None), *sample.box)]
    for name, mine, theirs in zip(channels.names, sample.image.numpy(), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


def test_targets_that_fill_the_scored_box_keep_their_depth(case: PatientCase, channels: ChannelSet) -> None:
    filling = replace(
        case, body=case.scored_mask, structures={"PTV_High": case.scored_mask}, prescription_gy={"PTV_High": 70.0}
    )
    sample = make_sample(filling, channels)
    depth = sample.image[channels.names.index("distance:PTV_High")]
    assert float(depth[5, 6, 0]) == pytest.approx(-np.tanh(3 / 30), rel=1e-3)
    assert float(depth[0, 6, 8]) == pytest.approx(-np.tanh(4 / 30), rel=1e-3)
    np.testing.assert_array_equal(sample.image, channels.compute(filling)[(slice(None), *sample.box)])


def test_padding_uses_each_channels_fill(case: PatientCase, channels: ChannelSet) -> None:
    sample = make_sample(case, channels)
    item = to_item(sample, 16)
    image = item[keys.IMAGE]
    assert isinstance(image, torch.Tensor)
    assert image.dtype == torch.float32
    assert image.shape == (13, 16, 16, 16)
    torch.testing.assert_close(image[:, :10, :12, :16], sample.image.float(), rtol=0, atol=0)
    for channel, fill in zip(image, channels.fill, strict=True):
        assert (channel[10:] == fill).all()
        assert (channel[:, 12:] == fill).all()
    for key in (keys.STRUCTURES, keys.DOSE_MASK, keys.DOSE):
        volume = item[key]
        assert isinstance(volume, torch.Tensor)
        assert volume.shape[1:] == (16, 16, 16)
        assert not volume[:, 10:].any()
        assert not volume[:, :, 12:].any()
    assert item[keys.CASE_ID] == "case_1"
    assert item[keys.SPACING].tolist() == [4.0, 3.0, 3.0]
    assert item[keys.FILL].tolist() == list(channels.fill)


def test_padding_is_at_the_far_ends() -> None:
    volume = torch.rand(2, 3, 4, 5)
    assert torch.equal(padded(volume, (3, 4, 5)), volume)
    grown = padded(volume, (4, 4, 7), torch.tensor([1.0, -2.0]))
    assert torch.equal(grown[:, :3, :, :5], volume)
    assert grown[0, 3].unique().tolist() == [1.0]
    assert grown[1, :, :, 5:].unique().tolist() == [-2.0]


def test_a_batch_is_as_large_as_its_largest_item(channels: ChannelSet) -> None:
    sizes = ((16, 20, 24), (18, 24, 24))
    samples = [make_sample(make_case(f"case_{n}", seed=n, shape=shape), channels) for n, shape in enumerate(sizes)]
    items = [to_item(sample, 4) for sample in samples]
    batch = collate(items)
    assert [tuple(item[keys.IMAGE].shape[1:]) for item in items] == [(16, 16, 20), (16, 20, 20)]
    assert batch[keys.CASE_ID] == ["case_0", "case_1"]
    assert batch[keys.IMAGE].shape == (2, 13, 16, 20, 20)
    assert batch[keys.STRUCTURES].shape == (2, 5, 16, 20, 20)
    assert batch[keys.DOSE].shape == batch[keys.DOSE_MASK].shape == (2, 1, 16, 20, 20)
    assert batch[keys.PRESCRIPTION].shape == (2, 5)
    assert batch[keys.SPACING].shape == (2, 3)
    assert torch.equal(batch[keys.IMAGE][0, :, :, :16], items[0][keys.IMAGE])
    assert torch.equal(batch[keys.DOSE][1], items[1][keys.DOSE])
    for channel, fill in zip(batch[keys.IMAGE][0, :, :, 16:], channels.fill, strict=True):
        assert (channel == fill).all()
    assert not batch[keys.DOSE_MASK][0, :, :, 16:].any()
