"""What the writers write the reader reads: the same case, whatever the order and names of the files."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from cases import make_case
from dicom_written import octant_case
from dosewright.core import PatientCase
from dosewright.io.dicom import DicomReader
from dosewright.io.dicom.write_deidentified import deidentify
from dosewright.io.dicom.write_study import write_study


def read(folder: Path) -> PatientCase:
    reader = DicomReader(folder, check_dose=False)
    (case_id,) = reader.case_ids
    return reader.read(case_id)


def check_same(found: PatientCase, case: PatientCase) -> None:
    assert found.grid.is_close(case.grid, 1e-6)
    assert np.array_equal(found.ct_hu, case.ct_hu)
    assert np.array_equal(found.body, case.body)
    assert set(found.structures) == set(case.structures)
    for name, mask in case.structures.items():
        assert np.array_equal(found.structures[name], mask), name
    assert np.abs(found.dose_gy - case.dose_gy).max() <= case.dose_gy.max() / 65535 / 2 + 1e-5
    assert dict(found.prescription_gy) == dict(case.prescription_gy)
    assert (found.beams, found.fractions, found.technique) == (case.beams, case.fractions, case.technique)


@pytest.mark.parametrize("holes", ["keyhole", "xor"])
def test_a_case_comes_back(holes: str, tmp_path: Path) -> None:
    case = octant_case()
    case = dataclasses.replace(case, structures={n: m for n, m in case.structures.items() if n != "zRing"})
    write_study(case, tmp_path, holes=holes)
    found = read(tmp_path)
    check_same(found, case)
    assert found.isocenter_xyz_mm == pytest.approx(case.isocenter_xyz_mm, abs=1e-9)


def test_names_and_folders_of_the_files_do_not_matter(tmp_path: Path) -> None:
    case = make_case()
    written = write_study(case, tmp_path / "study")
    order = list(written.paths)
    random.Random(3).shuffle(order)
    for number, path in enumerate(order):
        target = tmp_path / "all" / f"part {number % 3}" / f"{number}"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    check_same(read(tmp_path / "all"), case)


def test_a_deidentified_study_is_the_same_case(tmp_path: Path) -> None:
    case = make_case()
    write_study(case, tmp_path / "study")
    deidentify(tmp_path / "study", tmp_path / "out")
    check_same(read(tmp_path / "out"), case)
