"""Phantom patients with photon plans: computed once, then read from a cache."""

import hashlib
import json
import multiprocessing
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.core.files import atomic_path
from dosewright.core.types import FloatVolume
from dosewright.fluence.photon import PLAN_VERSION, optimise_photon_dose
from dosewright.io.phantom import PhantomAnatomyReader
from dosewright.io.phantom.reader import DEMO_SHAPE_ZYX, DEMO_SPACING_XYZ_MM, GENERATOR_VERSION
from dosewright.io.reader import AbstractReader


@final
class PhantomReader(AbstractReader):
    """Random patients with the dose of an optimised photon plan.

    The first read of a case computes its plan, which takes seconds and needs the `plans` extra; later ones take the
    dose from `cache_dir`. A cached dose is named by everything that determines it: other arguments never meet it.

    Args:
        cache_dir: Folder of the cached doses; made when absent.
        site: "HeadNeck", "Lung", or "mixed" for one of each in turn.
        count: Number of patients, for all splits or as split → number; a larger count keeps the first ones.
        seed: Any integer from 0 on.
        split: "train", "validation" or "test"; their patients differ.
        shape_zyx: Voxels of the grid.
        spacing_xyz_mm: Voxel size.
        beamlet_mm: See `optimise_photon_dose`, as the next two.
        dose_spacing_mm: Voxel size of the dose calculation; None takes the grid's own, not below 5 mm.
        iterations: Of the optimiser.
        vary_goals: Spare organs differently from patient to patient, as planners do.

    Raises:
        InputError: If an argument is out of its range; those of the plan are checked when it is computed.
    """

    def __init__(
        self,
        cache_dir: str | Path,
        site: str = "HeadNeck",
        count: int | Mapping[str, int] = 16,
        seed: int = 0,
        split: str = "train",
        shape_zyx: Sequence[int] = DEMO_SHAPE_ZYX,
        spacing_xyz_mm: Sequence[int | float] = DEMO_SPACING_XYZ_MM,
        beamlet_mm: int | float = 10.0,
        dose_spacing_mm: int | float | None = 7.0,
        iterations: int = 60,
        vary_goals: bool = True,
    ) -> None:
        self.cache_dir = Path(cache_dir)
        if isinstance(count, Mapping):
            if split not in count:
                raise InputError(f"must name the split {split!r}", argument="count", value=dict(count))
            count = count[split]
        self.anatomy = PhantomAnatomyReader(site, count, seed, split, shape_zyx, spacing_xyz_mm)
        self.plan: dict[str, Any] = {
            "beamlet_mm": float(beamlet_mm),
            "dose_spacing_mm": None if dose_spacing_mm is None else float(dose_spacing_mm),
            "iterations": int(iterations),
        }
        self.vary_goals = vary_goals

    @property
    def case_ids(self) -> Sequence[str]:
        """Identifiers such as `hn_train_0003`."""
        return self.anatomy.case_ids

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases without a cached dose."""
        return tuple(case_id for case_id in self.case_ids if not self.cache_path(case_id).exists())

    def cache_path(self, case_id: str) -> Path:
        """Return the file of a case's dose; its name ends in a hash of all that determines the dose."""
        grid = self.anatomy.grid
        parts = {
            "versions": (GENERATOR_VERSION, PLAN_VERSION),
            "case": (case_id, self.anatomy.seed),
            "grid": (grid.shape_zyx, grid.spacing_xyz_mm),
            "plan": self.plan,
            "vary_goals": bool(self.vary_goals),
        }
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        return self.cache_dir / f"{case_id}-{key}.npz"

    def read(self, case_id: str) -> PatientCase:
        """Return one case with dose, computing its plan when it is not in the cache.

        Raises:
            CaseError: If the case is unknown.
            MissingExtraError: If a plan must be computed and pyRadPlan is not installed.
        """
        case = self.anatomy.read(case_id)
        path = self.cache_path(case_id)
        dose_gy = _load(path, case) if path.exists() else None
        if dose_gy is None:
            dose_gy = self._computed(case)
            with atomic_path(path) as temporary:
                np.savez_compressed(temporary, dose_gy=dose_gy)
        return case.with_dose(dose_gy)

    def fingerprint(self, case_id: str) -> str:
        """Return all that determines the case's voxels and dose."""
        return f"{self.anatomy.fingerprint(case_id)}:{self.cache_path(case_id).stem}"

    def warm(self, workers: int = 2, progress: bool = True) -> int:
        """Compute all missing plans in parallel processes and return how many there were.

        Every plan is written when it is done: an interrupted run continues where it stopped. With more than one worker,
        scripts need the usual `if __name__ == "__main__":` guard.

        Args:
            workers: Processes; each takes about 1.5 GB of memory.
            progress: Show a progress bar.

        Raises:
            InputError: If `workers` is not a positive integer.
            MissingExtraError: If pyRadPlan is not installed.
        """
        if int(workers) != workers or workers < 1:
            raise InputError("must be a positive integer", argument="workers", value=workers)
        missing = self.missing
        if missing:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, disable=not progress) as bar:
                task = bar.add_task("Planning phantoms", total=len(missing))
                for _ in _finished(self._store, missing, min(int(workers), len(missing))):
                    bar.advance(task)
        return len(missing)

    def _computed(self, case: PatientCase) -> FloatVolume:
        seeds = [self.anatomy.seed, *case.case_id.encode()]
        rng = np.random.default_rng(np.random.SeedSequence(seeds)) if self.vary_goals else None
        return optimise_photon_dose(case, rng=rng, **self.plan)

    def _store(self, case_id: str) -> str:
        self.read(case_id)
        return case_id


def _finished(store: Callable[[str], str], case_ids: Sequence[str], workers: int) -> Iterator[str]:
    """Yield case ids as they are done; with one worker in this process, else in `workers` fresh ones."""
    if workers == 1:
        yield from map(store, case_ids)
        return
    context = multiprocessing.get_context("spawn")  # forking after torch has started threads may hang
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        jobs = [pool.submit(store, case_id) for case_id in case_ids]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _load(path: Path, case: PatientCase) -> FloatVolume | None:
    """Return a cached dose in Gy, or None with a warning when the file is broken."""
    try:
        with np.load(path) as arrays:
            dose_gy = arrays["dose_gy"]
        if dose_gy.shape != case.grid.shape_zyx:
            raise CaseError(f"must have shape {case.grid.shape_zyx}", argument="dose_gy", value=dose_gy.shape)
        case.with_dose(dose_gy)  # checks the range
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        warnings.warn(f"{path}: broken cache file ({error}); the plan is computed again", stacklevel=3)
        return None
    return dose_gy
