"""`dosewright train`: fit a net, resume exactly, leave weights that `predict` takes."""

import logging
import sys
import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, WeightAveraging
from pytorch_lightning.loggers import Logger

from dosewright.core import CheckpointError, InputError
from dosewright.inference.weights import load_codec, load_into
from dosewright.jobs.hydra_task import build, unwrapped_errors
from dosewright.jobs.recipe import Recipe, recipe_of, require_same_recipe, write_recipe
from dosewright.training.abstract_module import AbstractDoseModule
from dosewright.training.data import DoseDataModule
from dosewright.training.export import save_weights

log = logging.getLogger(__name__)
MODULE_KEYS = ("model", "channels", "loss", "optimizer", "scheduler", "dose_scale_gy", "channels_last")
SCORE = "val/dose_score"
#: Warnings of the training framework that ask nothing of the user.
NOISE = (
    *(".*LeafSpec.*", ".*smaller than the logging interval.*", ".*does not have many workers.*"),
    "Checkpoint directory .* exists and is not empty",
)


def run(cfg: DictConfig) -> float | None:
    """Train as configured; return the validation dose score in Gy of the weights it leaves, which sweeps minimise.

    Raises:
        CheckpointError: If the folder holds a run of another configuration, or a broken checkpoint.
        CaseError: If a case cannot be read.
        InputError: If a setting is out of range.
        StorageError: If a checkpoint or the weights cannot be written.
    """
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    module = build_module(cfg)
    data = build_data(cfg, module)
    last = _checkpoint_to_resume(cfg, recipe_of(cfg, data.reader("train").case_ids))
    warn_of_slow_bf16(cfg)
    trainer = build_trainer(cfg)
    if cfg.module.get("stage1"):
        module.attach_codec(load_codec(cfg.module.stage1))  # type: ignore[operator]
    if last is None and cfg.checkpoint:
        load_into(module.net, cfg.checkpoint, module.hparams["channels"], module.dose_scale_gy)
    log.info("training %s into %s", cfg.name, cfg.out)
    try:
        trainer.fit(module, data, ckpt_path=last, weights_only=True)
        return _finish(cfg, trainer, module, data)
    finally:
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish()  # else the next run of a sweep would write into this one's


def build_module(cfg: DictConfig) -> AbstractDoseModule:
    """Return the Lightning module of a configuration; all it is given is plain data, which its checkpoints carry."""
    plain = {key: _plain(cfg.get(key)) for key in MODULE_KEYS}
    own = _plain(cfg.module)
    kind = get_class(own.pop("_target_"))
    with unwrapped_errors():
        return kind(**plain, **own)


def build_data(cfg: DictConfig, module: AbstractDoseModule) -> DoseDataModule:
    """Return the data module of a configuration."""
    return DoseDataModule(
        reader=partial(build, cfg.data.reader),
        cache_dir=cfg.data.cache_dir,
        channels=module.channels,
        multiple=int(getattr(module.net, "stride", 1)),
        augmentation=build(cfg.augmentation, _convert_="all"),
        seed=cfg.seed,
        **cfg.datamodule,
    )


def build_trainer(cfg: DictConfig) -> pl.Trainer:
    """Return the trainer of a configuration, with its callbacks and loggers."""
    callbacks: list[Callback] = [build(node) for node in (cfg.get("callbacks") or {}).values() if node]
    loggers: list[Logger] = [build(node) for node in (cfg.get("logger") or {}).values() if node]
    if not loggers:
        callbacks = [callback for callback in callbacks if not isinstance(callback, LearningRateMonitor)]
    return build(cfg.trainer, callbacks=callbacks, logger=loggers or False, default_root_dir=cfg.out)


def warn_of_slow_bf16(cfg: DictConfig, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Warn where bf16 autocast runs on a processor that has to emulate it; one that does not say is trusted."""
    if cfg.trainer.get("precision") != "bf16-mixed" or cfg.trainer.get("accelerator") != "cpu" or not cpuinfo.is_file():
        return
    if not {"avx512_bf16", "amx_bf16", "bf16"} & set(cpuinfo.read_text().split()):
        log.warning("this processor has no bf16 units (avx512_bf16, amx_bf16): trainer=cpu_fp32 is likely faster")


def _finish(cfg: DictConfig, trainer: pl.Trainer, module: AbstractDoseModule, data: DoseDataModule) -> float | None:
    """Measure the score where the last weights have none, and write them."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback.on_train_end(trainer, module)  # a run that was complete when resumed has not been through it
    module.on_train_end()
    if module.validated_step != trainer.global_step and cfg.trainer.get("limit_val_batches", 1):
        trainer.validate(module, datamodule=data, verbose=False)
    score = trainer.callback_metrics.get(SCORE)
    result = None if score is None else float(score)
    if trainer.is_global_zero:
        parameters = sum(parameter.numel() for parameter in module.net.parameters())
        notes = {"experiment": cfg.name, "steps": trainer.global_step, "parameters": parameters}
        notes["validation_dose_score_gy"] = result
        path = save_weights(Path(cfg.out) / "model.safetensors", module, notes=notes)
        log.info(
            "weights in %s; validation dose score %s Gy", path, "not measured" if result is None else f"{result:.3f}"
        )
    return result


def _checkpoint_to_resume(cfg: DictConfig, recipe: Recipe) -> str | None:
    last, stored = Path(cfg.out) / "checkpoints" / "last.ckpt", Path(cfg.out) / "recipe.json"
    if cfg.resume not in ("auto", "never"):
        raise InputError('must be "auto" or "never"', argument="resume", value=cfg.resume)
    if not last.exists():
        write_recipe(stored, recipe)
        return None
    if cfg.resume == "never":
        raise CheckpointError("holds a run already: choose another out=, or resume=auto", argument="out", value=cfg.out)
    if not zipfile.is_zipfile(last):
        raise CheckpointError(
            "must be a whole checkpoint: delete it to start anew", argument="file", value="truncated", path=last
        )
    require_same_recipe(stored, recipe)
    log.info("resuming from %s", last)
    return str(last)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
