"""`dosewright evaluate`: score predictions, write tables, figures and a report."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from dosewright.core import CaseError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.dose.figures import draw_dvh, draw_slices
from dosewright.io.reader import AbstractReader
from dosewright.jobs.evaluation import CaseResult, evaluate
from dosewright.jobs.evaluation_report import write_report
from dosewright.jobs.evaluation_tables import print_tables, summary, write_tables
from dosewright.jobs.pictures import drawn_cases, save_picture

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Score the predictions of a set of cases and return what metrics.json holds.

    A figure that cannot be drawn or written is a warning: the case is scored all the same.

    Args:
        cfg: conf/evaluate.yaml; `plots` is how many cases get figures, or "all".

    Raises:
        CaseError: If predictions are missing and may not be, none can be scored, or some failed; in the last case the
            results of the others are on disk.
        InputError: If `plots` is neither a number nor "all".
    """
    folder, console = Path(cfg.out), Console()
    pictures = _Pictures(folder / "plots", drawn_cases(cfg.plots))
    reader: AbstractReader = instantiate(cfg.data.reader)
    log.info("%s, split %s: %d cases", cfg.data.name, cfg.data.split, len(reader))
    evaluation = evaluate(
        reader,
        cfg.predictions,
        allow_missing=cfg.allow_missing,
        gdp_hmm=cfg.data.name == "gdp_hmm" if cfg.gdp_hmm is None else cfg.gdp_hmm,
        on_scored=pictures.draw,
        track=_progress,
    )
    write_tables(evaluation, folder)
    report = write_report(evaluation, pictures.files, folder / "report.html", source=str(cfg.predictions))
    print_tables(evaluation, console)
    console.print(f"Report: {report}", markup=False, highlight=False)
    if evaluation.failed:
        raise CaseError(
            f"must all be readable; {len(evaluation.failed)} failed: {', '.join(evaluation.failed)} "
            f"(reasons above; the other {len(evaluation.results)} are scored in {folder})",
            argument="predictions",
            path=cfg.predictions,
        )
    return summary(evaluation)


class _Pictures:
    """Draws the DVH and the slices of the first cases, and remembers the files.

    Args:
        folder: Where the PNG files go.
        limit: How many cases are drawn; None means all.
    """

    def __init__(self, folder: Path, limit: int | None) -> None:
        self.folder, self.limit = folder, limit
        self.files: dict[str, list[Path]] = {}

    def draw(self, case: PatientCase, predicted_gy: FloatVolume, result: CaseResult) -> None:
        """Draw one case, unless enough are drawn."""
        if case.dose_gy is None or (self.limit is not None and len(self.files) >= self.limit):
            return
        figures = {
            "dvh": draw_dvh(case, {"predicted": predicted_gy, "reference": case.dose_gy}),
            "slices": draw_slices(case, predicted_gy, case.dose_gy),
        }
        self.files[result.case_id] = []
        for name, figure in figures.items():
            self.files[result.case_id].append(save_picture(figure, self.folder / f"{result.case_id}_{name}.png"))


def _progress(case_ids: Sequence[str]) -> Iterable[str]:
    return track(case_ids, description="Scoring", console=Console(stderr=True))
