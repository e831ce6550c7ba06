"""How long a training took, and on what: a record that goes on where it was when a run is taken up again."""

import json
import platform
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from dosewright.core.files import atomic_write


class Clock(Callback):
    """Keeps the wall time of a training in one JSON file, rewritten after every epoch.

    `marks` holds, for each finished epoch, the steps done and the seconds spent on everything up to there: reading,
    training, validating, saving. What a killed run had begun of its last epoch is not in it, as it is trained again.
    `starts` holds the step at which each start of the run took over, with its device, CPU threads and processes; the
    first is 0 unless the run is older than its clock.

    Args:
        path: File to write.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._record: dict[str, list[dict[str, Any]]] = {"marks": [], "starts": []}
        self._origin_s = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the record where the checkpoint is, and start counting."""
        step, earlier = trainer.global_step, _read(self.path)
        marks = [mark for mark in earlier["marks"] if mark["step"] <= step]
        starts = [start for start in earlier["starts"] if start["step"] < step] if marks else []
        processes = trainer.world_size
        start = {"step": step, "device": device_name(pl_module.device), "threads": torch.get_num_threads()}
        self._record = {"marks": marks, "starts": [*starts, start | {"processes": processes}]}
        self._origin_s = time.perf_counter() - (marks[-1]["seconds"] if marks else 0.0)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Mark the end of an epoch.

        Raises:
            StorageError: If the file cannot be written.
        """
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        seconds = round(time.perf_counter() - self._origin_s, 3)
        mark = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "seconds": seconds}
        self._record["marks"].append(mark)
        atomic_write(self.path, json.dumps(self._record, indent=1))


def device_name(device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what a device calls itself: the GPU's or the processor's model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu" and cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.machine() if device.type == "cpu" else device.type


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return an earlier start's record; none, or one that is not ours, counts as empty."""
    try:
        stored = json.loads(path.read_text())
        return {"marks": [*stored["marks"]], "starts": [*stored["starts"]]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"marks": [], "starts": []}
