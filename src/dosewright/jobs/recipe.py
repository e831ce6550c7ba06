"""What a training was started with: one that is taken up again must be the same one."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dosewright.core import CheckpointError
from dosewright.core.files import atomic_write

#: Parts of conf/train.yaml that set the result. The trainer's length, devices, loggers and folders may change.
PARTS = (
    *("module", "model", "channels", "loss", "optimizer", "scheduler", "augmentation", "seed", "dose_scale_gy"),
    *("checkpoint", "data.name", "data.site", "data.seed", "data.counts"),
    *("datamodule.batch_size", "datamodule.samples_per_epoch", "datamodule.limit_train", "callbacks.ema"),
    *("trainer.precision", "trainer.gradient_clip_val", "trainer.accumulate_grad_batches"),
)

#: Keys inside them that say where files lie, which may change too.
FOLDERS = ("cache_dir", "prepared_dir", "root", "folder")

CASES = "training cases"

Recipe = dict[str, Any]


def recipe_of(cfg: DictConfig, case_ids: Sequence[str]) -> Recipe:
    """Return dotted key → value of everything that sets a training's result, with a hash of its training cases."""
    recipe: Recipe = {CASES: hashlib.sha256("\n".join(case_ids).encode()).hexdigest()[:16]}
    for part in PARTS:
        value = OmegaConf.select(cfg, part)
        _flatten(part, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value, recipe)
    return recipe


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Store a training's recipe in its folder."""
    atomic_write(path, json.dumps(recipe, indent=1))


def require_same_recipe(path: Path, recipe: Recipe) -> None:
    """Refuse to go on with another recipe than the stored one.

    A training without a stored one passes, and so does a part that an older version did not store.

    Raises:
        CheckpointError: Naming the first key that differs.
    """
    if not path.exists():
        return
    stored, given = json.loads(path.read_text()), json.loads(json.dumps(recipe))
    known = tuple(part for part in (CASES, *PARTS) if any(_belongs(key, part) for key in stored))
    for key in sorted(stored.keys() | given.keys()):
        if stored.get(key) != given.get(key) and any(_belongs(key, part) for part in known):
            raise CheckpointError(
                f"must be {stored.get(key)!r}, as when this run was started (or choose another out=)",
                argument=key,
                value=given.get(key),
                path=path.parent,
            )


def _belongs(key: str, part: str) -> bool:
    return key == part or key.startswith(f"{part}.")


def _flatten(key: str, value: Any, into: Recipe) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _flatten(f"{key}.{name}", inner, into)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            _flatten(f"{key}.{number}", inner, into)
    elif key.rpartition(".")[2] not in FOLDERS:
        into[key] = value
