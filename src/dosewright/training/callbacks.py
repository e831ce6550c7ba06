"""Callbacks: exact resume, and pictures while training."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint

from dosewright.core import keys


class EpochSeeds(Callback):
    """Seeds every generator at the start of each epoch, so that a resumed run draws what the first one drew."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed by run seed, epoch and rank."""
        pl.seed_everything(self.seed + 7919 * trainer.current_epoch + 104_729 * trainer.global_rank, verbose=False)


class LastCheckpoint(Checkpoint):
    """Saves the whole training state after every epoch, replacing the file in one step: a kill never leaves half of one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save beside the target, then rename."""
        temporary = self.path.with_suffix(".part.ckpt")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)
        trainer.strategy.barrier("last_checkpoint")


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
        dose_gy = dataset.placed(batch_idx, outputs[0, 0].float().cpu().numpy())
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, figure in (
            ("dvh", draw_dvh(case, {"predicted": dose_gy, "reference": case.dose_gy})),
            ("slices", draw_slices(case, dose_gy, case.dose_gy)),
        ):
            path = self.folder / f"epoch_{trainer.current_epoch + 1:04d}_{case.case_id}_{kind}.png"
            figure.savefig(path, dpi=80)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(key=f"{kind}/{case.case_id}", images=[str(path)])
