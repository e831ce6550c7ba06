"""The sparse CSV format and its axes."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import CaseError
from dosewright.io import openkbp_csv
from openkbp_files import BODY, FILES, dose_of, flat, rows

OCTANTS = list(product((3, 101), (20, 117), (7, 90)))  # asymmetric along every axis


def test_axes_are_those_of_an_explicit_loop() -> None:
    stored = np.random.default_rng(0).random((3, 4, 5))
    ours = np.zeros((5, 3, 4))
    for posterior, left, caudal in np.ndindex(stored.shape):
        z, y, x = 4 - caudal, posterior, left  # z grows toward the head, y toward the back, x toward the left
        ours[z, y, x] = stored[posterior, left, caudal]
    np.testing.assert_array_equal(openkbp_csv.to_lps(stored), ours)
    np.testing.assert_array_equal(openkbp_csv.from_lps(ours), stored)


def test_one_voxel_per_octant_goes_out_and_back(tmp_path: Path) -> None:
    ours = np.zeros(openkbp_csv.SHAPE, np.float32)
    for number, (z, y, x) in enumerate(OCTANTS, start=1):
        ours[z, y, x] = number
    path = tmp_path / "dose.csv"
    path.write_text(openkbp_csv.format_values(ours))
    expected = {flat((y, x, 127 - z)): float(number) for number, (z, y, x) in enumerate(OCTANTS, start=1)}
    indices, values = openkbp_csv.read_values(path)
    assert dict(zip(indices.tolist(), values.tolist(), strict=True)) == expected
    assert indices.tolist() == sorted(expected)  # rows go by index, as published


def test_written_values_keep_six_digits(tmp_path: Path) -> None:
    dose = np.random.default_rng(1).uniform(1e-3, 80.0, (128, 128, 128)).astype(np.float32)
    dose[:, :120] = 0
    path = tmp_path / "dose.csv"
    path.write_text(openkbp_csv.format_values(dose))
    indices, values = openkbp_csv.read_values(path)
    back = np.zeros(128**3)
    back[indices] = values
    np.testing.assert_allclose(openkbp_csv.to_lps(back.reshape(128, 128, 128)), dose, rtol=6e-6)


def test_a_volume_of_zeros_is_a_header(tmp_path: Path) -> None:
    text = openkbp_csv.format_values(np.zeros(openkbp_csv.SHAPE))
    assert text == ",data\n"
    path = tmp_path / "dose.csv"
    path.write_text(text)
    indices, values = openkbp_csv.read_values(path)
    assert (indices.size, values.size) == (0, 0)


def test_values_and_masks_as_published(tmp_path: Path) -> None:
    for stem in ("dose", "possible_dose_mask"):
        (tmp_path / f"{stem}.csv").write_text(FILES[stem])
    indices, values = openkbp_csv.read_values(tmp_path / "dose.csv")
    assert indices.tolist() == [flat(place) for place in BODY]
    assert values.tolist() == [dose_of(place) for place in BODY]
    assert openkbp_csv.read_mask_indices(tmp_path / "possible_dose_mask.csv").tolist() == indices.tolist()


@pytest.mark.parametrize(
    "text", [",data\r\n7,1.5\r\n9,2e1\r\n", " ,data\n7,1.5\n\n9,2e1\n", ",data \n 7 , 1.5\n9.0,20.0\n"]
)
def test_harmless_spellings_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dose.csv"
    path.write_bytes(text.encode())
    indices, values = openkbp_csv.read_values(path)
    assert indices.tolist() == [7, 9]
    assert values.tolist() == [1.5, 20.0]


@pytest.mark.parametrize(
    "text", [",data\r\n7,\r\n9,\r\n", ",data\n7,\n\n9,\n", ",data\n7,1\n9,1.0\n", ",data\n7 , \n9,\n"]
)
def test_harmless_spellings_of_masks_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "PTV70.csv"
    path.write_bytes(text.encode())
    assert openkbp_csv.read_mask_indices(path).tolist() == [7, 9]


def test_voxel_dimensions_as_published(tmp_path: Path) -> None:
    path = tmp_path / "voxel_dimensions.csv"
    path.write_text("3.906000000000000139e+00\n3.9\n2.500000000000000000e+00\n")
    assert openkbp_csv.read_voxel_dimensions(path) == (3.906, 3.9, 2.5)


def test_oversized_files_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dose.csv"
    path.write_text(rows([((0, 0, 7), 1.0)]))
    monkeypatch.setattr(openkbp_csv, "MAX_BYTES", 12)
    assert openkbp_csv.read_values(path)[0].tolist() == [7]
    monkeypatch.setattr(openkbp_csv, "MAX_BYTES", 11)
    with pytest.raises(CaseError, match=r"dose\.csv: file must have at most 11 bytes; got 12"):
        openkbp_csv.read_values(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "dose.csv").mkdir()
    with pytest.raises(CaseError, match=r"dose\.csv: file must be readable ASCII text; got .*Is a directory"):
        openkbp_csv.read_values(tmp_path / "dose.csv")
