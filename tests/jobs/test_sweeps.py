"""Sweeps through the very command: each run in its own folder, and started again only what is left to do."""

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest
import torch
from omegaconf import OmegaConf

from dosewright.core import CaseError, InputError
from dosewright.jobs import cli
from dosewright.jobs.hydra_task import FINISHED, MAX_NAME, Task, config_hash, finished_result, mark_finished, run_name
from dosewright.jobs.summarize_run import FINISHED as FINISHED_RUN
from dosewright.jobs.summarize_run import UNFINISHED, read_run
from tiny import TINY

#: What is the same in all runs is left out of the folders' names where it does not tell runs apart.
SAME = (*TINY, "trainer.max_epochs=2")


@pytest.fixture(autouse=True)
def _undisturbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra sets sys.argv and the root logger's handlers; put them back."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    quiet = {name: logging.getLogger(name).level for name in ("pytorch_lightning.utilities.rank_zero",)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    root.handlers[:], root.level = handlers, level
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def sweep(root: Path, out: Path, *overrides: str) -> None:
    cli.main(["train", "--multirun", f"data.root={root}", f"out={out}", *SAME, *overrides])


def runs(out: Path) -> dict[str, Path]:
    """Seed or rate → folder of its run."""
    found = {}
    for path in out.glob("*/.hydra/overrides.yaml"):
        override = next(item for item in OmegaConf.load(path) if item.startswith(("seed=", "optimizer.lr=")))
        found[override] = path.parents[1]
    return found


