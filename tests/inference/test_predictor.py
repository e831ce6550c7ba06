from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dosewright.core import InputError, PatientCase
from dosewright.core.plan_code import plan_code
from dosewright.datasets.channels import CT, ChannelSet, Masks, Regions
from dosewright.inference.predictor import Predictor
from dosewright.inference.preference import Preference
from dosewright.inference.weights import Model, default_weights
from slider_net import CHANNELS as SLIDER_CHANNELS
from slider_net import SliderNet, slider_case, slider_model

CHANNELS = ChannelSet([CT(), Regions(), Masks(["Parotid_L", "Parotid_R", "SpinalCord"])], ["PTV_High"])
WEIGHTS = (0.3, 0.5, 0.25, 0.125, -0.5, -2.0)  # ct, body, dose mask, left and right parotid, cord


class Linear(nn.Module):
    """Σ weight · channel, voxel by voxel."""

    def __init__(self, weights: tuple[float, ...] = WEIGHTS, stride: int = 4) -> None:
        super().__init__()
        self.stride = stride
        self.mix = nn.Conv3d(len(weights), 1, 1, bias=False)
        self.mix.weight.data = torch.tensor(weights)[None, :, None, None, None]
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        assert not any(n % self.stride for n in image.shape[2:])
        self.seen.append(image)
        return self.mix(image)


class Ramp(nn.Module):
    """The column number, whatever the image."""

    stride = 8

    def forward(self, image: Tensor) -> Tensor:
        return torch.arange(image.shape[-1]).float().expand(1, 1, *image.shape[2:])


def model(net: nn.Module, scale_gy: float = 60.0) -> Model:
    return Model(net.eval(), CHANNELS, scale_gy, Path("unused"))


def linear_dose(case: PatientCase, weights: tuple[float, ...], scale_gy: float = 60.0) -> np.ndarray:
    """The same by numpy on the whole grid, clamped and masked."""
    channels = CHANNELS.compute(case).astype(np.float32)
    dose = scale_gy * np.tensordot(np.float32(weights), channels, axes=1)
    return np.where(case.scored_mask, np.maximum(dose, 0), 0)


def test_one_pass_is_the_net_on_every_voxel_where_dose_is_allowed(case: PatientCase):
    dose_gy = Predictor([model(Linear())], flip=False).predict(case)
    expected = linear_dose(case, WEIGHTS)
    assert dose_gy.dtype == np.float32
    np.testing.assert_allclose(dose_gy, expected, rtol=1e-5, atol=1e-4)
    assert (dose_gy >= 0).all()
    assert not dose_gy[~case.scored_mask].any()
    cord = case.structures["SpinalCord"] & case.scored_mask
    assert not dose_gy[cord].any()  # there the net is below zero
    assert float(dose_gy.max()) == pytest.approx(60.0 * (0.3 * -0.2 + 0.5 + 0.25 + 0.125), rel=1e-3)


def test_the_flip_average_swaps_the_sides_of_paired_organs(case: PatientCase):
    dose_gy = Predictor([model(Linear())], flip=True).predict(case)
    gland = (WEIGHTS[3] + WEIGHTS[4]) / 2
    np.testing.assert_allclose(dose_gy, linear_dose(case, (*WEIGHTS[:3], gland, gland, -2.0)), rtol=1e-5, atol=1e-4)


def test_the_flip_is_undone_before_the_mean(case: PatientCase):
    """Column i of the patient is column n - 1 - i of the flipped one, padding apart: the mean is the middle column."""
    columns = np.flatnonzero(case.scored_mask.any(axis=(0, 1)))
    assert len(columns) % Ramp.stride != 0
    dose_gy = Predictor([model(Ramp(), 1.0)], flip=True).predict(case)
    np.testing.assert_allclose(dose_gy, case.scored_mask * np.float32((len(columns) - 1) / 2), rtol=1e-6)
    once_gy = Predictor([model(Ramp(), 1.0)], flip=False).predict(case)
    np.testing.assert_allclose(once_gy, case.scored_mask * (np.arange(24) - columns[0]), rtol=1e-6)


