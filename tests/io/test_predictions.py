import itertools
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import CaseError, Grid, GridMismatchError, PatientCase
from dosewright.io.predictions import list_predictions, read_prediction, write_prediction

OCTANTS = list(itertools.product((3, 100), (20, 120), (7, 90)))  # z, y, x: asymmetric along every axis


@pytest.fixture
def dose(case: PatientCase) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 75, case.grid.shape_zyx).astype(np.float32)


@pytest.fixture(scope="module")
def big_case() -> PatientCase:
    """A case with OpenKBP's 128³ voxels."""
    grid = Grid((128, 128, 128), (3.9, 3.9, 2.5))
    body = np.ones(grid.shape_zyx, bool)
    target = np.zeros(grid.shape_zyx, bool)
    target[60:64, 60:64, 60:64] = True
    return PatientCase("pt_7", grid, np.zeros(grid.shape_zyx, np.int16), body, {"PTV_High": target}, {"PTV_High": 70.0})


def naive_csv(values: dict[tuple[int, int, int], float]) -> str:
    """OpenKBP's axes by arithmetic: 0 posterior = y, 1 left = x, 2 caudal = reversed z."""
    return ",data\n" + "".join(f"{(y * 128 + x) * 128 + (127 - z)},{v}\n" for (z, y, x), v in values.items())


def rewrite(path: Path, **changes: object) -> None:
    with np.load(path) as stored:
        content = {key: stored[key] for key in stored}
    content |= changes
    np.savez(path, **{key: value for key, value in content.items() if value is not None})


def test_round_trip_is_exact(tmp_path: Path, case: PatientCase, dose: np.ndarray) -> None:
    path = write_prediction(tmp_path / "new", case.case_id, case.grid, dose)
    assert path == tmp_path / "new" / "case_1.npz"
    for source in (path, path.parent):
        np.testing.assert_array_equal(read_prediction(source, case), dose)
    assert [p.name for p in path.parent.iterdir()] == ["case_1.npz"]  # no temporary left


def test_file_holds_the_documented_arrays(tmp_path: Path, case: PatientCase, dose: np.ndarray) -> None:
    path = write_prediction(tmp_path, case.case_id, case.grid, dose.astype(np.float64))
    with np.load(path, allow_pickle=False) as stored:
        assert stored["dose_gy"].dtype == np.float32
        np.testing.assert_array_equal(stored["dose_gy"], dose)
        assert stored["spacing_xyz_mm"].tolist() == [3.0, 3.0, 4.0]
        assert stored["origin_xyz_mm"].tolist() == [-40.0, -30.0, 5.0]
        assert str(stored["case_id"]) == "case_1"


def test_zeros_outside_the_body_cost_little(tmp_path: Path, big_case: PatientCase) -> None:
    dose = np.zeros(big_case.grid.shape_zyx, np.float32)
    dose[60:70, 60:70, 60:70] = 70.0
    path = write_prediction(tmp_path, "pt_7", big_case.grid, dose)
    assert path.stat().st_size < dose.nbytes / 100


@pytest.mark.parametrize("kind", ["folder", "file", "zip"])
def test_openkbp_csv_lands_on_our_axes(tmp_path: Path, big_case: PatientCase, kind: str) -> None:
    marks = {place: 10.0 + at for at, place in enumerate(OCTANTS)}
    (tmp_path / "pt_7.csv").write_text(naive_csv(marks))
    source = {"folder": tmp_path, "file": tmp_path / "pt_7.csv", "zip": tmp_path / "all.zip"}[kind]
    if kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            archive.write(tmp_path / "pt_7.csv", "pt_7.csv")
    dose = read_prediction(source, big_case)
    assert dose.flags.c_contiguous
    assert {tuple(p): dose[tuple(p)] for p in np.argwhere(dose).tolist()} == marks


def test_list_names_every_kind_once(tmp_path: Path) -> None:
    for name in ("b.npz", "a.csv", "pt_10.csv", ".b.part.npz", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "plots").mkdir()
    assert list_predictions(tmp_path) == ("a", "b", "pt_10")
    archive_path = tmp_path / "all.zip"
    with zipfile.ZipFile(archive_path, "w") as archive:
        for name in ("pt_2.csv", "pt_1.csv", "__MACOSX/._pt_1.csv", "readme.txt"):
            archive.writestr(name, "")
    assert list_predictions(archive_path) == ("pt_1", "pt_2")


