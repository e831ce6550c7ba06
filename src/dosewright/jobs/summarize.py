"""`dosewright summarize`: the trainings of a multirun, or of several folders, as one table with plots."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from dosewright.core import InputError
from dosewright.jobs.pictures import save_picture
from dosewright.jobs.summarize_figures import draw_learning_curves, draw_scores
from dosewright.jobs.summarize_records import summarize
from dosewright.jobs.summarize_run import FINISHED, TrainedRun, is_run, read_run
from dosewright.jobs.summarize_table import as_plain, write_tables

log = logging.getLogger(__name__)
STAGE1 = "stage1"
CODECS = "Stage I: the scores are those of doses that went through the codec, not of predictions."


def run(cfg: DictConfig) -> dict[str, Any]:
    """Gather trainings, write tables and plots, and return what summary.json holds.

    A run that is broken or not finished is listed with its reason. Where trainings of Stage I stand beside others, they
    get a summary of their own in `out`/stage1, which is also below "stage1" of what is returned.

    Args:
        cfg: conf/summarize.yaml.

    Raises:
        InputError: If there is no run, or a folder does not exist.
        StorageError: If the results cannot be written.
    """
    given = list(cfg.runs) if isinstance(cfg.runs, ListConfig) else [cfg.runs]
    runs = [read_run(folder, cfg.scores, cfg.predictions) for folder in find_runs([Path(str(path)) for path in given])]
    for one in runs:
        if one.status != FINISHED:
            log.warning("%s is %s: %s", one.folder, one.status, "; ".join(one.remarks))
    out, codecs = Path(cfg.out), [one for one in runs if one.is_codec]
    others = [one for one in runs if not one.is_codec]
    if not others:
        return _write(codecs, out, CODECS)
    done = _write(others, out, f"Stage I is summarized [apart]({STAGE1}/summary.md)." if codecs else "")
    return done | {STAGE1: _write(codecs, out / STAGE1, CODECS)} if codecs else done


def _write(runs: Sequence[TrainedRun], out: Path, note: str) -> dict[str, Any]:
    summary, pictures = summarize(runs), []
    for name, figure in (("scores", draw_scores(summary)), ("learning_curves", draw_learning_curves(summary))):
        path = out / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)  # of an earlier summary
            continue
        pictures.append(save_picture(figure, path).name)
    table = write_tables(summary, out, pictures, note)
    log.info("%d runs, %d finished, in %s", len(runs), sum(one.status == FINISHED for one in runs), table)
    return as_plain(summary)


def find_runs(given: Sequence[Path]) -> list[Path]:
    """Return the folders of all runs in or below the given ones, each once.

    Raises:
        InputError: If one does not exist or holds no run.
    """
    found: dict[Path, Path] = {}
    for path in given:
        folder = path.expanduser()
        if not folder.is_dir():
            raise InputError("must be a folder", argument="runs", value=str(path))
        below = list(_below(folder))
        if not below:
            raise InputError("must be or hold at least one folder of `dosewright train`", argument="runs", path=path)
        for one in below:
            found.setdefault(one.resolve(), one)
    return list(found.values())


def _below(folder: Path) -> Iterator[Path]:
    """Yield the runs in a folder; what lies inside a run, and hidden folders, are not looked into."""
    for path, folders, _ in os.walk(folder):
        if is_run(Path(path)):
            yield Path(path)
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
