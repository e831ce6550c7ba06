"""The reader of GDP-HMM plans: the contract of readers, and every key a file may lack, misspell or get wrong."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reader_contract import ReaderContract, assert_same_case

from cases import make_case
from dosewright.core import Beam, CaseError, Grid, PatientCase
from dosewright.dose.gdphmm import scaled_reference
from dosewright.io.gdp_hmm import GdpHmmReader
from gdp_hmm_files import PLAN, rewrite, write_plans

PUBLISHED = Grid((16, 20, 24), (2.5, 2.5, 2.0), (-31.0, 12.5, -400.0))
PARTS = ("PTV_High", "PTV_Low", "zPTV_High_Opt", "zPTV_Low_Opt")


def whole_case(plan: str = PLAN, **changes: Any) -> PatientCase:
    """A case on the challenge's grid whose dose is about its prescription."""
    case = make_case(plan)
    dose = np.where(case.body, 5.0, 0.0).astype(np.float32)
    dose[case.structures["PTV_Low"]] = 56.5
    dose[case.structures["PTV_High"]] = np.linspace(66.0, 74.0, 64, dtype=np.float32)
    return replace(case, **{"grid": PUBLISHED, "isocenter_xyz_mm": (0.0, 40.0, -384.0), "dose_gy": dose} | changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_plans(tmp_path, whole_case())


def read(root: Path, **settings: Any) -> tuple[PatientCase, tuple[str, ...]]:
    reader = GdpHmmReader(root, **settings)
    case = reader.read(PLAN)
    return case, reader.notes(PLAN)


class TestGdpHmmReader(ReaderContract):
    def make(self, folder: Path) -> GdpHmmReader:
        if not (folder / f"{PLAN}.npz").exists():
            write_plans(folder, whole_case(), whole_case("P002+2Ac+MOS_2", technique="VMAT"))
        return GdpHmmReader(folder)

    def changed(self, folder: Path) -> GdpHmmReader:
        rewrite(folder / f"{PLAN}.npz", lambda d: d.update(img=d["img"] + 1))
        return GdpHmmReader(folder)


def test_a_case_comes_back_as_it_was(root: Path) -> None:
    case, notes = read(root)
    kept = replace(case, structures={n: m for n, m in case.structures.items() if not n.startswith("z")})
    expected = whole_case()
    assert set(kept.structures) == set(expected.structures)
    assert_same_case(replace(kept, structures={n: kept.structures[n] for n in expected.structures}), expected)
    assert notes == ("35 fractions assumed, of 2 Gy to the highest target",)


def test_an_arc_keeps_the_order_of_its_angles(tmp_path: Path) -> None:
    beams = tuple(Beam(float(a)) for a in (181, 3, 359, 90.5, 0))
    write_plans(tmp_path, whole_case(technique="VMAT", beams=beams))
    case, _ = read(tmp_path)
    assert (case.technique, case.beams) == ("VMAT", beams)
    rewrite(tmp_path / f"{PLAN}.npz", lambda d: d.update(angle_list=[360.0, -90.0]))
    assert read(tmp_path)[0].beams == (Beam(0.0), Beam(270.0))


def test_dose_is_stored_times_scale(root: Path) -> None:
    expected = whole_case().dose_gy
    assert expected is not None
    scale = 1.25e-3

    def as_published(content: dict[str, Any]) -> None:
        content.update(dose=np.rint(content["dose"] / scale).astype(np.uint32), dose_scale=np.float64(scale))

    rewrite(root / f"{PLAN}.npz", as_published)
    dose = read(root)[0].dose_gy
    assert dose is not None
    np.testing.assert_allclose(dose, expected, rtol=0, atol=scale / 2 + 1e-5)


def test_a_dose_may_be_scaled_like_the_reference_of_metric_1(root: Path) -> None:
    case, _ = read(root, scale_to_d97=True)
    plain, _ = read(root)
    assert case.dose_gy is not None
    assert plain.dose_gy is not None
    target = case.structures["zPTV_High_Opt"]
    assert np.percentile(case.dose_gy[target], 3) == pytest.approx(70.0, rel=1e-5)
    np.testing.assert_allclose(case.dose_gy, scaled_reference(plain.dose_gy, target, 70.0), rtol=1e-6)
    one, other = GdpHmmReader(root), GdpHmmReader(root, scale_to_d97=True)
    assert one.fingerprint(PLAN) != other.fingerprint(PLAN)


def without(*keys: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: [content.pop(key) for key in keys]


def renamed(old: str, new: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update({new: content.pop(old)})


#: What is missing or odd → the note, and what the case then has.
ODD: dict[str, tuple[Callable[[dict[str, Any]], object], str, Callable[[PatientCase], object]]] = {
    "no geometry": (
        without("origin", "spacing", "direction", "size"),
        r"no origin, spacing, direction: of origin \(0, 0, 0\), spacing \(2.5, 2.5, 2.0\) mm \(x, y, z\) and",
        lambda c: c.grid == Grid((16, 20, 24), (2.5, 2.5, 2.0)),
    ),
    "another spacing": (
        lambda d: d.update(spacing=(1.0, 1.5, 3.0)),
        r"spacing is \(1.0, 1.5, 3.0\) mm \(x, y, z\), the challenge's is \(2.5, 2.5, 2.0\)",
        lambda c: c.grid.spacing_xyz_mm == (1.0, 1.5, 3.0),
    ),
    "another size": (lambda d: d.update(size=(9, 9, 9)), r"size is \(9, 9, 9\), the volumes \(16, 20, 24\)", None),
    "no isocentre": (
        without("isocenter"),
        "no isocenter: the centroid of the targets",
        lambda c: c.isocenter_xyz_mm is None,
    ),
    "an isocentre outside": (
        lambda d: d.update(isocenter=np.array([3.0, 4.0, 24.0], np.float32)),
        r"isocenter \(3.0, 4.0, 24.0\) lies outside the volume",
        lambda c: c.isocenter_xyz_mm is None,
    ),
    "no angles": (without("angle_list"), "no angle_list: the case has no beams", lambda c: c.beams == ()),
    "BODY": (
        renamed("Body", "BODY"),
        "BODY is taken for Body",
        lambda c: np.array_equal(c.body, whole_case().body),
    ),
    "no body": (without("Body"), "no Body: the outline is found in the CT", lambda c: c.body[8, 10, 12]),
    "air below -1024": (
        lambda d: d["img"].__setitem__((0, 0, slice(0, 5)), -3024),
        "5 voxels below -1024 HU set to it",
        lambda c: c.ct_hu[0, 0].tolist()[:6] == [-1024] * 5 + [-1000],
    ),
    "dose that undershoots": (
        lambda d: d["dose"].__setitem__((0, 0, 0), -0.25),
        "1 voxels with up to -0.25 Gy set to 0",
        lambda c: c.dose_gy.min() == 0,
    ),
    "dose in other units": (
        lambda d: d.update(dose_scale=2.0),
        r"D97 of zPTV_High_Opt is 132\.\d Gy, 189% of its prescription: units\?",
        None,
    ),
    "masks of 255": (
        lambda d: d.update(SpinalCord=d["SpinalCord"] * np.uint8(255)),
        "mask SpinalCord has values up to 255",
        lambda c: np.array_equal(c.structures["SpinalCord"], whole_case().structures["SpinalCord"]),
    ),
    "an empty mask": (
        lambda d: d.update(SpinalCord=d["SpinalCord"] * 0),
        "named in all_mask, but without a mask or empty: SpinalCord",
        lambda c: "SpinalCord" not in c.structures,
    ),
    "a name nobody knows": (
        renamed("SpinalCord", "PTV foo!"),
        "PTV foo! is a name nobody knows: kept as zPTV_foo!",
        lambda c: "zPTV_foo!" in c.structures,
    ),
    "a key of no meaning": (lambda d: d.update(version="2"), "keys of no known meaning, not used: version", None),
    "another technique": (
        lambda d: d.update(isVMAT=np.bool_(True)),
        "isVMAT is True in the file, which counts, and False in meta_data.csv",
        lambda c: c.technique == "VMAT",
    ),
    "no technique": (without("isVMAT"), "35 fractions assumed", lambda c: c.technique == "IMRT"),
    "only the optimised part": (
        without("PTVHigh"),
        "PTV_High is PTVHighOPT, the part that was optimised: the file has no PTVHigh",
        lambda c: "zPTV_High_Opt" not in c.structures and c.prescription_gy["PTV_High"] == 70,
    ),
    "no lower target": (
        without("PTVLow", "PTVLowOPT"),
        r"PTV_Low has no mask \(PTVLow\): left out",
        lambda c: c.targets == ("PTV_High",),
    ),
    "a structure under two spellings": (
        lambda d: d.update(Chiasm=d["SpinalCord"], Chiasim=d["Parotid_L"]),
        r"Chiasim is OpticChiasm, too, which is there already and differs in \d+ voxels: left out",
        lambda c: np.array_equal(c.structures["OpticChiasm"], c.structures["SpinalCord"]),
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_missing_or_odd_is_told(root: Path, kind: str) -> None:
    change, note, holds = ODD[kind]
    rewrite(root / f"{PLAN}.npz", change)
    case, notes = read(root)
    assert [told for told in notes if re.match(note, told)] != [], notes
    assert holds is None or holds(case)


#: What is refused → the message.
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no CT": (without("img"), "img must be there"),
    "a flat CT": (lambda d: d.update(img=d["img"][0]), r"img must be a volume of numbers .*got \(\(20, 24\)"),
    "a CT of text": (lambda d: d.update(img="HU"), "img must be a volume of numbers .*got 'str'"),
    "a CT that is not finite": (lambda d: d.update(img=np.full(d["img"].shape, np.nan)), "ct_hu must be finite"),
    "a CT beyond int16": (lambda d: d.update(img=d["img"].astype(np.int32) + 70_000), "img must be at most 32767 HU"),
    "dose on another grid": (
        lambda d: d.update(dose=d["dose"][1:]),
        r"dose must have the shape of img, \(16, 20, 24\)",
    ),
    "dose without scale": (without("dose_scale"), r"dose_scale must be a positive number.*got None"),
    "dose of a scale of 0": (lambda d: d.update(dose_scale=0.0), r"dose_scale must be a positive number.*got 0\.0"),
    "negative dose": (lambda d: d.update(dose=d["dose"] - 3), "dose must not be negative; got -3"),
    "dose in cGy": (lambda d: d.update(dose_scale=100.0), r"dose_gy must be in \[0, 250\] Gy total"),
    "dose that is not finite": (lambda d: d["dose"].__setitem__((8, 10, 12), np.nan), "reference_gy must be finite"),
    "a mask on another grid": (lambda d: d.update(Lips=np.ones((2, 2, 2), "u1")), "Lips must have the shape of img"),
    "a mask of text": (lambda d: d.update(Lips=np.full(d["img"].shape, "a")), "Lips must be a mask of numbers"),
    "a mask that is not finite": (
        lambda d: d.update(Lips=np.full(d["img"].shape, np.inf, np.float32)),
        "Lips must be finite",
    ),
    "no target": (without("PTVHigh", "PTVHighOPT"), "masks must hold PTVHighOPT or PTVHigh, the target of the highest"),
    "a patient lying prone": (
        lambda d: d.update(direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)),
        "direction must be the patient's axes",
    ),
    "half a direction": (lambda d: d.update(direction=(1.0, 0.0)), "direction must be 9 numbers; got 2"),
    "a spacing of 0": (lambda d: d.update(spacing=(0.0, 1.0, 1.0)), "spacing_xyz_mm must be three positive lengths"),
    "an origin that is not finite": (lambda d: d.update(origin=[0.0, 1.0, np.nan]), "origin must be finite numbers"),
    "an isocentre of text": (lambda d: d.update(isocenter=["a", "b", "c"]), "isocenter must be finite numbers"),
    "too many angles": (lambda d: d.update(angle_list=np.zeros(5001)), "angle_list must be some numbers; got 5001"),
    "a technique of text": (lambda d: d.update(isVMAT="yes"), "isVMAT must be true or false; got 'str'"),
    "names that are none": (lambda d: d.update(all_mask=[1, 2]), "all_mask must be a list of names"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_is_refused_with_path_and_key(root: Path, kind: str) -> None:
    change, message = BROKEN[kind]
    path = rewrite(root / f"{PLAN}.npz", change)
    with pytest.raises(CaseError, match=rf"^{path.as_posix()}: {message}".replace("+", r"\+")):
        GdpHmmReader(root).read(PLAN)


def test_a_technique_nobody_knows_is_refused(root: Path) -> None:
    rewrite(root / f"{PLAN}.npz", without("isVMAT"))
    table = root / "meta_data.csv"
    table.write_text(table.read_text().replace(",False,", ",,"))
    with pytest.raises(CaseError, match=r"isVMAT must be in the file or in meta_data\.csv"):
        GdpHmmReader(root).read(PLAN)


# Sides


def sided(root: Path, **masks: np.ndarray) -> tuple[PatientCase, str]:
    def change(content: dict[str, Any]) -> None:
        for name in ("Parotid_L", "Parotid_R"):
            content.pop(name)
        content.update({name: mask.view(np.uint8) for name, mask in masks.items()})

    rewrite(root / f"{PLAN}.npz", change)
    case, notes = read(root)
    return case, " | ".join(notes)


def test_parotids_named_by_the_tumour_get_sides_from_geometry(root: Path) -> None:
    left, right = (whole_case().structures[f"Parotid_{side}"] for side in "LR")
    case, notes = sided(root, ParotdIps=right, ParotidCon=left)
    np.testing.assert_array_equal(case.structures["Parotid_R"], right)
    np.testing.assert_array_equal(case.structures["Parotid_L"], left)
    assert "zParotid_Ipsi is Parotid_R, zParotid_Contra is Parotid_L" in notes
    assert "zParotid_Ipsi 16 mm to the right, zParotid_Contra 16 mm to the left of the SpinalCord" in notes


def test_sides_that_are_not_plain_are_not_given(root: Path) -> None:
    left = whole_case().structures["Parotid_L"]
    middle = np.roll(left, -6, axis=2)
    case, notes = sided(root, Parotidlps=left, ParotidCon=middle)
    assert {"zParotid_Ipsi", "zParotid_Contra"} <= set(case.structures)
    assert not {"Parotid_L", "Parotid_R"} & set(case.structures)
    assert "parotids keep their names, sides are not plain" in notes


def test_a_pair_is_split_where_nothing_of_it_is_near_the_midline(root: Path) -> None:
    left, right = (whole_case().structures[f"Parotid_{side}"] for side in "LR")
    case, notes = sided(root, Parotids=left | right)
    np.testing.assert_array_equal(case.structures["Parotid_R"], right)
    np.testing.assert_array_equal(case.structures["Parotid_L"], left)
    np.testing.assert_array_equal(case.structures["Parotids"], left | right)
    assert "Parotid_L and Parotid_R are what of Parotids lies left and right of the SpinalCord's midline" in notes


def test_a_pair_that_reaches_the_midline_is_not_split(root: Path) -> None:
    both = whole_case().structures["Parotid_L"] | whole_case().structures["SpinalCord"]
    case, notes = sided(root, Parotids=both)
    assert not {"Parotid_L", "Parotid_R"} & set(case.structures)
    assert "Parotids are not told apart" in notes


# Splits, sites, folders


def test_splits_sites_and_what_has_no_file(tmp_path: Path) -> None:
    lung = whole_case("L1+2Ac+MOS_3", site="Lung", prescription_gy={"PTV_High": 70.0, "PTV_Low": 56.0})
    write_plans(tmp_path, whole_case(), lung)
    write_plans(tmp_path, whole_case("P002+9Ag+MOS_2"), split="validation")
    write_plans(tmp_path, whole_case("P003+9Ag+MOS_2").with_dose(None))
    (tmp_path / "L1+2Ac+MOS_3.npz").rename(tmp_path / "elsewhere")
    train = GdpHmmReader(tmp_path)
    assert (train.case_ids, train.absent) == ((PLAN,), ("L1+2Ac+MOS_3",))
    assert GdpHmmReader(tmp_path, "validation").case_ids == ("P002+9Ag+MOS_2",)
    test = GdpHmmReader(tmp_path, "test")
    assert test.case_ids == ("P003+9Ag+MOS_2",)
    assert test.read("P003+9Ag+MOS_2").dose_gy is None
    assert GdpHmmReader(tmp_path, "train", split_by="phase").case_ids == (PLAN, "P002+9Ag+MOS_2")
    assert len(GdpHmmReader(tmp_path, None)) == 3
    with pytest.raises(CaseError, match=r"data\.root must hold the file of a plan of split 'train' \(1 in meta_data"):
        GdpHmmReader(tmp_path, site="Lung")


def test_the_published_folders_are_found_from_any_level_on(tmp_path: Path, root: Path) -> None:
    table = root / "meta_data.csv"
    table.write_text(table.read_text().replace(PLAN + ".npz", f"GDP-HMM_Challenge/HaN/train/{PLAN}.npz"))
    deep = root / "HaN" / "train"
    deep.mkdir(parents=True)
    (root / f"{PLAN}.npz").rename(deep / f"{PLAN}.npz")
    assert GdpHmmReader(root).case_ids == (PLAN,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "dev"}, r"split must be one of \('train', 'validation', 'test'\); got 'dev'"),
        ({"split_by": "cohort"}, "split_by must be dev_split or phase; got 'cohort'"),
        ({"site": "Brain"}, "site must be null or one of"),
        ({"split": "test"}, "data.root must hold the file of a plan of split 'test'"),
        ({"ptv_dict": "absent.json"}, r"absent\.json: file cannot be read"),
        ({"pat_obj_dict": "absent.json"}, r"absent\.json: file cannot be read"),
        ({"meta_data": "absent.csv"}, r"absent\.csv: meta_data cannot be read"),
    ],
)
def test_bad_settings_are_refused(root: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(CaseError, match=message):
        GdpHmmReader(root, **settings)  # type: ignore[arg-type]


def test_a_patient_without_prescription_is_refused(root: Path) -> None:
    path = root / "PTV_DICT.json"
    path.write_text(path.read_text().replace("P001", "P999"))
    with pytest.raises(CaseError, match=r"PTV_DICT\.json: PTV_DICT must hold patient P001"):
        GdpHmmReader(root).read(PLAN)


def test_short_patient_numbers_are_filled_up(tmp_path: Path) -> None:
    write_plans(tmp_path, whole_case("7+9Ag+MOS_1"))
    path = tmp_path / "PTV_DICT.json"
    path.write_text(path.read_text().replace('"7"', '"007"'))
    assert GdpHmmReader(tmp_path).read("7+9Ag+MOS_1").prescription_gy == {"PTV_High": 70.0, "PTV_Low": 56.0}


def test_optimised_structures_have_our_names(root: Path) -> None:
    reader = GdpHmmReader(root)
    assert set(reader.objective_structures(PLAN)) == {*PARTS, "Parotid_L", "Parotid_R", "SpinalCord"}
    (root / "Pat_Obj_DICT.json").write_text('{"P001": ["PTVHighOPT", "OCavity-PTV", "PTVLow", "Chiasm"]}')
    names = ("zPTV_High_Opt", "zCavity_Oral-PTV", "PTV_Low", "OpticChiasm")
    assert GdpHmmReader(root).objective_structures(PLAN) == names
    (root / "Pat_Obj_DICT.json").unlink()
    assert GdpHmmReader(root).objective_structures(PLAN) == ()


def test_a_volume_larger_than_any_patient_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.io.gdp_hmm.content.MAX_VOXELS", 7000)
    with pytest.raises(CaseError, match=r"img must have at most 7000 voxels; got \(16, 20, 24\)"):
        GdpHmmReader(root).read(PLAN)


def test_a_file_that_goes_while_we_read_is_named(root: Path) -> None:
    reader = GdpHmmReader(root)
    (root / f"{PLAN}.npz").unlink()
    with pytest.raises(CaseError, match=r"MOS_1\.npz: npz cannot be read: No such file"):
        reader.fingerprint(PLAN)
    with pytest.raises(CaseError, match=r"MOS_1\.npz: npz must exist; got 'no such file'"):
        reader.read(PLAN)
