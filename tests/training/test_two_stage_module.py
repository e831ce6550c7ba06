"""Stage II: what it freezes, what it matches, what it draws, and that it resumes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file

from dosewright.core import CheckpointError, InputError, keys
from dosewright.core.preference import PreferenceSpace
from dosewright.datasets.dataset import DoseDataset
from dosewright.datasets.sample import collate
from dosewright.inference.weights import load_codec, load_model
from dosewright.io.prepared import PreparedReader
from dosewright.jobs.train import build_module, run
from dosewright.nets.dose_codec import DoseCodec
from dosewright.training.two_stage_module import TwoStageModule
from tiny import config

CODEC = {
    "_target_": "dosewright.nets.dose_codec.DoseCodec",
    "latent_channels": 8,
    "widths": [4, 8, 8],
    "blocks": 1,
    "quantiser": {"kind": "vector", "codebook_size": 16, "levels": 2},
}
STAGE1 = (
    *("data=prepared", "module=stage1", "model=dose_codec", "channels=dose_only", "loss=masked_l1"),
    *("callbacks=no_ema", "callbacks.pictures=null", "trainer.precision=32-true", "trainer.check_val_every_n_epoch=1"),
    *(
        "model.latent_channels=8",
        "model.widths=[4,8,8]",
        "model.quantiser.codebook_size=16",
        "model.quantiser.levels=2",
    ),
)
TWO_STAGE = (
    *("data=prepared", "module=two_stage", "model=two_stage", "loss=two_stage", "callbacks.pictures=null"),
    *("trainer.precision=32-true", "trainer.check_val_every_n_epoch=1", "model.latent_channels=8"),
    *(
        "model.decoder.widths=[4,8,8]",
        "model.widths=[4,8,8]",
        "model.refine_width=4",
        "model.group_width=4",
    ),
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def stage1(prepared_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a Stage I trained for two epochs."""
    out = tmp_path_factory.mktemp("stage1")
    run(config("train", *STAGE1, f"data.root={prepared_root}", f"out={out}", "trainer.max_epochs=2"))
    return out / "model.safetensors"


def module_of(*overrides: str) -> TwoStageModule:
    module = build_module(config("train", *TWO_STAGE, "data.root=nowhere", *overrides))
    assert isinstance(module, TwoStageModule)
    return module


def batch_of(module: TwoStageModule, root: Path, *indices: int) -> dict:
    dataset = DoseDataset(PreparedReader(root, split="train"), module.channels, int(module.net.stride))
    return collate([dataset[i] for i in indices])


def test_a_frozen_decoder_is_bitwise_the_one_of_stage_one_after_training(
    stage1: Path, prepared_root: Path, tmp_path: Path
):
    run(
        config(
            "train", *TWO_STAGE, f"data.root={prepared_root}", f"out={tmp_path}", f"module.stage1={stage1}",
            "trainer.max_epochs=2",
        )
    )  # fmt: skip
    before, after = load_file(stage1), load_file(tmp_path / "model.safetensors")
    decoder = {name: tensor for name, tensor in before.items() if name.startswith("decoder.")}
    assert len(decoder) > 10
    for name, tensor in decoder.items():
        assert torch.equal(after[name], tensor), name
    pl.seed_everything(0, verbose=False)  # as the training did
    fresh = module_of().net.state_dict()
    moved = [float((after[name] - fresh[name]).abs().max()) for name in after if name.startswith("encoder.")]
    assert sum(0.0 < most < 0.1 for most in moved) > 10
    assert max(moved) < 0.1
    assert load_model(tmp_path / "model.safetensors").net.preference == PreferenceSpace("per_group")


def test_a_decoder_that_is_not_frozen_is_trained(stage1: Path, prepared_root: Path, tmp_path: Path):
    overrides = (f"module.stage1={stage1}", "module.freeze_decoder=false", "trainer.max_epochs=1")
    run(config("train", *TWO_STAGE, f"data.root={prepared_root}", f"out={tmp_path}", *overrides))
    before, after = load_file(stage1), load_file(tmp_path / "model.safetensors")
    most = float((before["decoder.out.weight"] - after["decoder.out.weight"]).abs().max())
    assert 1e-4 < most < 0.1  # averaging a frozen decoder with itself, which rounds it, moves it by less than 1e-6


def test_the_optimiser_gets_all_that_is_not_frozen(stage1: Path):
    module = module_of(f"module.stage1={stage1}")
    module.attach_codec(load_codec(stage1))
    given = {id(parameter) for parameter in module.trained_parameters()}
    for name, parameter in module.net.named_parameters():
        assert (id(parameter) in given) == (not name.startswith("decoder.")), name
    assert not any("codec" in name for name in module.state_dict())