def test_an_ensemble_is_the_mean_of_its_nets(case: PatientCase):
    other = (0.1, 0.9, 0.4, 0.3, 0.7, -0.6)
    dose_gy = Predictor([model(Linear(), 60.0), model(Linear(other, stride=16), 30.0)], flip=False).predict(case)
    mean = tuple((60.0 * a + 30.0 * b) / 2 for a, b in zip(WEIGHTS, other, strict=True))
    np.testing.assert_allclose(dose_gy, linear_dose(case, mean, 1.0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("window_zyx", [(8, 8, 8), (4, 12, 8), (16, 20, 24)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_change_nothing_for_a_net_that_sees_one_voxel(
    case: PatientCase, window_zyx: tuple[int, int, int], overlap: float
):
    net = Linear()
    dose_gy = Predictor([model(net)], flip=False, window_zyx=window_zyx, overlap=overlap).predict(case)
    np.testing.assert_allclose(dose_gy, linear_dose(case, WEIGHTS), rtol=1e-5, atol=1e-4)
    assert {tuple(image.shape[2:]) for image in net.seen} == {window_zyx}


def test_a_window_beyond_the_image_sees_air_there(case: PatientCase):
    net = Linear()
    dose_gy = Predictor([model(net)], flip=False, window_zyx=(16, 32, 64)).predict(case)
    np.testing.assert_allclose(dose_gy, linear_dose(case, WEIGHTS), rtol=1e-5, atol=1e-4)
    (image,) = net.seen
    size = [len(np.flatnonzero(case.scored_mask.any(axis=axes))) for axes in ((1, 2), (0, 2), (0, 1))]
    beyond = torch.ones(16, 32, 64, dtype=torch.bool)
    beyond[: size[0], : size[1], : size[2]] = False
    assert torch.equal(image[0][:, beyond].unique(dim=1)[:, 0], torch.tensor([-1.0, 0, 0, 0, 0, 0]))


def test_a_case_smaller_than_the_stride_is_padded(case: PatientCase):
    net = Linear(stride=32)
    dose_gy = Predictor([model(net)]).predict(case)
    gland = (WEIGHTS[3] + WEIGHTS[4]) / 2
    np.testing.assert_allclose(dose_gy, linear_dose(case, (*WEIGHTS[:3], gland, gland, -2.0)), rtol=1e-5, atol=1e-4)
    assert {tuple(image.shape[2:]) for image in net.seen} == {(32, 32, 32)}


def test_dose_stays_inside_a_dose_mask_tighter_than_the_body(case: PatientCase):
    mask = np.zeros_like(case.body)
    mask[4:12, 6:14, 8:16] = True
    tight = replace(case, dose_mask=mask)
    dose_gy = Predictor([model(Linear())], flip=False).predict(tight)
    np.testing.assert_allclose(dose_gy, linear_dose(tight, WEIGHTS), rtol=1e-5, atol=1e-4)
    assert np.count_nonzero(dose_gy) == np.count_nonzero(mask & ~case.structures["SpinalCord"])


def test_bfloat16_keeps_eight_bits(case: PatientCase):
    dose_gy = Predictor([model(Linear())], flip=False, precision="bf16").predict(case)
    expected = linear_dose(case, WEIGHTS)
    assert dose_gy.dtype == np.float32
    error = np.abs(dose_gy - expected).max()
    assert 0 < error < 60 * sum(map(abs, WEIGHTS)) * 2**-8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": []}, "models must hold at least one model"),
        ({"overlap": 1.0}, r"overlap must be in \[0, 1\); got 1.0"),
        ({"overlap": -0.1}, r"overlap must be in \[0, 1\); got -0.1"),
        ({"window_zyx": (8, 8, 6)}, r"window_zyx must be multiples of 4; got \(8, 8, 6\)"),
        ({"window_zyx": (8, 0, 8)}, r"window_zyx must be multiples of 4; got \(8, 0, 8\)"),
        ({"device": "abacus"}, r"device must be a device of this machine \(.*; got 'abacus'"),
    ],
)
def test_bad_settings_are_refused(options: dict, message: str):
    with pytest.raises(InputError, match=f"(?s){message}"):
        Predictor(**({"models": [model(Linear())]} | options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_net_that_scales_to_the_prescription_is_refused_windows():
    """Each window would be scaled by the part of the target it sees."""
    from dosewright.nets.two_stage import TwoStageNet

    small: dict[str, Any] = {"widths": [4, 8, 8], "decoder": {"widths": [4, 4, 4]}, "latent_channels": 4}
    net = TwoStageNet(len(CHANNELS), **small, refine_width=0, group_width=4, prescription_channel=2)
    Predictor([model(net)])
    rule = "must be None for a net that scales its dose to the prescription, which takes the whole target"
    with pytest.raises(InputError, match=rf"window_zyx {rule}; got \(16, 16, 16\)"):
        Predictor([model(Linear()), model(net)], window_zyx=(16, 16, 16))


def test_a_missing_gpu_is_told():
    with pytest.raises(InputError, match=r"(?s)device must be a device of this machine \(.*\); got 'cuda'"):
        Predictor([model(Linear())], device="cuda")


def test_an_unknown_precision_is_refused():
    from jaxtyping import TypeCheckError

    with pytest.raises((InputError, TypeCheckError), match="fp16"):  # the type checker of the tests may be first
        Predictor([model(Linear())], precision="fp16")  # type: ignore[arg-type]


def slider_dose(case: PatientCase, salivary: float, neural: float, a: float, h: float) -> np.ndarray:
    """What `SliderNet` gives, by numpy; `a` of the rows counted from the first of the sample."""
    first = int(np.flatnonzero(case.scored_mask.any(axis=(0, 2)))[0])
    sign = 1.0 - 2.0 * ((np.arange(case.grid.shape_zyx[1]) - first) % 2)[:, None]
    high, low, left, right, cord = SLIDER_CHANNELS.compute(case).astype(float)
    dose = high * (70 + a * sign) + low * (56 + a * sign)
    return dose + (left + right) * (30 * salivary + 2 * (neural - 1)) + cord * (20 * neural + 4 * (h - 1))


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"window_zyx": (16, 16, 8)}, {"precision": "bf16"}])
def test_a_net_with_sliders_gets_preference_and_plan(options: dict):
    case, net = slider_case(), SliderNet()
    asked = Preference(0.9, 1.2, {"salivary": 0.8})
    dose_gy = Predictor([slider_model(net)], preference=asked, **({"flip": False} | options)).predict(case)
    a = 2 * 1.2 - 3 * ((0.8 + 3 * 0.9) / 4 - 1)
    np.testing.assert_allclose(dose_gy, slider_dose(case, 0.8, 0.9, a, 1.2), rtol=1e-5, atol=1e-4)
    assert len(net.calls) == (2 if options.get("flip") else 4 if "window_zyx" in options else 1)
    for call in net.calls:
        assert torch.equal(call["preference"], torch.tensor([[0.8, 0.9, 0.9, 0.9, 1.2]]))
        assert call["plan"].tolist() == [list(plan_code(case))]
        assert sum(call["plan"][0]) == 2  # a technique and a site


def test_neutral_is_what_is_predicted_when_nothing_is_asked():
    case, net = slider_case(), SliderNet()
    neutral_gy = Predictor([slider_model(net)], preference=Preference()).predict(case)
    np.testing.assert_array_equal(Predictor([slider_model(net)]).predict(case), neutral_gy)
    assert net.calls[0]["preference"].tolist() == [[1.0] * 5]
    assert net.calls[-1]["preference"] is None
    np.testing.assert_allclose(neutral_gy, slider_dose(case, 1.0, 1.0, 2.0, 1.0), rtol=1e-5, atol=1e-4)


def test_many_preferences_are_as_one_by_one():
    case, asked = slider_case(), [None, Preference(0.8), Preference(homogeneity=1.5)]
    models = [slider_model(SliderNet()), slider_model(SliderNet("global"))]
    many = list(Predictor(models).predict_many(case, asked))
    for dose_gy, preference in zip(many, asked, strict=True):
        np.testing.assert_array_equal(dose_gy, Predictor(models, preference=preference).predict(case))
    assert [dose_gy[case.structures["Parotid_L"]].mean() for dose_gy in many] == pytest.approx([30.0, 23.6, 30.0])


def test_a_preference_that_does_not_fit_is_refused_before_anything_is_predicted():
    plain, net = replace(model(Linear()), path=Path("plain.ckpt")), SliderNet()
    with pytest.raises(InputError, match=r"plain\.ckpt: preference must not be given: this net has no"):
        Predictor([slider_model(net), plain], preference=Preference(0.9))
    with pytest.raises(InputError, match=r"slider\.safetensors: preference homogeneity must be in \[0.75, 1.5\]"):
        Predictor([slider_model(net)]).predict_many(slider_case(), [None, Preference(homogeneity=2.0)])
    with pytest.raises(InputError, match=r"slider.safetensors: sparing must name some of .*; got \['bones'\]"):
        Predictor([slider_model(net)], preference=Preference(groups={"bones": 0.9}))
    assert net.calls == []


def test_the_two_stage_net_follows_the_protocol(case: PatientCase):
    from dosewright.nets.two_stage import TwoStageNet

    torch.manual_seed(0)
    small: dict[str, Any] = {
        "widths": [4, 8, 8],
        "decoder": {"widths": [4, 4, 4]},
        "latent_channels": 4,
        "refine_width": 4,
    }
    small["group_width"] = 4
    net = TwoStageNet(len(CHANNELS), **small)
    with torch.no_grad():
        for values in net.parameters():
            values.add_(0.1 * torch.randn_like(values))
    predictor = Predictor([model(net)])
    nothing, neutral, spared = predictor.predict_many(case, [None, Preference(), Preference(0.8)])
    np.testing.assert_array_equal(nothing, neutral)
    assert float(np.abs(spared - neutral).max()) > 1e-3


@pytest.mark.parametrize(
    ("spacing_xyz_mm", "told"),
    [((3.9, 3.9, 2.5), False), ((1.0, 1.0, 3.0), True), ((3.9, 3.9, 5.0), True), ((2.5, 3.9, 2.5), True)],
)
def test_the_weights_that_ship_tell_of_voxels_unlike_their_training(
    case: PatientCase, caplog: pytest.LogCaptureFixture, spacing_xyz_mm: tuple[float, float, float], told: bool
) -> None:
    grid = replace(case.grid, spacing_xyz_mm=spacing_xyz_mm)
    ours = replace(model(Linear()), path=default_weights())
    Predictor([ours], flip=False).predict(replace(case, grid=grid))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == told
    if told:
        assert f"{case.case_id}: voxels of {spacing_xyz_mm} mm (x, y, z); openkbp_direct was trained on" in warned[0]
    caplog.clear()
    Predictor([model(Linear())], flip=False).predict(replace(case, grid=grid))
    assert not caplog.records
