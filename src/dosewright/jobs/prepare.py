"""`dosewright prepare`: any reader's cases into the prepared cache, in parallel, resumable, with a summary."""

import json
import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dosewright.core import CaseError, DosewrightError, InputError, StorageError
from dosewright.core.files import atomic_write
from dosewright.io.prepared import CachedReader
from dosewright.jobs.hydra_task import build

log = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")
PREPARED, FRESH, SKIPPED = "prepared", "already there", "skipped"
DIED = "its worker process died (out of memory?)"
Outcome = tuple[str, str, str]  # case, what happened, why; of a prepared case what had to be assumed


def run(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """Prepare every split; return the summary, which is also written to `summary.json`.

    A case that cannot be read is skipped with its reason; all others are prepared. Started again, only what is missing
    or changed at its source is done.

    Raises:
        CaseError: If no split of the dataset can be read at all, or none of its cases be prepared.
        InputError: If `workers` is not positive, a split has an unknown name, or the dataset has no cache of its own.
        StorageError: If the cache cannot be written (disk full); what was prepared before is kept.
    """
    if cfg.workers < 1:
        raise InputError("must be positive", argument="workers", value=cfg.workers)
    if cfg.data.cache_dir is None:
        rule = "must be a folder: prepare each corpus of a mix by itself"
        raise InputError(rule, argument="data.cache_dir", value=None)
    unknown = [split for split in cfg.splits if split not in SPLITS]
    if unknown or not cfg.splits:
        raise InputError(f"must be some of {', '.join(SPLITS)}", argument="splits", value=unknown)
    summary: dict[str, dict[str, Any]] = {}
    absent: list[DosewrightError] = []
    for split in cfg.splits:
        try:
            source = build(cfg.data.reader, split=split)
        except CaseError as error:
            absent.append(error)
            summary[split] = {"passed over": str(error)}
            log.warning("split %s passed over: %s", split, error)
            continue
        reader = CachedReader(source, Path(cfg.data.cache_dir) / split)
        outcomes = prepare_all(reader, reader.case_ids, cfg.workers, description=f"preparing {split}")
        summary[split] = _report(split, reader, outcomes)
    if absent and len(absent) == len(cfg.splits):
        raise absent[0]
    atomic_write(Path(cfg.out) / "summary.json", json.dumps(summary, indent=1))
    if not any(part.get(kind) for part in summary.values() for kind in (PREPARED, FRESH)):
        reasons = [reason for part in summary.values() for reason in part.get("reasons", {}).values()]
        raise CaseError(
            f"could not be prepared, not one of {len(reasons)}", argument="cases", value="; ".join(reasons[:1])
        )
    return summary


def prepare_all(reader: CachedReader, case_ids: Sequence[str], workers: int, description: str = "") -> list[Outcome]:
    """Prepare cases in `workers` processes under a progress bar; return one outcome per case, in order."""
    outcomes: dict[str, Outcome] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(description, total=len(case_ids))
        for outcome in _outcomes(reader, case_ids, workers):
            outcomes[outcome[0]] = outcome
            progress.advance(task)
    return [outcomes[case_id] for case_id in case_ids]


def prepare_one(reader: CachedReader, case_id: str) -> Outcome:
    """Prepare one case, or say why not; with what its reader had to assume.

    Raises:
        StorageError: If the cache cannot be written, which is no case's fault.
    """
    try:
        if reader.is_fresh(case_id, every_byte=True):
            return case_id, FRESH, ""
        reader.prepare(case_id)
    except StorageError:
        raise
    except DosewrightError as error:
        return case_id, SKIPPED, str(error)
    return case_id, PREPARED, "; ".join(reader.notes(case_id))


def _outcomes(reader: CachedReader, case_ids: Sequence[str], workers: int) -> Iterator[Outcome]:
    if workers == 1:
        for case_id in case_ids:
            yield prepare_one(reader, case_id)
        return
    context = multiprocessing.get_context("spawn")
    left = dict.fromkeys(case_ids)
    with ProcessPoolExecutor(workers, context, one_thread) as pool, suppress(BrokenProcessPool):
        futures = [pool.submit(prepare_one, reader, case_id) for case_id in case_ids]
        for future in as_completed(futures):
            with suppress(BrokenProcessPool), _giving_up(pool):
                outcome = future.result()
                del left[outcome[0]]
                yield outcome
    while left:  # a worker died, and the pool with it: one by one, the next death tells which case it was
        with ProcessPoolExecutor(1, context, one_thread) as pool:
            for case_id in tuple(left):
                del left[case_id]
                try:
                    yield pool.submit(prepare_one, reader, case_id).result()
                except BrokenProcessPool:
                    yield case_id, SKIPPED, DIED
                    break


def one_thread() -> None:
    """Keep a worker process to one core: there are as many workers as cores are to be used."""
    import torch

    torch.set_num_threads(1)


@contextmanager
def _giving_up(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Drop the cases in waiting when storage fails, so that the error comes out at once."""
    try:
        yield
    except StorageError:
        pool.shutdown(cancel_futures=True)
        raise


def _report(split: str, reader: CachedReader, outcomes: list[Outcome]) -> dict[str, Any]:
    by_kind = {kind: [o for o in outcomes if o[1] == kind] for kind in (PREPARED, FRESH, SKIPPED)}
    size_mb = sum(reader.path(o[0]).stat().st_size for o in outcomes if o[1] != SKIPPED) / 1e6
    counts = ", ".join(f"{len(rows)} {kind}" for kind, rows in by_kind.items())
    log.info("%s: %s (%.1f MB in %s)", split, counts, size_mb, reader.folder)
    for case_id, _, reason in by_kind[SKIPPED]:
        log.warning("%s: skipped: %s", case_id, reason)
    notes = {case_id: told for case_id, _, told in by_kind[PREPARED] if told}
    if notes:
        log.info("%s: of %d cases something was assumed, see notes in summary.json", split, len(notes))
    return {kind: len(rows) for kind, rows in by_kind.items()} | {
        "reasons": {case_id: reason for case_id, _, reason in by_kind[SKIPPED]},
        **({"notes": notes} if notes else {}),
        "megabytes": round(size_mb, 3),
    }
