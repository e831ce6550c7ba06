"""`dosewright train`: fit a net, resume exactly, leave weights that `predict` takes."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from dosewright.core import CheckpointError, InputError
from dosewright.training.data import DoseDataModule
from dosewright.training.export import save_weights
from dosewright.training.module import DoseModule

log = logging.getLogger(__name__)
MODULE_KEYS = ("model", "channels", "loss", "optimizer", "scheduler", "dose_scale_gy", "channels_last")


def run(cfg: DictConfig) -> float | None:
    """Train as configured; return the validation dose score in Gy (the last one measured), which sweeps minimise.

    Raises:
        CheckpointError: If the folder holds a run of another configuration.
        CaseError: If a case cannot be read.
    """
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    last = _checkpoint_to_resume(cfg)
    module = build_module(cfg)
    data = build_data(cfg, module)
    trainer: pl.Trainer = instantiate(
        cfg.trainer,
        callbacks=[instantiate(node) for node in (cfg.callbacks or {}).values() if node],
        logger=[instantiate(node) for node in (cfg.logger or {}).values() if node] or False,
        default_root_dir=cfg.out,
    )
    if last is None and cfg.checkpoint:
        from dosewright.inference.weights import load_into

        load_into(module.net, cfg.checkpoint)
    log.info("training %s into %s", cfg.name, cfg.out)
    trainer.fit(module, data, ckpt_path=last)
    score = trainer.callback_metrics.get("val/dose_score")
    result = None if score is None else float(score)
    if trainer.is_global_zero and not trainer.interrupted:
        notes = {"experiment": cfg.name, "steps": trainer.global_step, "validation_dose_score_gy": result}
        path = save_weights(Path(cfg.out) / "model.safetensors", module, notes=notes)
        log.info("weights in %s", path)
    return result


def build_module(cfg: DictConfig) -> DoseModule:
    """Return the Lightning module of a configuration."""
    plain = {key: _plain(cfg[key]) for key in MODULE_KEYS}
    return DoseModule(**plain)


def build_data(cfg: DictConfig, module: DoseModule) -> DoseDataModule:
    """Return the data module of a configuration."""
    return DoseDataModule(
        reader=partial(instantiate, cfg.data.reader),
        cache_dir=cfg.data.cache_dir,
        channels=module.channels,
        multiple=int(getattr(module.net, "stride", 1)),
        augmentation=instantiate(cfg.augmentation, _convert_="all"),
        seed=cfg.seed,
        **cfg.datamodule,
    )


def _checkpoint_to_resume(cfg: DictConfig) -> str | None:
    last = Path(cfg.out) / "checkpoints" / "last.ckpt"
    if cfg.resume not in ("auto", "never"):
        raise InputError('must be "auto" or "never"', argument="resume", value=cfg.resume)
    if not last.exists():
        return None
    if cfg.resume == "never":
        raise CheckpointError("holds a run already: choose another out=, or resume=auto", argument="out", value=cfg.out)
    log.info("resuming from %s", last)
    return str(last)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
