"""Weights as a safetensors file that carries all it takes to rebuild its net."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from dosewright import __version__
from dosewright.core.files import atomic_path
from dosewright.training.abstract_module import AbstractDoseModule

METADATA_KEY = "dosewright"
KEPT = ("model", "channels", "dose_scale_gy")


def save_weights(
    path: str | Path,
    module: AbstractDoseModule,
    dtype: torch.dtype = torch.float32,
    notes: dict[str, Any] | None = None,
) -> Path:
    """Write the net's weights, with its configuration as JSON in the metadata.

    Args:
        path: File to write, `.safetensors`.
        module: Trained module; with averaged weights in place where they were used.
        dtype: float16 halves the file.
        notes: Further plain data for the metadata (scores, recipe).

    Raises:
        StorageError: If the file cannot be written.
    """
    description = {key: module.hparams[key] for key in KEPT} | {"version": __version__, "notes": notes or {}}
    tensors = {name: tensor.detach().to(dtype).contiguous().cpu() for name, tensor in module.net.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: json.dumps(description)})
    return Path(path)
