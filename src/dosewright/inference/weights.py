"""Loading trained nets: safetensors written by training, and Lightning checkpoints.

A file may come from anyone. Tensors are read without unpickling objects, and a configuration may name nothing but the
nets and channels of this package: neither code reachable through them nor OmegaConf's resolvers.
"""

import json
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from dosewright.core import CheckpointError
from dosewright.datasets.channels import AbstractChannels, ChannelSet
from dosewright.nets.dose_codec import DoseCodec
from dosewright.nets.upkern import grow_weights

log = logging.getLogger(__name__)
DEFAULT_WEIGHTS = "openkbp_direct.safetensors"
SLIDER_WEIGHTS = "openkbp_two_stage.safetensors"
CODEC = "dosewright.nets.dose_codec.DoseCodec"
_CLASS = re.compile(r"(dosewright\.(?:nets|datasets)\.[a-z0-9_]+)\.([A-Z]\w*)")


@dataclass(frozen=True)
class Model:
    """A net in evaluation mode with the channels it was trained on."""

    net: nn.Module
    channels: ChannelSet
    dose_scale_gy: float
    path: Path

    @property
    def stride(self) -> int:
        """Sizes must be multiples of this."""
        return int(getattr(self.net, "stride", 1))


def default_weights(sliders: bool = False) -> Path:
    """Return the file of the weights that ship with the package.

    Args:
        sliders: The net with preference sliders instead of the one that scores best.

    Raises:
        CheckpointError: If this copy of the package came without them.
    """
    path = Path(str(files("dosewright") / "weights" / (SLIDER_WEIGHTS if sliders else DEFAULT_WEIGHTS)))
    if not path.is_file():
        raise CheckpointError(
            "must ship with the package; this copy has none, so name a checkpoint of your own",
            argument="default weights",
            value="no such file",
            path=path,
        )
    return path


def shipped(path: Path) -> bool:
    """Return whether weights are those that ship with the package."""
    return path.parent == Path(str(files("dosewright") / "weights"))


def load_model(path: str | Path) -> Model:
    """Return the net of a weights file (`.safetensors`) or a Lightning checkpoint (`.ckpt`), ready to predict.

    Nothing in the file is executed: see the top of this module.

    Raises:
        CheckpointError: If the file is missing, broken, not ours, or its weights do not fit its own configuration.
    """
    path = Path(path).expanduser()
    description, tensors = _described(path)
    if description["model"].get("_target_") == CODEC:
        raise CheckpointError(
            "must be a net that predicts doses; this is a dose codec (Stage I), for module.stage1",
            argument="checkpoint",
            value=CODEC,
            path=path,
        )
    channels = _built(description["channels"], path, _convert_="all")
    net = _built(description["model"], path, in_channels=len(channels))
    _load(net, tensors, path)
    return Model(net.eval(), channels, description["dose_scale_gy"], path)


def load_codec(path: str | Path) -> DoseCodec:
    """Return the dose codec of a weights file or checkpoint of Stage I, in evaluation mode.

    Raises:
        CheckpointError: If the file is missing, broken, or holds no dose codec.
    """
    path = Path(path).expanduser()
    description, tensors = _described(path)
    if description["model"].get("_target_") != CODEC:
        raise CheckpointError(
            f"must hold a dose codec ({CODEC})",
            argument="stage1",
            value=description["model"].get("_target_"),
            path=path,
        )
    codec = _built(description["model"], path)
    _load(codec, tensors, path)
    return codec.eval()


