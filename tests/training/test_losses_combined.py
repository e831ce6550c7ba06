import pytest
import torch
from losses_cases import make_batch, predicted

from dosewright.core import InputError, keys
from dosewright.training.losses import DeepSupervisionLoss, DVHLoss, MaskedL1, MomentLoss, WeightedSum
from dosewright.training.losses.deep_supervision import coarsened


def test_sum_is_the_weighted_sum_and_remembers_its_parts():
    batch = make_batch()
    dose = predicted(batch).requires_grad_()
    losses = {"l1": MaskedL1(), "dvh": DVHLoss(), "moment": MomentLoss()}
    total = WeightedSum(losses, {"moment": 0.25, "l1": 2.0, "dvh": 0.0})
    parts = {name: float(loss(dose.detach(), batch)) for name, loss in losses.items()}
    value = total(dose, batch)
    assert float(value.detach()) == pytest.approx(2 * parts["l1"] + 0.25 * parts["moment"], rel=1e-12)
    assert {name: float(part) for name, part in total.last_parts.items()} == pytest.approx(parts, rel=1e-12)
    assert not any(part.requires_grad for part in total.last_parts.values())
    assert value.requires_grad


@pytest.mark.parametrize("weights", [{}, {"l1": 1.0, "dvh": 1.0}, {"L1": 1.0}])
def test_weights_must_name_the_losses(weights: dict[str, float]):
    with pytest.raises(InputError, match="weights must name the losses"):
        WeightedSum({"l1": MaskedL1()}, weights)


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(InputError, match="weights must name the losses"):
        WeightedSum({}, {})


def test_cascade_is_c3ds_loss():
    # Published as 0.5·L1(A) + L1(B) inside the possible dose mask.
    batch = make_batch()
    dose_b, dose_a = predicted(batch, seed=1), predicted(batch, seed=2)
    l1 = MaskedL1()
    value = DeepSupervisionLoss(l1, (1.0, 0.5))((dose_b, dose_a), batch)
    assert float(value) == pytest.approx(float(l1(dose_b, batch)) + 0.5 * float(l1(dose_a, batch)), rel=1e-12)


def test_a_single_output_meets_the_first_weight():
    batch = make_batch()
    dose = predicted(batch)
    value = DeepSupervisionLoss(MaskedL1(), (2.0, 0.5))(dose, batch)
    assert float(value) == pytest.approx(2 * float(MaskedL1()(dose, batch)), rel=1e-12)


def test_parts_are_those_of_the_final_output():
    batch = make_batch()
    final, other = predicted(batch, seed=1), predicted(batch, seed=2)
    loss = DeepSupervisionLoss(WeightedSum({"l1": MaskedL1()}, {"l1": 1.0}), (1.0, 0.5))
    assert loss.last_parts == {}
    loss((final, other), batch)
    assert float(loss.last_parts["l1"]) == pytest.approx(float(MaskedL1()(final, batch)), rel=1e-12)
    assert DeepSupervisionLoss(MaskedL1(), (1.0,)).last_parts == {}


def _even_batch() -> dict:
    generator = torch.Generator().manual_seed(4)
    batch = make_batch()
    batch[keys.DOSE] = 70 * torch.rand(2, 1, 4, 8, 4, generator=generator, dtype=torch.float64)
    batch[keys.DOSE_MASK] = torch.rand(2, 1, 4, 8, 4, generator=generator) < 0.7
    batch[keys.STRUCTURES] = torch.rand(2, 3, 4, 8, 4, generator=generator) < 0.5
    return batch


def test_coarse_outputs_meet_a_coarse_batch():
    batch = _even_batch()
    final = batch[keys.DOSE] + 3.0
    half = coarsened(batch, (2, 4, 2))[keys.DOSE] - 2.0
    value = DeepSupervisionLoss(MaskedL1(), (1.0, 0.5))((final, half), batch)
    assert float(value) == pytest.approx(3.0 + 0.5 * 2.0, rel=1e-12)


def test_coarsened_batch_is_the_naive_one():
    batch = _even_batch()
    coarse = coarsened(batch, (2, 2, 4))  # factors 2, 4, 1
    for b in range(2):
        for z in range(2):
            for y in range(2):
                for x in range(4):
                    block = (b, slice(None), slice(2 * z, 2 * z + 2), slice(4 * y, 4 * y + 4), x)
                    mask = batch[keys.DOSE_MASK][block][0]
                    expected = float(batch[keys.DOSE][block][0][mask].mean()) if mask.any() else 0.0
                    assert float(coarse[keys.DOSE][b, 0, z, y, x]) == pytest.approx(expected, rel=1e-12)
                    assert bool(coarse[keys.DOSE_MASK][b, 0, z, y, x]) == (int(mask.sum()) >= 4)
                    counts = batch[keys.STRUCTURES][block].flatten(1).sum(dim=1)
                    assert coarse[keys.STRUCTURES][b, :, z, y, x].tolist() == (counts >= 4).tolist()
    torch.testing.assert_close(coarse[keys.SPACING], torch.tensor([[6.0, 8.0, 2.5]] * 2))
    assert coarse[keys.CASE_ID] == batch[keys.CASE_ID]
    assert coarsened(batch, (4, 8, 4)) is batch


def test_coarse_sizes_must_divide():
    with pytest.raises(InputError, match=r"sizes must divide the sizes \(4, 8, 4\) of the batch; got \(3, 8, 4\)"):
        coarsened(_even_batch(), (3, 8, 4))


def test_outputs_must_be_as_many_as_weights():
    batch = make_batch()
    with pytest.raises(InputError, match="outputs must be 2, one per weight; got 3"):
        DeepSupervisionLoss(MaskedL1(), (1.0, 0.5))((batch[keys.DOSE],) * 3, batch)


def test_weights_must_be_there():
    with pytest.raises(InputError, match="weights must hold at least one weight"):
        DeepSupervisionLoss(MaskedL1(), ())
