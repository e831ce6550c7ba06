import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dosewright.core import InputError
from dosewright.nets.conditional_block import ConditionalBlock
from dosewright.nets.conditioning import (
    EPSILON,
    AdaIN,
    Concatenation,
    ConditionCode,
    FiLM,
    Unconditioned,
    conditional_norm,
)

CHANNELS, CODE = 6, 5
KINDS = ("adain", "film", "concatenation", "none")


def _features() -> Tensor:
    """Two samples whose channels have means and deviations far from 0 and 1."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2, CHANNELS, 3, 4, 5, generator=draw)
    spread = torch.linspace(0.5, 3.0, 2 * CHANNELS).reshape(2, CHANNELS, 1, 1, 1)
    return features * spread + 4.0 * torch.randn(2, CHANNELS, 1, 1, 1, generator=draw)


def _awake(module: nn.Module) -> nn.Module:
    """Every parameter drawn anew, so that none is at its initial 0 or 1."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.5)
    return module


def _block(**changes: int) -> ConditionalBlock:
    sizes = {"kernel_size": 3, "group_width": 2, "expansion": 2, **changes}
    return ConditionalBlock(CHANNELS, conditioning="adain", code_size=CODE, **sizes)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def _instance_norm(x: np.ndarray) -> np.ndarray:
    mean, variance = x.mean(axis=(2, 3, 4), keepdims=True), x.var(axis=(2, 3, 4), keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON)


def _spread_out(per_channel: np.ndarray) -> np.ndarray:
    return per_channel[..., None, None, None]


def _scale_and_shift(norm: AdaIN | FiLM, code: Tensor) -> tuple[np.ndarray, np.ndarray]:
    linear = norm.read.linear
    read = _numpy(code) @ _numpy(linear.weight).T + _numpy(linear.bias)
    return 1.0 + read[:, :CHANNELS], read[:, CHANNELS:]


@pytest.fixture
def code() -> Tensor:
    return torch.randn(2, CODE, generator=torch.Generator().manual_seed(2))


def test_adain_gives_each_channel_the_statistics_of_its_code(code: Tensor):
    norm = _awake(AdaIN(CHANNELS, CODE))
    scale, shift = _scale_and_shift(norm, code)
    out = _numpy(norm(_features(), code))
    np.testing.assert_allclose(out.mean(axis=(2, 3, 4)), shift, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(2, 3, 4)), np.abs(scale), rtol=1e-4)
    twin = _spread_out(scale) * _instance_norm(_numpy(_features())) + _spread_out(shift)
    np.testing.assert_allclose(out, twin, rtol=1e-4, atol=1e-5)


def test_film_scales_and_shifts_what_an_affine_norm_over_the_sample_gives(code: Tensor):
    norm = _awake(FiLM(CHANNELS, CODE))
    scale, shift = _scale_and_shift(norm, code)
    x = _numpy(_features())
    mean, variance = x.mean(axis=(1, 2, 3, 4), keepdims=True), x.var(axis=(1, 2, 3, 4), keepdims=True)
    affine = (x - mean) / np.sqrt(variance + EPSILON) * _spread_out(_numpy(norm.weight))
    affine += _spread_out(_numpy(norm.bias))
    twin = _spread_out(scale) * affine + _spread_out(shift)
    np.testing.assert_allclose(_numpy(norm(_features(), code)), twin, rtol=1e-4, atol=1e-5)


def test_film_keeps_the_channels_own_deviations_and_adain_does_not(code: Tensor):
    before = _numpy(_features()).std(axis=(2, 3, 4))
    film, adain = (_numpy(conditional_norm(kind, CHANNELS, CODE)(_features(), code)) for kind in ("film", "adain"))
    after = film.std(axis=(2, 3, 4))
    np.testing.assert_allclose(after / after[:, :1], before / before[:, :1], rtol=1e-4)
    np.testing.assert_allclose(adain.std(axis=(2, 3, 4)), 1.0, rtol=1e-4)