def load_into(net: nn.Module, path: str | Path, channels: Mapping[str, Any], dose_scale_gy: float) -> None:
    """Load a file's weights into a net of the same shape, or of larger kernels (fine-tuning).

    Args:
        net: Changed in place.
        path: Weights file or checkpoint.
        channels: Hydra node of the channels the net is going to see.
        dose_scale_gy: Dose that the net calls 1.

    Raises:
        CheckpointError: If the file cannot be read, its weights are of another net, or they were trained on other
            channels or another dose scale.
    """
    path = Path(path).expanduser()
    description, tensors = _read(path)
    for key, value in {"channels": dict(channels), "dose_scale_gy": dose_scale_gy}.items():
        theirs = description.get(key) if isinstance(description, Mapping) else None
        if theirs != value:
            raise CheckpointError(
                f"must be the one these weights were trained with ({theirs})", argument=key, value=value, path=path
            )
    own = net.state_dict()
    if any(name in own and tensor.shape != own[name].shape for name, tensor in tensors.items()):
        with suppress(CheckpointError):  # what cannot grow is told below, as a net that does not fit
            grow_weights(net, tensors)
            log.info("kernels of %s grown to those of the net", path)
            return
    _load(net, tensors, path)


def _described(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a file's configuration, complete and naming nothing foreign, and its tensors."""
    description, tensors = _read(path)
    for key in ("model", "channels", "dose_scale_gy"):
        if not isinstance(description, Mapping) or key not in description:
            raise CheckpointError("must describe its configuration", argument=key, value=description, path=path)
    for key in ("model", "channels"):
        _refuse_foreign_code(description[key], path)
        if not isinstance(description[key], Mapping):
            raise CheckpointError("must be a mapping", argument=key, value=description[key], path=path)
    try:
        return {**description, "dose_scale_gy": float(description["dose_scale_gy"])}, tensors
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            "must hold a configuration this version can build", argument="dose_scale_gy", value=str(error), path=path
        ) from error


def _built(node: Any, path: Path, **values: Any) -> Any:
    try:
        return instantiate(node, **values)
    except Exception as error:
        raise CheckpointError(
            "must hold a configuration this version can build", argument="model", value=str(error), path=path
        ) from error


def _read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError("must exist", argument="checkpoint", value="no such file", path=path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_lightning(path)


def _read_safetensors(path: Path) -> tuple[Any, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name).float() for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            "must be a whole safetensors file", argument="file", value=str(error), path=path
        ) from error
    try:
        return json.loads(metadata["dosewright"]), tensors
    except (KeyError, ValueError):
        raise CheckpointError(
            "must carry the metadata key `dosewright`", argument="metadata", value=sorted(metadata), path=path
        ) from None


def _read_lightning(path: Path) -> tuple[Any, dict[str, Tensor]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = checkpoint["state_dict"]
        description = checkpoint["hyper_parameters"]
    except Exception as error:
        raise CheckpointError(
            "must be a whole training checkpoint of plain data", argument="file", value=str(error), path=path
        ) from error
    return description, {name[4:]: tensor for name, tensor in weights.items() if name.startswith("net.")}


def _refuse_foreign_code(node: Any, path: Path) -> None:
    if isinstance(node, Mapping):
        if "_target_" in node and not _is_ours(node["_target_"]):
            raise CheckpointError(
                "must name a net or channels of this package", argument="_target_", value=node["_target_"], path=path
            )
        for value in node.values():
            _refuse_foreign_code(value, path)
    elif isinstance(node, list | tuple):
        for value in node:
            _refuse_foreign_code(value, path)
    elif isinstance(node, str) and "${" in node:
        raise CheckpointError("must hold plain values only", argument="configuration", value=node, path=path)


def _is_ours(target: object) -> bool:
    """Whether a target is a net or channel class defined in the very module it names (not one imported there)."""
    match = _CLASS.fullmatch(target) if isinstance(target, str) else None
    if match is None:
        return False
    try:
        found = getattr(import_module(match[1]), match[2], None)
    except ImportError:
        return False
    kinds = (nn.Module, AbstractChannels, ChannelSet)
    return isinstance(found, type) and issubclass(found, kinds) and found.__module__ == match[1]


def _load(net: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            "must fit the configured net (another configuration?)", argument="weights", value=str(error), path=path
        ) from error
