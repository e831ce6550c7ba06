"""Phantom patients against anatomy: where organs lie, how large they are, what HU they have."""

import pickle

import numpy as np
import pytest

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.io.phantom import PhantomAnatomyReader

COUNT = 3

# Plausible adults, cc. ICRP Publication 89 (2002), reference adults: parotid 25 g and submandibular 12.5 g each, brain
# 1300-1450 g, oesophagus 35-40 g, heart with blood 620-840 g, functional residual capacity of both lungs 2.7-3.3 l.
# Contours on planning CTs scatter around it, and a head and neck scan holds half of the oesophagus.
VOLUMES_CC = {
    "HeadNeck": {
        "Brain": (1000, 1750),
        "Brainstem": (18, 42),
        "SpinalCord": (9, 30),
        "Parotid_L": (15, 42),
        "Parotid_R": (15, 42),
        "Glnd_Submand_L": (4, 16),
        "Glnd_Submand_R": (4, 16),
        "Larynx": (20, 55),
        "Esophagus": (6, 30),
        "Bone_Mandible": (45, 100),
        "PTV_High": (20, 300),
    },
    "Lung": {
        "Lung_L": (1200, 3000),
        "Lung_R": (1200, 3000),
        "Heart": (350, 900),
        "SpinalCord": (15, 45),
        "Esophagus": (20, 75),
        "PTV": (30, 500),
    },
}
# mean CT number in HU; lungs at mid-breath, mandible with marrow
MEAN_HU = {
    "Brain": (20, 80),
    "Parotid_L": (-40, 60),
    "Bone_Mandible": (500, 1100),
    "Lung_L": (-880, -650),
    "Lung_R": (-880, -650),
    "Heart": (20, 120),
}


@pytest.fixture(scope="module", params=["HeadNeck", "Lung"])
def cases(request: pytest.FixtureRequest) -> list[PatientCase]:
    return list(PhantomAnatomyReader(request.param, COUNT, seed=11))


@pytest.fixture(scope="module")
def head_neck() -> PatientCase:
    return PhantomAnatomyReader("HeadNeck", 1).read("hn_train_0000")


def _centroid(case: PatientCase, name: str) -> np.ndarray:
    return case.grid.position_xyz_mm(np.argwhere(case.structures[name]).mean(0))


def _same(a: PatientCase, b: PatientCase) -> bool:
    return a.ct_hu.tobytes() == b.ct_hu.tobytes() and all(
        a.structures[n].tobytes() == b.structures[n].tobytes() for n in {*a.structures, *b.structures}
    )


def test_volumes_are_those_of_adults(cases: list[PatientCase]) -> None:
    for case in cases:
        for name, (low, high) in VOLUMES_CC[case.site].items():
            volume = case.structures[name].sum() * case.grid.voxel_volume_cc
            assert low <= volume <= high, (case.case_id, name, volume)


def test_patients_differ(cases: list[PatientCase]) -> None:
    name = "Parotid_L" if cases[0].site == "HeadNeck" else "Heart"
    volumes = np.array([case.structures[name].sum() for case in cases])
    assert 0.02 < volumes.std() / volumes.mean() < 0.4


def test_hu_of_tissues(cases: list[PatientCase]) -> None:
    for case in cases:
        for name in case.structures.keys() & MEAN_HU.keys():
            low, high = MEAN_HU[name]
            assert low <= case.ct_hu[case.structures[name]].mean() <= high, (case.case_id, name)
        assert case.ct_hu[~case.body].mean() == pytest.approx(-1000, abs=15)
        assert np.percentile(case.ct_hu[case.body], 0.5) < -600  # air ways or lungs
        assert np.percentile(case.ct_hu[case.body], 99) > 350  # bone
        assert case.ct_hu.dtype == np.int16


