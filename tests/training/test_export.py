import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from dosewright import __version__
from dosewright.core import StorageError, keys
from dosewright.inference.weights import load_model
from dosewright.jobs.train import build_data, build_module
from dosewright.training.export import METADATA_KEY, save_weights
from dosewright.training.module import DoseModule
from tiny import training


@pytest.fixture(scope="module")
def module(prepared_root: Path) -> DoseModule:
    torch.manual_seed(0)
    return build_module(training(prepared_root, Path("unused"), "dose_scale_gy=60.0")).eval()


def test_a_loaded_net_gives_the_very_same_dose(module: DoseModule, prepared_root: Path, tmp_path: Path):
    cfg = training(prepared_root, tmp_path)
    image = build_data(cfg, module).dataset("validation")[0][keys.IMAGE][None]
    path = save_weights(tmp_path / "new" / "model.safetensors", module, notes={"steps": 7})
    model = load_model(path)
    assert model.path == path
    assert model.dose_scale_gy == 60.0
    assert model.stride == 4
    assert model.channels.names == module.channels.names
    assert not model.net.training
    with torch.no_grad():
        assert torch.equal(model.net(image) * 60.0, module(image))


def test_float16_halves_the_file_and_moves_the_dose_by_less_than_its_precision(
    module: DoseModule, prepared_root: Path, tmp_path: Path
):
    full = save_weights(tmp_path / "full.safetensors", module)
    half = save_weights(tmp_path / "half.safetensors", module, dtype=torch.float16)
    tensors = sum(tensor.numel() for tensor in module.net.state_dict().values())
    assert full.stat().st_size - half.stat().st_size == pytest.approx(2 * tensors, abs=64)
    image = torch.rand(1, len(module.channels), 8, 8, 8, generator=torch.Generator().manual_seed(0))
    one, other = load_model(full).net, load_model(half).net
    assert {tensor.dtype for tensor in other.state_dict().values()} == {torch.float32}
    with torch.no_grad():
        error = float((one(image) - other(image)).abs().max() / one(image).abs().max())
    assert 0 < error < 20 * 2**-11


def test_the_file_tells_how_it_was_made(module: DoseModule, tmp_path: Path):
    path = save_weights(tmp_path / "model.safetensors", module, notes={"experiment": "a", "steps": 7})
    with safe_open(path, "pt") as stream:
        told = json.loads(stream.metadata()[METADATA_KEY])
    assert set(told) == {"model", "channels", "dose_scale_gy", "version", "notes"}
    assert told["model"] == {
        "_target_": "dosewright.nets.unet.HalfResolutionUNet", "widths": [4, 8], "head_width": 4
    }  # fmt: skip
    assert told["version"] == __version__
    assert told["notes"] == {"experiment": "a", "steps": 7}


def test_an_unwritable_folder_is_told(module: DoseModule, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_weights(tmp_path / "file" / "model.safetensors", module)
