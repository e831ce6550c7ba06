from itertools import pairwise

import pytest
import torch
from net_contract import NetContract
from torch import nn

from dosewright.core import InputError
from dosewright.nets.unet import HalfResolutionUNet


class TestUNet(NetContract):
    def make(self, seed: int = 0) -> HalfResolutionUNet:
        torch.manual_seed(seed)
        return HalfResolutionUNet(self.in_channels, widths=(4, 6), head_width=4)


class TestUNetWithoutHead(NetContract):
    def make(self, seed: int = 0) -> HalfResolutionUNet:
        torch.manual_seed(seed)
        return HalfResolutionUNet(self.in_channels, widths=(4, 6, 8), head_width=0)


@pytest.mark.parametrize("widths", [(4, 6), (4, 6, 8)])
def test_stride_halves_once_for_the_stem_and_once_a_level(widths: tuple[int, ...]):
    assert HalfResolutionUNet(1, widths).stride == 2 ** len(widths)


def test_one_level_is_refused():
    with pytest.raises(InputError, match=r"widths must hold at least two levels; got \(8,\)"):
        HalfResolutionUNet(1, (8,))


def test_a_shift_by_the_stride_shifts_the_dose():
    """With circular padding the net commutes with circular shifts by its stride, up to the upsampled border."""
    torch.manual_seed(0)
    net = HalfResolutionUNet(2, (4, 6), head_width=4).double().eval()
    for module in net.modules():
        if isinstance(module, nn.Conv3d) and module.padding != (0, 0, 0):
            module.padding_mode = "circular"
            module._reversed_padding_repeated_twice = [p for p in reversed(module.padding) for _ in range(2)]
    image = torch.randn(1, 2, 16, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        dose = net(image)
        for shift, same in ((4, True), (2, False)):
            rolled = net(image.roll(shift, dims=4)).roll(-shift, dims=4)
            inner = slice(3, 16 - shift - 3)  # off the border of either image, where upsampling repeats the last voxel
            error = float((rolled - dose)[..., 3:-3, 3:-3, inner].abs().max())
            assert (error < 1e-12) is same, (shift, error)


def test_the_head_corrects_the_upsampled_dose():
    """With the correction silenced, what is left is the half-resolution dose, upsampled."""
    torch.manual_seed(0)
    net = HalfResolutionUNet(2, (4, 6), head_width=4).eval()
    image = torch.randn(1, 2, 8, 8, 8)
    seen = []
    net.head.out.register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        net.head.correct.weight.zero_()
        net.head.correct.bias.zero_()
        dose = net(image)
    half = seen[0]
    assert half.shape == (1, 1, 4, 4, 4)
    # Between the centres of two coarse voxels, trilinear weights are 3/4 and 1/4.
    line, fine = half[0, 0, 0, 0], dose[0, 0, 0, 0]
    expected = [line[0], *(v for a, b in pairwise(line) for v in (0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b)), line[3]]
    torch.testing.assert_close(fine, torch.stack(expected), rtol=1e-5, atol=1e-6)
