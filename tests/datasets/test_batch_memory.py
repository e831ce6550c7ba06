"""A batch's tensors are its own: what is done to it never reaches a sample that is kept."""

import pytest
import torch

from cases import make_case
from dosewright.core import keys
from dosewright.datasets.channels import ChannelSet
from dosewright.datasets.sample import collate, make_sample, padded, to_item


@pytest.mark.parametrize("multiple", [1, 8], ids=["unpadded", "padded"])
def test_overwriting_a_batch_of_one_leaves_the_sample(channels: ChannelSet, multiple: int) -> None:
    sample, untouched = (make_sample(make_case(), channels) for _ in range(2))
    batch = collate([to_item(sample, multiple)])
    for value in batch.values():
        if isinstance(value, torch.Tensor):
            value.zero_()
    for name in ("image", "structures", "dose_mask", "dose_gy", "prescription_gy"):
        assert torch.equal(getattr(sample, name), getattr(untouched, name)), name


def test_a_batch_of_one_is_the_first_of_a_batch_of_two(channels: ChannelSet) -> None:
    item = to_item(make_sample(make_case(), channels), 8)
    one, two = collate([item]), collate([item, item])
    assert one.keys() == two.keys()
    assert one[keys.CASE_ID] == two[keys.CASE_ID][:1] == ["case_1"]
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == two[key].dtype
            assert torch.equal(value, two[key][:1]), key


def test_padding_converts_and_fills_every_far_side() -> None:
    volumes = torch.arange(2 * 2 * 2 * 2, dtype=torch.float16).reshape(2, 2, 2, 2)
    out = padded(volumes, (3, 4, 2), torch.tensor([-1.0, 0.5]), torch.float32)
    expected = torch.tensor([-1.0, 0.5])[:, None, None, None].repeat(1, 3, 4, 2)
    expected[:, :2, :2, :2] = volumes.float()
    assert out.dtype == torch.float32
    assert torch.equal(out, expected)
    assert torch.equal(padded(volumes > 3, (2, 2, 3)), torch.nn.functional.pad(volumes > 3, (0, 1)))
