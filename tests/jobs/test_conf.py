"""Every choice of conf/ composes, every experiment instantiates, and a misspelt key is an error."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra.errors import ConfigCompositionException, HydraException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from dosewright.datasets.augmentation import Augmentation
from dosewright.datasets.channels import ChannelSet
from dosewright.jobs.cli import JOBS, conf_dir
from dosewright.jobs.hydra_task import module_of
from dosewright.jobs.train import build_trainer
from tiny import config

ROOT = "data.root=unused"
# anatomy is a part of objectives=anatomy_aware: it is tested with what reads it
OUTSIDE = {"anatomy", "hydra", "paths", "local"}
GROUPS = sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name not in OUTSIDE)

# Groups that are not a training's, and what their choices ask their user for.
JOB_OF = {"beams": "plan", "fluence": "plan", "planner": "plan", "sequencing": "plan", "objectives": "objectives"}
JOB_OF |= {"cluster": "generate", "factory": "generate", "format": "export", "helpers": "objectives"}
ASKED_FOR = {
    "beams=given": ["beams.gantry_angles_deg=[0]"],
    "planner=listed": ["planner.path=unused"],
    "cluster=kubernetes": ["cluster.image=unused"],
}
NOT_INSTALLED = {"dask_kubernetes.operator.KubeCluster"}  # in no extra: the operator's users have it


def choices(group: str) -> list[str]:
    files = (path.relative_to(conf_dir() / group) for path in (conf_dir() / group).rglob("*.yaml"))
    return sorted(path.with_suffix("").as_posix() for path in files)


def train_config(*overrides: str) -> DictConfig:
    """The configuration of a training, with what it asks its user for: a data root, and weights of Stage I."""
    for root in ([ROOT], ["data.openkbp_root=unused"], []):
        try:
            cfg = config("train", *overrides, *root)
            break
        except ConfigCompositionException:
            if not root:
                raise
    if OmegaConf.is_missing(cfg.module, "stage1"):
        cfg.module.stage1 = "unused"
    return cfg


def targets(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_a_configuration_and_a_function(job: str) -> None:
    assert (conf_dir() / f"{job}.yaml").is_file()
    assert callable(importlib.import_module(module_of(job)).run)
    cfg = config(job)
    assert "out" in cfg


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)])
def test_every_choice_composes_and_resolves(group: str, choice: str) -> None:
    chosen = f"{group}={choice}"
    job = JOB_OF.get(group, "train")
    cfg = train_config(chosen) if job == "train" else config(job, chosen, *ASKED_FOR.get(chosen, []))
    cfg.out = "unused"
    resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert "${" not in str(resolved)


def test_every_target_exists() -> None:
    named = set()
    for path in conf_dir().rglob("*.yaml"):
        named |= set(targets(OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
    assert len(named) > 25
    assert named >= NOT_INSTALLED
    assert [name for name in sorted(named - NOT_INSTALLED) if not callable(get_object(name))] == []


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_instantiates(name: str, tmp_path: Path) -> None:
    device = ["trainer.accelerator=cpu", "trainer.devices=1"]
    cfg = train_config(f"experiment={name}", f"out={tmp_path}", *device)
    assert cfg.name == name.replace("/", "_")
    channels = instantiate(cfg.channels, _convert_="all")
    assert isinstance(channels, ChannelSet)
    codec = cfg.model._target_.endswith("DoseCodec")
    two_stage = cfg.model._target_.endswith("TwoStageNet")
    device_name = "cpu" if codec or two_stage else "meta"  # a codebook is looked at, and meta has no autocast
    with torch.device(device_name):
        net = instantiate(cfg.model) if codec else instantiate(cfg.model, in_channels=len(channels))
    edge = net.encoder.coarsest_stride if two_stage else net.stride
    shape = (1, 1 if codec else len(channels), edge, edge, 2 * edge)
    with torch.no_grad():
        output = net.eval()(torch.zeros(shape, device=device_name))
    assert (output.dose if codec else output).shape == (1, 1, *shape[2:])
    optimizer = instantiate(cfg.optimizer)(net.parameters())
    if cfg.get("scheduler"):
        scheduler = instantiate(cfg.scheduler, total_steps=1000)(optimizer)
        assert scheduler.get_last_lr()[0] <= cfg.optimizer.lr
    assert isinstance(instantiate(cfg.loss), torch.nn.Module)
    assert isinstance(instantiate(cfg.augmentation, _convert_="all"), Augmentation)
    trainer = build_trainer(cfg)
    assert isinstance(trainer, pl.Trainer)
    assert (trainer.max_epochs, trainer.max_steps) == (cfg.trainer.max_epochs, cfg.trainer.max_steps)
    wanted = {node._target_.rpartition(".")[2] for node in cfg.callbacks.values() if node}
    assert wanted <= {type(callback).__name__ for callback in trainer.callbacks}


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_is_headed_by_its_command(name: str) -> None:
    text = (conf_dir() / "experiment" / f"{name}.yaml").read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[0] == "# @package _global_"
    assert any(f"dosewright train experiment={name}" in line for line in head)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("override", ["ouch=1", "paths.cash_dir=x"])
def test_a_misspelt_key_is_an_error(job: str, override: str) -> None:
    with pytest.raises(HydraException, match=f"Could not override '{override.partition('=')[0]}'"):
        config(job, override)


@pytest.mark.parametrize("override", ["trainer.max_epoch=3", "model.width=[4,8]", "callbacks.ema.decya=0.9"])
def test_a_misspelt_key_inside_a_group_is_an_error(override: str) -> None:
    with pytest.raises(HydraException, match="Could not override"):
        config("train", override)


def test_an_unknown_choice_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(HydraException, match=r"(?s)Could not find 'model/unet'.*unet_half"):
        config("train", "model=unet")


def test_sweeps_choose_launchers_and_samplers() -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        made = {
            choice: compose("train", overrides=[f"sweep={choice}"], return_hydra_config=True).hydra
            for choice in choices("sweep")
        }
    launchers = {choice: hydra.launcher._target_.rpartition(".")[2] for choice, hydra in made.items()}
    assert launchers == {
        "joblib": "JoblibLauncher",
        "optuna": "BasicLauncher",
        "submitit": "SlurmLauncher",
        "submitit_local": "LocalLauncher",
    }
    assert made["joblib"].launcher.n_jobs == 2
    assert made["submitit"].launcher.max_num_timeout == 10
    sweeper = made["optuna"].sweeper
    assert sweeper._target_.endswith("OptunaSweeper")
    assert sweeper.sampler._target_.endswith("TPESampler")
    assert (sweeper.sampler.seed, str(sweeper.direction), sweeper.n_trials, sweeper.n_jobs) == (0, "minimize", 20, 1)


def test_the_callbacks_without_averaging_are_the_default_ones_else() -> None:
    plain, default = train_config("callbacks=no_ema").callbacks, train_config().callbacks
    assert plain.ema is None
    assert {k: v for k, v in plain.items() if k != "ema"} == {k: v for k, v in default.items() if k != "ema"}
