"""The OpenKBP reader against hand-written patients, a naive twin, and anatomy."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from reader_contract import ReaderContract

from dosewright.core import CaseError, GridMismatchError, InputError, PatientCase
from dosewright.geometry.isocenter import centroid_xyz_mm
from dosewright.io.openkbp import OpenKBPReader
from dosewright.io.prepared import CachedReader
from openkbp_files import BODY, BROKEN, FILES, LEFT, PTV, RIGHT, dose_of, rows, write_patient, write_split


class TestOpenKBPReader(ReaderContract):
    def make(self, folder: Path) -> OpenKBPReader:
        if not (folder / "provided-data").exists():
            write_split(folder, "train", "pt_1", "pt_2")
        return OpenKBPReader(folder, "train")

    def changed(self, folder: Path) -> OpenKBPReader:
        path = folder / "provided-data" / "train-pats" / "pt_1" / "ct.csv"
        path.write_text(path.read_text() + "0,1\n")
        return OpenKBPReader(folder, "train")


def test_a_hand_written_patient_is_read_as_documented(tmp_path: Path) -> None:
    write_split(tmp_path, "train", "pt_7")
    case = OpenKBPReader(tmp_path).read("pt_7")
    assert case.grid.shape_zyx == (128, 128, 128)
    assert case.grid.spacing_xyz_mm == (4.0, 3.0, 2.5)
    assert case.prescription_gy == {"PTV_High": 70.0}
    assert [beam.gantry_angle_deg for beam in case.beams] == [0, 40, 80, 120, 160, 200, 240, 280, 320]
    assert (case.fractions, case.site, case.technique) == (35, "HeadNeck", "IMRT")
    for name, places in (("PTV_High", PTV), ("Parotid_L", LEFT), ("Parotid_R", RIGHT)):
        assert {tuple(p) for p in np.argwhere(case.structures[name]).tolist()} == {
            (127 - c, a, b) for a, b, c in places
        }
    assert list(case.structures) == ["PTV_High", "Parotid_R", "Parotid_L"]
    ct, dose = np.full((128, 128, 128), -1000), np.zeros((128, 128, 128), np.float32)
    for a, b, c in BODY:
        ct[127 - c, a, b] = 900 + a + c - 1000
        dose[127 - c, a, b] = dose_of((a, b, c))
    np.testing.assert_array_equal(case.ct_hu, ct)
    np.testing.assert_array_equal(case.dose_gy, dose)
    np.testing.assert_array_equal(case.scored_mask, dose > 0)


def naive(folder: Path, stem: str) -> np.ndarray:
    """A volume read row by row; masks become ones."""
    volume = np.zeros((128, 128, 128))
    with (folder / f"{stem}.csv").open(newline="") as stream:
        for number, row in enumerate(csv.reader(stream)):
            if number:
                a, rest = divmod(int(row[0]), 128 * 128)
                b, c = divmod(rest, 128)
                volume[127 - c, a, b] = float(row[1]) if row[1] else 1.0
    return volume


def test_a_real_patient_is_what_a_naive_reader_reads(openkbp_root: Path) -> None:
    folder = openkbp_root / "provided-data" / "train-pats" / "pt_1"
    case = OpenKBPReader(openkbp_root, "train").read("pt_1")
    np.testing.assert_array_equal(case.ct_hu, np.minimum(naive(folder, "ct"), 4095) - 1000)
    np.testing.assert_array_equal(case.dose_gy, naive(folder, "dose").astype(np.float32))
    np.testing.assert_array_equal(case.scored_mask, naive(folder, "possible_dose_mask") == 1)
    names = {
        "PTV70": "PTV_High",
        "PTV63": "PTV_Mid",
        "PTV56": "PTV_Low",
        "Brainstem": "Brainstem",
        "SpinalCord": "SpinalCord",
        "RightParotid": "Parotid_R",
        "LeftParotid": "Parotid_L",
        "Esophagus": "Esophagus",
        "Larynx": "Larynx",
        "Mandible": "Bone_Mandible",
    }
    present = {stem: name for stem, name in names.items() if (folder / f"{stem}.csv").exists()}
    assert set(case.structures) == set(present.values())
    for stem, name in present.items():
        np.testing.assert_array_equal(case.structures[name], naive(folder, stem) == 1, err_msg=stem)
    assert case.prescription_gy == {"PTV_High": 70.0, "PTV_Mid": 63.0, "PTV_Low": 56.0}
    posterior, left, caudal = (float(line) for line in (folder / "voxel_dimensions.csv").read_text().split())
    assert case.grid.spacing_xyz_mm == (left, posterior, caudal)


@pytest.fixture(scope="module")
def centroids(openkbp_root: Path) -> list[dict[str, tuple[float, float, float]]]:
    """LPS centroids of the structures of real patients, mm; not every patient has every structure."""

    def measure(case: PatientCase) -> dict[str, tuple[float, float, float]]:
        return {name: centroid_xyz_mm(mask, case.grid) for name, mask in case.structures.items()}

    return [measure(case) for case in OpenKBPReader(openkbp_root, "train")]


@pytest.mark.parametrize(
    ("farther", "nearer", "axis", "least_mm"),
    [
        ("Parotid_L", "Parotid_R", 0, 60.0),  # +x is the patient's left
        ("SpinalCord", "Bone_Mandible", 1, 50.0),  # +y is posterior
        ("Brainstem", "Larynx", 2, 60.0),  # +z is cranial
    ],
)
def test_real_patients_lie_as_patients_do(
    centroids: list[dict[str, tuple[float, float, float]]],
    farther: str,
    nearer: str,
    axis: int,
    least_mm: float,
) -> None:
    gaps_mm = [c[farther][axis] - c[nearer][axis] for c in centroids if farther in c and nearer in c][:20]
    assert len(gaps_mm) == 20
    assert min(gaps_mm) > least_mm
    assert max(gaps_mm) < 200.0


def test_ct_is_clipped_at_the_scanners_top(tmp_path: Path) -> None:
    write_patient(
        tmp_path / "provided-data" / "train-pats" / "pt_1",
        ct=rows((place, 5000.0 if place == BODY[0] else 1234.4) for place in BODY),
    )
    case = OpenKBPReader(tmp_path).read("pt_1")
    a, b, c = BODY[0]
    assert case.ct_hu.dtype == np.int16
    assert case.ct_hu[127 - c, a, b] == 3095
    a, b, c = BODY[1]
    assert case.ct_hu[127 - c, a, b] == 234


def test_the_body_adds_one_ring_of_tissue_in_the_plane(tmp_path: Path) -> None:
    skin, corner, air, below = (39, 55, 65), (39, 49, 65), (50, 55, 65), (45, 55, 72)
    far = (38, 55, 65)
    values = {**dict.fromkeys(BODY, 1000.0), skin: 301.0, corner: 800.0, far: 800.0, air: 300.0, below: 1000.0}
    write_patient(tmp_path / "provided-data" / "train-pats" / "pt_1", ct=rows(sorted(values.items())))
    case = OpenKBPReader(tmp_path).read("pt_1")
    body = {(a, b, 127 - z) for z, a, b in np.argwhere(case.body).tolist()}
    assert body == {*BODY, skin, corner}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_patients_are_refused_by_file_and_rule(tmp_path: Path, kind: str) -> None:
    changes, message = BROKEN[kind]
    folder = write_patient(tmp_path / "provided-data" / "train-pats" / "pt_1", **changes)
    with pytest.raises(CaseError, match="^" + re.escape(str(folder)) + message):
        OpenKBPReader(tmp_path).read("pt_1")


def test_errors_of_other_kinds_keep_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_patient(tmp_path / "provided-data" / "train-pats" / "pt_1")
    for kind in (CaseError, GridMismatchError, InputError):
        error = kind("must be thus", argument="thing", value=3)

        def fail(*_: object, raised: InputError = error) -> None:
            raise raised

        monkeypatch.setattr(OpenKBPReader, "_build", fail)
        with pytest.raises(CaseError, match=rf"^{re.escape(str(folder))}: thing must be thus; got 3$") as caught:
            OpenKBPReader(tmp_path).read("pt_1")
        found = caught.value
        assert (found.rule, found.argument, found.value, found.path) == ("must be thus", "thing", 3, folder)


def test_a_newer_reader_outdates_what_an_older_one_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_split(tmp_path, "train", "pt_1")
    cached = CachedReader(OpenKBPReader(tmp_path), tmp_path / "cache")
    cached.read("pt_1")
    assert cached.is_fresh("pt_1")
    monkeypatch.setattr("dosewright.io.openkbp.READER_VERSION", 1000)
    assert not cached.is_fresh("pt_1")


def test_a_dose_may_leave_zeros_out(tmp_path: Path) -> None:
    given = BODY[: int(len(BODY) * 0.96)]
    write_patient(
        tmp_path / "provided-data" / "train-pats" / "pt_1",
        dose=rows((place, dose_of(place)) for place in given),
    )
    case = OpenKBPReader(tmp_path).read("pt_1")
    assert case.dose_gy is not None
    assert np.count_nonzero(case.dose_gy) == len(given)


@pytest.mark.parametrize(("split", "require"), [("validation", None), ("test", None), ("train", False)])
def test_a_dose_is_needed_for_training_only(tmp_path: Path, split: str, require: bool | None) -> None:
    folder = write_patient(tmp_path / "provided-data" / f"{split}-pats" / "pt_1", dose=None)
    assert OpenKBPReader(tmp_path, split, require).read("pt_1").dose_gy is None
    with pytest.raises(CaseError, match=r"pt_1: dose\.csv must exist"):
        OpenKBPReader(tmp_path, split, require_dose=True).read("pt_1")
    (folder / "dose.csv").write_text(FILES["dose"])
    assert OpenKBPReader(tmp_path, split, require).read("pt_1").dose_gy is not None


def test_patients_come_by_number_and_other_entries_are_left_alone(tmp_path: Path) -> None:
    folder = write_split(tmp_path, "train")
    for name in ("pt_10", "pt_9", "pt_2", "pt_x", "patient_3", "pt_4 copy", ".cache"):
        (folder / name).mkdir(parents=True)
    (folder / "pt_5").write_text("a file")
    assert list(OpenKBPReader(tmp_path).case_ids) == ["pt_2", "pt_9", "pt_10"]


def test_a_patient_found_twice_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    folder = write_split(tmp_path, "train", "pt_1", "pt_01", "pt_2")
    reader = OpenKBPReader(tmp_path)
    assert list(reader.case_ids) == ["pt_01", "pt_1", "pt_2"]
    for name in ("pt_1", "pt_01"):
        for method in (reader.read, reader.fingerprint):
            message = re.escape(f"{folder / name}: patient must appear once, in one split; got ['train-pats/pt_")
            with pytest.raises(CaseError, match=message):
                method(name)
    assert reader.read("pt_2").case_id == "pt_2"


@pytest.mark.parametrize("name", ["pt_3", "pt_003"])
def test_a_patient_of_two_splits_is_refused_in_both(tmp_path: Path, name: str) -> None:
    write_split(tmp_path, "train", "pt_3", "pt_4")
    write_split(tmp_path, "validation", name, "pt_5")
    message = re.escape(f"must appear once, in one split; got ['train-pats/pt_3', 'validation-pats/{name}']")
    with pytest.raises(CaseError, match=message):
        OpenKBPReader(tmp_path, "train").read("pt_3")
    with pytest.raises(CaseError, match=message):
        OpenKBPReader(tmp_path, "validation").read(name)
    assert OpenKBPReader(tmp_path, "train").read("pt_4").case_id == "pt_4"
    assert OpenKBPReader(tmp_path, "validation").read("pt_5").case_id == "pt_5"


def test_folders_that_hold_no_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CaseError, match=r"train-pats: data\.root must hold provided-data/train-pats; got 'no such fold"
    ):
        OpenKBPReader(tmp_path)
    write_split(tmp_path, "train").mkdir(parents=True)
    with pytest.raises(CaseError, match=r"train-pats: data\.root must hold folders named pt_N; got 'none'"):
        OpenKBPReader(tmp_path)
    with pytest.raises(CaseError, match=r"split must be one of \('train', 'validation', 'test'\); got 'holdout'"):
        OpenKBPReader(tmp_path, "holdout")
