"""Each side's gradient reaches that side only; values against a naive twin; nothing before its time or off the mask."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dosewright.core import InputError
from dosewright.training.adversary import Adversary

SIZE = (1, 1, 16, 12, 20)


@pytest.fixture
def adversary() -> Adversary:
    torch.manual_seed(0)
    return Adversary(weight=0.3, start_step=5, channels=4)


def doses(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real, fake = torch.rand((2, *SIZE), generator=generator)
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[..., 2:14, 1:10, 3:18] = True
    return real, fake.requires_grad_(), mask


def logits(adversary: Adversary, dose: Tensor, mask: Tensor) -> np.ndarray:
    with torch.no_grad():
        return adversary.discriminator(dose * mask)[-1].numpy().astype(np.float64)


def test_both_terms_are_the_naive_least_squares(adversary: Adversary):
    real, fake, mask = doses()
    fooling, telling = adversary(real, fake, mask, 5)
    of_real, of_fake = logits(adversary, real, mask), logits(adversary, fake, mask)
    assert of_real.shape == (1, 1, 2, 1, 3)  # a quarter of the size, less two
    assert float(fooling.detach()) == pytest.approx(0.3 * ((of_fake - 1) ** 2).mean(), rel=1e-6)
    assert float(telling.detach()) == pytest.approx(
        0.5 * ((of_real - 1) ** 2).mean() + 0.5 * (of_fake**2).mean(), rel=1e-6
    )


def test_the_net_is_moved_by_its_own_term_only(adversary: Adversary):
    real, fake, mask = doses()
    fooling, telling = adversary(real, fake, mask, 5)
    weights = list(adversary.discriminator.parameters())
    assert torch.autograd.grad(telling, fake, retain_graph=True, allow_unused=True) == (None,)
    assert set(torch.autograd.grad(fooling, weights, retain_graph=True, allow_unused=True)) == {None}
    (toward,) = torch.autograd.grad(fooling, fake, retain_graph=True)
    assert float(toward[mask].abs().max()) > 1e-8
    assert not toward[~mask].any()
    assert all(float(g.abs().max()) > 1e-8 for g in torch.autograd.grad(telling, weights))


def test_one_backward_pass_of_the_sum_gives_each_side_its_own_gradient(adversary: Adversary):
    real, fake, mask = doses()
    weights = list(adversary.discriminator.parameters())
    fooling, telling = adversary(real, fake, mask, 5)
    wanted = [*torch.autograd.grad(telling, weights, retain_graph=True), *torch.autograd.grad(fooling, fake)]
    sum(adversary(real, fake, mask, 5)).backward()
    torch.testing.assert_close([*(w.grad for w in weights), fake.grad], wanted, rtol=0, atol=0)


def test_the_generator_term_has_the_gradient_of_a_frozen_discriminator(adversary: Adversary):
    real, fake, mask = doses()
    (ours,) = torch.autograd.grad(adversary(real, fake, mask, 9)[0], fake)
    adversary.discriminator.requires_grad_(False)
    plain = 0.3 * (adversary.discriminator(fake * mask)[-1] - 1).square().mean()
    torch.testing.assert_close(ours, torch.autograd.grad(plain, fake)[0], rtol=1e-6, atol=0)


def test_dose_outside_the_mask_is_seen_by_neither(adversary: Adversary):
    real, fake, mask = doses()
    other_real, other_fake = (torch.where(mask, dose, math.nan) for dose in (real, fake))
    expected = adversary(real, fake, mask, 5)
    assert [float(v) for v in adversary(other_real, other_fake, mask, 5)] == [float(v) for v in expected]


def test_before_its_start_all_is_exactly_zero(adversary: Adversary):
    real, fake, mask = doses()
    fooling, telling = adversary(real, fake, mask, 4)
    assert (float(fooling), float(telling)) == (0.0, 0.0)
    (fooling + telling).backward()
    assert fake.grad is None
    assert all(w.grad is not None and not w.grad.any() for w in adversary.parameters())  # as processes expect


def test_a_discriminator_learns_to_tell_two_doses_apart(adversary: Adversary):
    real, fake, mask = doses()
    optimizer = torch.optim.Adam(adversary.parameters(), lr=0.003)
    for _ in range(40):
        optimizer.zero_grad()
        loss = sum(adversary(real, fake, mask, 5))
        loss.backward()
        optimizer.step()
    assert float(adversary(real, fake, mask, 5)[1]) < 0.05


def test_half_precision_doses_give_float32_terms(adversary: Adversary):
    real, fake, mask = doses()
    with torch.autocast("cpu", torch.bfloat16):
        terms = adversary(real, fake, mask, 5)
    assert {term.dtype for term in terms} == {torch.float32}
    assert [float(t) for t in terms] == [pytest.approx(float(t), rel=0.05) for t in adversary(real, fake, mask, 5)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"weight": -0.1}, "weight must be at least 0; got -0.1"),
        ({"start_step": -1}, "start_step must be at least 0"),
        ({"layers": 0}, "layers must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict, said: str):
    with pytest.raises(InputError, match=said):
        Adversary(**arguments)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_least_size_is_the_least_that_works(layers: int):
    adversary = Adversary(channels=2, layers=layers)
    size = 3 * 2**layers
    dose, mask = torch.rand(1, 1, size, size, size), torch.ones((1, 1, size, size, size), dtype=torch.bool)
    assert adversary.discriminator(dose)[-1].shape == (1, 1, 1, 1, 1)
    adversary(dose, dose, mask, 0)
    less = slice(None), slice(None), slice(1, None)
    with pytest.raises(InputError, match=f"dose must have at least {size} voxels along each axis"):
        adversary(dose[less], dose[less], mask[less], 0)
