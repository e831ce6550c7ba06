import csv
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file

from dosewright.core import CaseError, CheckpointError, InputError
from dosewright.dose.openkbp import dose_score
from dosewright.inference.predictor import Predictor
from dosewright.inference.weights import load_model
from dosewright.io.prepared import PreparedReader
from dosewright.jobs.recipe import recipe_of, require_same_recipe, write_recipe
from dosewright.jobs.train import build_trainer, run, warn_of_slow_bf16
from tiny import TINY, config, training

EPOCHS = 4
LENGTH = f"trainer.max_epochs={EPOCHS}"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(prepared_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder and score of a training nobody interrupted, with a picture per validation."""
    out = tmp_path_factory.mktemp("whole")
    pictures = ["callbacks.pictures={_target_:dosewright.training.callbacks.Pictures,folder:${out}/pictures,cases:1}"]
    tiny = [item for item in TINY if not item.startswith("callbacks.pictures")]
    score = run(config("train", *tiny, *pictures, f"data.root={prepared_root}", f"out={out}", LENGTH))
    assert score is not None
    return out, score


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "logs" / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def state(out: Path) -> dict:
    return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)


def test_a_training_leaves_weights_metrics_checkpoints_and_pictures(whole: tuple[Path, float]):
    out, score = whole
    scores = [float(row["val/dose_score"]) for row in rows(out) if row["val/dose_score"]]
    losses = [float(row["train/loss"]) for row in rows(out) if row["train/loss"]]
    assert len(scores) == len(losses) == EPOCHS
    assert scores[-1] == pytest.approx(score, rel=1e-6)
    assert losses[-1] < 0.9 * losses[0]
    pictures = sorted(path.name for path in (out / "pictures").iterdir())
    kinds = ("dvh", "slices")
    assert pictures == [f"epoch_{n:04d}_validation_3_{kind}.png" for n in range(1, EPOCHS + 1) for kind in kinds]
    assert all((out / "pictures" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    with safe_open(out / "model.safetensors", "pt") as stream:
        assert f'"steps": {3 * EPOCHS}' in stream.metadata()["dosewright"]


def test_the_averaged_weights_are_exported(whole: tuple[Path, float]):
    out, _ = whole
    exported, saved = load_file(out / "model.safetensors"), state(out)
    averaged = {name.removeprefix("net."): tensor for name, tensor in saved["state_dict"].items()}
    current = {name.removeprefix("net."): tensor for name, tensor in saved["current_model_state"].items()}
    assert exported.keys() <= averaged.keys()
    assert all(torch.equal(exported[name], averaged[name]) for name in exported)
    assert not torch.equal(exported["stem.weight"], current["stem.weight"])
    loaded = load_model(out / "checkpoints" / "last.ckpt").net.state_dict()
    assert all(torch.equal(exported[name], loaded[name]) for name in exported)


def test_a_killed_training_resumes_to_the_very_same_result(
    whole: tuple[Path, float], prepared_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    overrides = [*TINY, f"data.root={prepared_root}", f"out={tmp_path}", LENGTH]
    killed = subprocess.run(
        [
            sys.executable,
            "-m",
            "dosewright.jobs.cli",
            "train",
            *overrides,
            "+callbacks.kill={_target_:tiny.KillAt,epoch:2}",
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    assert state(tmp_path)["epoch"] == 1  # of 0 to 3: it died in the third
    assert not (tmp_path / "model.safetensors").exists()
    told = killed.stdout + killed.stderr
    assert "epoch 2 of 4: train/l1" in told
    for noise in ("litlogger", "GPU available", "weights_only", "LeafSpec", "smaller than the logging interval"):
        assert noise not in told

    with caplog.at_level(logging.INFO):
        score = run(training(prepared_root, tmp_path, LENGTH))
    assert f"resuming from {tmp_path / 'checkpoints' / 'last.ckpt'}" in caplog.text
    assert score == whole[1]
    expected = load_file(whole[0] / "model.safetensors")
    torch.testing.assert_close(load_file(tmp_path / "model.safetensors"), expected, rtol=0, atol=0)
    mine, theirs = state(tmp_path), state(whole[0])
    torch.testing.assert_close(mine["optimizer_states"], theirs["optimizer_states"], rtol=0, atol=0)
    assert mine["lr_schedulers"] == theirs["lr_schedulers"]
    assert rows(tmp_path) == rows(whole[0])


def test_a_finished_training_started_again_trains_nothing_and_writes_the_same_weights(
    whole: tuple[Path, float], prepared_root: Path
):
    out, score = whole
    before, saved = (out / "model.safetensors").read_bytes(), (out / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    (out / "model.safetensors").unlink()
    assert run(training(prepared_root, out, LENGTH)) == pytest.approx(score, rel=1e-6)
    torch.testing.assert_close(load_file(out / "model.safetensors"), load(before), rtol=0, atol=0)
    assert (out / "checkpoints" / "last.ckpt").stat().st_mtime_ns == saved
    assert len([row for row in rows(out) if row["train/loss"]]) == EPOCHS


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.widths=[4,6]", r"model.widths must be \[4, 8\], as when this run was started .*; got \[4, 6\]"),
        ("optimizer.lr=0.5", r"optimizer.lr must be 0.001, as when this run was started .*; got 0.5"),
        ("loss=masked_l1", "loss._convert_ must be 'all', as when this run was started"),
        ("seed=1", "seed must be 0, as when this run was started"),
        ("channels.groups.0.window_hu=[0.0,1.0]", r"channels.groups.0.window_hu must be \[-1000.0, 1500.0\]"),
        ("callbacks=no_ema", "callbacks.ema"),
    ],
)
def test_another_configuration_is_not_mixed_in(
    whole: tuple[Path, float], prepared_root: Path, override: str, said: str
):
    overrides = [override, LENGTH] if override != "callbacks=no_ema" else [LENGTH, "callbacks.ema=null"]
    with pytest.raises(CheckpointError, match=said):
        run(training(prepared_root, whole[0], *overrides))


def test_a_checkpoint_without_recipe_still_refuses_another_net(
    whole: tuple[Path, float], prepared_root: Path, tmp_path: Path
):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes((whole[0] / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(CheckpointError, match="model must be the one the checkpoint was trained with"):
        run(training(prepared_root, tmp_path, "model.widths=[4,6]", LENGTH))


def test_resume_may_be_forbidden(whole: tuple[Path, float], prepared_root: Path):
    with pytest.raises(CheckpointError, match=r"out holds a run already: choose another out=, or resume=auto; got '/"):
        run(training(prepared_root, whole[0], "resume=never"))
    with pytest.raises(InputError, match='resume must be "auto" or "never"; got \'perhaps\''):
        run(training(prepared_root, whole[0], "resume=perhaps"))


def test_a_truncated_checkpoint_is_told(whole: tuple[Path, float], prepared_root: Path, tmp_path: Path):
    data = (whole[0] / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r"last.ckpt: file must be a whole checkpoint: delete it to start anew"):
        run(training(prepared_root, tmp_path, LENGTH))


def test_fine_tuning_starts_from_given_weights(whole: tuple[Path, float], prepared_root: Path, tmp_path: Path):
    """With a rate of zero they stay as they are, up to the rounding of their running mean."""
    start = whole[0] / "model.safetensors"
    run(training(prepared_root, tmp_path, "trainer.max_epochs=1", f"checkpoint={start}", "optimizer.lr=0.0"))
    torch.testing.assert_close(load_file(tmp_path / "model.safetensors"), load_file(start), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mode", ["fdr", "limit", "overfit"])
def test_debug_runs_leave_nothing_to_resume(prepared_root: Path, tmp_path: Path, mode: str):
    short = ["trainer.max_epochs=4", "datamodule.samples_per_epoch=5"] if mode == "overfit" else []
    score = run(training(prepared_root, tmp_path, f"debug={mode}", *short))
    assert not (tmp_path / "checkpoints").exists()
    assert (score is None) == (mode == "overfit")
    if mode == "fdr":
        assert not (tmp_path / "logs").exists()
        return
    losses = [float(row["train/loss"]) for row in rows(tmp_path) if row.get("train/loss")]
    assert len(losses) == {"limit": 2, "overfit": 4}[mode]
    if mode == "overfit":
        assert losses[-1] < 0.8 * losses[0]


def test_a_training_without_loggers_runs(prepared_root: Path, tmp_path: Path):
    trainer = build_trainer(training(prepared_root, tmp_path, "~logger"))
    assert trainer.loggers == []
    assert "LearningRateMonitor" not in {type(callback).__name__ for callback in trainer.callbacks}


def test_wandb_logs_offline(prepared_root: Path, tmp_path: Path):
    wandb = pytest.importorskip("wandb")
    run(training(prepared_root, tmp_path, "debug=limit", "logger=wandb", "name=here"))
    assert wandb.run is None  # the next run of a sweep gets one of its own
    (stored,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    content = stored.read_bytes()
    assert b"val/dose_score" in content
    assert b"train/loss" in content
    assert len([row for row in rows(tmp_path) if row["train/loss"]]) == 2


def test_an_empty_or_missing_split_is_told(prepared_root: Path, tmp_path: Path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    with pytest.raises(CaseError, match="split 'train' must hold at least one case; got 'none'"):
        run(training(tmp_path / "data", tmp_path / "out", LENGTH))
    with pytest.raises(CaseError, match="absent/train: folder must be a folder of prepared cases"):
        run(training(tmp_path / "absent", tmp_path / "out", LENGTH))


def test_the_score_is_that_of_the_weights_left_behind(prepared_root: Path, tmp_path: Path):
    """With three epochs and a validation every other one, the last epoch has none of its own."""
    score = run(training(prepared_root, tmp_path, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2"))
    measured = [float(row["val/dose_score"]) for row in rows(tmp_path) if row["val/dose_score"]]
    assert len(measured) == 2
    assert score == pytest.approx(measured[1], rel=1e-6)
    assert score == pytest.approx(score_of(tmp_path / "model.safetensors", prepared_root), rel=1e-5)
    assert abs(measured[0] - measured[1]) > 1e-3


def score_of(weights: Path, root: Path, cases: int = 2) -> float:
    """The mean validation dose score of exported weights, apart from any trainer."""
    predictor = Predictor([load_model(weights)], flip=False)
    some = [case for case, _ in zip(PreparedReader(root, "validation"), range(cases), strict=False)]
    return sum(dose_score(predictor.predict(case), case.dose_gy, case.scored_mask) for case in some) / len(some)


def test_two_processes_train_through_the_command(prepared_root: Path, tmp_path: Path):
    """One validation case for two processes: the second repeats it, and does not count it."""
    out = tmp_path / "out"
    options = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=3"]
    options.append("trainer.check_val_every_n_epoch=2")  # an epoch without validation must not leave a process waiting
    data = [f"data.root={prepared_root}", f"out={out}", "datamodule.limit_validation=1"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dosewright")), "train", *TINY[1:], "data=prepared", *options, *data],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "GLOBAL_RANK: 1, MEMBER: 2/2" in done.stdout + done.stderr
    assert [row["step"] for row in rows(out) if row["train/loss"]] == [
        "1",
        "3",
        "5",
    ]  # 3 cases, 2 processes: 2 steps
    score = float([row["val/dose_score"] for row in rows(out) if row["val/dose_score"]][-1])
    assert score == pytest.approx(score_of(out / "model.safetensors", prepared_root, cases=1), rel=1e-5)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("checkpoint=other.safetensors", "checkpoint must be None, as when this run was started"),
        ("datamodule.limit_train=3", "datamodule.limit_train must be None"),
        ("+data.seed=1", "data.seed must be None, as when this run was started"),
    ],
)
def test_other_data_or_a_new_start_are_not_mixed_in(
    whole: tuple[Path, float], prepared_root: Path, override: str, said: str
):
    with pytest.raises(CheckpointError, match=said):
        run(training(prepared_root, whole[0], LENGTH, override))


def test_other_training_cases_are_not_mixed_in(whole: tuple[Path, float], prepared_root: Path, tmp_path: Path):
    cases = tmp_path / "data" / "train"
    cases.mkdir(parents=True)
    for path in sorted((prepared_root / "train").iterdir())[:2]:
        (cases / path.name).symlink_to(path)
    with pytest.raises(CheckpointError, match=r"training cases must be '[0-9a-f]{16}', as when this run was started"):
        run(training(tmp_path / "data", whole[0], LENGTH))


def test_what_an_older_version_did_not_store_counts_as_equal(tmp_path: Path):
    path, cfg = tmp_path / "recipe.json", training(tmp_path, tmp_path)
    recipe = recipe_of(cfg, ["a", "b"])
    new = ("training cases", "checkpoint", "data.site", "data.seed", "data.counts")
    write_recipe(path, {key: value for key, value in recipe.items() if key not in new})
    require_same_recipe(path, recipe_of(training(tmp_path, tmp_path, "checkpoint=x"), ["c"]))
    write_recipe(path, recipe_of(training(tmp_path, tmp_path, "callbacks.ema=null"), ["a", "b"]))
    with pytest.raises(CheckpointError, match=r"callbacks\.ema must be None|callbacks\.ema\._target_ must be None"):
        require_same_recipe(path, recipe)


@pytest.mark.parametrize(
    ("flags", "overrides", "warned"),
    [
        ("fpu avx2", ["trainer.precision=bf16-mixed"], True),
        ("fpu avx512_bf16", ["trainer.precision=bf16-mixed"], False),
        ("fpu amx_bf16", ["trainer.precision=bf16-mixed"], False),
        ("fpu avx2", ["trainer=cpu_fp32"], False),
        ("fpu avx2", ["trainer=gpu"], False),
    ],
)
def test_emulated_bf16_is_warned_of(
    tmp_path: Path, flags: str, overrides: list[str], warned: bool, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    warn_of_slow_bf16(config("train", *overrides), tmp_path / "cpuinfo")
    warn_of_slow_bf16(config("train", *overrides), tmp_path / "absent")
    assert ["trainer=cpu_fp32 is likely faster" in message for message in caplog.messages] == [True] * warned
