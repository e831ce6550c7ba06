"""What every reader must do. Inherit `ReaderContract`, name the class Test…, and give `make` (and `changed`)."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import CaseError, PatientCase
from dosewright.io.reader import AbstractReader


def assert_same_case(one: PatientCase, other: PatientCase, dose_tolerance_gy: float = 0.0) -> None:
    """Every field equal; doses within a tolerance."""
    for name in ("case_id", "grid", "prescription_gy", "beams", "isocenter_xyz_mm", "technique", "site", "fractions"):
        assert getattr(one, name) == getattr(other, name), name
    assert list(one.structures) == list(other.structures)
    for name, mask in one.structures.items():
        np.testing.assert_array_equal(mask, other.structures[name], err_msg=name)
    for name in ("ct_hu", "body", "dose_mask", "dose_gy"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert mine.dtype == theirs.dtype, name
            tolerance = dose_tolerance_gy if name == "dose_gy" else 0
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance, err_msg=name)


class ReaderContract:
    def make(self, folder: Path) -> AbstractReader:
        """A reader of at least two cases; called again with the same folder, one of the same source."""
        raise NotImplementedError

    def changed(self, folder: Path) -> AbstractReader | None:
        """After `make`: change the source of the first case only, and return a reader of it; None if none can."""
        return None

    def test_ids_are_unique_and_stable(self, tmp_path: Path) -> None:
        reader = self.make(tmp_path)
        ids = list(reader.case_ids)
        assert len(ids) >= 2
        assert len(ids) == len(set(ids)) == len(reader)
        assert ids == list(reader.case_ids) == list(self.make(tmp_path).case_ids)

    def test_each_case_carries_its_id(self, tmp_path: Path) -> None:
        reader = self.make(tmp_path)
        assert [case.case_id for case in reader] == list(reader.case_ids)

    def test_reading_twice_is_the_same(self, tmp_path: Path) -> None:
        reader = self.make(tmp_path)
        first = reader.case_ids[0]
        case = reader.read(first)
        reader.read(reader.case_ids[1])  # must not disturb
        assert_same_case(reader.read(first), case)
        assert_same_case(self.make(tmp_path).read(first), case)

    def test_a_pickled_reader_reads_the_same(self, tmp_path: Path) -> None:
        reader = self.make(tmp_path)
        copy = pickle.loads(pickle.dumps(reader))
        assert list(copy.case_ids) == list(reader.case_ids)
        assert_same_case(copy.read(reader.case_ids[0]), reader.read(reader.case_ids[0]))
        assert copy.fingerprint(reader.case_ids[0]) == reader.fingerprint(reader.case_ids[0])

    @pytest.mark.parametrize("unknown", ["no_such_case", ""])
    def test_an_unknown_case_is_refused_by_name(self, tmp_path: Path, unknown: str) -> None:
        with pytest.raises(CaseError, match=unknown or "got ''|no such file"):
            self.make(tmp_path).read(unknown)

    def test_fingerprints_tell_cases_and_changes_apart(self, tmp_path: Path) -> None:
        reader = self.make(tmp_path)
        before = [reader.fingerprint(case_id) for case_id in reader.case_ids]
        assert before == [reader.fingerprint(case_id) for case_id in reader.case_ids]
        assert len(set(before)) == len(before)
        other = self.changed(tmp_path)
        if other is not None:
            after = [other.fingerprint(case_id) for case_id in reader.case_ids]
            assert after[0] != before[0]
            assert after[1:] == before[1:]
