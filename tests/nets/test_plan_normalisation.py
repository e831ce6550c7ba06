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