def test_list_refuses_what_it_cannot_list(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"nowhere: predictions must be a folder or a zip; got 'no such file'"):
        list_predictions(tmp_path / "nowhere")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(CaseError, match=r"cut\.zip: predictions must be a folder or a readable zip"):
        list_predictions(tmp_path / "cut.zip")
    for name in ("a.npz", "a.csv"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CaseError, match=r"prediction must be unique per case; got \['a'\]"):
        list_predictions(tmp_path)


def test_two_files_for_a_case_are_refused(tmp_path: Path, case: PatientCase, dose: np.ndarray) -> None:
    write_prediction(tmp_path, case.case_id, case.grid, dose)
    (tmp_path / "case_1.csv").write_text(",data\n")
    with pytest.raises(CaseError, match=r"prediction must be unique per case; got \('case_1\.npz', 'case_1\.csv'\)"):
        read_prediction(tmp_path, case)


@pytest.mark.parametrize(
    ("shift_mm", "spacing"), [((0.0, 0.0, 4.0), (3.0, 3.0, 4.0)), ((0.0, 0.0, 0.0), (3.0, 3.0, 4.1))]
)
def test_another_grid_is_refused(
    tmp_path: Path,
    case: PatientCase,
    dose: np.ndarray,
    shift_mm: tuple[float, float, float],
    spacing: tuple[float, float, float],
) -> None:
    origin = tuple(a + b for a, b in zip(case.grid.origin_xyz_mm, shift_mm))
    write_prediction(tmp_path, case.case_id, Grid(dose.shape, spacing, origin), dose)
    with pytest.raises(GridMismatchError, match=r"case_1\.npz: prediction must be on the case's grid Grid"):
        read_prediction(tmp_path, case)


def test_another_shape_is_refused(tmp_path: Path, case: PatientCase, dose: np.ndarray) -> None:
    with pytest.raises(GridMismatchError, match=r"case_1\.npz: dose_gy must have the grid's shape \(16, 20, 24\)"):
        write_prediction(tmp_path, case.case_id, case.grid, dose[1:])
    smaller = case.grid.crop((slice(1, None), slice(None), slice(None)))
    write_prediction(tmp_path, case.case_id, smaller, dose[1:])
    with pytest.raises(GridMismatchError, match="prediction must be on the case's grid"):
        read_prediction(tmp_path, case)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.nan, "dose_gy must be finite; got '1 voxels NaN or infinite'"),
        (np.inf, "dose_gy must be finite; got '1 voxels NaN or infinite'"),
        (-0.5, r"dose_gy must be in \[0, 250\] Gy total; got \(-0\.5, "),
        (7000.0, r"dose_gy must be in \[0, 250\] Gy total; got \(.*, 7000\.0\)"),
    ],
)
def test_impossible_doses_are_refused_both_ways(
    tmp_path: Path, case: PatientCase, dose: np.ndarray, value: float, match: str
) -> None:
    good = write_prediction(tmp_path, case.case_id, case.grid, dose)
    bad = dose.copy()
    bad[3, 4, 5] = value
    with pytest.raises(CaseError, match=match):
        write_prediction(tmp_path, case.case_id, case.grid, bad)
    np.testing.assert_array_equal(read_prediction(good, case), dose)  # the refused write left the old file alone
    rewrite(good, dose_gy=bad)
    with pytest.raises(CaseError, match=rf"case_1\.npz: {match}"):
        read_prediction(tmp_path, case)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_named(tmp_path: Path, case: PatientCase, dose: np.ndarray, share: float) -> None:
    path = write_prediction(tmp_path, case.case_id, case.grid, dose)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CaseError, match=r"case_1\.npz: prediction must be a complete \.npz file"):
        read_prediction(tmp_path, case)


def test_flipped_bytes_are_noticed(tmp_path: Path, case: PatientCase, dose: np.ndarray) -> None:
    path = write_prediction(tmp_path, case.case_id, case.grid, dose)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"case_1\.npz: prediction must be a complete \.npz file"):
        read_prediction(tmp_path, case)


def test_pickles_and_plain_arrays_are_refused(tmp_path: Path, case: PatientCase, dose: np.ndarray) -> None:
    path = write_prediction(tmp_path, case.case_id, case.grid, dose)
    rewrite(path, case_id=np.array([{"a": 1}], object))
    with pytest.raises(CaseError, match=r"must be a complete \.npz file.*allow_pickle=False"):
        read_prediction(tmp_path, case)
    with path.open("wb") as stream:
        np.save(stream, dose)
    with pytest.raises(CaseError, match=r"must be a complete \.npz file"):
        read_prediction(tmp_path, case)


