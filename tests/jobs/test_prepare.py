"""`dosewright prepare`: what is broken is skipped and named, everything else is prepared, once."""

import errno
import json
import multiprocessing
import re
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from dosewright.core import CaseError, InputError, PatientCase, StorageError
from dosewright.io.prepared import CachedReader, PreparedReader, stored_fingerprint
from dosewright.jobs.prepare import FRESH, PREPARED, SKIPPED, one_thread, prepare_all, prepare_one, run
from fake_readers import FatalReader, FullDiskReader, MemoryReader
from openkbp_files import BROKEN, write_patient, write_split
from tiny import config


def job(root: Path, *overrides: str) -> DictConfig:
    """The configuration of `dosewright prepare data=openkbp data.root=…` with its cache and output under the root."""
    paths = (f"data.root={root}", f"data.cache_dir={root / 'cache'}", f"out={root / 'out'}", "workers=1")
    return config("prepare", "data=openkbp", *paths, *overrides)


def named(case: PatientCase, *names: str) -> list[PatientCase]:
    return [replace(case, case_id=name) for name in names]


def test_a_broken_patient_costs_no_other(tmp_path: Path) -> None:
    folder = write_split(tmp_path, "train", "pt_1", "pt_900")
    for number, (changes, _) in enumerate(BROKEN.values(), start=2):
        write_patient(folder / f"pt_{number}", **changes)
    summary = run(job(tmp_path))
    train = summary["train"]
    assert (train[PREPARED], train[FRESH], train[SKIPPED]) == (2, 0, len(BROKEN))
    assert list(train["reasons"]) == [f"pt_{number}" for number in range(2, 2 + len(BROKEN))]
    for (kind, (_, message)), (case_id, reason) in zip(BROKEN.items(), train["reasons"].items(), strict=True):
        assert re.match(re.escape(str(folder / case_id)) + message, reason), (kind, reason)
    cache = tmp_path / "cache" / "train"
    assert list(PreparedReader(cache).case_ids) == ["pt_1", "pt_900"]
    assert sorted(path.name for path in cache.iterdir()) == ["pt_1.case", "pt_900.case"]  # no temporary left
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


def test_patients_found_twice_cost_no_other(tmp_path: Path) -> None:
    write_split(tmp_path, "train", "pt_1", "pt_01", "pt_2", "pt_3")
    write_split(tmp_path, "validation", "pt_3", "pt_4")
    summary = run(job(tmp_path))
    assert set(summary["train"]["reasons"]) == {"pt_1", "pt_01", "pt_3"}
    assert set(summary["validation"]["reasons"]) == {"pt_3"}
    assert "got ['train-pats/pt_01', 'train-pats/pt_1']" in summary["train"]["reasons"]["pt_1"]
    assert "got ['train-pats/pt_3', 'validation-pats/pt_3']" in summary["validation"]["reasons"]["pt_3"]
    assert list(PreparedReader(tmp_path / "cache" / "train").case_ids) == ["pt_2"]
    assert list(PreparedReader(tmp_path / "cache" / "validation").case_ids) == ["pt_4"]


def test_a_split_the_data_lack_is_passed_over_by_name(tmp_path: Path) -> None:
    write_split(tmp_path, "validation", "pt_1")
    summary = run(job(tmp_path))
    assert list(summary) == ["train", "validation", "test"]
    assert summary["validation"][PREPARED] == 1
    for split in ("train", "test"):
        folder = tmp_path / "provided-data" / f"{split}-pats"
        reason = f"{folder}: data.root must hold provided-data/{split}-pats; got 'no such folder'"
        assert summary[split] == {"passed over": reason}


def test_nothing_to_prepare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"train-pats: data\.root must hold provided-data/train-pats"):
        run(job(tmp_path))
    with pytest.raises(InputError, match="workers must be positive; got 0"):
        run(job(tmp_path, "workers=0"))