def test_concatenation_is_a_convolution_over_features_and_broadcast_code(code: Tensor):
    norm = _awake(Concatenation(CHANNELS, CODE))
    affine = _instance_norm(_numpy(_features())) * _spread_out(_numpy(norm.norm.weight))
    affine += _spread_out(_numpy(norm.norm.bias))
    broadcast = np.broadcast_to(_spread_out(_numpy(code)), (2, CODE, 3, 4, 5))
    weight = np.concatenate((_numpy(norm.of_features.weight)[..., 0, 0, 0], _numpy(norm.of_code.weight)), axis=1)
    twin = np.einsum("oc,bczyx->bozyx", weight, np.concatenate((affine, broadcast), axis=1))
    twin += _spread_out(_numpy(norm.of_features.bias))
    np.testing.assert_allclose(_numpy(norm(_features(), code)), twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_starts_as_a_plain_norm_whatever_the_code(kind: str, code: Tensor):
    norm = conditional_norm(kind, CHANNELS, CODE)
    features = _features()
    plain = nn.GroupNorm(1 if kind == "film" else CHANNELS, CHANNELS)
    for given in (code, torch.zeros_like(code)):
        torch.testing.assert_close(norm(features, given), plain(features), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["adain", "film", "concatenation"])
def test_the_code_of_one_sample_moves_that_sample_alone(kind: str, code: Tensor):
    norm = _awake(conditional_norm(kind, CHANNELS, CODE))
    other = code.clone()
    other[1] += 1.0
    before, after = norm(_features(), code), norm(_features(), other)
    assert torch.equal(before[0], after[0])
    assert bool(((before[1] - after[1]).abs().amax(dim=(1, 2, 3)) > 0.01).all())


def test_without_conditioning_no_code_is_needed():
    norm = _awake(Unconditioned(CHANNELS))
    twin = _instance_norm(_numpy(_features())) * _spread_out(_numpy(norm.norm.weight))
    twin += _spread_out(_numpy(norm.norm.bias))
    np.testing.assert_allclose(_numpy(norm(_features())), twin, rtol=1e-4, atol=1e-5)


def test_the_code_is_a_perceptron_of_two_layers():
    coder = _awake(ConditionCode(2, 3, CODE))
    deviations, plan = torch.tensor([[0.5, -1.0], [0.0, 0.25]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    wanted = np.concatenate((_numpy(deviations), _numpy(plan)), axis=1)
    hidden = wanted @ _numpy(coder.first.weight).T + _numpy(coder.first.bias)
    hidden *= 0.5 * (1.0 + np.vectorize(math.erf)(hidden / math.sqrt(2.0)))
    twin = hidden @ _numpy(coder.second.weight).T + _numpy(coder.second.bias)
    np.testing.assert_allclose(_numpy(coder(deviations, plan)), twin, rtol=1e-5, atol=1e-6)


def test_bfloat16_does_not_round_codes():
    coder = _awake(ConditionCode(2, 3, CODE))
    deviations, plan = torch.tensor([[0.1, 0.2]]), torch.zeros(1, 3)
    expected = coder(deviations, plan)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(coder(deviations, plan), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_features_stay_bfloat16_and_are_normalised_as_float32_ones(kind: str, code: Tensor):
    norm = _awake(conditional_norm(kind, CHANNELS, CODE))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = norm(_features().bfloat16(), code)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), norm(_features(), code).detach(), rtol=0.02, atol=0.05)


@pytest.mark.parametrize("group_width", [1, 2, CHANNELS])
def test_a_block_adds_its_branch_to_its_input(code: Tensor, group_width: int):
    block = _awake(_block(group_width=group_width))
    padded = np.pad(_numpy(_features()), ((0, 0), (0, 0), (1, 1), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), axis=(2, 3, 4))
    weight, y = _numpy(block.spatial.weight), np.empty(_features().shape)
    for out in range(CHANNELS):
        first = out - out % group_width
        y[:, out] = np.einsum("bczyxkji,ckji->bzyx", windows[:, first : first + group_width], weight[out])
    scale, shift = _scale_and_shift(block.norm, code)
    y = _spread_out(scale) * _instance_norm(y) + _spread_out(shift)
    y = np.einsum("oc,bczyx->bozyx", _numpy(block.expand.weight)[..., 0, 0, 0], y)
    y += _spread_out(_numpy(block.expand.bias))
    y *= 0.5 * (1.0 + np.vectorize(math.erf)(y / math.sqrt(2.0)))
    y = np.einsum("oc,bczyx->bozyx", _numpy(block.compress.weight)[..., 0, 0, 0], y)
    y += _spread_out(_numpy(block.compress.bias))
    np.testing.assert_allclose(_numpy(block(_features(), code)), _numpy(_features()) + y, rtol=1e-4, atol=1e-4)


def test_unknown_conditioning_is_refused():
    with pytest.raises(InputError, match=r"conditioning must be one of \('adain', .*got 'adaln'"):
        conditional_norm("adaln", CHANNELS, CODE)


@pytest.mark.parametrize("kind", ["adain", "film", "concatenation"])
def test_a_missing_code_is_refused(kind: str):
    with pytest.raises(InputError, match="code must be given to a conditional norm; got None"):
        conditional_norm(kind, CHANNELS, CODE)(_features())


def test_an_even_kernel_is_refused():
    with pytest.raises(InputError, match="kernel_size must be odd; got 4"):
        _block(kernel_size=4)


@pytest.mark.parametrize("group_width", [0, 4])
def test_groups_that_do_not_divide_the_channels_are_refused(group_width: int):
    with pytest.raises(InputError, match=f"group_width must divide the 6 channels; got {group_width}"):
        _block(group_width=group_width)
