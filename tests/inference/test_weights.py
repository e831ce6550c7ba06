import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dosewright.core import CheckpointError
from dosewright.inference.weights import load_into, load_model

MODEL = {"_target_": "dosewright.nets.unet.HalfResolutionUNet", "widths": [4, 6], "head_width": 0}
CHANNELS = {
    "_target_": "dosewright.datasets.channels.ChannelSet",
    "structures": ["PTV_High"],
    "groups": [{"_target_": "dosewright.datasets.channels.Regions"}],
}
DESCRIPTION = {"model": MODEL, "channels": CHANNELS, "dose_scale_gy": 70.0}


def make_net(widths: tuple[int, ...] = (4, 6)) -> nn.Module:
    from dosewright.nets.unet import HalfResolutionUNet

    torch.manual_seed(0)
    return HalfResolutionUNet(2, widths, head_width=0)


def write(path: Path, description: dict, net: nn.Module | None = None) -> Path:
    """A weights file, `.safetensors` or `.ckpt` by its name."""
    tensors = (net or make_net()).state_dict()
    if path.suffix == ".safetensors":
        save_file(tensors, path, metadata={"dosewright": json.dumps(description)})
    else:
        prefixed = {f"net.{name}": tensor for name, tensor in tensors.items()} | {"loss.scale": torch.ones(1)}
        torch.save({"state_dict": prefixed, "hyper_parameters": description}, path)
    return path


@pytest.mark.parametrize("name", ["model.safetensors", "last.ckpt"])
def test_both_kinds_of_file_give_the_net(tmp_path: Path, name: str):
    model = load_model(write(tmp_path / name, DESCRIPTION | {"loss": {"_target_": "somewhere.else"}}))
    assert model.channels.names == ("body", "dose_mask")
    assert (model.stride, model.dose_scale_gy) == (4, 70.0)
    for loaded, made in zip(model.net.state_dict().values(), make_net().state_dict().values(), strict=True):
        assert torch.equal(loaded, made)


@pytest.mark.parametrize("name", ["model.safetensors", "last.ckpt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    with pytest.raises(CheckpointError, match=rf"{name}: checkpoint must exist; got 'no such file'"):
        load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("model.safetensors", "must be a whole safetensors file"), ("last.ckpt", "must be a whole training checkpoint")],
)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, rule: str, kept: float):
    path = write(tmp_path / name, DESCRIPTION)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(CheckpointError, match=rule):
        load_model(path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path):
    torch.save({"weights": torch.ones(3)}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"must be a whole training checkpoint of plain data; got .*state_dict"):
        load_model(tmp_path / "other.ckpt")
    save_file({"w": torch.ones(3)}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"metadata must carry the metadata key `dosewright`; got \['format'\]"):
        load_model(tmp_path / "other.safetensors")
    save_file({"w": torch.ones(3)}, tmp_path / "broken.safetensors", metadata={"dosewright": "{"})
    with pytest.raises(CheckpointError, match="must carry the metadata key"):
        load_model(tmp_path / "broken.safetensors")


@pytest.mark.parametrize("key", ["model", "channels", "dose_scale_gy"])
def test_a_description_must_be_complete(tmp_path: Path, key: str):
    description = {name: value for name, value in DESCRIPTION.items() if name != key}
    with pytest.raises(CheckpointError, match=f"{key} must describe its configuration"):
        load_model(write(tmp_path / "model.safetensors", description))
    with pytest.raises(CheckpointError, match="model must describe its configuration; got None"):
        load_model(write(tmp_path / "model.safetensors", None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": MODEL | {"widths": [8]}},
        {"model": MODEL | {"unknown": 1}},
        {"dose_scale_gy": "much"},
        {"channels": CHANNELS | {"structures": ["Parotid_L"]}},
    ],
    ids=["refused by the net", "unknown argument", "no number", "refused by the channels"],
)
def test_a_configuration_that_cannot_be_built_is_refused(tmp_path: Path, wrong: dict):
    with pytest.raises(CheckpointError, match="must hold a configuration this version can build"):
        load_model(write(tmp_path / "model.safetensors", DESCRIPTION | wrong))


def test_weights_of_another_net_are_refused(tmp_path: Path):
    path = write(tmp_path / "model.safetensors", DESCRIPTION, make_net((4, 8)))
    with pytest.raises(CheckpointError, match=r"weights must fit the configured net \(another configuration\?\)"):
        load_model(path)
    with pytest.raises(CheckpointError, match="weights must fit"):
        load_into(make_net((4, 6)), path, CHANNELS, 70.0)
    other = make_net((4, 8))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    load_into(other, path, CHANNELS, 70.0)
    assert torch.equal(other.stem.weight, make_net((4, 8)).stem.weight)


