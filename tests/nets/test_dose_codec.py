from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dosewright.core import InputError
from dosewright.nets.dose_codec import DoseCodec
from dosewright.nets.dose_decoder import DoseDecoder, ResidualBlock
from dosewright.nets.dose_encoder import DoseEncoder

SMALL = {"kind": "vector", "codebook_size": 8, "levels": 2}


def small_codec(seed: int = 0, **settings) -> DoseCodec:
    torch.manual_seed(seed)
    return DoseCodec(**{"latent_channels": 4, "widths": (4, 8, 16), "quantiser": SMALL} | settings)


@pytest.mark.parametrize(("widths", "stride"), [((4, 8), 2), ((4, 8, 16), 4), ((2, 3, 5, 7), 8)])
def test_each_level_after_the_first_halves_and_doubles(widths: tuple[int, ...], stride: int):
    encoder, decoder = DoseEncoder(3, widths, blocks=2), DoseDecoder(3, widths, blocks=2)
    assert encoder.stride == decoder.stride == stride
    latent = encoder(torch.rand(2, 1, stride, 2 * stride, 3 * stride))
    assert latent.shape == (2, 3, 1, 2, 3)
    assert decoder(latent).shape == (2, 1, stride, 2 * stride, 3 * stride)
    for net in (encoder, decoder):
        assert sum(isinstance(part, ResidualBlock) for part in net.modules()) == 2 * (len(widths) - 1)


def test_a_constant_latent_gives_a_constant_dose_off_the_border():
    """No checkerboard, no seams: nothing in the decoder knows where in its stride a voxel lies."""
    torch.manual_seed(0)
    decoder = awake(DoseDecoder(4, (8, 16, 24))).double().eval()
    latent = torch.randn(1, 4, 1, 1, 1, dtype=torch.float64).expand(1, 4, 16, 16, 16)
    with torch.no_grad():
        dose = decoder(latent)[0, 0]
    inner = dose[24:-24, 24:-24, 24:-24]
    assert inner.max() - inner.min() < 1e-5 * dose.abs().max()
    assert dose.max() - dose.min() > 1e-2 * dose.abs().max()  # at the border it is not


def awake(net: nn.Module) -> nn.Module:
    """Blocks start as adding nothing: let them."""
    for block in net.modules():
        if isinstance(block, ResidualBlock):
            nn.init.normal_(block.second.weight, std=0.1)
    return net


def test_blocks_start_as_adding_nothing():
    x = torch.randn(1, 16, 4, 4, 4)
    assert torch.equal(ResidualBlock(16)(x), x)
    assert not torch.allclose(awake(ResidualBlock(16))(x), x)


def test_dose_depends_on_no_dose_far_away():
    """What lies beyond their reach, be it dose or a longer volume, changes neither encoder's nor decoder's output."""
    torch.manual_seed(1)
    codec = awake(small_codec(quantiser={"kind": "none"})).double().eval()
    dose = torch.rand(1, 1, 8, 8, 64, dtype=torch.float64)
    other = torch.cat((dose[..., :32], 5 * torch.rand(1, 1, 8, 8, 64, dtype=torch.float64)), dim=-1)
    with torch.no_grad():
        one, two = codec.encode(dose), codec.encode(other)
        torch.testing.assert_close(one[..., :4], two[..., :4], rtol=0, atol=1e-12)
        assert not torch.allclose(one[..., 7], two[..., 7])
        left, right = torch.rand(2, 1, 4, 2, 2, 16, dtype=torch.float64)
        joined = codec.decode(torch.cat((left, right), dim=-1))
        torch.testing.assert_close(joined[..., :32], codec.decode(left)[..., :32], rtol=0, atol=1e-12)


def test_codec_is_encoder_quantiser_decoder():
    codec, dose = small_codec(), torch.rand(2, 1, 8, 8, 12)
    codec(dose)  # starts the codebooks
    codec.eval()
    out = codec(dose)
    assert codec.stride == 4
    assert torch.equal(out.latent, codec.encoder(dose))
    assert torch.equal(out.quantised.latent, codec.quantise(codec.encode(dose)).latent)
    assert torch.equal(out.dose, codec.decode(codec.quantiser.lookup(out.quantised.indices)))
    assert out.quantised.indices.shape == (2, 2, 2, 2, 3)


