import errno
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from dosewright.core import StorageError
from dosewright.training.callbacks import EpochLog, EpochSeeds, LastCheckpoint

MODULE = pl.LightningModule()


def trainer_at(epoch: int = 0, rank: int = 0, **more: object) -> pl.Trainer:
    """A trainer that stands still at an epoch."""
    values = {
        "current_epoch": epoch,
        "global_rank": rank,
        "is_global_zero": rank == 0,
        "strategy": SimpleNamespace(barrier=lambda name: None),
    }
    return type("Standing", (pl.Trainer,), values | more | {"__init__": lambda self: None})()


def drawn(seed: int, epoch: int, rank: int = 0) -> float:
    EpochSeeds(seed).on_train_epoch_start(trainer_at(epoch, rank), MODULE)
    return float(torch.rand(()))


def test_seeds_follow_from_run_epoch_and_rank_alone():
    first = drawn(0, 3)
    torch.rand(100)
    assert drawn(0, 3) == first
    others = {drawn(1, 3), drawn(0, 4), drawn(0, 3, rank=1), first}
    assert len(others) == 4


def test_what_was_drawn_before_the_first_batch_makes_no_difference():
    first = drawn(0, 3)
    EpochSeeds(0).on_train_batch_start(trainer_at(3), MODULE, {}, 0)
    assert float(torch.rand(())) == first
    EpochSeeds(0).on_train_batch_start(trainer_at(3), MODULE, {}, 1)
    assert float(torch.rand(())) != first


def saving(content: bytes, failure: OSError | None = None) -> pl.Trainer:
    def save_checkpoint(self: pl.Trainer, path: Path, weights_only: bool) -> None:
        assert not weights_only
        Path(path).write_bytes(content[:2] if failure else content)
        if failure:
            raise failure

    return trainer_at(save_checkpoint=save_checkpoint)


def test_a_full_disk_is_told_and_leaves_the_older_checkpoint(tmp_path: Path):
    callback = LastCheckpoint(tmp_path / "new" / "last.ckpt")
    callback.on_train_epoch_end(saving(b"first"), MODULE)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"last\.ckpt: no space left on the disk"):
        callback.on_train_epoch_end(saving(b"second", full), MODULE)
    assert [path.name for path in callback.path.parent.iterdir()] == ["last.ckpt"]
    assert callback.path.read_bytes() == b"first"
    callback.on_train_epoch_end(saving(b"third"), MODULE)
    assert callback.path.read_bytes() == b"third"


def test_other_ranks_write_no_file(tmp_path: Path):
    paths = []
    trainer = trainer_at(rank=1, save_checkpoint=lambda self, path, weights_only: paths.append(path))
    LastCheckpoint(tmp_path / "last.ckpt").on_train_epoch_end(trainer, MODULE)
    assert paths == [tmp_path / "last.ckpt"]  # asked, as all ranks must be; only rank 0 writes
    assert list(tmp_path.iterdir()) == []


def test_each_epoch_is_told_with_what_was_measured_in_it(caplog: pytest.LogCaptureFixture):
    callback = EpochLog()
    metrics = {"train/loss": torch.tensor(2.0), "val/dose_score": torch.tensor(3.25), "other": torch.tensor(1.0)}
    with caplog.at_level(logging.INFO, logger="dosewright"):
        for epoch, validated in enumerate((True, False)):
            trainer = trainer_at(epoch, callback_metrics=metrics, max_epochs=2)
            callback.on_train_epoch_start(trainer, MODULE)
            if validated:
                callback.on_validation_end(trainer, MODULE)
            callback.on_train_epoch_end(trainer, MODULE)
    assert caplog.messages == [
        "epoch 1 of 2: train/loss 2.000, val/dose_score 3.250",
        "epoch 2 of 2: train/loss 2.000",
    ]


def test_an_endless_training_and_an_interrupt_are_told(caplog: pytest.LogCaptureFixture):
    callback, trainer = EpochLog(), trainer_at(4, callback_metrics={}, max_epochs=-1)
    with caplog.at_level(logging.INFO, logger="dosewright"):
        callback.on_train_epoch_end(trainer, MODULE)
        callback.on_exception(trainer, MODULE, KeyboardInterrupt())
        callback.on_exception(trainer, MODULE, ValueError())
    assert caplog.messages == [
        "epoch 5: ",
        "interrupted in epoch 5: start again to go on from the last checkpoint",
    ]


def test_other_ranks_tell_nothing(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="dosewright"):
        EpochLog().on_train_epoch_end(trainer_at(rank=1, callback_metrics={}, max_epochs=2), MODULE)
    assert caplog.messages == []
