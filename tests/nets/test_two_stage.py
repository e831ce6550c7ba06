import copy
import json

import pytest
import torch
from net_contract import NetContract
from torch import Tensor, nn

from dosewright.core import InputError
from dosewright.core import plan_code as plans
from dosewright.core.preference import PreferenceSpace
from dosewright.nets.image_encoder import ImageEncoder
from dosewright.nets.two_stage import TwoStageNet

SMALL = {
    "latent_channels": 4,
    "widths": [8, 8, 16],
    "decoder": {"widths": [4, 8, 8]},
    "refine_width": 4,
    "group_width": 4,
    "code_size": 8,
}
SLIDERS = {"groups": "per_group", "homogeneity_range": [0.75, 1.5]}
NEUTRAL_NET = {"conditioning": "none", "preference": None}
KINDS = ("adain", "film", "concatenation")


def _net(seed: int = 0, awake: bool = True, **changes) -> TwoStageNet:
    """A small net; `awake`, its layers that start at zero, and so would let nothing through, are drawn at random."""
    torch.manual_seed(seed)
    net = TwoStageNet(3, **{"preference": SLIDERS, **SMALL, **changes})
    with torch.no_grad():
        for parameter in net.parameters():
            if awake and not bool(parameter.any()):
                parameter.normal_(0.0, 0.3)
    return net


def _image(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 8, 16, 8, generator=torch.Generator().manual_seed(7))


def _changed(**sliders: float) -> Tensor:
    """Neutral preferences of two samples, but for the second's `sliders`."""
    space = PreferenceSpace(**SLIDERS)
    wanted = torch.ones(2, len(space))
    for name, value in sliders.items():
        wanted[1, space.names.index(name)] = value
    return wanted


# A neutral net given no plan feeds zeros to its code; norms take out what is constant over space.
WITHOUT_EFFECT = (r"code\.first\.weight",)


class TestTwoStage(NetContract):
    without_effect = WITHOUT_EFFECT

    def make(self, seed: int = 0) -> TwoStageNet:
        return _net(seed)


class TestTwoStageWithFiLM(NetContract):
    without_effect = WITHOUT_EFFECT

    def make(self, seed: int = 0) -> TwoStageNet:
        return _net(seed, conditioning="film", refine_width=0)


class TestTwoStageWithConcatenation(NetContract):
    without_effect = WITHOUT_EFFECT

    def make(self, seed: int = 0) -> TwoStageNet:
        return _net(seed, conditioning="concatenation", plan_code=False)


class TestTwoStageNeutral(NetContract):
    def make(self, seed: int = 0) -> TwoStageNet:
        return _net(seed, **NEUTRAL_NET)


@pytest.mark.parametrize("conditioning", KINDS)
def test_no_preference_is_the_neutral_one(conditioning: str):
    net = _net(conditioning=conditioning).eval()
    with torch.no_grad():
        silent, neutral = net(_image()), net(_image(), preference=torch.ones(2, 5), plan=torch.zeros(2, plans.SIZE))
    assert torch.equal(silent, neutral)