def test_an_archive_that_unpacks_to_more_than_the_limit_is_not_unpacked(
    tmp_path: Path, case: PatientCase, dose: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_prediction(tmp_path, case.case_id, case.grid, dose)
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    monkeypatch.setattr("dosewright.io.predictions.MAX_NPZ_BYTES", size)
    np.testing.assert_array_equal(read_prediction(path, case), dose)
    monkeypatch.setattr("dosewright.io.predictions.MAX_NPZ_BYTES", size - 1)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(
        CaseError, match=rf"case_1\.npz: prediction must unpack to at most {size - 1} bytes; got {size}"
    ):
        read_prediction(path, case)


@pytest.mark.parametrize("error", [MemoryError, OverflowError, RuntimeError])
def test_arrays_that_cannot_be_built_are_told(
    tmp_path: Path, case: PatientCase, dose: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    path = write_prediction(tmp_path, case.case_id, case.grid, dose)

    def fail(*_: object, **__: object) -> None:
        raise error("no such array")

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(CaseError, match=r"prediction must be a complete \.npz file: .*; got 'no such array'"):
        read_prediction(path, case)


def test_wrong_content_is_named(tmp_path: Path, case: PatientCase, dose: np.ndarray) -> None:
    path = write_prediction(tmp_path, case.case_id, case.grid, dose)
    with pytest.raises(CaseError, match=r"case_id must be 'case_2'; got 'case_1'"):
        read_prediction(path, replace(case, case_id="case_2"))
    rewrite(path, dose_gy=dose.astype(np.int16))
    with pytest.raises(CaseError, match=r"dose_gy must be a 3-D array of floating-point numbers; got .*'int16'"):
        read_prediction(path, case)
    rewrite(path, dose_gy=dose[0])
    with pytest.raises(CaseError, match=r"dose_gy must be a 3-D array of .*; got \(\(20, 24\), 'float32'\)"):
        read_prediction(path, case)
    rewrite(path, dose_gy=dose, spacing_xyz_mm=np.array([3.0, 3.0]))
    with pytest.raises(CaseError, match=r"spacing_xyz_mm must be three lengths in mm; got array\(\[3\., 3\.\]\)"):
        read_prediction(path, case)
    rewrite(path, spacing_xyz_mm=np.array([3.0, 3.0, -4.0]))
    with pytest.raises(CaseError, match="spacing_xyz_mm must be three positive lengths in mm"):
        read_prediction(path, case)
    rewrite(path, dose_gy=None)
    with pytest.raises(CaseError, match=r"prediction must hold .*; got \"without \['dose_gy'\]\""):
        read_prediction(path, case)


def test_missing_files_are_named(tmp_path: Path, case: PatientCase) -> None:
    with pytest.raises(CaseError, match=r"case_1\.npz: prediction must exist; got 'no such file'"):
        read_prediction(tmp_path, case)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("pt_1.csv", ",data\n")
    with pytest.raises(CaseError, match=r"all\.zip: zip must hold case_1\.csv; got 'no such entry'"):
        read_prediction(tmp_path / "all.zip", case)


def test_csv_needs_openkbp_voxels(tmp_path: Path, case: PatientCase) -> None:
    (tmp_path / "case_1.csv").write_text(",data\n5,1.0\n")
    with pytest.raises(GridMismatchError, match=r"prediction cannot be read from a CSV, which holds \(128, 128, 128\)"):
        read_prediction(tmp_path, case)


def test_broken_zip_entries_are_named(tmp_path: Path, big_case: PatientCase, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pt_7.csv", ",data\n5,1.0\n5,2.0\n")
    with pytest.raises(CaseError, match=r"all\.zip/pt_7\.csv: index must be unique"):
        read_prediction(path, big_case)
    path.write_bytes(path.read_bytes().replace(b"5,2.0", b"6,2.0"))  # content no longer fits its checksum
    with pytest.raises(CaseError, match=r"all\.zip: pt_7\.csv must be a complete entry; got .*Bad CRC-32"):
        read_prediction(path, big_case)
    monkeypatch.setattr("dosewright.io.openkbp_csv.MAX_BYTES", 10)
    with pytest.raises(CaseError, match=r"all\.zip: pt_7\.csv must unpack to at most 10 bytes"):
        read_prediction(path, big_case)