def test_a_second_run_only_does_what_is_missing_changed_or_broken(tmp_path: Path, case: PatientCase) -> None:
    source = MemoryReader(named(case, "a", "b", "c", "d", "e"), broken=["e"])
    reader = CachedReader(source, tmp_path)
    outcomes = prepare_all(reader, reader.case_ids, workers=1)
    assert [(name, what) for name, what, _ in outcomes] == [*((name, PREPARED) for name in "abcd"), ("e", SKIPPED)]
    assert outcomes[-1][2] == "case must be readable; got 'e'"
    source.reads.clear()
    assert [what for _, what, _ in prepare_all(reader, "abcd", workers=1)] == [FRESH] * 4
    assert source.reads == []
    reader.path("a").unlink()
    source.versions["b"] = 2
    content = bytearray(reader.path("c").read_bytes())
    content[len(content) // 2] ^= 1  # the header still looks right
    reader.path("c").write_bytes(bytes(content))
    source.broken.clear()
    outcomes = prepare_all(reader, reader.case_ids, workers=1)
    assert [what for _, what, _ in outcomes] == [PREPARED, PREPARED, PREPARED, FRESH, PREPARED]
    assert source.reads == ["a", "b", "c", "e"]
    assert len(list(PreparedReader(tmp_path))) == 5


def test_two_workers_do_the_same_as_one(tmp_path: Path) -> None:
    folder = write_split(tmp_path, "train", "pt_1", "pt_2", "pt_10")
    write_patient(folder / "pt_5", **BROKEN["NaN"][0])
    summary = run(job(tmp_path, "splits=[train]", "workers=2"))["train"]
    assert (summary[PREPARED], summary[FRESH], summary[SKIPPED]) == (3, 0, 1)
    assert summary["reasons"]["pt_5"].startswith(str(folder / "pt_5" / "dose.csv") + ": data in row 4 must be finite")
    cache = tmp_path / "cache" / "train"
    written = {path.name: path.read_bytes() for path in cache.iterdir()}
    assert summary["megabytes"] == pytest.approx(sum(map(len, written.values())) / 1e6, abs=1e-3)
    again = run(job(tmp_path, "splits=[train]", "workers=1", f"data.cache_dir={tmp_path / 'other'}"))["train"]
    assert {**again, "megabytes": 0} == {**summary, "megabytes": 0}
    alone = PreparedReader(tmp_path / "other" / "train")
    for case_id in alone.case_ids:
        assert stored_fingerprint(cache / f"{case_id}.case") == alone.fingerprint(case_id)
    assert sorted(written) == sorted(f"{case_id}.case" for case_id in alone.case_ids)


def test_a_case_that_kills_its_worker_costs_no_other(tmp_path: Path, case: PatientCase) -> None:
    reader = CachedReader(FatalReader(named(case, "a", "b", "c", "d"), broken=["b"]), tmp_path)
    prepare_all(reader, ["a"], workers=1)
    outcomes = {name: (what, why) for name, what, why in prepare_all(reader, reader.case_ids, workers=2)}
    assert list(outcomes) == ["a", "b", "c", "d"]
    assert outcomes["a"] == (FRESH, "")
    assert outcomes["b"] == (SKIPPED, "its worker process died (out of memory?)")
    for name in ("c", "d"):  # there already if written in the moment of the death
        assert outcomes[name] in ((PREPARED, ""), (FRESH, ""))
    assert [stored.case_id for stored in PreparedReader(tmp_path)] == ["a", "c", "d"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_the_job_and_leaves_the_rest(tmp_path: Path, case: PatientCase, workers: int) -> None:
    source = FullDiskReader(named(case, *"abcdefgh"), broken=["b"])
    reader = CachedReader(source, tmp_path)
    with pytest.raises(StorageError, match=r"b: no space left on the disk"):
        prepare_all(reader, reader.case_ids, workers=workers)
    there = sorted(path.name for path in tmp_path.iterdir())
    assert "a.case" in there
    assert "b.case" not in there
    assert len(there) == 1 if workers == 1 else len(there) < 8
    source.broken.clear()
    outcomes = prepare_all(reader, reader.case_ids, workers=1)
    assert [what for _, what, _ in outcomes] == [FRESH if f"{name}.case" in there else PREPARED for name in "abcdefgh"]


def test_a_full_disk_leaves_no_temporary(tmp_path: Path, case: PatientCase, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(StorageError, match=r"a\.case: no space left on the disk"):
        prepare_one(CachedReader(MemoryReader(named(case, "a")), tmp_path), "a")
    assert list(tmp_path.iterdir()) == []


def test_no_case_that_can_be_prepared_is_an_error(tmp_path: Path) -> None:
    folder = write_split(tmp_path, "train")
    write_patient(folder / "pt_5", **BROKEN["NaN"][0])
    with pytest.raises(CaseError, match=r"cases could not be prepared, not one of 1; got '.*must be finite"):
        run(job(tmp_path))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["train"][SKIPPED] == 1


def test_a_mix_is_prepared_corpus_by_corpus(tmp_path: Path) -> None:
    cfg = config("prepare", "data=mix", "data.openkbp_root=unused", f"out={tmp_path}")
    with pytest.raises(InputError, match=r"data\.cache_dir must be a folder: prepare each corpus of a mix by itself"):
        run(cfg)


@pytest.mark.parametrize("splits", ["[train,valid]", "[]"])
def test_unknown_splits_are_refused(tmp_path: Path, splits: str) -> None:
    write_split(tmp_path, "train", "pt_1")
    with pytest.raises(InputError, match="splits must be some of train, validation, test"):
        run(job(tmp_path, f"splits={splits}"))


def test_a_worker_keeps_to_one_core() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), one_thread) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