def test_sliders_enter_as_half_ranges_from_neutral():
    net = _net()
    seen = []
    net.code.register_forward_pre_hook(lambda module, args: seen.append(args))
    plan = torch.eye(plans.SIZE)[:2]
    with torch.no_grad():
        net(_image(), _changed(salivary=0.8, neural=1.1, homogeneity=1.5), plan)
        net(_image())
    deviations, given = seen[0]
    half = (1.5 - 0.75) / 2
    expected = torch.tensor([[0.0] * 5, [-1.0, 0.5, 0.0, 0.0, 0.5 / half]])
    torch.testing.assert_close(deviations, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(deviations[0], torch.zeros(5))
    assert torch.equal(given, plan)
    assert torch.equal(seen[1][0], torch.zeros(2, 5))
    assert torch.equal(seen[1][1], torch.zeros(2, plans.SIZE))


def test_a_slider_that_cannot_move_is_always_at_zero():
    net = _net(preference={"groups": "global", "homogeneity_range": [1.0, 1.0]})
    deviations = net._deviations(2, torch.tensor([[1.2, 1.0], [0.8, 1.0]]))
    torch.testing.assert_close(deviations, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("conditioning", KINDS)
def test_at_first_nothing_that_is_wished_for_changes_the_dose(conditioning: str):
    net = _net(awake=False, conditioning=conditioning).eval()
    with torch.no_grad():
        plain = net(_image())
        moved = net(_image(), _changed(salivary=0.8, homogeneity=1.5), torch.ones(2, plans.SIZE))
    assert torch.equal(moved, plain)


@pytest.mark.parametrize("conditioning", KINDS)
@pytest.mark.parametrize("slider", ["salivary", "homogeneity"])
def test_a_slider_moves_its_samples_dose_and_no_other(conditioning: str, slider: str):
    net = _net(conditioning=conditioning).eval()
    with torch.no_grad():
        plain, moved = net(_image()), net(_image(), _changed(**{slider: 0.8}))
    assert torch.equal(moved[0], plain[0])
    assert float((moved[1] - plain[1]).abs().max()) > 1e-3 * float(plain[1].std())


def test_the_plan_moves_the_dose_of_a_net_that_reads_it():
    plan = torch.eye(plans.SIZE)[:2]
    for reads in (True, False):
        net = _net(plan_code=reads).eval()
        with torch.no_grad():
            assert torch.equal(net(_image(), None, plan), net(_image())) is not reads


@pytest.mark.parametrize("conditioning", KINDS)
def test_the_refinement_follows_a_slider_by_itself(conditioning: str):
    """With the decoder silenced, only the refinement's own norm is left to carry a wish."""
    net = _net(conditioning=conditioning).eval()
    with torch.no_grad():
        for block in net.encoder.modules():
            for name in ("compress", "latent"):
                if isinstance(getattr(block, name, None), nn.Conv3d):
                    getattr(block, name).weight.zero_()
        plain, latent = net.predict_with_latent(_image())
        moved, same_latent = net.predict_with_latent(_image(), _changed(salivary=0.8))
    assert torch.equal(latent, same_latent)
    assert float((moved[1] - plain[1]).abs().max()) > 1e-4 * float(plain[1].std())


@pytest.mark.parametrize("conditioning", KINDS)
def test_gradients_reach_what_reads_the_wishes(conditioning: str):
    net = _net(conditioning=conditioning).double()
    plan = torch.eye(plans.SIZE, dtype=torch.float64)
    image = _image().double()
    for start in range(0, plans.SIZE, 2):
        chosen = plan[[start, min(start + 1, plans.SIZE - 1)]]
        net(image, 0.9 * torch.ones(2, 5, dtype=torch.float64), chosen).square().mean().backward()
    gradient = net.code.first.weight.grad
    assert gradient.shape == (8, 5 + plans.SIZE)
    assert bool((gradient.abs().amax(dim=0) > 1e-12).all())
    assert net.half_range.grad is None


def test_the_gradient_in_a_slider_is_the_finite_difference():
    net = _net().double().eval()
    image, preference = _image(1).double(), torch.full((1, 5), 0.95, dtype=torch.float64, requires_grad=True)
    net(image, preference).mean().backward()
    with torch.no_grad():
        numeric = [
            (net(image, preference + step).mean() - net(image, preference - step).mean()) / 2e-6
            for step in 1e-6 * torch.eye(5, dtype=torch.float64)[:, None]
        ]
    torch.testing.assert_close(preference.grad[0], torch.stack(numeric), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("changes", [{"refine_width": 0}, {"awake": False}])
def test_without_refinement_and_at_its_start_the_dose_is_the_decoders(changes: dict):
    net = _net(**changes).eval()
    wanted = _changed(salivary=0.8)
    with torch.no_grad():
        dose, latent = net.predict_with_latent(_image(), wanted)
        assert torch.equal(dose, net.decoder(latent))
        assert torch.equal(dose, net(_image(), wanted))
    assert latent.shape == (2, 4, 2, 4, 2)


def test_the_dose_with_latent_is_the_dose():
    net = _net().eval()
    plan = torch.eye(plans.SIZE)[:2]
    with torch.no_grad():
        dose, latent = net.predict_with_latent(_image(), _changed(neural=1.1), plan)
        assert torch.equal(dose, net(_image(), _changed(neural=1.1), plan))
        assert torch.equal(latent, net.predict_with_latent(_image(), _changed(neural=1.1), plan)[1])
        assert not torch.equal(dose, net.decoder(latent))


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_the_latent_lives_at_the_decoders_stride(levels: int):
    net = _net(decoder={"widths": [4] * (levels + 1)}, widths=[8] * 4, **NEUTRAL_NET).eval()
    assert net.decoder.stride == net.stride == 2**levels
    with torch.no_grad():
        dose, latent = net.predict_with_latent(torch.zeros(1, 3, 16, 32, 16))
    assert latent.shape == (1, 4, *(n // 2**levels for n in (16, 32, 16)))
    assert dose.shape == (1, 1, 16, 32, 16)


def test_the_weights_serve_any_size():
    """Zero padding aside, a larger image is no other problem: the same net runs on both."""
    net = _net().eval()
    with torch.no_grad():
        for size in ((8, 16, 8), (16, 8, 24)):
            assert net(torch.ones(1, 3, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize("size", [(20, 28, 12), (36, 20, 44)])
def test_sizes_that_halve_unevenly_are_as_good(size: tuple[int, int, int]):
    """What an odd size repeats at its end is cut off again: the dose has the image's size and sees all of it."""
    net = _net(widths=[8, 8, 8, 8]).eval()
    image = torch.randn(1, 3, *size, requires_grad=True)
    dose = net(image)
    assert dose.shape == (1, 1, *size)
    dose[..., -1, -1, -1].sum().backward()
    assert image.grad is not None
    near, far = (float(image.grad[..., s, s, s].abs().sum()) for s in (slice(-2, None), slice(2)))
    assert near > 5 * far > 0


def test_an_image_no_larger_than_the_coarsest_voxel_is_refused():
    with pytest.raises(InputError, match=r"image must be larger than 16 along at least one axis; got \(16, 16, 16\)"):
        _net(widths=[8, 8, 8, 8])(torch.zeros(1, 3, 16, 16, 16))


def test_skips_carry_the_fine_levels_to_the_latent():
    """With everything below a quarter of the resolution silenced, the latent still sees the image."""
    net = _net(widths=[8, 8, 8, 8]).eval()
    image = torch.randn(1, 3, 16, 32, 16)
    with torch.no_grad():
        for up in net.encoder.up:
            up.weight.zero_()
            up.bias.zero_()
        latents = [net.predict_with_latent(x)[1] for x in (image, image.flip(4))]
        assert float((latents[0] - latents[1]).abs().max()) > 0.01
        for down in list(net.encoder.down)[1:]:
            down.weight.normal_()
        assert torch.equal(net.predict_with_latent(image)[1], latents[0])


def test_a_net_of_default_settings_is_small():
    with torch.device("meta"):
        net = TwoStageNet(17)
    assert net.preference == PreferenceSpace()
    assert net.stride == 4
    assert 2e6 < sum(p.numel() for p in net.parameters()) <= 9e6


def test_plain_data_rebuilds_the_net():
    settings = {"in_channels": 3, "preference": SLIDERS, "conditioning": "film", "plan_code": True, **SMALL}
    rebuilt = TwoStageNet(**json.loads(json.dumps(settings))).eval()
    original = _net(conditioning="film").eval()
    rebuilt.load_state_dict(original.state_dict())
    wanted = _changed(rest=1.2)
    with torch.no_grad():
        assert torch.equal(rebuilt(_image(), wanted), original(_image(), wanted))
        assert torch.equal(copy.deepcopy(original)(_image(), wanted), original(_image(), wanted))
    assert rebuilt.preference == PreferenceSpace("per_group", homogeneity_range=(0.75, 1.5))


def test_a_net_with_nothing_to_read_is_the_neutral_one():
    nothing = _net(preference=None, plan_code=False, awake=False).eval()
    neutral = _net(**NEUTRAL_NET, awake=False).eval()
    assert nothing.code is None
    assert neutral.code is None
    neutral.load_state_dict(nothing.state_dict())
    with torch.no_grad():
        assert torch.equal(nothing(_image()), neutral(_image(), None, torch.ones(2, plans.SIZE)))


def test_bfloat16_differs_from_float32_by_rounding():
    net = _net().eval()
    with torch.no_grad():
        exact = net(_image(), _changed(salivary=0.8))
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(_image(), _changed(salivary=0.8))
    assert rounded.dtype == torch.float32
    assert float((rounded - exact).abs().mean()) < 0.05 * float(exact.std())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"conditioning": "adaln"}, "conditioning must be one of .*got 'adaln'"),
        ({"conditioning": "none"}, "preference must be None where conditioning is 'none'; got {'groups': 'per_group'"),
        ({"widths": [8]}, r"widths must reach the latent's stride 4, a power of 2 from 4.*got \(8,\)"),
        ({"decoder": {"widths": [4, 8]}}, "widths must reach the latent's stride 2, a power of 2 from 4"),
        ({"kernel_size": 2}, "kernel_size must be odd; got 2"),
        ({"group_width": 3}, "group_width must divide the 8 channels; got 3"),
    ],
)
def test_unknown_settings_are_refused(arguments: dict, message: str):
    with pytest.raises(InputError, match=message):
        _net(**arguments)


def test_sliders_of_a_net_without_are_refused():
    for settings in (NEUTRAL_NET, {"preference": None}):
        with pytest.raises(InputError, match=r"preference must be None for a net without sliders"):
            _net(**settings)(_image(), torch.ones(2, 5))


def test_the_wrong_number_of_sliders_is_refused():
    with pytest.raises(InputError, match=r"preference must hold the sliders \('salivary', .*got \(2, 2\)"):
        _net()(_image(), torch.ones(2, 2))


def test_a_plan_of_the_wrong_length_is_refused():
    with pytest.raises(InputError, match=rf"plan must hold {plans.SIZE} numbers for each of 2 samples; got \(2, 2\)"):
        _net()(_image(), None, torch.ones(2, 2))


def test_wrong_channels_are_refused():
    with pytest.raises(InputError, match="image must have the 3 channels the net was built for; got 4"):
        _net()(torch.zeros(1, 4, 8, 8, 16))


def test_a_conditioned_encoder_wants_its_code():
    encoder = ImageEncoder(3, 4, (8, 8), group_width=4, code_size=8)
    with pytest.raises(InputError, match="code must be given to a conditional norm"):
        encoder(_image())
