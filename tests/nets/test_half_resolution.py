from functools import partial

import torch
from net_contract import NetContract
from torch.nn import functional

from dosewright.nets.c3d import C3D
from dosewright.nets.half_resolution import HalfResolution

SMALL = partial(C3D, channels_a=(4, 6), channels_b=(6, 8))


class TestHalfResolution(NetContract):
    def make(self, seed: int = 0) -> HalfResolution:
        torch.manual_seed(seed)
        return HalfResolution(self.in_channels, SMALL, stem_width=5, head_width=4)

    def test_stride_is_twice_that_of_the_net(self):
        assert self.make().stride == 2 * SMALL(5).stride == 4

    def test_a_cascade_keeps_its_first_dose_at_half_the_size(self):
        net = self.make().train()
        image = self.image(net)
        final, first = net(image)
        assert final.shape[2:] == image.shape[2:]
        assert [2 * n for n in first.shape[2:]] == list(image.shape[2:])

    def test_without_correction_the_dose_is_that_of_the_net_upsampled(self):
        net = self.make().eval()
        image = self.image(net)
        with torch.no_grad():
            net.correct.weight.zero_()
            net.correct.bias.fill_(0.125)
            coarse = net.net(functional.leaky_relu(net.stem(image), 0.01))
            expected = functional.interpolate(coarse, scale_factor=2, mode="trilinear") + 0.125
            torch.testing.assert_close(net(image), expected)

    def test_the_correction_sees_what_the_half_resolution_cannot(self):
        """A change that the strided stem is blind to still moves the dose, through the full-resolution head alone."""
        net = self.make().eval()
        image = self.image(net, batch=1)
        with torch.no_grad():
            net.stem.weight.zero_()
            net.correct.weight.add_(0.5)
            net.look.weight.add_(0.5)
            lit, unlit = net(image + 1.0), net(image)
        assert torch.equal(net.stem(image), net.stem(image + 1.0))
        assert float((lit - unlit).abs().min()) > 1e-3
