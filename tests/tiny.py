"""A data set and a training small enough to run in a test."""

import os
import signal
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer

from cases import make_case
from dosewright.core import CaseError
from dosewright.io.prepared import write_case
from dosewright.jobs.cli import conf_dir

SPLITS = {"train": (0, 1, 2), "validation": (3, 4), "test": (5, 6)}

#: Float32 on one core, a net of a few thousand weights, no pictures.
TINY = (
    *("data=prepared", "model.widths=[4,8]", "model.head_width=4", "trainer.precision=32-true"),
    *("trainer.check_val_every_n_epoch=1", "callbacks.pictures=null"),
)


def write_splits(root: Path) -> Path:
    """Write prepared cases, named by split and seed, into one folder per split."""
    for split, seeds in SPLITS.items():
        for seed in seeds:
            case_id = f"{split}_{seed}"
            write_case(root / split / f"{case_id}.case", make_case(case_id, seed=seed, shape=(16, 32, 32)))
    return root


def config(job: str, *overrides: str) -> DictConfig:
    """Return a job's configuration, composed as its command does."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(job, overrides=list(overrides))


def training(root: Path, out: Path, *overrides: str) -> DictConfig:
    """Return the configuration of a tiny training on the cases of `write_splits`."""
    return config("train", *TINY, f"data.root={root}", f"out={out}", *overrides)


class KillAt(Callback):
    """Kills its own process, hard, after the second batch of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == self.epoch and trainer.global_step % 3 == 2:
            os.kill(os.getpid(), signal.SIGKILL)


class FailOnce(Callback):
    """Fails at the start of the second epoch of the first training that comes along."""

    def __init__(self, marker: str) -> None:
        self.marker = Path(marker)

    def on_train_epoch_start(self, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == 1 and not self.marker.exists():
            self.marker.touch()
            raise CaseError("must not fail twice", argument="test")