def test_the_latent_mismatch_is_relative_to_the_unquantised_latent_inside_the_mask(stage1: Path, prepared_root: Path):
    module = module_of(f"module.stage1={stage1}")
    codec = load_codec(stage1)
    module.attach_codec(codec)
    batch = batch_of(module, prepared_root, 0)
    with torch.no_grad():
        wanted = codec.encode(batch[keys.DOSE] * batch[keys.DOSE_MASK] / 70.0)
        quantised = codec.quantise(wanted).latent
    mask = batch[keys.DOSE_MASK][0, 0].numpy()
    z, y, x = (n // 4 for n in mask.shape)
    inside = mask.reshape(z, 4, y, 4, x, 4).any(axis=(1, 3, 5))
    values = wanted[0].numpy()[:, inside]
    assert float(module._latent_mismatch(wanted, batch)) == 0.0
    assert float(module._latent_mismatch(wanted + 0.5, batch)) == pytest.approx(0.5 / np.abs(values).mean(), rel=1e-5)
    elsewhere = wanted + 3.0 * torch.from_numpy(~inside)
    assert float(module._latent_mismatch(elsewhere, batch)) == 0.0
    gap = np.abs(quantised[0].numpy()[:, inside] - values).mean()
    assert float(module._latent_mismatch(quantised, batch)) == pytest.approx(gap / np.abs(values).mean(), rel=1e-5)
    assert gap > 1e-3


def test_a_step_adds_the_weighted_latent_mismatch_to_the_image_loss(
    stage1: Path, prepared_root: Path, monkeypatch: pytest.MonkeyPatch
):
    module = module_of(f"module.stage1={stage1}", "module.latent_weight=3.0", "module.draws.neutral_share=1.0",
                       "module.draws.tied_share=0.0")  # fmt: skip
    module.attach_codec(load_codec(stage1))
    monkeypatch.setattr(TwoStageModule, "current_epoch", 0)
    monkeypatch.setattr(TwoStageModule, "global_rank", 0)
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.__setitem__(name, float(value)))
    batch = batch_of(module, prepared_root, 0, 1)
    total = float(module.training_step(batch, 0).detach())
    assert total == pytest.approx(
        logged["train/l1"] + 0.25 * logged["train/moment"] + 0.5 * logged["train/objective"]
        + 3.0 * logged["train/latent"], rel=1e-5,
    )  # fmt: skip
    assert logged["train/loss"] == pytest.approx(total)
    dose_gy = module.dose_gy(batch)
    inside = batch[keys.DOSE_MASK]
    l1 = np.mean([float((dose_gy - batch[keys.DOSE]).abs()[i][inside[i]].mean()) for i in range(2)])
    assert logged["train/l1"] == pytest.approx(l1, rel=1e-4)


def test_sliders_are_drawn_by_progress_and_do_not_touch_the_batch(prepared_root: Path, monkeypatch: pytest.MonkeyPatch):
    module = module_of("module.draws.neutral_share=0.0")
    batch = batch_of(module, prepared_root, 0)
    monkeypatch.setattr(TwoStageModule, "current_epoch", 3)
    monkeypatch.setattr(TwoStageModule, "global_rank", 0)
    first, again, other = (module._with_preferences(batch, index)[keys.PREFERENCE] for index in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert keys.PREFERENCE not in batch
    neutral = module_of("model.preference=null", "loss=l1_moment")
    assert keys.PREFERENCE not in neutral._with_preferences(batch, 0)


def test_moments_count_for_neutral_samples_only(prepared_root: Path):
    module = module_of()
    batch = batch_of(module, prepared_root, 0, 1)
    moved = torch.ones(2, 5)
    moved[1, 0] = 0.9
    loss = module.loss.losses["moment"]
    dose_gy = batch[keys.DOSE] * 0.9
    each = [float(loss.loss(dose_gy[i : i + 1], {k: v[i : i + 1] for k, v in batch.items()})) for i in range(2)]
    assert min(each) > 0.1
    assert float(loss(dose_gy, batch)) == pytest.approx(np.mean(each), rel=1e-5)
    assert float(loss(dose_gy, batch | {keys.PREFERENCE: moved})) == pytest.approx(each[0] / 2, rel=1e-5)


def test_a_codec_with_another_decoder_is_refused():
    module = module_of("model.decoder.widths=[4,8,12]")
    with pytest.raises(CheckpointError, match="stage1 must hold a decoder like that of `model`"):
        module.attach_codec(DoseCodec(**{k: v for k, v in CODEC.items() if k != "_target_"}))


def test_a_missing_codec_is_noticed_before_training():
    with pytest.raises(CheckpointError, match="stage1 must be attached before training"):
        module_of("module.stage1=somewhere").on_fit_start()


def test_a_prescription_has_to_come_from_its_own_channel():
    with pytest.raises(InputError, match=r"prescription_channel must be the channel `prescription` \(3\); this one is"):
        module_of("model.prescription_channel=2")
    with pytest.raises(
        InputError, match=r"prescription_channel must be the channel `prescription` \(3\).*None; got 99"
    ):
        module_of("model.prescription_channel=99")


def test_a_negative_weight_is_refused():
    with pytest.raises(InputError, match="latent_weight must not be negative; got -1"):
        module_of("module.latent_weight=-1")


def test_a_codec_is_not_taken_for_a_predicting_net_nor_the_reverse(stage1: Path, prepared_root: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="must be a net that predicts doses; this is a dose codec"):
        load_model(stage1)
    overrides = ("trainer.max_epochs=1", "trainer.limit_val_batches=0")
    run(config("train", *TWO_STAGE, f"data.root={prepared_root}", f"out={tmp_path}", *overrides))
    with pytest.raises(CheckpointError, match="stage1 must hold a dose codec"):
        load_codec(tmp_path / "model.safetensors")


def test_a_killed_training_resumes_to_the_same_weights(stage1: Path, prepared_root: Path, tmp_path: Path):
    settings = (*TWO_STAGE, f"data.root={prepared_root}", f"module.stage1={stage1}", "trainer.max_epochs=3")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(config("train", *settings, f"out={whole}"))
    kill = "+callbacks.kill={_target_:tiny.KillAt,epoch:1}"
    done = subprocess.run(
        [sys.executable, "-m", "dosewright.jobs.cli", "train", *settings, f"out={killed}", kill],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    run(config("train", *settings, f"out={killed}"))
    one, other = (load_file(out / "model.safetensors") for out in (whole, killed))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
