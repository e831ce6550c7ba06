"""`dosewright generate`: training plans at scale, from a cohort, sets of beams and drawn preferences."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dosewright.core import InputError
from dosewright.io.reader import AbstractReader
from dosewright.jobs.chosen_cases import chosen_cases
from dosewright.jobs.generate_cluster import run_units
from dosewright.jobs.generate_store import PlanStore
from dosewright.jobs.generate_summary import write_summary
from dosewright.jobs.generate_unit import Unit, fingerprint_of
from dosewright.jobs.hydra_task import build

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Make the plans that are not there; return how many there are, kept and rejected.

    Started again, it makes what is missing; plans that other settings made are refused, or removed with `overwrite`, so
    that no corpus mixes them. A unit that fails is named at the end; all others are made.

    Args:
        cfg: conf/generate.yaml.

    Raises:
        InputError: If a setting is out of range, a case is unknown, the folder holds plans of other settings, or units
            failed (all others are made).
        MissingExtraError: If a cluster is asked for and Dask is not installed.
        StorageError: If a file cannot be written; what was made before is kept.
    """
    _check(cfg)
    reader: AbstractReader = build(cfg.data.reader)
    units = [Unit(case, name) for case in chosen_cases(cfg.cases, reader.case_ids) for name in cfg.beam_sets]
    build(cfg.factory, _convert_="all")  # refuses settings before any work
    store = PlanStore(Path(cfg.out) / cfg.data.split)
    marks = {unit: fingerprint_of(cfg, unit, reader.fingerprint(unit.case_id)) for unit in units}
    _clear_others(store, marks, bool(cfg.overwrite))
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    failed: dict[Unit, str] = {}
    try:
        with _Counter(store, marks, cfg.plans) as counter:
            for unit, _, problem in run_units(plain, units, cfg.cluster or None, cfg.retries, counter.tick):
                if problem:
                    failed[unit] = problem
    finally:  # also of a run that was interrupted
        records = [
            record for unit, mark in marks.items() for record in store.records(unit.case_id, unit.beam_set, mark)
        ]
        result = write_summary(Path(cfg.out), store, records, plain, failed)
    if failed:
        listed = "\n".join(f"  {unit.case_id}, {unit.beam_set}: {problem}" for unit, problem in failed.items())
        rule = f"could not be planned ({len(units) - len(failed)} others were):\n{listed}"
        raise InputError(rule, argument=f"{len(failed)} pairs of patient and beams")
    log.info("%d plans kept, %d rejected, in %s", result["kept"], result["rejected"], store.folder)
    return result


class _Counter:
    """A progress bar of plans on the disk, whoever put them there.

    Args:
        store: Where they are.
        marks: Unit → fingerprint of its plans.
        plans: Of each unit.
    """

    def __init__(self, store: PlanStore, marks: dict[Unit, str], plans: int) -> None:
        self.store, self.marks, self.plans = store, marks, plans
        columns = (TextColumn("plans"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns)
        self._whole: set[Unit] = set()

    def __enter__(self) -> "_Counter":
        self.progress.start()
        self.task = self.progress.add_task("", total=len(self.marks) * self.plans)
        self.tick()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def tick(self) -> None:
        """Count the plans of units that were not whole when last looked at."""
        count = self.plans * len(self._whole)
        for unit, mark in self.marks.items():
            if unit not in self._whole:
                done = len(
                    [index for index in self.store.done(unit.case_id, unit.beam_set, mark) if index < self.plans]
                )
                count += done
                if done == self.plans:
                    self._whole.add(unit)
        self.progress.update(self.task, completed=count)


def _clear_others(store: PlanStore, marks: dict[Unit, str], overwrite: bool) -> None:
    others = {unit: store.others(unit.case_id, unit.beam_set, mark) for unit, mark in marks.items()}
    units = [f"{unit.case_id}, {unit.beam_set}" for unit, paths in others.items() if paths]
    if units and not overwrite:
        rule = (
            "holds plans that other settings, another version or an older state of the patient's files made; name "
            f"another folder, or remove them by overwrite=true ({len(units)} pairs of patient and beams)"
        )
        raise InputError(rule, argument="out", value=f"{units[0]}, …", path=store.folder)
    for path in (path for paths in others.values() for path in paths):
        store.remove(path)


def _check(cfg: DictConfig) -> None:
    for name in ("plans", "batch", "threads"):
        if cfg[name] < 1:
            raise InputError("must be at least 1", argument=name, value=cfg[name])
    if cfg.retries < 0:
        raise InputError("must not be negative", argument="retries", value=cfg.retries)
    for name in cfg.beam_sets:
        if not str(name).replace("_", "").isalnum():
            raise InputError("must be letters, digits and _ only", argument="beam_sets", value=name)