def trained(out: Path) -> dict[str, int]:
    """When each run's last epoch was saved."""
    return {name: (path / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name, path in runs(out).items()}


def test_a_sweep_started_again_does_what_is_left(
    prepared_root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    fail = f"+callbacks.fail={{_target_:tiny.FailOnce,marker:{tmp_path / 'failed'}}}"
    with pytest.raises(CaseError, match="test must not fail twice"):
        sweep(prepared_root, out, fail, "seed=0,1")
    folders = runs(out)
    assert set(folders) == {"seed=0", "seed=1"}  # the second ran although the first failed
    assert not (folders["seed=0"] / FINISHED).exists()
    assert not (folders["seed=0"] / "model.safetensors").exists()
    unfinished = read_run(folders["seed=0"])
    assert unfinished.remarks == ("failed: CaseError: test must not fail twice",)
    assert (unfinished.status, unfinished.seed, unfinished.seconds is None) == (UNFINISHED, 0, False)
    stored = json.loads((folders["seed=1"] / FINISHED).read_text())
    assert 1.0 < stored["result"] < 70.0
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["multirun.yaml"]
    first = trained(out)

    capfd.readouterr()
    sweep(prepared_root, out, fail, "seed=0,1")
    second = trained(out)
    told = capfd.readouterr().out
    assert f"resuming from {folders['seed=0'] / 'checkpoints' / 'last.ckpt'}" in told
    assert "epoch 1 of 2" not in told
    assert "epoch 2 of 2" in told
    assert f"{folders['seed=1']}: finished before, not run again" in told
    assert second["seed=0"] > first["seed=0"]
    assert read_run(folders["seed=0"]).status == FINISHED_RUN
    assert second["seed=1"] == first["seed=1"]

    sweep(prepared_root, out, fail, "seed=0,1")
    assert trained(out) == second
    assert runs(out) == folders

    sweep(prepared_root, out, fail, "seed=0,1", "optimizer.lr=0.01")  # another value is another run
    assert len(list(out.glob(f"*/{FINISHED}"))) == 4
    others = {path.parent for path in out.glob(f"*/{FINISHED}")} - set(folders.values())
    assert len(others) == 2
    assert all("optimizer.lr=0.01" in OmegaConf.load(folder / ".hydra/overrides.yaml") for folder in others)
    marks = {name: folder / "checkpoints" / "last.ckpt" for name, folder in folders.items()}
    assert {name: mark.stat().st_mtime_ns for name, mark in marks.items()} == second


def test_the_folder_the_sweep_writes_to_is_not_in_the_names_of_its_runs(prepared_root: Path, tmp_path: Path) -> None:
    sweep(prepared_root, tmp_path / "one", "debug=limit", "seed=3")
    moved = (tmp_path / "one").rename(tmp_path / "two")
    before = runs(moved)["seed=3"] / "model.safetensors"
    stamp = before.stat().st_mtime_ns
    assert str(tmp_path.name) not in before.parent.name
    sweep(prepared_root, moved, "debug=limit", "seed=3")
    assert runs(moved)["seed=3"] == before.parent
    assert before.stat().st_mtime_ns == stamp


def test_a_search_started_again_proposes_the_same_trials_and_trains_nothing(
    prepared_root: Path, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ["sweep=optuna", "hydra.sweeper.n_trials=2", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "debug=limit"]
    sweep(prepared_root, tmp_path, *search)
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model.safetensors")}
    rates = sorted(float(name.partition("=")[2]) for name in runs(tmp_path))
    assert len(rates) == len(weights) == 2
    assert 1e-4 <= rates[0] < rates[1] <= 1e-2
    best = OmegaConf.load(tmp_path / "optimization_results.yaml")
    scores = {name: json.loads((path / FINISHED).read_text())["result"] for name, path in runs(tmp_path).items()}
    assert best.best_value == pytest.approx(min(scores.values()), rel=1e-9)

    sweep(prepared_root, tmp_path, *search[:1], "hydra.sweeper.n_trials=3", *search[2:])
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model.safetensors")}
    assert len(after) == 3
    assert weights.items() <= after.items()


def test_a_task_sent_to_another_process_can_name_folders_there() -> None:
    sent = base64.b64encode(cloudpickle.dumps(Task("train"))).decode()
    code = (
        "import base64, cloudpickle\nfrom omegaconf import OmegaConf\n"
        f"task = cloudpickle.loads(base64.b64decode('{sent}'))\n"
        "print(task.job, OmegaConf.create({'a': '${run_name:${b}}', 'b': 'x=1/2'}).a)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "train x=1.2\n"


def test_a_single_run_ends_with_one_line_and_exit_code_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["train", *TINY, f"data.root={tmp_path / 'absent'}", f"out={tmp_path / 'out'}"])
    assert raised.value.code == 1
    told = capsys.readouterr().err
    assert "dosewright train: " in told
    assert "absent/train: folder must be a folder of prepared cases" in told
    assert "Traceback" not in told


def test_long_names_are_cut_and_stay_apart() -> None:
    one, other = (run_name(f"{'key=value,' * 30}seed={seed}") for seed in (1, 2))
    assert len(one) == len(other) == MAX_NAME
    assert one != other
    assert one[:100] == other[:100]
    assert run_name("") == "defaults"


def test_a_result_is_found_for_its_own_configuration_alone(tmp_path: Path) -> None:
    cfg = OmegaConf.create({"out": "a", "seed": 1, "log": "${out}/log"})
    assert finished_result(tmp_path, cfg) is None
    mark_finished(tmp_path, cfg, 2.5)
    elsewhere = OmegaConf.create({"out": "b", "seed": 1, "log": "${out}/log"})
    assert finished_result(tmp_path, elsewhere) == {"config": config_hash(cfg), "result": 2.5}
    assert finished_result(tmp_path, OmegaConf.create({"out": "a", "seed": 2, "log": "${out}/log"})) is None
    mark_finished(tmp_path, cfg, object())
    assert finished_result(tmp_path, cfg) == {"config": config_hash(cfg), "result": None}
    (tmp_path / FINISHED).write_text("{")
    assert finished_result(tmp_path, cfg) is None


def test_a_sweep_of_distributed_trainings_is_refused_on_one_machine(prepared_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trainer\.devices must be 1 in a sweep on this machine.*; got 2"):
        sweep(prepared_root, tmp_path, "seed=1,2", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def test_a_single_run_sees_the_argv_its_process_was_started_with(
    prepared_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(Task, "_run", lambda self, cfg: seen.append(list(sys.argv)))
    started_with = ["/somewhere/dosewright", "train", f"data.root={prepared_root}", "data=prepared", f"out={tmp_path}"]
    monkeypatch.setattr(sys, "argv", started_with)
    cli.main()
    assert seen == [started_with]