def test_weights_of_other_channels_or_scale_are_not_tuned(tmp_path: Path):
    path = write(tmp_path / "model.safetensors", DESCRIPTION)
    with pytest.raises(CheckpointError, match=r"channels must be the one these weights were trained with"):
        load_into(make_net(), path, CHANNELS | {"structures": ["PTV_Low"]}, 70.0)
    with pytest.raises(CheckpointError, match=r"dose_scale_gy must be .* trained with \(70\.0\); got 1\.0"):
        load_into(make_net(), path, CHANNELS, 1.0)


def test_small_kernels_grow_into_large_ones(tmp_path: Path):
    from dosewright.nets.mednext import MedNeXt
    from dosewright.nets.upkern import grow_weights

    torch.manual_seed(0)
    small, large, expected = MedNeXt(2, kernel_size=3), MedNeXt(2, kernel_size=5), MedNeXt(2, kernel_size=5)
    load_into(large, write(tmp_path / "model.safetensors", DESCRIPTION, small), CHANNELS, 70.0)
    grow_weights(expected, small.state_dict())
    for grown, wanted in zip(large.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(grown, wanted)


# A file from a stranger

SYSTEM = {"_target_": "os.system", "_args_": ["touch {}"]}


def with_paths(node: object, marker: Path) -> object:
    return json.loads(json.dumps(node).replace("{}", str(marker)))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"_target_": "os.system", "_args_": ["touch {}"]}, "os.system"),
        ({"_target_": "dosewright.core.files.os.system", "_args_": ["touch {}"]}, "dosewright.core.files.os.system"),
        ({"_target_": "dosewright.nets.unet.torch.load", "_args_": ["{}"]}, "dosewright.nets.unet.torch.load"),
        ({"_target_": "dosewright.core.files.atomic_write", "path": "{}", "content": ""}, "atomic_write"),
        ({"_target_": "dosewright.nets.unet.InputError"}, "InputError"),
        ({"_target_": "dosewright.nets.absent.Net"}, "dosewright.nets.absent.Net"),
        ({"_target_": ["os.system"]}, "os.system"),
        (MODEL | {"head_width": SYSTEM}, "os.system"),
        (MODEL | {"loss": SYSTEM, "optimizer": SYSTEM}, "os.system"),
        (MODEL | {"widths": [4, {"deep": [SYSTEM]}]}, "os.system"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "last.ckpt"])
def test_foreign_code_is_refused_and_not_run(tmp_path: Path, model: dict, said: str, name: str):
    marker = tmp_path / "executed"
    path = write(tmp_path / name, with_paths(DESCRIPTION | {"model": model}, marker))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=rf"_target_ must name a net or channels of this package; got .*{said}"):
        load_model(path)
    assert not marker.exists()


def test_foreign_channels_are_refused_and_not_run(tmp_path: Path):
    marker = tmp_path / "executed"
    channels = CHANNELS | {"groups": [with_paths(SYSTEM, marker)]}
    with pytest.raises(CheckpointError, match=r"_target_ must name a net .*; got 'os\.system'"):
        load_model(write(tmp_path / "model.safetensors", DESCRIPTION | {"channels": channels}))
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    ["${oc.create:{_target_:os.system,_args_:[touch {}]}}", "${oc.env:HOME}", "${model.widths}"],
)
def test_interpolations_are_refused_and_not_resolved(tmp_path: Path, value: str):
    marker = tmp_path / "executed"
    model = MODEL | {"head_width": value.replace("{}", str(marker))}
    with pytest.raises(CheckpointError, match=r"configuration must hold plain values only; got '\$\{"):
        load_model(write(tmp_path / "model.safetensors", DESCRIPTION | {"model": model}))
    assert not marker.exists()


class Bomb:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("by_torch", [True, False])
def test_a_pickle_bomb_is_refused_and_does_not_go_off(tmp_path: Path, by_torch: bool):
    marker, path = tmp_path / "executed", tmp_path / "bomb.ckpt"
    content = {"state_dict": {}, "hyper_parameters": DESCRIPTION, "extra": Bomb(f"touch {marker}")}
    if by_torch:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="must be a whole training checkpoint of plain data"):
        load_model(path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if by_torch else pickle.loads(path.read_bytes())  # this bomb does work
    assert marker.exists()
