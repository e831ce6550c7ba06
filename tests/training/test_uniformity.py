"""Uniformity of latents against a numpy twin and closed forms, and the positions it is fed."""

import math

import numpy as np
import pytest
import torch

from dosewright.core import InputError
from dosewright.training.uniformity import SHORTEST, drawn_rows, uniformity


def latents(rows: int = 7, columns: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 2.0, 9.0])
def test_it_is_the_numpy_twin(temperature: float):
    z = latents().numpy()
    z = z / np.sqrt((z**2).sum(axis=1, keepdims=True))
    terms = [math.exp(-temperature * ((z[i] - z[j]) ** 2).sum()) for i in range(7) for j in range(i + 1, 7)]
    assert float(uniformity(latents(), temperature)) == pytest.approx(math.log(np.mean(terms)), rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 500.0])
def test_opposite_rows_reach_minus_four_t(temperature: float):
    z = torch.tensor([[3.0, 4.0], [-0.3, -0.4]])
    assert float(uniformity(z, temperature)) == pytest.approx(-4 * temperature, rel=1e-6)  # exp(−2000) underflows


def test_one_direction_is_zero():
    z = torch.tensor([[1.0, 2.0, -3.0]], dtype=torch.float64) * torch.tensor([[1.0], [5.0], [0.2], [7.0]])
    assert float(uniformity(z)) == pytest.approx(0.0, abs=1e-12)


def test_orthogonal_rows():
    assert float(uniformity(torch.eye(6), 1.5)) == pytest.approx(-2 * 1.5, rel=1e-6)


def test_length_and_order_of_rows_do_not_matter():
    z = latents()
    scaled = (z * torch.arange(1.0, 8.0, dtype=torch.float64)[:, None]).flip(0)
    torch.testing.assert_close(uniformity(scaled), uniformity(z), rtol=1e-12, atol=0)


def test_descent_pushes_neighbours_apart():
    z = torch.tensor([[1.0, 0.1], [1.0, -0.1]], dtype=torch.float64, requires_grad=True)
    uniformity(z).backward()
    # log of one pair: −t ‖z1 − z2‖² = −2t (1 − cos 2φ) with tan φ = 0.1, so dL/dφ of one row alone is −2t sin 2φ.
    turn = -4 * math.sin(2 * math.atan(0.1)) / math.hypot(1, 0.1)  # dφ = 1 / length along the tangent
    tangent = torch.tensor([-0.1, 1.0], dtype=torch.float64) / math.hypot(1, 0.1)
    torch.testing.assert_close(z.grad[0], turn * tangent, rtol=1e-12, atol=0)
    torch.testing.assert_close(z.grad[1], z.grad[0] * torch.tensor([1.0, -1.0]), rtol=1e-12, atol=0)


def test_gradient_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(uniformity, latents().requires_grad_())


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e30])
def test_gradient_is_bounded_at_equal_and_at_vanishing_rows(scale: float):
    z = latents().float()
    z[1] = z[0]
    z[2] *= scale
    z.requires_grad_()
    uniformity(z).backward()
    assert float(z.grad.abs().max()) <= 4 * 2.0 / SHORTEST


def test_half_precision_latents_lose_only_their_own_rounding():
    z = latents().bfloat16()
    value = uniformity(z)
    assert value.dtype == torch.float32
    assert torch.equal(value, uniformity(z.float()))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(uniformity(z.float()), value)


