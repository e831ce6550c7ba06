from itertools import pairwise

import pytest
import torch
from net_contract import CheckpointingContract, NetContract

from dosewright.core import InputError
from dosewright.nets.c3d import C3D


class TestC3D(CheckpointingContract, NetContract):
    def make(self, seed: int = 0) -> C3D:
        torch.manual_seed(seed)
        return C3D(self.in_channels, channels_a=(4, 6, 8), channels_b=(6, 8, 10))

    def test_stride_halves_once_a_level(self):
        assert self.make().stride == 4

    def test_training_gives_b_then_a(self):
        net = self.make().train()
        image = self.image(net)
        with torch.no_grad():
            net.dose_a.weight.zero_()
            net.dose_a.bias.fill_(0.25)
            dose_b, dose_a = net(image)
        assert torch.equal(dose_a, torch.full_like(dose_a, 0.25))
        assert not torch.allclose(dose_b, dose_a)

    def test_b_sees_the_features_of_a_beside_the_image(self):
        net = self.make().eval()
        image = self.image(net, batch=1)
        with torch.no_grad():
            alone = net.net_b(torch.cat((net.net_a(image), image), dim=1))
            assert torch.equal(net(image), net.dose_b(alone))
            before = net(image)
            for parameter in net.net_a.parameters():
                parameter.mul_(-1.5)
            assert not torch.allclose(net(image), before, rtol=1e-3)

    def test_gradient_of_b_reaches_a(self):
        net = self.make().train()
        dose_b, _ = net(self.image(net, batch=1))
        dose_b.square().mean().backward()
        assert float(net.net_a.encoder[0][0][0].weight.grad.abs().max()) > 1e-9
        assert net.dose_a.weight.grad is None


def _parameters_of_unet(in_channels: int, widths: list[int]) -> int:
    """Counted from the paper's figure: two convolutions a level, three on the way up, two at the finest."""

    def layer(a: int, b: int) -> int:
        return 27 * a * b + 2 * b

    count = sum(layer(a, b) + layer(b, b) for a, b in zip([in_channels, *widths[:-1]], widths, strict=True))
    for fine, coarse in pairwise(widths):
        count += layer(coarse, fine) + layer(2 * fine, fine) + (layer(fine, fine) if fine != widths[0] else 0)
    return count


def test_published_widths_give_the_published_layers():
    with torch.device("meta"):
        net = C3D(9)
    a, b = [16, 32, 64, 128, 256], [32, 64, 128, 256, 512]
    expected = _parameters_of_unet(9, a) + _parameters_of_unet(9 + 16, b) + 16 + 1 + 32 + 1
    assert sum(p.numel() for p in net.parameters()) == expected
    assert net.stride == 16


@pytest.mark.parametrize(("a", "b"), [((4,), (4,)), ((4, 8), (4, 8, 16))])
def test_odd_levels_are_refused(a: tuple[int, ...], b: tuple[int, ...]):
    with pytest.raises(InputError, match="channels_a, channels_b must name at least two levels, as many for both nets"):
        C3D(1, channels_a=a, channels_b=b)
