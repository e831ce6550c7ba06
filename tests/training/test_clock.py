import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.demos.boring_classes import BoringModel

from dosewright.training.callbacks import LastCheckpoint
from dosewright.training.clock import Clock, device_name

STEPS = 3


class Ticking:
    """A clock that is ten seconds further each time it is read."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def perf_counter(self) -> float:
        self.now_s += 10.0
        return self.now_s


@pytest.fixture(autouse=True)
def _ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.training.clock.time", Ticking())


def train(folder: Path, epochs: int, **options: object) -> dict[str, list[dict[str, object]]]:
    """Train up to so many epochs, from the last checkpoint if there is one; return what the clock stored."""
    last = folder / "last.ckpt"
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=STEPS,
        limit_val_batches=0,
        callbacks=[Clock(folder / "timing.json"), LastCheckpoint(last)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(BoringModel(), ckpt_path=last if last.exists() else None, weights_only=True)
    return json.loads((folder / "timing.json").read_text()) if (folder / "timing.json").exists() else {}


def marks(record: dict[str, list[dict[str, object]]]) -> list[tuple[object, ...]]:
    return [(mark["epoch"], mark["step"], mark["seconds"]) for mark in record["marks"]]


def test_each_epoch_is_marked_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    first = train(tmp_path, epochs=2)
    assert marks(first) == [(1, 3, 10.0), (2, 6, 20.0)]
    assert [start["step"] for start in first["starts"]] == [0]
    assert first["starts"][0]["threads"] == torch.get_num_threads()
    assert first["starts"][0]["processes"] == 1
    second = train(tmp_path, epochs=3)
    assert marks(second) == [(1, 3, 10.0), (2, 6, 20.0), (3, 9, 30.0)]
    assert [start["step"] for start in second["starts"]] == [0, 6]
    assert train(tmp_path, epochs=3) == second  # nothing left to train: nothing counted


def test_what_is_trained_again_is_not_counted_twice(tmp_path: Path) -> None:
    """Killed between the clock's mark and the checkpoint, the run goes on from the older checkpoint."""
    train(tmp_path, epochs=1)
    older = (tmp_path / "last.ckpt").read_bytes()
    train(tmp_path, epochs=2)
    (tmp_path / "last.ckpt").write_bytes(older)
    record = train(tmp_path, epochs=2)
    assert marks(record) == [(1, 3, 10.0), (2, 6, 20.0)]
    assert [start["step"] for start in record["starts"]] == [0, 3]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"marks": 3, "starts": []}'])
def test_a_run_older_than_its_clock_says_from_where_it_was_timed(tmp_path: Path, content: str | None) -> None:
    train(tmp_path, epochs=1)
    (tmp_path / "timing.json").unlink()
    if content is not None:
        (tmp_path / "timing.json").write_text(content)
    record = train(tmp_path, epochs=2)
    assert marks(record) == [(2, 6, 10.0)]
    assert [start["step"] for start in record["starts"]] == [3]


def test_a_trial_run_leaves_no_record(tmp_path: Path) -> None:
    assert train(tmp_path, epochs=1, fast_dev_run=True) == {}


def test_a_device_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Xeon 42\nflags : a\n\nprocessor\t: 1\nmodel name\t: Xeon 42\n")
    assert device_name(torch.device("cpu"), info) == "Xeon 42"
    monkeypatch.setattr("dosewright.training.clock.platform", SimpleNamespace(machine=lambda: "arm64"))
    assert device_name(torch.device("cpu"), tmp_path / "absent") == "arm64"
    assert device_name(torch.device("mps")) == "mps"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert device_name(torch.device("cuda:1")) == "GPU 1"