def test_one_row_is_refused():
    with pytest.raises(InputError, match=r"latents must hold at least two rows; got \(1, 5\)"):
        uniformity(latents(1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(temperature: float):
    with pytest.raises(InputError, match="temperature must be positive and finite"):
        uniformity(latents(), temperature)


def numbered() -> torch.Tensor:
    """Latents of two samples that hold, in each position, their sample, z, y and x."""
    axes = torch.meshgrid(*(torch.arange(float(n)) for n in (2, 2, 3, 4)), indexing="ij")
    return torch.stack(axes, dim=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_all_positions_are_drawn_once():
    rows = drawn_rows(numbered(), None, 1000, generator())
    assert rows.shape == (48, 4)
    assert {tuple(row) for row in rows.tolist()} == {
        (float(b), float(z), float(y), float(x)) for b in range(2) for z in range(2) for y in range(3) for x in range(4)
    }


def test_draws_repeat_with_the_generator_and_differ_without():
    first = drawn_rows(numbered(), None, 10, generator(3))
    assert first.shape == (10, 4)
    assert torch.equal(first, drawn_rows(numbered(), None, 10, generator(3)))
    source = generator(3)
    drawn_rows(numbered(), None, 10, source)
    assert not torch.equal(first, drawn_rows(numbered(), None, 10, source))


def test_every_position_comes_up_alike():
    source = generator()
    counts = torch.zeros(48)
    for _ in range(400):
        for b, z, y, x in drawn_rows(numbered(), None, 12, source).int().tolist():
            counts[((b * 2 + z) * 3 + y) * 4 + x] += 1
    assert float((counts - 100).abs().max()) < 5 * math.sqrt(400 * 0.25 * 0.75)


def test_positions_lie_in_the_mask():
    mask = torch.zeros(2, 1, 2, 3, 4, dtype=torch.bool)
    mask[0, 0, 1, 2, 1] = mask[1, 0, 0, 0, 3] = mask[1, 0, 1, 1, 0] = True
    rows = drawn_rows(numbered(), mask, 9, generator())
    assert {tuple(row) for row in rows.int().tolist()} == {(0, 1, 2, 1), (1, 0, 0, 3), (1, 1, 1, 0)}


def test_a_finer_mask_counts_by_half_its_voxels():
    mask = torch.zeros(2, 1, 4, 12, 8, dtype=torch.bool)  # 2 · 4 · 2 voxels per position
    mask[0, 0, 2:4, 8:12, 2] = True  # 8 of 16 in (1, 2, 1)
    mask[0, 0, 0, 0:4, 0:2] = True  # 8 of 16 in (0, 0, 0)
    mask[1, 0, 0:2, 0:4, 6] = mask[1, 0, 0, 0, 7] = True  # 9 of 16 in (0, 0, 3)
    mask[1, 0, 2:4, 4:8, 0] = True
    mask[1, 0, 2, 4, 0] = False  # 7 of 16 in (1, 1, 0)
    rows = drawn_rows(numbered(), mask, 9, generator())
    assert {tuple(row) for row in rows.int().tolist()} == {(0, 1, 2, 1), (0, 0, 0, 0), (1, 0, 0, 3)}


def test_gradients_reach_the_drawn_positions_only():
    latent = numbered().requires_grad_()
    mask = torch.zeros(2, 1, 2, 3, 4, dtype=torch.bool)
    mask[0] = True
    drawn_rows(latent, mask, 5, generator()).sum().backward()
    assert int(latent.grad.sum()) == 5 * 4
    assert not latent.grad[1].any()


def test_at_least_two_rows_must_be_asked_for():
    with pytest.raises(InputError, match="count must be at least 2; got 1"):
        drawn_rows(numbered(), None, 1, generator())


def test_the_mask_must_leave_two_positions():
    mask = torch.zeros(2, 1, 2, 3, 4, dtype=torch.bool)
    mask[0, 0, 0, 0, 0] = True
    with pytest.raises(InputError, match="mask must leave at least two positions; got 1"):
        drawn_rows(numbered(), mask, 5, generator())


def test_the_mask_must_be_of_multiple_sizes():
    mask = torch.ones(2, 1, 4, 6, 7, dtype=torch.bool)
    with pytest.raises(InputError, match=r"mask must have the batch size and multiples of the sizes of the latent"):
        drawn_rows(numbered(), mask, 5, generator())