def test_codec_without_quantising_is_an_autoencoder_and_moves_no_code():
    codec, dose = small_codec(), torch.rand(1, 1, 8, 8, 12)
    out = codec(dose, quantise=False)
    assert torch.equal(out.quantised.latent, out.latent)
    assert torch.equal(out.dose, codec.decode(out.latent))
    assert out.quantised.loss.item() == 0.0
    started = [value for key, value in codec.state_dict().items() if key.endswith("initted")]
    assert [bool(flag) for flag in started] == [False, False]


@pytest.mark.parametrize("quantiser", [SMALL, {"kind": "scalar", "steps": [5, 5], "levels": 2}, {"kind": "none"}, None])
def test_gradient_reaches_every_parameter(quantiser: dict | None):
    codec = awake(small_codec(quantiser=quantiser))
    out = codec(torch.rand(1, 1, 8, 8, 8))
    ((out.dose - 1).square().mean() + out.quantised.loss).backward()
    for name, parameter in codec.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.count_nonzero(), name


def test_state_carries_the_whole_codec():
    first, second, dose = small_codec(0), small_codec(1), torch.rand(1, 1, 8, 8, 8)
    first(dose)
    second.load_state_dict(first.state_dict())
    one, other = first.eval()(dose), second.eval()(dose)
    assert torch.equal(one.dose, other.dose)
    assert torch.equal(one.quantised.indices, other.quantised.indices)


def test_bfloat16_autocast_quantises_in_float32():
    codec, dose = small_codec(), torch.rand(1, 1, 16, 16, 16)
    codec(dose)
    codec.eval()
    with torch.no_grad():
        exact = codec(dose)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = codec(dose)
    assert cast.latent.dtype == torch.bfloat16
    assert cast.quantised.latent.dtype == torch.float32
    assert torch.equal(cast.quantised.indices, codec.quantise(cast.latent.float()).indices)
    torch.testing.assert_close(cast.latent.float(), exact.latent, rtol=0.05, atol=0.05 * float(exact.latent.std()))


@pytest.mark.parametrize(
    "quantiser", [SMALL | {"codebook_size": 32, "decay": 0.9}, {"kind": "scalar"}, {"kind": "none"}]
)
def test_a_small_codec_overfits_one_dose(quantiser: dict):
    """Two blobs of dose, 70 and 35 Gy high: to within 2 Gy on average in a few steps."""
    axis = torch.linspace(-1, 1, 12)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    dose_gy = 70 * torch.exp(-4 * (z**2 + (y - 0.3) ** 2 + x**2)) + 35 * torch.exp(-9 * (z**2 + (y + 0.6) ** 2 + x**2))
    dose = (dose_gy / 70)[None, None]
    codec = small_codec(widths=(8, 16, 24), quantiser=quantiser)
    optimiser = torch.optim.AdamW(codec.parameters(), lr=3e-3)
    for _ in range(120):
        out = codec(dose)
        loss = (out.dose - dose).abs().mean() + 0.1 * out.quantised.loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    error_gy = 70 * (codec.eval()(dose).dose - dose).abs().mean().item()
    assert error_gy < 2.0


@pytest.mark.parametrize("part", [DoseEncoder, DoseDecoder])
@pytest.mark.parametrize(
    ("widths", "blocks", "message"),
    [
        ((8,), 1, r"widths must hold at least two levels of at least one feature; got \[8\]"),
        ((8, 0), 1, r"widths must hold at least two levels of at least one feature; got \[8, 0\]"),
        ((8, 8), 0, "blocks must be at least 1; got 0"),
    ],
)
def test_levels_that_cannot_be_built_are_refused(
    part: Callable[..., nn.Module], widths: tuple, blocks: int, message: str
):
    with pytest.raises(InputError, match=message):
        part(4, widths, blocks)


@pytest.mark.parametrize(
    ("dose", "message"),
    [
        (torch.zeros(1, 1, 8, 8, 10), r"must have sizes \(z, y, x\) that are multiples of 4; got \(8, 8, 10\)"),
        (torch.zeros(1, 1, 4, 4, 4), r"must be larger than 4 along at least one axis; got \(4, 4, 4\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(dose: Tensor, message: str):
    codec = small_codec()
    for encode in (codec, codec.encode):
        with pytest.raises(InputError, match=message):
            encode(dose)


def test_a_latent_of_other_channels_is_refused():
    with pytest.raises(InputError, match="latent must have the 4 channels the decoder was built for; got 5"):
        small_codec().decode(torch.zeros(1, 5, 2, 2, 2))
