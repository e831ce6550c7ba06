"""`dosewright export`: cases and their doses as files of other programs, case by case."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.progress import track

from dosewright.core import DosewrightError, InputError, StorageError
from dosewright.core.files import atomic_write
from dosewright.io.reader import AbstractReader
from dosewright.io.writer import AbstractWriter, Origin
from dosewright.jobs.chosen_cases import chosen_cases
from dosewright.jobs.dose_source import KINDS, AbstractDoseSource, build_dose_source
from dosewright.jobs.export_record import MANIFEST, ExportRecord, read_record, record_path, write_record
from dosewright.jobs.hydra_task import build

NONE = "none"

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Export as configured; return how many cases and files there are.

    A case whose files are there, made from the same case and dose with the same settings, is not done again.

    Args:
        cfg: conf/export.yaml.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If a setting is out of range, a case is unknown, or cases failed (all others are written).
        StorageError: If a file cannot be written; what was done before is kept.
    """
    writer = build(cfg.format, _convert_="all")
    if not isinstance(writer, AbstractWriter):
        rule = "must be nifti, nrrd, dicom, gdp_hmm or prepared; other formats are of `dosewright objectives`"
        raise InputError(rule, argument="format", value=sorted(str(key) for key in cfg.format))
    reader: AbstractReader = build(cfg.data.reader)
    case_ids = chosen_cases(cfg.cases, reader.case_ids)
    source = _dose_source(cfg)
    log.info("%d cases of %s, dose: %s", len(case_ids), cfg.data.get("name"), source.describe() if source else NONE)
    job = _Job(reader, source, writer, cfg)
    done: dict[str, ExportRecord] = {}
    failed: dict[str, str] = {}
    for case_id in track(case_ids, description="exporting"):
        try:
            done[case_id] = job.export_one(case_id)
        except StorageError:
            raise
        except (DosewrightError, RuntimeError, ValueError) as error:  # torch's, for memory and for sizes
            log.error("%s: not exported: %s", case_id, error, exc_info=not isinstance(error, DosewrightError))
            failed[case_id] = str(error)
    manifest = {
        "use": "research only",
        "format": job.settings,
        "dose": source.describe() if source else NONE,
        "cases": {case_id: list(record.files) for case_id, record in done.items()},
        "failed": failed,
    }
    atomic_write(Path(cfg.out) / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    if failed:
        listed = "\n".join(f"  {case_id}: {reason}" for case_id, reason in failed.items())
        raise InputError(f"could not be exported ({len(done)} others were):\n{listed}", argument=f"{len(failed)} cases")
    log.info("%d cases in %s", len(done), cfg.out)
    return {"cases": len(done), "files": sum(len(record.files) for record in done.values())}


def _dose_source(cfg: DictConfig) -> AbstractDoseSource | None:
    """Return where the doses come from; None if no dose is to be written."""
    if cfg.dose not in (*KINDS, NONE):
        raise InputError(f"must be one of {(*KINDS, NONE)}", argument="dose", value=cfg.dose)
    if cfg.dose != NONE:
        return build_dose_source(cfg)
    if cfg.predictions is not None:
        raise InputError("must be null with dose=none", argument="predictions", value=cfg.predictions)
    return None


class _Job:
    """Exports case by case, and keeps a record of what each one's files were made from.

    Args:
        reader: Where the cases come from.
        source: Where their doses come from; None: they are written without.
        writer: Of the format.
        cfg: The job's configuration.
    """

    def __init__(
        self, reader: AbstractReader, source: AbstractDoseSource | None, writer: AbstractWriter, cfg: DictConfig
    ) -> None:
        self.reader, self.source, self.writer = reader, source, writer
        self.out, self.overwrite = Path(cfg.out), bool(cfg.overwrite)
        self.settings = OmegaConf.to_container(cfg.format, resolve=True)

    def export_one(self, case_id: str) -> ExportRecord:
        """Return a case's record: the one that is there if it fits, else of an export now."""
        made_from = {
            "version": self.writer.version,
            "format": self.settings,
            "case": self.reader.fingerprint(case_id),
            "dose": NONE if self.source is None else self.source.fingerprint(case_id),
        }
        found = read_record(self.out, case_id)
        if found is not None and not self.overwrite and found.fits(made_from, self.out):
            return found
        record_path(self.out, case_id).unlink(missing_ok=True)  # it is written last, and vouches for the files
        case = self.reader.read(case_id)
        case = case.with_dose(None if self.source is None else self.source.dose_gy(case))
        origin = Origin(
            dose="predicted" if self.source is not None and self.source.label == "predicted" else "reference",
            fingerprint=json.dumps(made_from, sort_keys=True),
            files=self.reader.source_files(case_id),
        )
        record = ExportRecord.of(made_from, self.writer.write(case, self.out, origin), self.out, self.writer.shared)
        if found is not None:
            found.remove_stale(record, self.out)
        write_record(self.out, case_id, record)
        return record
