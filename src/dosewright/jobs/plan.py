"""`dosewright plan`: plans that deliver a wanted dose, with a report per case and tables of the cohort."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from dosewright.core import DosewrightError, InputError, PatientCase, StorageError
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.influence_cache import cached_influence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.io.reader import AbstractReader
from dosewright.jobs.chosen_cases import chosen_cases
from dosewright.jobs.dose_source import build_dose_source
from dosewright.jobs.hydra_task import build
from dosewright.jobs.latest_dose import LatestDose
from dosewright.jobs.plan_cohort import PlanJob
from dosewright.jobs.plan_dicom import write_plan_dicom
from dosewright.jobs.plan_record import Record
from dosewright.jobs.plan_tables import print_summary, write_summary
from dosewright.planning.calibration_cache import cached_mu_per_fluence
from dosewright.planning.deliver import Delivery

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Plan as configured; return the means over cases.

    A case whose plan is there, made with the same settings, is not planned again; one that fails costs no other. Asked
    for DICOM, plans that are there get it, too.

    Args:
        cfg: conf/plan.yaml.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If a setting is out of range, a case is unknown, or cases failed (the plans of all others are
            written).
        StorageError: If a file cannot be written; what was done before is kept.
    """
    if not isinstance(cfg.dicom, bool):
        raise InputError("must be true or false", argument="dicom", value=cfg.dicom)
    reader: AbstractReader = build(cfg.data.reader)
    case_ids = chosen_cases(cfg.cases, reader.case_ids)
    job = build_job(cfg, reader)
    log.info("%d cases of %s, dose: %s", len(case_ids), cfg.data.get("name"), job.source.describe())
    records: dict[str, Record] = {}
    failed: dict[str, str] = {}
    for case_id in track(case_ids, description="planning", console=Console(stderr=True)):
        try:
            records[case_id] = job.plan_one(case_id)
            if cfg.dicom:
                write_plan_dicom(job, case_id)
        except StorageError:
            raise
        except (DosewrightError, RuntimeError, ValueError, MemoryError) as error:  # torch's, for memory and for sizes
            step = "planned, but not written as DICOM" if case_id in records else "not planned"
            log.error("%s: %s: %s", case_id, step, error, exc_info=not isinstance(error, DosewrightError))
            reason = str(error) or type(error).__name__
            failed[case_id] = f"{step}: {reason}" if case_id in records else reason
    if records:
        summary = write_summary(list(records.values()), failed, job.out)
        print_summary(summary, Console())
        log.info("reports in %s, tables in %s", job.out / "cases", job.out)
    if failed:
        listed = "\n".join(f"  {case_id}: {reason}" for case_id, reason in failed.items())
        done = len(records.keys() - failed.keys())
        goal = "planned and written as DICOM" if cfg.dicom else "planned"
        raise InputError(f"could not be {goal} ({done} others were):\n{listed}", argument=f"{len(failed)} cases")
    return {"cases": len(records)} | summary["means"]


def build_job(cfg: DictConfig, reader: AbstractReader) -> PlanJob:
    """Return what plans the cases of a reader as configured.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If a setting is out of range.
    """
    settings: InfluenceSettings = build(cfg.fluence)
    cache = Path(cfg.influence_cache).expanduser()
    return PlanJob(
        reader=reader,
        source=LatestDose(build_dose_source(cfg)) if cfg.dicom else build_dose_source(cfg),
        influence=_Cached(settings, cache),
        planner=build(cfg.planner, _convert_="all"),
        optimiser=build(cfg.optimiser),
        delivery=_delivery(cfg.delivery, settings, cache),
        settings={name: OmegaConf.to_container(cfg[name], resolve=True) if cfg[name] else None for name in _SETTINGS}
        | {"fluence": settings.determinants},
        out=Path(cfg.out),
        overwrite=cfg.overwrite,
        beams=build(cfg.beams),
    )


_SETTINGS = ("beams", "planner", "optimiser", "delivery")


def _delivery(node: DictConfig | None, settings: InfluenceSettings, cache: Path) -> Delivery | None:
    """Return how plans are delivered, with the monitor units of a unit of fluence."""
    if not node:
        return None
    delivery: Delivery = build(node)
    if delivery.mu_per_fluence is not None:
        return delivery
    return replace(delivery, mu_per_fluence=cached_mu_per_fluence(settings, cache))


class _Cached:
    """Dose influences from the cache, computed where they are not there."""

    def __init__(self, settings: InfluenceSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder

    def __call__(self, case: PatientCase) -> DoseInfluence:
        def progress(done: int, count: int) -> None:
            log.info("%s: dose influence of beam %d of %d", case.case_id, done, count)

        return cached_influence(case, self.settings, self.folder, progress=progress)
