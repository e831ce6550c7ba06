"""The dose is scaled to its prescription, and only so far."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dosewright.core import InputError
from dosewright.nets.plan_normalisation import PlanNormalisation
from dosewright.nets.two_stage import TwoStageNet


def image_of(*prescriptions: float) -> Tensor:
    """Two channels, the second with a target of the last prescription inside one of the first."""
    image = torch.zeros(1, 2, 8, 8, 8)
    for margin, value in enumerate(prescriptions, start=1):
        image[:, 1, margin:-margin, margin:-margin, margin:-margin] = value
    return image


def dose_of(level: float) -> Tensor:
    return level * (1.0 + 0.1 * torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)))


CONTEXT = torch.randn(1, 3, 2, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("level", "factor"), [(0.9, None), (0.5, 1.25), (1.6, 0.8), (0.0, 1.25)])
def test_the_highest_target_gets_its_mean_within_limits(level: float, factor: float | None):
    norm, dose = PlanNormalisation(1, 3, ratio=1.02), dose_of(level)
    scaled = norm(image_of(0.8, 1.0), dose, CONTEXT)
    if factor is None:
        factor = 1.02 / float(np.mean(dose.numpy()[0, 0, 2:-2, 2:-2, 2:-2]))
        assert float(scaled[0, 0, 2:-2, 2:-2, 2:-2].mean()) == pytest.approx(1.02, rel=1e-5)
    torch.testing.assert_close(scaled, dose * factor)


def test_samples_are_scaled_on_their_own():
    norm = PlanNormalisation(1, 3)
    images, doses = torch.cat([image_of(1.0), image_of(0.8)]), torch.cat([dose_of(0.9), dose_of(0.9)])
    both = norm(images, doses, CONTEXT.expand(2, -1, -1, -1, -1))
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], norm(images[i : i + 1], doses[i : i + 1], CONTEXT))
    assert float((both[0] / both[1]).mean()) == pytest.approx(1.25, rel=1e-4)


def test_the_lever_stretches_the_targets_spread_and_nothing_else():
    norm, dose, image = PlanNormalisation(1, 3), dose_of(0.9), image_of(0.8, 1.0)
    images, doses, contexts = (t.expand(2, -1, -1, -1, -1) for t in (image, dose, CONTEXT))
    plain, stretched = norm(image, dose, CONTEXT), norm(images, doses, contexts, torch.tensor([1.5, 0.75]))
    target = (image[:, 1:] == 1.0)[0]
    for sample, factor in zip(stretched, (1.5, 0.75), strict=True):
        ours, theirs = sample[target].detach().numpy(), plain[0][target].detach().numpy()
        assert ours.mean() == pytest.approx(theirs.mean(), rel=1e-5)
        spread, reference = (np.subtract(*np.percentile(d, [98, 2])) for d in (ours, theirs))
        assert spread == pytest.approx(factor * reference, rel=1e-4)
        torch.testing.assert_close(sample[~target], plain[0][~target])


def test_the_net_pulls_the_lever_as_its_sliders_ask():
    torch.manual_seed(0)
    settings = {"latent_channels": 4, "widths": [8, 8, 16], "decoder": {"widths": [4, 8, 8]}, "group_width": 4}
    sliders = {"groups": "global", "trade_off": 0.5}
    net = TwoStageNet(3, **settings, preference=sliders, prescription_channel=2, spread_lever=True).eval()
    prescription = torch.zeros(1, 1, 8, 16, 8)
    prescription[:, :, 2:6, 4:12, 2:6] = 1.0
    image = torch.cat([torch.randn(1, 2, 8, 16, 8), prescription], dim=1)
    target, asked = image[0, 2] == 1.0, torch.tensor([[0.9, 1.2]])  # 1.2 · (1 + 0.5 · 0.1) = 1.26
    moved, neutral = net(image, asked)[0, 0], net(image)[0, 0]  # modulations start as none: only the lever acts
    assert float(moved[target].std() / neutral[target].std()) == pytest.approx(1.26, rel=1e-4)
    assert torch.equal(net(image, torch.ones(1, 2)), net(image))


def test_without_a_prescription_the_dose_stays():
    dose = dose_of(0.7)
    assert torch.equal(PlanNormalisation(1, 3)(torch.zeros(1, 2, 8, 8, 8), dose, CONTEXT), dose)


def test_the_ratio_is_learnt_and_may_depend_on_the_patient():
    norm, dose, image = PlanNormalisation(1, 3), dose_of(0.9), image_of(1.0)
    norm(image, dose, CONTEXT)[0, 0, 1:-1, 1:-1, 1:-1].mean().backward()
    assert float(norm.ratio.grad) == pytest.approx(1.0, rel=1e-4)  # the mean is ratio × prescription
    expected = 0.05 * CONTEXT.mean(dim=(2, 3, 4))  # tanh'(0) = 1
    torch.testing.assert_close(norm.own.weight.grad, expected, rtol=1e-4, atol=1e-6)


def test_the_net_scales_its_dose():
    settings = {"latent_channels": 4, "widths": [8, 8, 16], "decoder": {"widths": [4, 8, 8]}, "group_width": 4}
    torch.manual_seed(0)
    net = TwoStageNet(3, **settings, prescription_channel=2).eval()
    image = torch.randn(1, 3, 8, 16, 8)
    image[:, 2] = 0.0
    image[:, 2, 2:6, 4:8, 2:6] = 0.9
    with torch.no_grad():
        net.decoder.out.bias.fill_(1.0)
        dose = net(image)
    assert float(dose[..., 2:6, 4:8, 2:6].mean()) == pytest.approx(1.02 * 0.9, rel=1e-4)


def test_bad_channels_are_refused():
    with pytest.raises(InputError, match="prescription_channel must not be negative; got -1"):
        PlanNormalisation(-1, 3)
    with pytest.raises(InputError, match="prescription_channel must be one of the 2 of the image; got 2"):
        PlanNormalisation(2, 3)(image_of(1.0), dose_of(1.0), CONTEXT)