def test_targets_are_disjoint_and_inside(cases: list[PatientCase]) -> None:
    for case in cases:
        total = np.sum([case.structures[name] for name in case.targets], axis=0)
        assert np.max(total) == 1
        assert not (total.astype(bool) & ~case.body).any()
        assert not (total.astype(bool) & case.structures["SpinalCord"]).any()
        assert {case.prescription_gy[n] for n in case.targets} <= {70.0, 63.0, 56.0, 60.0}
        assert case.prescription_gy[case.targets[0]] == (70.0 if case.site == "HeadNeck" else 60.0)


def test_isocenter_is_the_centroid_of_the_targets(cases: list[PatientCase]) -> None:
    for case in cases:
        union = np.logical_or.reduce([case.structures[n] for n in case.targets])
        expected = case.grid.position_xyz_mm(np.argwhere(union).mean(0))
        assert np.array(case.isocenter_xyz_mm) == pytest.approx(expected, abs=1e-6)


def test_organs_lie_where_they_should(cases: list[PatientCase]) -> None:
    check = _check_head_neck if cases[0].site == "HeadNeck" else _check_thorax
    for case in cases:
        check({name: _centroid(case, name) for name in case.structures})


def _check_head_neck(at: dict[str, np.ndarray]) -> None:
    for organ, least_mm in (("Parotid", 40), ("Glnd_Submand", 20)):  # +x is the patient's left
        assert at[f"{organ}_L"][0] > least_mm
        assert at[f"{organ}_R"][0] < -least_mm
    assert at["SpinalCord"][1] > at["Bone_Mandible"][1] + 50  # +y is posterior
    assert at["Larynx"][1] < at["SpinalCord"][1] - 30
    assert at["Esophagus"][1] < at["SpinalCord"][1]
    assert at["Brainstem"][2] > at["Larynx"][2] + 80  # +z is cranial
    assert at["Brain"][2] > at["Parotid_L"][2] > at["Larynx"][2] > at["Esophagus"][2]


def _check_thorax(at: dict[str, np.ndarray]) -> None:
    assert at["Lung_L"][0] > 50
    assert at["Lung_R"][0] < -50
    assert 0 < at["Heart"][0] < 50
    assert at["Heart"][1] < at["Esophagus"][1] < at["SpinalCord"][1]


def test_scalp_is_thin_above_the_brain() -> None:
    reader = PhantomAnatomyReader("HeadNeck", 4, seed=2, shape_zyx=(60, 30, 30), spacing_xyz_mm=(12.0, 12.0, 6.0))
    for case in reader:  # 360 mm along z hold the vertex
        top = [case.grid.axis_mm("z")[m.any((1, 2))].max() for m in (case.body, case.structures["Brain"])]
        assert 6 <= top[0] - top[1] <= 24


def test_lung_targets_reach_into_a_lung(cases: list[PatientCase]) -> None:
    for case in cases:
        if case.site == "Lung":
            lungs = case.structures["Lung_L"] | case.structures["Lung_R"]
            assert 0.1 < (case.structures["PTV"] & lungs).sum() / case.structures["PTV"].sum() < 0.95


def test_trachea_is_air_and_cord_lies_in_a_bony_ring(head_neck: PatientCase) -> None:
    cord = _centroid(head_neck, "SpinalCord")
    k, j, i = np.round(head_neck.grid.index_zyx(np.array([0.0, cord[1], -60.0]))).astype(int)
    column = head_neck.ct_hu[k - 3 : k + 4, :, i - 1 : i + 2].min((0, 2))
    assert column[: j - 3].min() < -800  # pharynx or larynx in front
    around = head_neck.ct_hu[k - 6 : k + 7, j - 6 : j + 7, i - 5 : i + 6]
    assert around.max() > 350


def test_beams_and_fractions(cases: list[PatientCase]) -> None:
    for case in cases:
        angles = [beam.gantry_angle_deg for beam in case.beams]
        assert len(angles) in ((9,) if case.site == "HeadNeck" else (7, 9))
        assert angles[0] == 0
        assert np.diff(angles) == pytest.approx(360 / len(angles), abs=0.11)
        assert case.fractions == {"HeadNeck": 35, "Lung": 30}[case.site]


