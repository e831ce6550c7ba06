"""What stands between Hydra and a job: resolvers, resumable sweeps, and errors told in one line."""

import copy
import hashlib
import importlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from dosewright.core import DosewrightError, InputError
from dosewright.core.files import atomic_write

log = logging.getLogger(__name__)
FINISHED = "finished.json"
MAX_NAME = 120


def register_resolvers() -> None:
    """Make `${run_name:…}` known to OmegaConf."""
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def run_name(overrides: str) -> str:
    """Return a folder name for a sweep's run: its overrides, shortened by a hash when long.

    >>> run_name("model=c3d,seed=1")
    'model=c3d,seed=1'
    >>> run_name("experiment/ablation=x,out=a/b")
    'experiment.ablation=x,out=a.b'
    """
    safe = "".join(c if c.isalnum() or c in "=,._+-" else "." for c in overrides) or "defaults"
    if len(safe) <= MAX_NAME:
        return safe
    return f"{safe[: MAX_NAME - 11]}-{hashlib.sha1(safe.encode()).hexdigest()[:10]}"


def module_of(job: str) -> str:
    """Return the module that holds a job.

    >>> module_of("sweep-preferences")
    'dosewright.jobs.sweep_preferences'
    """
    return f"dosewright.jobs.{job.replace('-', '_')}"


class Task:
    """A job as Hydra calls it; picklable by name, so that launchers can send it to other processes.

    A run of a sweep writes into its own subfolder of `out` and leaves `finished.json` with a hash of its configuration
    and its result; started again, it is not run again. A `DosewrightError` ends a single run with its message and exit
    code 1, without a traceback.

    Args:
        job: Name of the job.
        started_with: The process's own `sys.argv`, for jobs that start this process again; None leaves it as it is.
    """

    def __init__(self, job: str, started_with: Sequence[str] | None = None) -> None:
        self.job, self.started_with = job, started_with
        self.__name__ = job
        self.__module__ = module_of(job)

    def __setstate__(self, state: dict[str, Any]) -> None:
        register_resolvers()  # a launcher's process names the run's folder before it calls the task
        self.__dict__.update(state)

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the job."""
        register_resolvers()
        hydra = HydraConfig.get()
        if hydra.mode is not RunMode.MULTIRUN:
            sys.argv = list(self.started_with or sys.argv)
            return self._run_or_exit(cfg)
        _refuse_ranks_in_sweep(cfg, str(hydra.launcher.get("_target_")))
        folder = Path(hydra.runtime.output_dir)
        done = finished_result(folder, cfg)
        if done is not None:
            log.info("%s: finished before, not run again", folder)
            return done["result"]
        cfg.out = str(folder)
        try:
            result = self._run(cfg)
        except Exception as error:  # Hydra tells it only when the whole sweep is over, and only the first
            log.error("failed: %s: %s", type(error).__name__, error)
            raise
        mark_finished(folder, cfg, result)
        return result

    def _run(self, cfg: DictConfig) -> Any:
        with unwrapped_errors():
            return importlib.import_module(module_of(self.job)).run(cfg)

    def _run_or_exit(self, cfg: DictConfig) -> Any:
        try:
            return self._run(cfg)
        except DosewrightError as error:
            log.debug("traceback", exc_info=True)
            print(f"dosewright {self.job}: {error}", file=sys.stderr)
            raise SystemExit(1) from None


def _refuse_ranks_in_sweep(cfg: DictConfig, launcher: str) -> None:
    """Refuse a distributed training where each of its ranks would start the whole sweep again.

    Raises:
        InputError: If a run wants several processes under a launcher of this machine.
    """
    distributed = "ddp" in str(OmegaConf.select(cfg, "trainer.strategy"))
    local = launcher.endswith(("BasicLauncher", "JoblibLauncher"))
    if distributed and local and str(cfg.trainer.devices) != "1":
        raise InputError(
            "must be 1 in a sweep on this machine: start distributed trainings one by one, or with sweep=submitit",
            argument="trainer.devices",
            value=cfg.trainer.devices,
        )


@contextmanager
def unwrapped_errors() -> Iterator[None]:
    """Let a `DosewrightError` out as itself where Hydra wraps it into an `InstantiationException`."""
    try:
        yield
    except InstantiationException as error:
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, DosewrightError):
            raise cause from None
        raise


def build(node: DictConfig, **values: Any) -> Any:
    """Return what a configuration node describes, as `hydra.utils.instantiate`, but with errors as they were raised."""
    with unwrapped_errors():
        return instantiate(node, **values)


def finished_result(folder: Path, cfg: DictConfig) -> dict[str, Any] | None:
    """Return what `mark_finished` stored for this very configuration, or None."""
    try:
        stored = json.loads((folder / FINISHED).read_text())
    except (OSError, ValueError):
        return None
    return stored if stored.get("config") == config_hash(cfg) else None


def mark_finished(folder: Path, cfg: DictConfig, result: Any) -> None:
    """Remember a run's result beside its files."""
    plain = result if isinstance(result, int | float | str | bool | dict | list) else None
    atomic_write(folder / FINISHED, json.dumps({"config": config_hash(cfg), "result": plain}, indent=1))


def config_hash(cfg: DictConfig) -> str:
    """Return a hash of a resolved configuration, apart from where it writes.

    >>> one, other = ({"out": out, "log": "${out}/log", "lr": 0.1} for out in ("a", "b"))
    >>> config_hash(OmegaConf.create(one)) == config_hash(OmegaConf.create(other))
    True
    >>> config_hash(OmegaConf.create(one)) == config_hash(OmegaConf.create(one | {"lr": 0.2}))
    False
    """
    elsewhere = copy.deepcopy(cfg)
    elsewhere.out = "."
    content = OmegaConf.to_container(elsewhere, resolve=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
