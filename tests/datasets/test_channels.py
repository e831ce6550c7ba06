"""Channels by closed forms, and the set of them."""

from dataclasses import replace

import numpy as np
import pytest
from hydra.utils import instantiate

from dosewright.core import InputError, PatientCase
from dosewright.datasets.channels import CT, BeamPlates, ChannelSet, Distances, Masks, PrescriptionMap, Regions
from tiny import config

HALF = 2**-11  # relative spacing of float16


def test_ct_is_scaled_to_plus_minus_one(case: PatientCase) -> None:
    ct = case.ct_hu.copy()
    ct[0, 0, :6] = (-1024, -1000, 0, 250, 1500, 3000)
    (channel,) = CT((-1000.0, 1500.0)).compute(replace(case, ct_hu=ct))
    np.testing.assert_allclose(channel[0, 0, :6], [-1.0, -1.0, -0.2, 0.0, 1.0, 1.0], rtol=0, atol=HALF)
    (narrow,) = CT((-100.0, 100.0)).compute(replace(case, ct_hu=ct.astype(np.float32) + 0.5))
    np.testing.assert_allclose(narrow[0, 0, 1:4], [-1.0, 0.005, 1.0], rtol=HALF)


def test_regions_are_body_and_dose_mask(case: PatientCase) -> None:
    body, scored = Regions().compute(case)
    np.testing.assert_array_equal(body, case.body)
    np.testing.assert_array_equal(scored, case.body)
    tighter = case.body.copy()
    tighter[:5] = False
    np.testing.assert_array_equal(Regions().compute(replace(case, dose_mask=tighter))[1], tighter)


def test_prescription_is_the_highest_where_targets_overlap(case: PatientCase) -> None:
    high, low = case.structures["PTV_High"], case.structures["PTV_Low"].copy()
    low[7:9, 8:12, 9:13] = True  # half of the higher target
    both = replace(case, structures={"PTV_Low": low, "PTV_High": high})
    (channel,) = PrescriptionMap(70.0).compute(both)
    expected = np.zeros(case.grid.shape_zyx)
    expected[9:12, 8:12, 9:13] = 56 / 70
    expected[5:9, 8:12, 9:13] = 1.0
    np.testing.assert_allclose(channel, expected, rtol=HALF)
    (halved,) = PrescriptionMap(140.0).compute(both)
    np.testing.assert_allclose(halved, expected / 2, rtol=HALF)


def test_masks_come_in_the_order_asked_for_and_absent_ones_are_empty(case: PatientCase) -> None:
    channels = Masks(["SpinalCord", "Larynx", "Parotid_R"]).compute(case)
    np.testing.assert_array_equal(channels[0], case.structures["SpinalCord"])
    assert not channels[1].any()
    np.testing.assert_array_equal(channels[2], case.structures["Parotid_R"])


def test_distances_are_those_of_brute_force(case: PatientCase) -> None:
    far, absent = Distances(["PTV_High", "Larynx"], scale_mm=30.0).compute(case)
    mask = case.structures["PTV_High"]
    places = np.indices(mask.shape).reshape(3, -1).T * np.array(case.grid.spacing_zyx_mm)
    inside = places[mask.ravel()]
    nearest = np.sqrt(((places[:, None] - inside) ** 2).sum(axis=-1)).min(axis=1).reshape(mask.shape)
    np.testing.assert_allclose(far[~mask], np.tanh(nearest[~mask] / 30.0), rtol=2 * HALF)
    # The target is a box of 4 × 4 × 4 voxels of 4, 3 and 3 mm: its inner voxels are 2 × 3 mm away from the outside.
    assert far[6, 9, 10] == pytest.approx(np.tanh(-6 / 30), rel=2 * HALF)
    assert far[5, 9, 10] == pytest.approx(np.tanh(-4 / 30), rel=2 * HALF)
    assert far[6, 8, 10] == pytest.approx(np.tanh(-3 / 30), rel=2 * HALF)
    assert (absent == 1).all()


def test_distances_saturate(case: PatientCase) -> None:
    (channel,) = Distances(["PTV_High"], scale_mm=1.0).compute(case)
    assert channel[0, 0, 0] == 1.0
    assert channel[case.structures["PTV_High"]].max() == pytest.approx(-np.tanh(3.0), rel=2 * HALF)