def test_one_to_three_targets_occur() -> None:
    reader = PhantomAnatomyReader("HeadNeck", 8, shape_zyx=(26, 26, 26), spacing_xyz_mm=(12.0, 12.0, 12.0))
    assert {case.targets for case in reader} == {
        ("PTV_High",),
        ("PTV_High", "PTV_Low"),
        ("PTV_High", "PTV_Mid", "PTV_Low"),
    }


@pytest.mark.parametrize("site", ["HeadNeck", "Lung"])
def test_volumes_do_not_depend_on_the_grid(site: str) -> None:
    coarse, fine = (
        next(iter(PhantomAnatomyReader(site, 1, shape_zyx=shape, spacing_xyz_mm=spacing)))
        for shape, spacing in (((64, 64, 64), (6.0, 6.0, 5.0)), ((80, 80, 80), (4.8, 4.8, 4.0)))
    )
    for name in fine.structures:
        a, b = (case.structures[name].sum() * case.grid.voxel_volume_cc for case in (coarse, fine))
        assert a == pytest.approx(b, rel=0.1), name
        if name != "SpinalCord":  # two voxels thick: its z moves with the voxels it happens to hit
            assert _centroid(coarse, name) == pytest.approx(_centroid(fine, name), abs=2.0), name


def test_same_arguments_give_the_same_bytes(head_neck: PatientCase) -> None:
    reader = PhantomAnatomyReader("HeadNeck", 3)
    assert _same(pickle.loads(pickle.dumps(reader)).read("hn_train_0000"), head_neck)
    assert _same(PhantomAnatomyReader("mixed", 4).read("hn_train_0000"), head_neck)
    assert not _same(PhantomAnatomyReader("HeadNeck", 3, seed=1).read("hn_train_0000"), head_neck)
    assert not _same(PhantomAnatomyReader("HeadNeck", 3, split="test").read("hn_test_0000"), head_neck)
    assert not _same(reader.read("hn_train_0001"), head_neck)


def test_case_ids() -> None:
    assert PhantomAnatomyReader("mixed", 3, split="validation").case_ids == (
        "hn_validation_0000",
        "lung_validation_0001",
        "hn_validation_0002",
    )
    assert len(PhantomAnatomyReader("Lung", 7)) == 7


def test_grid_is_as_asked_and_centred() -> None:
    case = PhantomAnatomyReader("HeadNeck", 1, shape_zyx=[32, 40, 48], spacing_xyz_mm=[8, 8, 10]).read("hn_train_0000")
    assert case.grid.shape_zyx == (32, 40, 48)
    assert case.grid.spacing_xyz_mm == (8.0, 8.0, 10.0)
    assert case.grid.center_xyz_mm == pytest.approx((0, 0, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "Pelvis"}, 'site must be "HeadNeck", "Lung" or "mixed"'),
        ({"split": "dev"}, 'split must be "train"'),
        ({"count": 0}, "count must be an integer from 1 on"),
        ({"seed": -1}, "seed must be an integer from 0 on"),
        ({"shape_zyx": (64, 64)}, "shape_zyx must be three numbers"),
        ({"shape_zyx": (16, 64, 64)}, "shape_zyx must span at least 240 mm"),
        ({"spacing_xyz_mm": (20.0, 20.0, 20.0)}, "spacing_xyz_mm must be at most 12 mm"),
        ({"spacing_xyz_mm": (0.0, 5.0, 5.0)}, "spacing_xyz_mm must be three positive lengths"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PhantomAnatomyReader(**arguments)


def test_unknown_case() -> None:
    with pytest.raises(CaseError, match="case_id must be one of 2 cases such as hn_train_0000"):
        PhantomAnatomyReader(count=2).read("hn_train_0002")
