"""`dosewright objectives`: turn doses into objectives a planner can optimise with, case by case."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.progress import track

from dosewright.core import DosewrightError, InputError, StorageError
from dosewright.core.files import atomic_write
from dosewright.io.reader import AbstractReader
from dosewright.jobs.chosen_cases import chosen_cases
from dosewright.jobs.dose_source import AbstractDoseSource, build_dose_source
from dosewright.jobs.hydra_task import build
from dosewright.jobs.objectives_export import ObjectiveExport
from dosewright.jobs.objectives_files import SUMMARY, CaseSummary, summary_of, write_case_files, write_cohort_files
from dosewright.objectives.criteria import evaluate_criteria
from dosewright.objectives.extraction import extract_objectives
from dosewright.objectives.extraction_rules import ExtractionSettings

FILES_VERSION = 3  # raise when the same case and dose give other files

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Extract objectives as configured; return how many cases and objectives there are.

    A case whose files are there, made from the same dose with the same settings, is not done again.

    Args:
        cfg: conf/objectives.yaml.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If a setting is out of range, a case is unknown, or cases failed (all others are written).
        StorageError: If a file cannot be written; what was done before is kept.
    """
    settings: ExtractionSettings = build(cfg.objectives, _convert_="all")
    reader: AbstractReader = build(cfg.data.reader)
    case_ids = chosen_cases(cfg.cases, reader.case_ids)
    source = build_dose_source(cfg)
    log.info("%d cases of %s, dose: %s", len(case_ids), cfg.data.get("name"), source.describe())
    job = _Job(reader, source, settings, cfg)
    done, failed = [], {}
    for case_id in track(case_ids, description="extracting"):
        try:
            done.append(job.extract_one(case_id))
        except StorageError:
            raise
        except (DosewrightError, RuntimeError, ValueError) as error:  # torch's, for memory and for sizes
            log.error("%s: no objectives: %s", case_id, error, exc_info=not isinstance(error, DosewrightError))
            failed[case_id] = str(error)
    write_cohort_files(Path(cfg.out), done, failed, dose=source.describe())
    if failed:
        listed = "\n".join(f"  {case_id}: {reason}" for case_id, reason in failed.items())
        rule = f"could not be turned into objectives ({len(done)} others were):\n{listed}"
        raise InputError(rule, argument=f"{len(failed)} cases")
    log.info("objectives of %d cases in %s", len(done), cfg.out)
    return {"cases": len(done), "objectives": sum(summary.objectives for summary in done)}


class _Job:
    """Extracts case by case, and leaves beside each one's files what they were made with.

    Args:
        reader: Where the cases come from.
        source: Where their doses come from.
        settings: Of the extraction.
        cfg: The job's configuration.
    """

    def __init__(
        self, reader: AbstractReader, source: AbstractDoseSource, settings: ExtractionSettings, cfg: DictConfig
    ) -> None:
        self.reader, self.source, self.settings = reader, source, settings
        self.out, self.overwrite = Path(cfg.out), bool(cfg.overwrite)
        self.plain_settings = OmegaConf.to_container(cfg.objectives, resolve=True)
        self.export = ObjectiveExport.from_config(cfg)

    def extract_one(self, case_id: str) -> CaseSummary:
        """Return a case's summary: the one that is there if it fits, else of an extraction now."""
        folder = self.out / case_id
        made_with = {
            "version": FILES_VERSION,
            "settings": self.plain_settings,
            "case": self.reader.fingerprint(case_id),
            "dose": self.source.fingerprint(case_id),
            "history": "" if self.settings.anatomy is None else self.settings.anatomy.fingerprint(case_id),
            **self.export.made_with(case_id),
        }
        found = None if self.overwrite else _stored(folder / SUMMARY, made_with)
        if found is not None:
            return found
        (folder / SUMMARY).unlink(missing_ok=True)  # it is written last, and vouches for the files beside it
        case = self.reader.read(case_id)
        dose_gy = self.source.dose_gy(case)
        extraction = extract_objectives(case, dose_gy, self.settings)
        criteria = evaluate_criteria(case, dose_gy)
        write_case_files(folder, extraction, criteria, dose=self.source.describe(), plain=self.export.plain)
        summary = self.export.write(folder, case, extraction, summary_of(extraction, criteria))
        content = {"made_with": made_with, "summary": summary.to_plain()}
        atomic_write(folder / SUMMARY, json.dumps(content, indent=1) + "\n")
        return summary


def _stored(path: Path, made_with: dict[str, Any]) -> CaseSummary | None:
    """Return the summary of a case if its files are whole and were made with these settings."""
    try:
        content = json.loads(path.read_text())
        summary = CaseSummary.from_plain(content["summary"])
        complete = all((path.parent / name).is_file() for name in summary.files)
        return summary if complete and content["made_with"] == json.loads(json.dumps(made_with)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
