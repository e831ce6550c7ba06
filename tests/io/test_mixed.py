"""Several corpora as one: the readers' contract, names, splits, limits and caches."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from reader_contract import ReaderContract, assert_same_case

from cases import make_case
from dosewright.core import CaseError, InputError
from dosewright.io.mixed import MixedReader
from dosewright.io.prepared import CachedReader, PreparedReader
from dosewright.io.reader import AbstractReader
from dosewright.jobs.hydra_task import build
from fake_readers import MemoryReader
from tiny import SPLITS, config


def of(*seeds: int, version: int = 1) -> Callable[..., AbstractReader]:
    """What makes a reader of small cases named by split and seed."""

    def make(split: str) -> MemoryReader:
        reader = MemoryReader([make_case(f"{split}_{seed}", seed=seed) for seed in seeds])
        reader.versions[f"{split}_{seeds[0]}"] = version
        return reader

    return make


class TestMixedReader(ReaderContract):
    def make(self, folder: Path, version: int = 1) -> MixedReader:
        first = {"reader": of(1, 2, version=version), "cache_dir": folder / "first"}
        return MixedReader({"first": first, "second": {"reader": of(2, 1)}})

    def changed(self, folder: Path) -> MixedReader:
        return self.make(folder, version=2)


def test_cases_are_those_of_the_corpora_under_the_mixs_names():
    mixed = MixedReader({"b+": {"reader": of(3)}, "a_1": {"reader": of(5, 4)}}, split="test")
    assert list(mixed.case_ids) == ["b+.test_3", "a_1.test_5", "a_1.test_4"]
    for case_id, seed in zip(mixed.case_ids, (3, 5, 4), strict=True):
        expected = make_case(f"test_{seed}", seed=seed)
        assert_same_case(mixed.read(case_id), replace(expected, case_id=case_id))


def test_arrays_are_not_copied():
    reader = MemoryReader([make_case()])
    mixed = MixedReader({"one": {"reader": lambda split: reader}})
    assert mixed.read("one.case_1").ct_hu.base is not None
    assert mixed.read("one.case_1").ct_hu.ctypes.data == reader.cases["case_1"].ct_hu.ctypes.data


def test_fingerprints_are_the_corpora_own():
    mixed = MixedReader({"a": {"reader": of(1)}, "b": {"reader": of(1)}})
    assert [mixed.fingerprint(i) for i in mixed.case_ids] == ["a:train_1 version 1", "b:train_1 version 1"]


def test_a_limit_keeps_the_first_cases_and_none_leaves_a_corpus_out():
    corpora = {"a": {"reader": of(1, 2, 3), "limit": 2}, "b": None, "c": {"reader": of(7), "limit": None}}
    mixed = MixedReader(corpora)
    assert list(mixed.case_ids) == ["a.train_1", "a.train_2", "c.train_7"]
    with pytest.raises(CaseError, match=r"case_id must be one of 3 cases such as a\.train_1; got 'a\.train_3'"):
        mixed.read("a.train_3")
    with pytest.raises(CaseError, match="case_id must be one of 3 cases"):
        mixed.fingerprint("train_1")


def test_each_corpus_is_prepared_in_its_own_cache(tmp_path: Path):
    source = MemoryReader([make_case("x")])
    corpora = {"a": {"reader": lambda split: source, "cache_dir": str(tmp_path / "a")}, "b": {"reader": of(1)}}
    mixed = MixedReader(corpora, split="validation")
    first, again = mixed.read("a.x"), mixed.read("a.x")
    assert source.reads == ["x"]  # once, then from the cache
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.case")) == [Path("a/validation/x.case")]
    assert_same_case(first, again)
    alone = CachedReader(source, tmp_path / "a" / "validation")
    assert alone.is_fresh("x")  # what the mix prepared serves the corpus alone


def _absent(split: str) -> AbstractReader:
    return PreparedReader("/nowhere", split)


@pytest.mark.parametrize(
    ("corpora", "kind", "said"),
    [
        ({}, InputError, r"corpora must name at least one corpus; got \[\]"),
        ({"a": None}, InputError, r"corpora must name at least one corpus; got \['a'\]"),
        ({"a.b": {"reader": of(1)}}, InputError, "name of a corpus must be ASCII letters.*got 'a.b'"),
        ({"": {"reader": of(1)}}, InputError, "name of a corpus must be ASCII letters"),
        ({"a": {"cache_dir": "x"}}, InputError, r"corpus 'a' must have a reader.*got \['cache_dir'\]"),
        ({"a": {"reader": of(1), "limits": 3}}, InputError, "corpus 'a' must have a reader, and may have"),
        ({"a": {"reader": of(1), "limit": 0}}, InputError, "limit of corpus 'a' must be positive; got 0"),
        ({"a": {"reader": lambda split: MemoryReader([])}}, CaseError, "corpus 'a' must hold at least one case of"),
        ({"a": {"reader": of(1)}, "b": {"reader": _absent}}, CaseError, "corpus 'b' cannot be read: /nowhere/train: "),
    ],
)
def test_what_cannot_be_mixed_is_refused_by_name(corpora: dict, kind: type[InputError], said: str):
    with pytest.raises(kind, match=said):
        MixedReader(corpora)


MINE = "{reader:{_target_:dosewright.io.prepared.PreparedReader,_partial_:true,folder:%s},limit:2}"


def test_the_configuration_mixes_what_it_lists(prepared_root: Path):
    corpora = ["data.reader.corpora.openkbp=null", "data.reader.corpora.phantom.limit=1"]
    cfg = config("train", "data=mix", *corpora, f"+data.reader.corpora.mine={MINE % prepared_root}")
    make = partial(build, cfg.data.reader)
    for split, seeds in SPLITS.items():
        ids = list(make(split=split).case_ids)
        assert ids == [f"phantom.hn_{split}_0000", *(f"mine.{split}_{seed}" for seed in seeds[:2])]
    case = make(split="test").read("mine.test_5")
    assert_same_case(replace(case, case_id="test_5"), PreparedReader(prepared_root, "test").read("test_5"))


def test_a_corpus_in_the_configuration_that_is_not_there_is_told(tmp_path: Path):
    cfg = config("train", "data=mix", f"data.openkbp_root={tmp_path}")
    with pytest.raises(CaseError, match=r"corpus 'openkbp' cannot be read: .*train-pats: data\.root must hold"):
        build(cfg.data.reader, split="train")
