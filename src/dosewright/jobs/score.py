"""`dosewright score`: points of a scorecard for doses, case by case."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from dosewright.core import DosewrightError, InputError, StorageError
from dosewright.io.reader import AbstractReader
from dosewright.jobs.chosen_cases import chosen_cases
from dosewright.jobs.dose_source import AbstractDoseSource, build_dose_source
from dosewright.jobs.hydra_task import build
from dosewright.jobs.pictures import drawn_cases, save_picture
from dosewright.jobs.score_cohort import CohortScores
from dosewright.jobs.score_figures import draw_case, draw_cohort
from dosewright.jobs.score_record import CaseScore
from dosewright.jobs.score_report import write_report
from dosewright.jobs.score_settings import ScoreSettings
from dosewright.jobs.score_tables import RECORD, print_tables, stored_case, write_case, write_cohort
from dosewright.scorecards.cards import load_card

FILES_VERSION = 1  # raise when the same case, dose and card give other files
PICTURE = "score.png"

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Score doses as configured; return what summary.json holds.

    A case whose files are there, made from the same dose, card and settings, is not scored again.

    Args:
        cfg: conf/score.yaml.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If the card or a setting is wrong, a case is unknown, or cases failed (all others are written).
        StorageError: If a file cannot be written; what was done before is kept.
    """
    console, out = Console(), Path(cfg.out)
    card, limit = load_card(str(cfg.card)), drawn_cases(cfg.plots)
    settings = ScoreSettings.of(card, cfg)
    reader: AbstractReader = build(cfg.data.reader)
    case_ids = chosen_cases(cfg.cases, reader.case_ids)
    source = build_dose_source(cfg)
    job = _Job(reader, source, settings, cfg)
    log.info("%d cases of %s, dose: %s, card: %s", len(case_ids), cfg.data.get("name"), source.describe(), card.name)
    done, failed = [], {}
    for case_id in track(case_ids, description="scoring", console=Console(stderr=True)):
        try:
            done.append(job.score_one(case_id))
        except StorageError:
            raise
        except (DosewrightError, RuntimeError, ValueError) as error:  # torch's, for memory and for sizes
            log.error("%s: not scored: %s", case_id, error, exc_info=not isinstance(error, DosewrightError))
            failed[case_id] = str(error)
    cohort = CohortScores(card.name, source.describe(), tuple(done), failed)
    result = write_cohort(out, cohort)
    report = _report(out, cohort, limit)
    print_tables(cohort, console)
    console.print(f"Report: {report}", markup=False, highlight=False)
    if failed:
        listed = "\n".join(f"  {case_id}: {reason}" for case_id, reason in failed.items())
        rule = f"could not be scored ({len(done)} others were):\n{listed}"
        raise InputError(rule, argument=f"{len(failed)} cases")
    return result


class _Job:
    """Scores case by case, and leaves beside each one's scores what they were made with.

    Args:
        reader: Where the cases come from.
        source: Where their doses come from.
        settings: How they are scored.
        cfg: The job's configuration.
    """

    def __init__(
        self, reader: AbstractReader, source: AbstractDoseSource, settings: ScoreSettings, cfg: DictConfig
    ) -> None:
        self.reader, self.source, self.settings = reader, source, settings
        self.out, self.overwrite = Path(cfg.out), bool(cfg.overwrite)

    def score_one(self, case_id: str) -> CaseScore:
        """Return a case's scores: those that are there if they fit, else new ones."""
        folder, made_with = self.out / "cases" / case_id, self._made_with(case_id)
        found = None if self.overwrite else stored_case(folder, made_with)
        if found is not None:
            return found
        (folder / RECORD).unlink(missing_ok=True)  # it is written last, and vouches for the files beside it
        (folder / PICTURE).unlink(missing_ok=True)
        case = self.reader.read(case_id)
        scores = self.settings.score(case, self.source.dose_gy(case))
        write_case(folder, scores, made_with, self.settings.card.name, self.source.describe())
        return scores

    def _made_with(self, case_id: str) -> dict[str, Any]:
        parts = {
            "version": FILES_VERSION,
            "card": hashlib.sha256(repr(self.settings.card).encode()).hexdigest()[:16],
            **self.settings.to_plain(),
            "case": self.reader.fingerprint(case_id),
            "dose": self.source.fingerprint(case_id),
        }
        return dict(json.loads(json.dumps(parts)))


def _report(out: Path, cohort: CohortScores, limit: int | None) -> Path:
    """Draw the pictures that are not there yet and write the report; a picture that fails is a warning."""
    pictures = {}
    for case in cohort.cases[:limit]:
        path = out / "cases" / case.case_id / PICTURE
        try:
            if not path.is_file():
                save_picture(draw_case(case, f"{case.case_id}, {cohort.card}"), path)
            pictures[case.case_id] = path
        except (DosewrightError, OSError) as error:
            log.warning("%s is scored but not drawn: %s", case.case_id, error)
    figure = draw_cohort(cohort) if len(cohort.cases) > 1 else None
    overview = None if figure is None else save_picture(figure, out / "scores.png")
    return write_report(out / "report.html", cohort, pictures, overview)
