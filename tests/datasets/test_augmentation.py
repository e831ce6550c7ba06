"""Augmentation: its draws, and its geometry against explicit loops in LPS."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cases import make_case
from dosewright.core import Beam, InputError, PatientCase, mirrored
from dosewright.datasets.augmentation import Augmentation, Draw, apply
from dosewright.datasets.channels import CT, ChannelSet, Masks
from dosewright.datasets.sample import Sample, make_sample

NAMES = ("PTV_High", "Parotid_L", "Parotid_R")


@pytest.fixture
def small() -> ChannelSet:
    return ChannelSet([CT(), Masks(NAMES)], NAMES)


def noise(shape: tuple[int, int, int], spacing_zyx_mm: tuple[float, float, float], seed: int = 0) -> Sample:
    """Random voxels everywhere, so that any misplaced voxel shows."""
    generator = torch.Generator().manual_seed(seed)
    structures = torch.rand((3, *shape), generator=generator) < 0.5
    ct = torch.rand((1, *shape), generator=generator) * 2 - 1
    return Sample(
        case_id="noise",
        image=torch.cat([ct.half(), structures.half()]),
        structures=structures,
        dose_mask=torch.rand((1, *shape), generator=generator) < 0.8,
        dose_gy=torch.rand((1, *shape), generator=generator) * 70,
        prescription_gy=torch.tensor([70.0, 0.0, 0.0]),
        spacing_zyx_mm=spacing_zyx_mm,
        fill=(-1.0, 0.0, 0.0, 0.0),
        plan_code=(),
        box=(slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])),
    )


def assert_same_volumes(one: Sample, other: Sample) -> None:
    torch.testing.assert_close(one.image, other.image, rtol=0, atol=1e-3)
    assert torch.equal(one.structures, other.structures)
    assert torch.equal(one.dose_mask, other.dose_mask)
    torch.testing.assert_close(one.dose_gy, other.dose_gy, rtol=1e-5, atol=1e-4)


# --- draws ---


def test_draws_keep_to_their_ranges_and_use_them() -> None:
    augmentation = Augmentation(0.5, 0.25, (20.0, 5.0, 0.0), (10.0, 0.0, 3.0))
    rng = np.random.default_rng(0)
    draws = [augmentation.sample(rng) for _ in range(4000)]
    affine = [draw for draw in draws if draw.is_affine]
    assert sum(draw.flip for draw in draws) / 4000 == pytest.approx(0.5, abs=0.03)
    assert len(affine) / 4000 == pytest.approx(0.25, abs=0.03)
    for name, limits in (("rotation_zyx_deg", (20.0, 5.0, 0.0)), ("translation_zyx_mm", (10.0, 0.0, 3.0))):
        values = np.array([getattr(draw, name) for draw in affine])
        assert (np.abs(values) <= limits).all()
        assert np.abs(values).max(axis=0) == pytest.approx(limits, rel=0.02)
        assert np.abs(values.mean(axis=0)).max() < 0.1 * max(limits)


def test_a_draw_follows_from_its_seed_and_its_place_in_the_stream() -> None:
    flips, both = Augmentation(0.5, 0.0), Augmentation(0.5, 1.0)
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):  # the same count of numbers each time: the flips stay in step
        assert flips.sample(one).flip == both.sample(other).flip
    assert Augmentation().sample(np.random.default_rng(5)) == Augmentation().sample(np.random.default_rng(5))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_never_and_always(probability: float) -> None:
    rng = np.random.default_rng(0)
    draws = [Augmentation(probability, probability).sample(rng) for _ in range(200)]
    assert {draw.flip for draw in draws} == {draw.is_affine for draw in draws} == {probability == 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flip_probability": 1.5}, r"flip_probability must be in \[0, 1\]; got 1\.5"),
        ({"affine_probability": -0.1}, r"affine_probability must be in \[0, 1\]; got -0\.1"),
        ({"affine_probability": float("nan")}, r"affine_probability must be in \[0, 1\]; got nan"),
        (
            {"rotation_zyx_deg": (5.0, -1.0, 0.0)},
            r"rotation_zyx_deg must be three values ≥ 0; got \(5\.0, -1\.0, 0\.0\)",
        ),
        ({"translation_zyx_mm": (5.0, 1.0)}, r"translation_zyx_mm must be three values ≥ 0; got \(5\.0, 1\.0\)"),
    ],
)
def test_bad_ranges_are_refused(types_unchecked: None, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**arguments)  # type: ignore[arg-type]


# --- flips ---


def test_a_flip_twice_is_the_identity(small: ChannelSet) -> None:
    sample = noise((4, 5, 6), (2.0, 3.0, 4.0))
    once = apply(sample, Draw(flip=True), small)
    assert not torch.equal(once.image, sample.image)
    assert_same_volumes(apply(once, Draw(flip=True), small), sample)


def test_a_flip_mirrors_x_and_swaps_left_and_right(small: ChannelSet) -> None:
    sample = noise((4, 5, 6), (2.0, 3.0, 4.0))
    flipped = apply(sample, Draw(flip=True), small)
    swap = {0: 0, 1: 2, 2: 1}
    for z, y, x in np.ndindex(4, 5, 6):
        there = (z, y, 5 - x)
        assert flipped.dose_gy[0][z, y, x] == sample.dose_gy[0][there]
        assert flipped.dose_mask[0][z, y, x] == sample.dose_mask[0][there]
        assert flipped.image[0][z, y, x] == sample.image[0][there]
        for mine, theirs in swap.items():
            assert flipped.structures[mine][z, y, x] == sample.structures[theirs][there]
            assert flipped.image[1 + mine][z, y, x] == sample.image[1 + theirs][there]
    assert flipped.prescription_gy.tolist() == [70.0, 0.0, 0.0]


def test_a_flipped_sample_is_the_sample_of_the_mirrored_patient(channels: ChannelSet) -> None:
    case = make_case()
    lopsided = case.structures["Parotid_L"].copy()
    lopsided[6, 9, 20] = True
    ct = case.ct_hu.copy()
    ct[4:9, 4:9, 4:9] = 800
    case = replace(
        case, structures={**case.structures, "Parotid_L": lopsided}, ct_hu=ct, beams=(Beam(50.0), Beam(180.0))
    )
    flipped = apply(make_sample(case, channels), Draw(flip=True), channels)
    mirror = make_sample(mirrored_patient(case), channels)
    off = (flipped.image.float() - mirror.image.float()).abs() > 2e-3
    for name, channel, here in zip(channels.names, off, mirror.image, strict=True):
        if name.startswith("rays:"):  # but for voxels that lie on the silhouette's edge
            assert int(channel.sum()) < 0.1 * int((here > 0).sum()), name
        elif not name.endswith("_plate"):  # the published plates cut voxel indices off, which has no mirror image
            assert not channel.any(), name
    assert torch.equal(flipped.structures, mirror.structures)
    assert torch.equal(flipped.dose_mask, mirror.dose_mask)
    assert torch.equal(flipped.dose_gy, mirror.dose_gy)
    assert torch.equal(flipped.prescription_gy, mirror.prescription_gy)


def mirrored_patient(case: PatientCase) -> PatientCase:
    return replace(
        case,
        ct_hu=case.ct_hu[..., ::-1],
        body=case.body[..., ::-1],
        structures={mirrored(name): mask[..., ::-1] for name, mask in case.structures.items()},
        dose_gy=case.dose_gy[..., ::-1],
        beams=tuple(Beam((360.0 - beam.gantry_angle_deg) % 360.0) for beam in case.beams),
    )


# --- rotations and shifts ---


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_quarter_turns_are_right_handed_about_lps_axes(small: ChannelSet, axis: str, size: int) -> None:
    sample = noise((size, size, size), (2.5, 2.5, 2.5))
    turned = apply(sample, Draw(rotation_zyx_deg=tuple(90.0 * (a == axis) for a in "zyx")), small)
    expected = {
        name: torch.empty_like(getattr(sample, name)) for name in ("image", "structures", "dose_mask", "dose_gy")
    }
    last = size - 1
    for z, y, x in np.ndindex(size, size, size):
        # Right-handed: x goes to y about z, z to x about y, y to z about x.
        place = {"z": (z, x, last - y), "y": (last - x, y, z), "x": (y, last - z, x)}[axis]
        for name, volume in expected.items():
            volume[(slice(None), *place)] = getattr(sample, name)[:, z, y, x]
    expected["dose_gy"] *= expected["dose_mask"]
    assert_same_volumes(turned, replace(sample, **expected))


def test_rotations_are_done_about_y_then_x_then_z(small: ChannelSet) -> None:
    sample = noise((5, 5, 5), (2.0, 2.0, 2.0))
    sample = replace(sample, dose_mask=torch.ones_like(sample.dose_mask))
    step = sample
    for turn in ((0.0, 90.0, 0.0), (0.0, 0.0, 90.0), (90.0, 0.0, 0.0)):
        step = apply(step, Draw(rotation_zyx_deg=turn), small)
    assert_same_volumes(apply(sample, Draw(rotation_zyx_deg=(90.0, 90.0, 90.0)), small), step)


@pytest.mark.parametrize(("axis", "steps"), list(product((0, 1, 2), (1, -2))))
def test_shifts_move_the_patient_along_lps_and_fill_in_behind(small: ChannelSet, axis: int, steps: int) -> None:
    spacing = (4.0, 3.0, 2.5)
    sample = noise((5, 6, 7), spacing)
    shift = [0.0, 0.0, 0.0]
    shift[axis] = steps * spacing[axis]
    moved = apply(sample, Draw(translation_zyx_mm=(shift[0], shift[1], shift[2])), small)
    size = sample.image.shape[1 + axis]
    for here in range(size):
        there = here - steps
        mine = moved.image.select(1 + axis, here).float()
        if 0 <= there < size:
            torch.testing.assert_close(mine, sample.image.select(1 + axis, there).float(), rtol=0, atol=1e-3)
            assert torch.equal(moved.structures.select(1 + axis, here), sample.structures.select(1 + axis, there))
            scored = sample.dose_mask.select(1 + axis, there)
            assert torch.equal(moved.dose_mask.select(1 + axis, here), scored)
            dose = sample.dose_gy.select(1 + axis, there) * scored
            torch.testing.assert_close(moved.dose_gy.select(1 + axis, here), dose, rtol=1e-5, atol=1e-4)
        else:
            assert [channel.unique().tolist() for channel in mine] == [[-1.0], [0.0], [0.0], [0.0]]
            for volume in (moved.structures, moved.dose_mask, moved.dose_gy):
                assert not volume.select(1 + axis, here).any()


def test_all_volumes_move_together_in_mm() -> None:
    """A blob off the centre, on anisotropic voxels, lands where the rotation matrix says; its volume stays."""
    shape, spacing = (40, 48, 60), (4.0, 3.0, 2.0)
    places = [np.arange(n) * s for n, s in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*places, indexing="ij")
    centre = np.array([(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)])
    start = centre + np.array([12.0, -15.0, 21.0])
    r2 = (z - start[0]) ** 2 + (y - start[1]) ** 2 + (x - start[2]) ** 2
    blob = torch.from_numpy(r2 <= 20.0**2)[None]
    heat = torch.from_numpy(70 * np.exp(-r2 / (2 * 8.0**2))).float()[None]
    image, everywhere = (heat / 70).half(), torch.ones_like(blob)
    names, box = ("PTV_High",), (slice(0, 40), slice(0, 48), slice(0, 60))
    sample = Sample("blob", image, blob, everywhere, heat, torch.tensor([70.0]), spacing, (0.0,), (), box)
    draw = Draw(rotation_zyx_deg=(20.0, -5.0, 4.0), translation_zyx_mm=(6.0, -3.0, 5.0))
    moved = apply(sample, draw, ChannelSet([Masks(names)], names))
    about_z, about_y, about_x = draw.rotation_zyx_deg
    turn = (
        Rotation.from_euler("z", about_z, degrees=True)
        * Rotation.from_euler("x", about_x, degrees=True)
        * Rotation.from_euler("y", about_y, degrees=True)
    )
    expected = centre + turn.apply((start - centre)[::-1])[::-1] + draw.translation_zyx_mm
    for volume, near_mm in ((moved.dose_gy, 0.05), (moved.image, 0.05), (moved.structures, 0.4)):
        weights = volume[0].numpy().astype(float)
        found = [float((weights * axis).sum() / weights.sum()) for axis in (z, y, x)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=near_mm)
    assert int(moved.structures.sum()) == pytest.approx(int(blob.sum()), rel=0.02)
    assert float(moved.dose_gy.sum()) == pytest.approx(float(heat.sum()), rel=0.02)
    assert moved.image.dtype == torch.float16


def test_a_flip_comes_before_the_rotation(small: ChannelSet) -> None:
    sample = noise((5, 5, 5), (2.0, 2.0, 2.0))
    turn = (90.0, 0.0, 0.0)
    both = apply(sample, Draw(flip=True, rotation_zyx_deg=turn), small)
    assert_same_volumes(both, apply(apply(sample, Draw(flip=True), small), Draw(rotation_zyx_deg=turn), small))
    assert not torch.equal(both.dose_mask, apply(sample, Draw(rotation_zyx_deg=turn), small).dose_mask)


def test_nothing_drawn_changes_nothing(small: ChannelSet) -> None:
    sample = noise((4, 5, 6), (2.0, 3.0, 4.0))
    assert apply(sample, Draw(), small) is sample


def test_a_sample_without_dose_stays_without(small: ChannelSet) -> None:
    sample = replace(noise((4, 5, 6), (2.0, 3.0, 4.0)), dose_gy=None)
    moved = apply(sample, Draw(flip=True, translation_zyx_mm=(2.0, 0.0, 0.0)), small)
    assert moved.dose_gy is None
    assert torch.equal(moved.dose_mask[0, 1:], sample.dose_mask[0, :-1].flip(-1))
