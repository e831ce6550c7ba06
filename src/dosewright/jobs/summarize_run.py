"""What a training left in its folder, read back for comparison with others."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from dosewright.jobs.summarize_files import (
    Row,
    Scores,
    Timing,
    Weights,
    last_error,
    read_latency,
    read_metrics,
    read_object,
    read_scores,
    read_timing,
    read_weights,
)

FINISHED, UNFINISHED, BROKEN = "finished", "unfinished", "broken"
DOSE, DVH, LOSS = "val/dose_score", "val/dvh_score", "train/loss"
#: Files that only a training leaves; any of them makes a folder a run.
SIGNS = ("recipe.json", "model.safetensors", "train.log", "logs/metrics.csv", "checkpoints/last.ckpt")

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Validation:
    """One validation of a training.

    `epoch` counts passes over the training samples and `step` optimiser steps; `seconds` is the wall time spent up to
    there, None where it was not recorded; `others` are the further `val/` metrics that were logged.
    """

    epoch: float
    step: int
    dose_gy: float
    dvh_gy: float
    seconds: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedRun:
    """One training. What its folder does not tell is None or empty; `remarks` say what is wrong with it."""

    folder: Path
    status: str
    remarks: tuple[str, ...] = ()
    name: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    epochs: int | None = None
    parameters: int | None = None
    curve: tuple[Validation, ...] = ()
    timing: Timing | None = None
    scores: Scores | None = None
    seconds_per_case: float | None = None

    @property
    def seed(self) -> int | None:
        """Seed of the training."""
        return self.recipe.get("seed")

    @property
    def is_codec(self) -> bool:
        """Whether it trained Stage I, whose scores are of reconstructions: another thing than predictions."""
        return str(self.recipe.get("module._target_")).endswith(".CodecModule")

    @property
    def seconds(self) -> float | None:
        """Wall time of the training."""
        return self.timing.seconds[-1] if self.timing else None

    @property
    def best(self) -> Validation | None:
        """The validation with the least dose score."""
        finite = [v for v in self.curve if math.isfinite(v.dose_gy)]
        return min(finite, key=lambda v: v.dose_gy) if finite else None

    @property
    def last(self) -> Validation | None:
        """The last validation."""
        return self.curve[-1] if self.curve else None


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a training."""
    return any((folder / sign).is_file() for sign in SIGNS)


def read_run(folder: Path, scores: str = "scores", predictions: str = "predictions") -> TrainedRun:
    """Return what a training left; a file that cannot be read is a remark, never an error.

    Args:
        folder: Folder of the run.
        scores: Its subfolder with the metrics.json of `dosewright evaluate`.
        predictions: Its subfolder with the predict.json of `dosewright predict`.
    """
    broken: list[str] = []  # what the training itself left
    remarks: list[str] = []
    recipe = _read(broken, read_object, folder / "recipe.json")
    weights = _read(broken, read_weights, folder / "model.safetensors")
    rows = _read(broken, read_metrics, folder / "logs" / "metrics.csv") or []
    timing = _read(remarks, read_timing, folder / "timing.json")
    scored = _read(remarks, read_scores, folder / scores / "metrics.json")
    latency = _read(remarks, read_latency, folder / predictions / "predict.json")
    trained = [row for row in rows if LOSS in row and "epoch" in row]
    logged = int(trained[-1]["step"]) + 1 if trained else None
    curve = _curve(rows, trained, timing)
    notes = weights.notes if weights else {}
    status, reasons = _status(folder, recipe, weights, logged, broken)
    return TrainedRun(
        folder=folder,
        status=status,
        remarks=(*reasons, *remarks, *_doubts(curve, timing, scored)),
        name=notes.get("experiment") or _configured_name(folder),
        recipe=recipe or {},
        steps=notes.get("steps", logged),
        epochs=int(trained[-1]["epoch"]) + 1 if trained else None,
        parameters=notes.get("parameters", weights.size if weights else None),
        curve=curve,
        timing=timing,
        scores=scored,
        seconds_per_case=latency,
    )


def _read(troubles: list[str], reader: Callable[[Path], _T], path: Path) -> _T | None:
    """Return what a reader makes of a file, None where it is absent or, which is noted, broken."""
    if not path.is_file():
        return None
    try:
        return reader(path)
    except _UNREADABLE as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        troubles.append(f"{path.parent.name}/{path.name} cannot be read: {reason}")
        return None


def _status(
    folder: Path, recipe: object, weights: Weights | None, logged: int | None, broken: Sequence[str]
) -> tuple[str, list[str]]:
    if broken:
        return BROKEN, list(broken)
    if weights is None:
        how_far = f"stopped, or still going on, after step {logged}" if logged else "no epoch was finished"
        return UNFINISHED, [last_error(folder / "train.log") or how_far]
    steps = weights.notes.get("steps")
    if logged and steps and logged > steps:
        return UNFINISHED, [f"its weights are of step {steps}, but it went on to step {logged}"]
    return FINISHED, [] if recipe else ["has no recipe.json: what sets it apart is not known"]


def _doubts(curve: Sequence[Validation], timing: Timing | None, scores: Scores | None) -> list[str]:
    """Return what a reader of the numbers should know."""
    doubts = []
    if curve and not math.isfinite(curve[-1].dose_gy):
        doubts.append("diverged: its last validation dose score is not a number")
    if timing and timing.from_step > 0:
        doubts.append(f"its first {timing.from_step} steps were not timed")
    if scores and scores.left_out:
        doubts.append(f"scored on {scores.patients} patients, {scores.left_out} more failed or were missing")
    return doubts


def _curve(rows: Sequence[Row], trained: Sequence[Row], timing: Timing | None) -> tuple[Validation, ...]:
    """Return the validations of a metrics.csv.

    Rows carry the index of the last step, but those of a validation after training the number of steps.
    """
    steps = int(trained[-1]["step"]) + 1 if trained else None
    per_epoch = steps / (trained[-1]["epoch"] + 1) if steps else None
    curve = []
    for row in rows:
        if DOSE not in row:
            continue
        at = int(row["step"])
        done = at + (steps is None or at < steps)
        epoch = done / per_epoch if per_epoch else row.get("epoch", 0.0) + 1
        others = {key: value for key, value in row.items() if key.startswith("val/") and key not in (DOSE, DVH)}
        seconds = timing.at(done) if timing else None
        curve.append(Validation(epoch, done, row[DOSE], row.get(DVH, math.nan), seconds, others))
    return tuple(curve)


def _configured_name(folder: Path) -> str | None:
    """Return the `name` a run was configured with, from what Hydra keeps."""
    path = folder / ".hydra" / "config.yaml"
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        if line.startswith("name: "):
            return line.removeprefix("name: ").strip("'\" ")
    return None
