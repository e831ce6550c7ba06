"""The cache of phantom plans; the dose calculation itself is replaced by a cheap one."""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.fluence.photon_influence import MissingExtraError
from dosewright.planning import phantom_plans
from dosewright.planning.phantom_plans import PhantomReader

SMALL: dict[str, Any] = {"shape_zyx": (26, 26, 26), "spacing_xyz_mm": (12.0, 12.0, 12.0)}


class Planner:
    """A stand-in for the dose calculation that counts its calls and may be told to fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail_at: int | None = None

    def __call__(self, case: PatientCase, *, rng: np.random.Generator | None, **plan: Any) -> np.ndarray:
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(case.case_id)
        scale = 1.0 if rng is None else rng.uniform(0.5, 1)
        return (case.body * 60.0 * scale).astype(np.float32)


def _dose(case: PatientCase) -> np.ndarray:
    assert case.dose_gy is not None
    return case.dose_gy


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch) -> Planner:
    stand_in = Planner()
    monkeypatch.setattr(phantom_plans, "optimise_photon_dose", stand_in)
    return stand_in


def test_dose_is_computed_once(planner: Planner, tmp_path: Path) -> None:
    first = PhantomReader(tmp_path, count=2, **SMALL).read("hn_train_0001")
    again = PhantomReader(str(tmp_path), count=5, **SMALL).read("hn_train_0001")  # a larger count keeps its cases
    assert planner.calls == ["hn_train_0001"]
    assert _dose(again).tobytes() == _dose(first).tobytes()
    assert again.ct_hu.tobytes() == first.ct_hu.tobytes()


def test_case_is_the_anatomy_with_dose(planner: Planner, tmp_path: Path) -> None:
    reader = PhantomReader(tmp_path, site="mixed", count=2, vary_goals=False, **SMALL)
    assert reader.case_ids == ("hn_train_0000", "lung_train_0001")
    case = reader.read("lung_train_0001")
    assert case.site == "Lung"
    assert np.array_equal(_dose(case), case.body * np.float32(60))


def test_pickled_reader_shares_the_cache(planner: Planner, tmp_path: Path) -> None:
    reader = PhantomReader(tmp_path, count=1, **SMALL)
    reader.read("hn_train_0000")
    pickle.loads(pickle.dumps(reader)).read("hn_train_0000")
    assert len(planner.calls) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"shape_zyx": (27, 26, 26)},
        {"spacing_xyz_mm": (11.0, 12.0, 12.0)},
        {"beamlet_mm": 8.0},
        {"dose_spacing_mm": None},
        {"iterations": 61},
        {"vary_goals": False},
    ],
)
def test_key_changes_with_every_parameter(change: dict[str, Any], tmp_path: Path) -> None:
    plain = PhantomReader(tmp_path, **SMALL).cache_path("hn_train_0000")
    assert PhantomReader(tmp_path, **SMALL).cache_path("hn_train_0000") == plain
    assert PhantomReader(tmp_path, **{**SMALL, **change}).cache_path("hn_train_0000") != plain


@pytest.mark.parametrize("version", ["GENERATOR_VERSION", "PLAN_VERSION"])
def test_key_changes_with_the_code(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader = PhantomReader(tmp_path, **SMALL)
    plain = reader.cache_path("hn_train_0000")
    monkeypatch.setattr(phantom_plans, version, 999)
    assert reader.cache_path("hn_train_0000") != plain


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "other shape", "other key", "negative"])
def test_broken_cache_is_computed_again(damage: str, planner: Planner, tmp_path: Path) -> None:
    reader = PhantomReader(tmp_path, count=1, **SMALL)
    good = _dose(reader.read("hn_train_0000"))
    path = reader.cache_path("hn_train_0000")
    content = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "garbage":
            middle = len(content) // 2
            path.write_bytes(content[:middle] + b"\xff" * 200 + content[middle + 200 :])
        case "empty":
            path.write_bytes(b"")
        case "other shape":
            np.savez_compressed(path, dose_gy=np.zeros((4, 4, 4), np.float32))
        case "other key":
            np.savez_compressed(path, dose=good)
        case "negative":
            np.savez_compressed(path, dose_gy=-1 - good)
    with pytest.warns(UserWarning, match="broken cache file .* computed again"):
        again = reader.read("hn_train_0000")
    assert np.array_equal(_dose(again), good)
    assert len(planner.calls) == 2
    reader.read("hn_train_0000")
    assert len(planner.calls) == 2


def test_warm_computes_what_is_missing(planner: Planner, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = PhantomReader(tmp_path, count=3, **SMALL)
    reader.read("hn_train_0001")
    assert reader.missing == ("hn_train_0000", "hn_train_0002")
    assert reader.warm(workers=1) == 2
    assert "2/2" in capsys.readouterr().out
    assert reader.missing == ()
    assert reader.warm(workers=1, progress=False) == 0
    assert sorted(planner.calls) == list(reader.case_ids)


def test_interrupted_warm_resumes(planner: Planner, tmp_path: Path) -> None:
    reader = PhantomReader(tmp_path, count=4, **SMALL)
    planner.fail_at = 2
    with pytest.raises(KeyboardInterrupt):
        reader.warm(workers=1, progress=False)
    assert reader.missing == ("hn_train_0002", "hn_train_0003")
    assert not list(tmp_path.glob(".*"))  # no half-written files
    planner.fail_at = None
    assert reader.warm(workers=1, progress=False) == 2
    assert planner.calls == list(reader.case_ids)


def test_jobs_run_in_other_processes() -> None:
    assert sorted(phantom_plans._finished(str.upper, ["a", "b", "c"], 2)) == ["A", "B", "C"]


@pytest.mark.parametrize("workers", [0, -1])
def test_bad_workers(workers: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers must be a positive integer"):
        PhantomReader(tmp_path, **SMALL).warm(workers=workers)


def test_unknown_case(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="case_id must be one of 2 cases"):
        PhantomReader(tmp_path, count=2, **SMALL).read("hn_test_0000")


def test_pyradplan_is_needed_on_a_miss_only(planner: Planner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader = PhantomReader(tmp_path, count=2, **SMALL)
    reader.read("hn_train_0000")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pyRadPlan", None)
    assert reader.read("hn_train_0000").dose_gy is not None
    with pytest.raises(MissingExtraError, match=r"dosewright\[plans\]"):
        reader.read("hn_train_0001")


def test_the_count_may_differ_by_split(tmp_path: Path) -> None:
    counts = {"train": 3, "test": 1}
    assert len(PhantomReader(tmp_path, count=counts, split="train")) == 3
    assert PhantomReader(tmp_path, count=counts, split="test").case_ids == ("hn_test_0000",)
    with pytest.raises(InputError, match="count must name the split 'validation'; got"):
        PhantomReader(tmp_path, count=counts, split="validation")
