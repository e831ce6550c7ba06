"""The phantoms keep the readers' contract; and each check of the contract is seen to fail once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reader_contract import ReaderContract, assert_same_case

from dosewright.core import PatientCase
from dosewright.io.phantom import PhantomAnatomyReader
from dosewright.io.reader import AbstractReader
from dosewright.planning.phantom_plans import PhantomReader
from fake_readers import MemoryReader

GRID = {"shape_zyx": (28, 40, 40), "spacing_xyz_mm": (12.0, 12.0, 12.0)}


class TestPhantomAnatomyReader(ReaderContract):
    def make(self, folder: Path) -> PhantomAnatomyReader:
        return PhantomAnatomyReader("mixed", count=2, **GRID)


class TestPhantomReader(ReaderContract):
    @pytest.fixture(autouse=True)
    def _plan_without_pyradplan(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def dose(case: PatientCase, **_: object) -> np.ndarray:
            return (50.0 * case.body).astype(np.float32)

        monkeypatch.setattr("dosewright.planning.phantom_plans.optimise_photon_dose", dose)

    def make(self, folder: Path) -> PhantomReader:
        return PhantomReader(folder, "mixed", count=2, **GRID)


@pytest.mark.parametrize("change", [{"seed": 1}, {"spacing_xyz_mm": (12.0, 12.0, 11.0)}, {"split": "test"}])
def test_phantoms_of_other_arguments_have_other_fingerprints(tmp_path: Path, change: dict[str, object]) -> None:
    one, other = PhantomAnatomyReader(count=2, **GRID), PhantomAnatomyReader(count=2, **{**GRID, **change})
    assert one.fingerprint(one.case_ids[0]) != other.fingerprint(other.case_ids[0])
    planned = PhantomReader(tmp_path, count=2, **GRID)
    changed = PhantomReader(tmp_path, count=2, **{**GRID, **change})
    assert planned.fingerprint(planned.case_ids[0]) != changed.fingerprint(changed.case_ids[0])
    coarse = PhantomReader(tmp_path, count=2, **GRID, beamlet_mm=20.0)
    assert planned.fingerprint(planned.case_ids[0]) != coarse.fingerprint(planned.case_ids[0])


@pytest.fixture
def cases(case: PatientCase) -> list[PatientCase]:
    return [case, replace(case, case_id="case_2")]


class _RepeatedId(MemoryReader):
    @property
    def case_ids(self) -> Sequence[str]:
        return [*self.cases, next(iter(self.cases))]


class _UnstableIds(MemoryReader):
    @property
    def case_ids(self) -> Sequence[str]:
        self.reads.append("listed")
        return list(self.cases)[:: -1 if len(self.reads) % 3 else 1]


class _WrongCase(MemoryReader):
    def read(self, case_id: str) -> PatientCase:
        return replace(super().read(case_id), case_id="case_1")


class _Drifting(MemoryReader):
    def read(self, case_id: str) -> PatientCase:
        case = super().read(case_id)
        return replace(case, ct_hu=case.ct_hu + np.int16(len(self.reads)))


class _ForgetsWhenPickled(MemoryReader):
    def __reduce__(self) -> tuple[object, ...]:
        return MemoryReader, ([replace(c, fractions=1) for c in self.cases.values()],)


class _TakesAnything(MemoryReader):
    def read(self, case_id: str) -> PatientCase:
        return super().read(case_id if case_id in self.cases else "case_1")


class _OneFingerprint(MemoryReader):
    def fingerprint(self, case_id: str) -> str:
        return "always"


def _contract(kind: Callable[[list[PatientCase]], AbstractReader], cases: list[PatientCase]) -> ReaderContract:
    class Checked(ReaderContract):
        def make(self, folder: Path) -> AbstractReader:
            return kind(cases)

    return Checked()


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (_RepeatedId, "test_ids_are_unique_and_stable"),
        (_UnstableIds, "test_ids_are_unique_and_stable"),
        (_WrongCase, "test_each_case_carries_its_id"),
        (_Drifting, "test_reading_twice_is_the_same"),
        (_ForgetsWhenPickled, "test_a_pickled_reader_reads_the_same"),
        (_OneFingerprint, "test_fingerprints_tell_cases_and_changes_apart"),
    ],
)
def test_each_check_fails_where_it_should(
    cases: list[PatientCase], tmp_path: Path, kind: type[MemoryReader], check: str
) -> None:
    getattr(_contract(MemoryReader, cases), check)(tmp_path)
    with pytest.raises(AssertionError):
        getattr(_contract(kind, cases), check)(tmp_path)


def test_the_check_of_unknown_cases_fails_where_it_should(cases: list[PatientCase], tmp_path: Path) -> None:
    _contract(MemoryReader, cases).test_an_unknown_case_is_refused_by_name(tmp_path, "no_such_case")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        _contract(_TakesAnything, cases).test_an_unknown_case_is_refused_by_name(tmp_path, "no_such_case")


def test_a_stale_fingerprint_fails_the_contract(cases: list[PatientCase], tmp_path: Path) -> None:
    class Checked(ReaderContract):
        def make(self, folder: Path) -> AbstractReader:
            return MemoryReader(cases)

        changed = make

    with pytest.raises(AssertionError):
        Checked().test_fingerprints_tell_cases_and_changes_apart(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"case_id": "other"},
        {"fractions": 3},
        {"dose_gy": None},
        {"technique": "VMAT"},
        {"isocenter_xyz_mm": (0.0, 0.0, 0.0)},
        {"beams": ()},
        {"prescription_gy": {"PTV_High": 70.0, "PTV_Low": 57.0}},
    ],
)
def test_cases_that_differ_in_a_field_are_not_the_same(case: PatientCase, change: dict[str, object]) -> None:
    assert_same_case(replace(case), case)
    with pytest.raises(AssertionError):
        assert_same_case(replace(case, **change), case)


@pytest.mark.parametrize("name", ["ct_hu", "body", "dose_mask", "dose_gy"])
def test_cases_that_differ_in_a_voxel_are_not_the_same(case: PatientCase, name: str) -> None:
    whole = replace(case, dose_mask=case.body.copy())
    volume = getattr(whole, name).copy()
    volume[3, 4, 5] = volume[3, 4, 5] == 0
    with pytest.raises(AssertionError):
        assert_same_case(replace(whole, **{name: volume}), whole)