@pytest.mark.parametrize("kind", ["rays", "angle", "gdphmm"])
def test_plates_are_zero_without_beams(case: PatientCase, kind: str) -> None:
    plates = BeamPlates(kind, ["PTV_High", "PTV_Low"])
    channels = plates.compute(replace(case, beams=()))
    assert channels.shape == (len(plates.names), *case.grid.shape_zyx)
    assert channels.dtype == np.float16
    assert not channels.any()
    assert plates.compute(case).any()


def test_only_the_published_plates_need_the_whole_grid() -> None:
    assert [BeamPlates(kind).whole_grid for kind in ("rays", "angle", "gdphmm")] == [False, True, True]
    assert [BeamPlates(kind).names for kind in ("rays", "angle", "gdphmm")] == [
        ("rays:PTV_High", "rays:PTV_Mid", "rays:PTV_Low"),
        ("angle_plate",),
        ("gdphmm_plate",),
    ]


def test_the_set_has_as_many_channels_as_names(case: PatientCase, channels: ChannelSet) -> None:
    image = channels.compute(case)
    assert image.shape == (len(channels), *case.grid.shape_zyx)
    assert image.dtype == np.float16
    assert len(channels) == len(channels.names) == len(channels.fill) == 13
    assert channels.names[:7] == (
        "ct",
        "body",
        "dose_mask",
        "prescription",
        "mask:Parotid_L",
        "mask:Parotid_R",
        "mask:SpinalCord",
    )
    assert channels.fill == (-1.0, *[0.0] * 6, 1.0, 1.0, *[0.0] * 4)
    start = 0
    for group in channels.groups:
        part = group.compute(case)
        np.testing.assert_array_equal(image[start : start + len(part)], part)
        assert len(part) == len(group.names)
        start += len(part)


def test_the_configured_set_has_as_many_channels_as_names(case: PatientCase) -> None:
    channels = instantiate(config("train", "data=prepared", "data.root=unused").channels, _convert_="all")
    assert channels.compute(case).shape[0] == len(channels) == 17
    assert len(channels.structures) == 10


def test_mirroring_swaps_sides_and_nothing_else(channels: ChannelSet) -> None:
    left, right = channels.names.index("mask:Parotid_L"), channels.names.index("mask:Parotid_R")
    expected = list(range(len(channels)))
    expected[left], expected[right] = right, left
    assert list(channels.mirror) == expected
    assert channels.structure_mirror == (0, 1, 3, 2, 4)


def test_sets_that_cannot_be_mirrored_or_told_apart_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"groups must hold both sides of a paired structure; got \['mask:Parotid_L'\]"
    ):
        ChannelSet([Masks(["Parotid_L", "Larynx"])], [])
    with pytest.raises(InputError, match=r"groups must hold both sides .*; got \['mask:Eye_R', 'distance:Eye_L'\]"):
        ChannelSet([Masks(["Eye_R"]), Distances(["Eye_L"])], [])  # of the same organ, but of different kinds
    with pytest.raises(InputError, match=r"structures must hold both sides .*; got \['Parotid_R'\]"):
        ChannelSet([CT()], ["Larynx", "Parotid_R"])
    with pytest.raises(InputError, match=r"groups must not repeat a name; got \['ct'\]"):
        ChannelSet([CT(), Regions(), CT((-100.0, 100.0))], [])
    with pytest.raises(InputError, match=r"structures must not repeat a name; got \['Larynx'\]"):
        ChannelSet([CT()], ["Larynx", "Brainstem", "Larynx"])


def test_bad_parameters_are_refused(types_unchecked: None) -> None:
    with pytest.raises(InputError, match=r"window_hu must grow; got \(100\.0, 100\.0\)"):
        CT((100.0, 100.0))
    with pytest.raises(InputError, match=r'kind must be "rays", "gdphmm" or "angle"; got \'cone\''):
        BeamPlates("cone")  # type: ignore[arg-type]
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="scale_mm must be positive and finite; got"):
            Distances(["PTV_High"], scale)
        with pytest.raises(InputError, match="scale_gy must be positive and finite; got"):
            PrescriptionMap(scale)
