"""Callbacks: exact resume, a line per epoch, and pictures while training."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint

from dosewright.core import keys
from dosewright.core.files import atomic_path

log = logging.getLogger(__name__)


class EpochSeeds(Callback):
    """Seeds every generator at the start of each epoch, so that a resumed run draws what the first one drew."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed by run seed, epoch and rank."""
        self._seed(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed again: making a loader's iterator draws too, and a resumed run makes its first one before the epoch."""
        if batch_idx == 0:
            self._seed(trainer)

    def _seed(self, trainer: pl.Trainer) -> None:
        pl.seed_everything(self.seed + 7919 * trainer.current_epoch + 104_729 * trainer.global_rank, verbose=False)


class LastCheckpoint(Checkpoint):
    """Saves the whole training state after every epoch, replacing the file in one step: a kill leaves no half file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save beside the target, then rename.

        Raises:
            StorageError: If the disk is full; the older checkpoint stays as it was.
        """
        target = atomic_path(self.path) if trainer.is_global_zero else nullcontext(self.path)
        with target as path:
            trainer.save_checkpoint(path, weights_only=False)
        trainer.strategy.barrier("last_checkpoint")


class EpochLog(Callback):
    """Logs one line per epoch with what was measured in it, so that a run without a terminal can be followed."""

    def __init__(self) -> None:
        self._shown: tuple[str, ...] = ("train/",)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the last validation."""
        self._shown = ("train/",)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that this epoch has scores."""
        self._shown = ("train/", "val/")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch, its loss and, where it was validated, its scores; once, whatever the number of processes."""
        metrics = sorted(trainer.callback_metrics.items())  # on every rank: reading them reduces over all
        if not trainer.is_global_zero:
            return
        values = ", ".join(f"{name} {float(value):.3f}" for name, value in metrics if name.startswith(self._shown))
        last = trainer.max_epochs or -1  # endless where the number of steps or the time is limited
        log.info("epoch %d%s: %s", trainer.current_epoch + 1, f" of {last}" if last > 0 else "", values)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Say how to go on after Ctrl-C."""
        if isinstance(exception, KeyboardInterrupt):
            log.warning(
                "interrupted in epoch %d: start again to go on from the last checkpoint", trainer.current_epoch + 1
            )


class Pictures(Callback):
    """Draws DVHs and slices of the first validation cases after each validation, into a folder and the loggers.

    Args:
        folder: Where PNG files go.
        cases: Cases drawn.
    """

    def __init__(self, folder: str | Path, cases: int = 2) -> None:
        self.folder, self.cases = Path(folder), cases

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the batch's first case."""
        if trainer.sanity_checking or batch_idx >= self.cases or not trainer.is_global_zero:
            return
        from dosewright.dose.figures import draw_dvh, draw_slices

        dataset = trainer.datamodule.dataset("validation")  # type: ignore[attr-defined]
        case = dataset.reader.read(batch[keys.CASE_ID][0])
        dose_gy = dataset.placed(case.case_id, outputs[0, 0].float().cpu().numpy())
        epoch = trainer.current_epoch + (trainer.state.fn == "fit")  # after the last one, it has been counted already
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, figure in (
            ("dvh", draw_dvh(case, {"predicted": dose_gy, "reference": case.dose_gy})),
            ("slices", draw_slices(case, dose_gy, case.dose_gy)),
        ):
            path = self.folder / f"epoch_{epoch:04d}_{case.case_id}_{kind}.png"
            figure.savefig(path, dpi=80)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(key=f"{kind}/{case.case_id}", images=[str(path)])
