"""What every net must do. Inherit `NetContract`, name the class Test…, and give `make`."""

import re

import pytest
import torch
from torch import Tensor, nn

from dosewright.core import InputError


class NetContract:
    in_channels = 3
    # Parameters that a norm takes out again (a bias right before it), as regular expressions.
    without_effect: tuple[str, ...] = ()

    def make(self, seed: int = 0) -> nn.Module:
        """A small net of `in_channels` channels whose weights depend on the seed alone."""
        raise NotImplementedError

    def image(self, net: nn.Module, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
        s = getattr(net, "coarsest_stride", net.stride)
        generator = torch.Generator().manual_seed(7)
        return torch.randn(batch, self.in_channels, s, s, 2 * s, generator=generator, dtype=dtype)

    def test_evaluation_gives_one_dose_of_the_image_size(self):
        net = self.make().eval()
        image = self.image(net)
        with torch.no_grad():
            dose = net(image)
        assert isinstance(dose, Tensor)
        assert dose.shape == (2, 1, *image.shape[2:])
        assert dose.dtype == torch.float32
        assert bool(torch.isfinite(dose).all())

    def test_training_gives_the_final_dose_first(self):
        net = self.make()
        image = self.image(net)
        with torch.no_grad():
            outputs = net.train()(image)
            final = net.eval()(image)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        assert isinstance(outputs, tuple)
        torch.testing.assert_close(outputs[0], final)
        for dose in outputs[1:]:
            assert dose.shape[:2] == (2, 1)
            ratios = {size / coarse for size, coarse in zip(image.shape[2:], dose.shape[2:], strict=True)}
            assert len(ratios) == 1
            assert ratios.pop().is_integer()

    def test_evaluation_is_deterministic(self):
        net = self.make().eval()
        image = self.image(net, batch=1)
        with torch.no_grad():
            assert torch.equal(net(image), net(image))

    def test_samples_of_a_batch_do_not_see_each_other(self):
        net = self.make().eval()
        image = self.image(net)
        with torch.no_grad():
            together = net(image)
            apart = torch.cat([net(sample[None]) for sample in image])
        torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)

    def test_gradient_reaches_every_parameter_and_every_channel(self):
        net = self.make().double().train()
        image = self.image(net, batch=1, dtype=torch.float64).requires_grad_()
        outputs = net(image)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        torch.stack([dose.square().mean() for dose in outputs]).sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert bool(torch.isfinite(parameter.grad).all()), name
            if not any(re.fullmatch(pattern, name) for pattern in self.without_effect):
                assert float(parameter.grad.abs().max()) > 1e-12, name
        assert image.grad is not None
        assert bool((image.grad.abs().amax(dim=(0, 2, 3, 4)) > 1e-12).all())

    def test_state_dict_carries_the_whole_net(self):
        one, other = self.make(seed=1).eval(), self.make(seed=2).eval()
        image = self.image(one, batch=1)
        with torch.no_grad():
            expected = one(image)
            assert not torch.allclose(other(image), expected, rtol=1e-3)
            other.load_state_dict(one.state_dict())
            assert torch.equal(other(image), expected)

    @pytest.mark.parametrize("axis", [2, 3, 4])
    def test_sizes_that_do_not_fit_are_refused(self, axis: int):
        net = self.make().eval()
        image = self.image(net, batch=1)
        with pytest.raises(InputError, match=f"multiples of {net.stride}"):
            net(image.narrow(axis, 0, image.shape[axis] - 1))


class CheckpointingContract:
    """For nets with `gradient_checkpointing`: give `make(seed)` and inherit beside `NetContract`."""

    def test_checkpointing_changes_neither_values_nor_gradients(self):
        plain, saving = self.make(seed=3).train(), self.make(seed=3).train()
        saving.load_state_dict(plain.state_dict())
        for module in saving.modules():
            for flag in ("gradient_checkpointing", "checkpointing"):
                if hasattr(module, flag):
                    setattr(module, flag, True)
        image = self.image(plain, batch=1)
        losses = []
        kept = []
        for net in (plain, saving):
            saved = [0]

            def count(tensor: Tensor, saved: list[int] = saved) -> Tensor:
                saved[0] += tensor.numel()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
                outputs = net(image)
            kept.append(saved[0])
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            loss = torch.stack([dose.square().mean() for dose in outputs]).sum()
            loss.backward()
            losses.append(loss.detach())
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)
        assert kept[1] < 0.5 * kept[0]
        for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
            scale = float(one.grad.abs().max()) + 1e-12
            assert float((one.grad - other.grad).abs().max()) <= 1e-6 * max(scale, 1.0), name
