"""Readers of the single files of a training's folder."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

Row = dict[str, float]


@dataclass(frozen=True)
class Weights:
    """Notes in the metadata of a weights file, and how many numbers it holds."""

    notes: Mapping[str, Any]
    size: int


@dataclass(frozen=True)
class Timing:
    """Steps done and wall seconds spent at the end of each epoch, and what it ran on; see `training.clock`."""

    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    devices: tuple[str, ...]
    from_step: int

    def at(self, step: int) -> float | None:
        """Return the seconds spent up to a step, straight between epochs; None where the beginning was not timed.

        >>> Timing((10, 20), (60.0, 100.0), (), from_step=0).at(15)
        80.0
        """
        return float(np.interp(step, (0, *self.steps), (0.0, *self.seconds))) if self.from_step == 0 else None


@dataclass(frozen=True)
class Scores:
    """Scores of a run's predictions in Gy; the deviations are over patients, `left_out` failed or are missing."""

    dose_gy: float
    dvh_gy: float
    dose_sd_gy: float | None
    dvh_sd_gy: float | None
    patients: int
    left_out: int


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: If the file holds something else.
    """
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"must hold an object, not a {type(content).__name__}")
    return content


def read_weights(path: Path) -> Weights:
    """Return what a weights file says of itself, without loading it.

    Raises:
        safetensors.SafetensorError: If it is not a whole safetensors file.
        ValueError: If its metadata are not those of a training.
    """
    with safe_open(path, "numpy") as stream:
        metadata = stream.metadata() or {}
        size = sum(math.prod(stream.get_slice(name).get_shape()) for name in stream.keys())  # noqa: SIM118
    if "dosewright" not in metadata:
        raise ValueError("must carry the metadata key `dosewright`")
    return Weights(json.loads(metadata["dosewright"]).get("notes", {}), size)


def read_metrics(path: Path) -> list[Row]:
    """Return the rows of a metrics.csv, each with the cells that are filled.

    Raises:
        ValueError: If it has no column `step`, or a cell is not a number.
    """
    with path.open(newline="") as stream:
        table = csv.DictReader(stream)
        rows = [{key: float(cell) for key, cell in row.items() if key and cell} for row in table]
    if "step" not in (table.fieldnames or ()):
        raise ValueError("must have a column `step`")
    return [row for row in rows if "step" in row]


def read_timing(path: Path) -> Timing:
    """Return the record of a training's clock.

    Raises:
        ValueError: If it has no mark.
        KeyError: If a mark lacks its step or seconds.
    """
    stored = read_object(path)
    marks, starts = stored["marks"], stored["starts"]
    if not marks or not starts:
        raise ValueError("must hold at least one mark and one start")
    return Timing(
        steps=tuple(int(mark["step"]) for mark in marks),
        seconds=tuple(float(mark["seconds"]) for mark in marks),
        devices=tuple(dict.fromkeys(_device(start) for start in starts)),
        from_step=int(starts[0]["step"]),
    )


def read_scores(path: Path) -> Scores:
    """Return the cohort's scores of a metrics.json of `dosewright evaluate`.

    Raises:
        KeyError: If it lacks a score.
    """
    stored = read_object(path)
    return Scores(
        dose_gy=float(stored["dose_score"]),
        dvh_gy=float(stored["dvh_score"]),
        dose_sd_gy=stored.get("dose_score_sd"),
        dvh_sd_gy=stored.get("dvh_score_sd"),
        patients=int(stored["n_patients"]),
        left_out=len(stored.get("failed", ())) + len(stored.get("missing", ())),
    )


def read_latency(path: Path) -> float | None:
    """Return the median seconds per case of a predict.json; None where an older version did not record them."""
    seconds = read_object(path).get("seconds") or {}
    return float(np.median([float(value) for value in seconds.values()])) if seconds else None


def last_error(path: Path) -> str | None:
    """Return the last error told in a train.log since the run was last started, None where there is none."""
    if not path.is_file():
        return None
    found = None
    for line in path.read_text(errors="replace").splitlines():
        _, _, said = line.partition(" ERROR ")
        if said:
            found = said.strip()
        elif " INFO training " in line or " INFO epoch " in line:
            found = None
    return found


def _device(start: Mapping[str, Any]) -> str:
    """Return one line on what a start ran on.

    >>> _device({"device": "Xeon", "threads": 2, "processes": 1}), _device({"device": "H200", "processes": 4})
    ('Xeon, 2 threads', '4 × H200')
    """
    processes, threads = int(start.get("processes", 1)), start.get("threads")
    name = str(start["device"]) if processes == 1 else f"{processes} × {start['device']}"
    return f"{name}, {threads} thread{'s' if threads != 1 else ''}" if threads else name
