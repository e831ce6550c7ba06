"""What every loss must do: zero at its target, correct finite gradients, nothing from what is absent."""

import pytest
import torch
from losses_cases import make_batch, predicted
from torch import nn

from dosewright.core import InputError, keys
from dosewright.training.losses import (
    DeepSupervisionLoss,
    DVHLoss,
    MaskedL1,
    MaskedSmoothL1,
    MomentLoss,
    ObjectiveLoss,
    WeightedSum,
)

LOSSES = {
    "l1": MaskedL1,
    "smooth_l1": lambda: MaskedSmoothL1(beta_gy=3.0),
    "dvh": lambda: DVHLoss(bin_width_gy=2.0, softness_gy=1.5),
    "moment": lambda: MomentLoss((1, 2, 10, -5)),
    "objective": lambda: ObjectiveLoss(("PTV_High", "Parotid_L", "SpinalCord")),
    "sum": lambda: WeightedSum({"a": MaskedL1(), "b": MomentLoss()}, {"a": 1.0, "b": 0.3}),
    "deep": lambda: DeepSupervisionLoss(MaskedL1(), (1.0, 0.5)),
}
OF_STRUCTURES = ("dvh", "moment")


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> nn.Module:
    return LOSSES[request.param]()


def test_zero_at_the_reference(loss: nn.Module):
    batch = make_batch()
    assert float(loss(batch[keys.DOSE], batch)) == 0.0


def test_gradient_is_that_of_finite_differences(loss: nn.Module):
    batch = make_batch()
    assert torch.autograd.gradcheck(lambda dose: loss(dose, batch), predicted(batch).requires_grad_())


def test_samples_count_alike(loss: nn.Module):
    batch = make_batch(samples=3)
    dose = predicted(batch)
    apart = [
        loss(dose[i : i + 1], {k: v[i : i + 1] for k, v in batch.items() if isinstance(v, torch.Tensor)})
        for i in range(3)
    ]
    torch.testing.assert_close(loss(dose, batch), torch.stack(apart).mean(), rtol=1e-12, atol=0)


def test_voxels_outside_the_dose_mask_do_not_count(loss: nn.Module):
    batch = make_batch()
    dose = predicted(batch)
    outside = ~batch[keys.DOSE_MASK]
    changed = torch.where(outside, dose + 30, dose).requires_grad_()
    value = loss(changed, batch)
    torch.testing.assert_close(value, loss(dose, batch), rtol=1e-14, atol=0)
    value.backward()
    assert not changed.grad[outside].any()


def test_an_empty_mask_costs_exactly_nothing(loss: nn.Module):
    batch = make_batch()
    batch[keys.DOSE_MASK][:] = False
    dose = predicted(batch).requires_grad_()
    value = loss(dose, batch)
    value.backward()
    assert float(value.detach()) == 0.0
    assert not dose.grad.any()


def test_gradient_is_finite_at_the_reference_and_at_no_dose(loss: nn.Module):
    batch = make_batch()
    batch[keys.DOSE][0] = 0.0
    for start in (batch[keys.DOSE], torch.zeros_like(batch[keys.DOSE]), -torch.ones_like(batch[keys.DOSE])):
        dose = start.clone().requires_grad_()
        value = loss(dose, batch)
        value.backward()
        assert bool(torch.isfinite(value))
        assert bool(torch.isfinite(dose.grad).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_lose_only_their_own_rounding(loss: nn.Module, dtype: torch.dtype):
    batch = make_batch(dtype=torch.float32)
    dose = predicted(batch)
    rounded = dose.to(dtype)
    value = loss(rounded, batch)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(rounded.float(), batch), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", OF_STRUCTURES)
def test_absent_structures_cost_exactly_nothing(name: str):
    loss, batch = LOSSES[name](), make_batch()
    dose = predicted(batch).requires_grad_()
    padded = {**batch, keys.STRUCTURES: torch.nn.functional.pad(batch[keys.STRUCTURES], (0,) * 7 + (4,))}
    assert padded[keys.STRUCTURES].shape[1] == 7
    assert torch.equal(loss(dose, padded), loss(dose, batch))
    nothing = {**batch, keys.STRUCTURES: torch.zeros_like(batch[keys.STRUCTURES])}
    value = loss(dose, nothing)
    value.backward()
    assert float(value.detach()) == 0.0
    assert not dose.grad.any()


@pytest.mark.parametrize("name", OF_STRUCTURES)
def test_order_of_structures_does_not_matter(name: str):
    loss, batch = LOSSES[name](), make_batch()
    dose = predicted(batch)
    turned = {**batch, keys.STRUCTURES: batch[keys.STRUCTURES].flip(1)}
    torch.testing.assert_close(loss(dose, turned), loss(dose, batch), rtol=1e-14, atol=0)


@pytest.mark.parametrize("key", [keys.DOSE, keys.DOSE_MASK])
def test_a_missing_volume_is_named(loss: nn.Module, key: str):
    batch = make_batch()
    dose = batch.pop(key) if key == keys.DOSE else batch[keys.DOSE]
    batch.pop(key, None)
    with pytest.raises(InputError, match=f"{key} must be in the batch"):
        loss(dose, batch)


def test_another_grid_is_refused(loss: nn.Module):
    batch = make_batch()
    with pytest.raises(InputError, match=r"dose_gy must have shape \(2, 1, 4, 5, 5\); got \(2, 1, 4, 5, 6\)"):
        loss(batch[keys.DOSE][..., :5], batch)


@pytest.mark.parametrize("name", OF_STRUCTURES)
def test_structures_must_be_there_and_on_the_grid(name: str):
    loss, batch = LOSSES[name](), make_batch()
    short = {**batch, keys.STRUCTURES: batch[keys.STRUCTURES][..., :5]}
    with pytest.raises(InputError, match="structures must be masks on the grid of outputs"):
        loss(batch[keys.DOSE], short)
    del batch[keys.STRUCTURES]
    with pytest.raises(InputError, match="structures must be in the batch"):
        loss(batch[keys.DOSE], batch)
