import weakref
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import DictConfig

from cases import make_case
from dosewright.core import PatientCase, keys
from dosewright.io.prepared import PreparedReader
from dosewright.io.reader import AbstractReader
from dosewright.jobs.train import build_data, build_module
from dosewright.training.data import DoseDataModule, FirstCases
from tiny import training


def made(cfg: DictConfig) -> DoseDataModule:
    return build_data(cfg, build_module(cfg))


def epoch(data: DoseDataModule, number: int) -> list[dict]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)  # type: ignore[attr-defined]
    return list(loader)


def test_an_epoch_is_the_same_in_a_new_process_of_the_same_seed(prepared_root: Path, tmp_path: Path):
    one, other = (made(training(prepared_root, tmp_path)) for _ in range(2))
    epoch(one, 0)
    for mine, theirs in zip(epoch(one, 1), epoch(other, 1), strict=True):
        assert mine[keys.CASE_ID] == theirs[keys.CASE_ID]
        assert torch.equal(mine[keys.IMAGE], theirs[keys.IMAGE])  # flips too
    wanted = [batch[keys.IMAGE] for batch in epoch(one, 1)]
    third = [batch[keys.IMAGE] for batch in epoch(made(training(prepared_root, tmp_path, "seed=1")), 1)]
    assert not all(torch.equal(a, b) for a, b in zip(wanted, third, strict=True))


def test_batches_and_epochs_have_the_configured_sizes(prepared_root: Path, tmp_path: Path):
    data = made(training(prepared_root, tmp_path, "datamodule.batch_size=2", "datamodule.samples_per_epoch=5"))
    assert [len(batch[keys.CASE_ID]) for batch in epoch(data, 0)] == [2, 2, 1]
    assert [batch[keys.CASE_ID] for batch in data.val_dataloader()] == [["validation_3"], ["validation_4"]]


def test_validation_is_not_augmented(prepared_root: Path, tmp_path: Path):
    data = made(training(prepared_root, tmp_path, "augmentation.flip_probability=1.0"))
    case = PreparedReader(prepared_root, "validation").read("validation_3")
    (batch, _) = data.val_dataloader()
    assert case.dose_gy is not None
    assert torch.equal(batch[keys.DOSE][0, 0, :14, :28, :28], torch.tensor(case.dose_gy[1:-1, 2:-2, 2:-2]))
    flipped = {tuple(b[keys.CASE_ID]): b[keys.DOSE] for b in epoch(data, 0)}[("train_0",)]
    case = PreparedReader(prepared_root, "train").read("train_0")
    assert case.dose_gy is not None
    assert torch.equal(flipped[0, 0, :14, :28, :28], torch.tensor(case.dose_gy[1:-1, 2:-2, 2:-2]).flip(-1))


def test_limits_keep_the_first_cases(prepared_root: Path, tmp_path: Path):
    data = made(training(prepared_root, tmp_path, "datamodule.limit_train=2", "datamodule.limit_validation=1"))
    assert list(data.dataset("train").reader.case_ids) == ["train_0", "train_1"]
    assert len(data.dataset("validation")) == 1
    assert data.dataset("train") is data.dataset("train")


def test_first_cases_are_read_from_their_source(prepared_root: Path):
    source = PreparedReader(prepared_root, "train")
    first = FirstCases(source, 1)
    assert list(first.case_ids) == ["train_0"]
    assert first.read("train_0").case_id == "train_0"
    assert first.fingerprint("train_0") == source.fingerprint("train_0")


@pytest.mark.parametrize("workers", [2])
def test_workers_give_the_same_batches(prepared_root: Path, tmp_path: Path, workers: int):
    alone = made(training(prepared_root, tmp_path))
    together = made(training(prepared_root, tmp_path, f"datamodule.workers={workers}"))
    for mine, theirs in zip(epoch(alone, 2), epoch(together, 2), strict=True):
        assert torch.equal(mine[keys.IMAGE], theirs[keys.IMAGE])


def test_processes_share_validation_cases_and_memory(prepared_root: Path, tmp_path: Path):
    seen, budgets = [], set()
    for rank in range(2):
        data = made(training(prepared_root, tmp_path, "datamodule.memory_gb=8.0"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        budgets.add(data.dataset("train")._budget)
        seen.append([batch[keys.CASE_ID] for batch in data.val_dataloader()])
    assert seen == [[["validation_3"]], [["validation_4"]]]
    assert budgets == {8e9 / 2 * 0.8}


class ManyReader(AbstractReader):
    """Ten thousand cases, each made anew when read; remembers which of them are still held by someone."""

    def __init__(self) -> None:
        self.held: weakref.WeakSet[PatientCase] = weakref.WeakSet()
        self._case_ids = [f"case_{i}" for i in range(10_000)]

    @property
    def case_ids(self) -> Sequence[str]:
        return self._case_ids

    def read(self, case_id: str) -> PatientCase:
        case = make_case(case_id)
        self.held.add(case)
        return case


@pytest.mark.parametrize(("memory_gb", "kept"), [(0.0, 0), (8.0, 12)])
def test_streaming_holds_no_case_of_any_number(prepared_root: Path, tmp_path: Path, memory_gb: float, kept: int):
    module = build_module(training(prepared_root, tmp_path))
    reader, options = ManyReader(), {"memory_gb": memory_gb, "samples_per_epoch": 12}
    data = DoseDataModule(lambda split: reader, None, module.channels, multiple=4, **options)
    seen = []
    for batch in data.train_dataloader():
        seen += batch[keys.CASE_ID]
        assert len(reader.held) == 0
        del batch
    assert len(set(seen)) == 12
    assert len(data.dataset("train")._kept) == kept


def test_without_a_cache_folder_the_readers_own_cases_are_read(prepared_root: Path, tmp_path: Path):
    cfg = training(prepared_root, tmp_path, "data.cache_dir=null")
    data = made(cfg)
    assert isinstance(data.reader("train"), PreparedReader)
    with_cache = made(training(prepared_root, tmp_path, f"data.cache_dir={tmp_path / 'cache'}"))
    for mine, theirs in zip(epoch(data, 0), epoch(with_cache, 0), strict=True):
        assert torch.equal(mine[keys.IMAGE], theirs[keys.IMAGE])
    assert len(list((tmp_path / "cache" / "train").iterdir())) == 3
