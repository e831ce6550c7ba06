"""`dosewright predict`: doses for every case of a dataset, one file each, and a submission where asked for."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.progress import track

from dosewright.core import DosewrightError, InputError
from dosewright.core.files import atomic_write
from dosewright.core.preference import NEUTRAL
from dosewright.inference.mean_dose import MeanDosePredictor
from dosewright.inference.predictor import Predictor
from dosewright.inference.preference import Preference, space_of, vector_of
from dosewright.inference.weights import default_weights, load_model
from dosewright.io.predictions import write_prediction
from dosewright.io.reader import AbstractReader
from dosewright.jobs.hydra_task import build
from dosewright.jobs.submissions import SUBMISSIONS

log = logging.getLogger(__name__)
MANIFEST, FINGERPRINTS, SECONDS = "predict.json", "fingerprints", "seconds"


def run(cfg: DictConfig) -> dict[str, object]:
    """Predict as configured; return what was done.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If the folder holds predictions made in another way, or cases failed (all others are written).
        SubmissionError: If the challenge would refuse the submission.
    """
    if cfg.submission is not None and cfg.submission not in SUBMISSIONS:
        rule = f"must be null or {' or '.join(SUBMISSIONS)}"
        raise InputError(rule, argument="submission", value=cfg.submission)
    if cfg.submission and cfg.data.get("split") == "train":
        raise InputError("must be null for data.split=train", argument="submission", value=cfg.submission)
    reader: AbstractReader = build(cfg.data.reader)
    log.info("%d cases of %s, split %s", len(reader), cfg.data.get("name"), cfg.data.get("split"))
    predictor = build_predictor(cfg)
    out = Path(cfg.out)
    manifest = _claim_folder(out, prediction_settings(cfg, predictor), reader.case_ids, overwrite=cfg.overwrite)
    failures, seconds = {}, []
    for case_id in track(reader.case_ids, description="predicting"):
        try:
            fingerprint = reader.fingerprint(case_id)
            if (out / f"{case_id}.npz").exists() and manifest[FINGERPRINTS].get(case_id) == fingerprint:
                continue
            seconds.append(_predict_one(predictor, reader, case_id, out))
            manifest[FINGERPRINTS][case_id] = fingerprint
            manifest[SECONDS][case_id] = round(seconds[-1], 4)
            atomic_write(out / MANIFEST, json.dumps(manifest, indent=1))
        except (DosewrightError, RuntimeError, ValueError) as error:  # torch's, for memory and for sizes
            log.error("%s: not predicted: %s", case_id, error, exc_info=not isinstance(error, DosewrightError))
            failures[case_id] = str(error)
    done = len(reader.case_ids) - len(failures)
    if seconds:
        log.info("%d of %d cases in %s, median %.2f s", done, len(reader.case_ids), out, float(np.median(seconds)))
    if failures:
        listed = "\n".join(f"  {case_id}: {reason}" for case_id, reason in failures.items())
        raise InputError(f"could not be predicted ({done} others were):\n{listed}", argument=f"{len(failures)} cases")
    if cfg.submission:
        SUBMISSIONS[cfg.submission](reader, out)
    return {"cases": done, "seconds_per_case": float(np.median(seconds)) if seconds else None}


def build_predictor(cfg: DictConfig) -> Predictor | MeanDosePredictor:
    """Return the predictor of a configuration.

    Raises:
        InputError: If the baseline is unknown or is given a preference, or the preference does not fit a net.
        CheckpointError: If a checkpoint cannot be used.
    """
    if cfg.baseline is None:
        return build_net_predictor(cfg)
    if cfg.baseline != "mean_dose":
        raise InputError("must be null or mean_dose", argument="baseline", value=cfg.baseline)
    preference = _preference(cfg.preference)
    if preference is not None:
        raise InputError("must not be given with a baseline", argument="preference", value=preference)
    return MeanDosePredictor.fit(build(cfg.data.reader, split="train"))


def build_net_predictor(cfg: DictConfig, sliders: bool = False) -> Predictor:
    """Return the predictor of a configuration's checkpoint or checkpoints.

    Args:
        cfg: With the keys of conf/predict.yaml.
        sliders: Take the weights with sliders where no checkpoint is named, as where a preference is given.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If a setting is out of range, or the preference does not fit a net.
    """
    preference = _preference(cfg.get("preference"))
    given = cfg.checkpoint if cfg.checkpoint else str(default_weights(sliders or preference is not None))
    paths = list(given) if isinstance(given, ListConfig | list) else [given]
    log.info("weights%s: %s", "" if cfg.checkpoint else " that ship", ", ".join(str(path) for path in paths))
    device = cfg.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Predictor(
        models=[load_model(path) for path in paths],
        flip=cfg.flip,
        window_zyx=tuple(cfg.window_zyx) if cfg.window_zyx else None,
        overlap=cfg.overlap,
        device=device,
        precision=cfg.precision,
        preference=preference,
    )


def _preference(node: DictConfig | None) -> Preference | None:
    """Return what a configuration asks of the sliders; None where it sets none."""
    values = {str(name): value for name, value in (node or {}).items() if value is not None}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError("must be a number or null", argument=f"preference.{name}", value=value)
    if not values:
        return None
    return Preference(values.pop("sparing", NEUTRAL), values.pop("homogeneity", NEUTRAL), groups=values)


def _predict_one(predictor: Predictor | MeanDosePredictor, reader: AbstractReader, case_id: str, out: Path) -> float:
    case = reader.read(case_id)
    start = time.perf_counter()
    dose_gy = predictor.predict(case)
    seconds = time.perf_counter() - start
    write_prediction(out, case_id, case.grid, dose_gy)
    return seconds


def prediction_settings(cfg: DictConfig, predictor: Predictor | MeanDosePredictor) -> dict[str, object]:
    """Return, as plain data, all that a case's predicted dose depends on besides the case."""
    if isinstance(predictor, MeanDosePredictor):
        hashes = [hashlib.sha256(predictor.mean_gy.tobytes()).hexdigest()[:16]]
    else:
        hashes = [hashlib.sha256(model.path.read_bytes()).hexdigest()[:16] for model in predictor.models]
    return {
        "checkpoints": hashes,
        "data": _data_settings(cfg.data),
        "flip": bool(cfg.flip),
        "window_zyx": list(cfg.window_zyx) if cfg.window_zyx else None,
        "overlap": float(cfg.overlap) if cfg.window_zyx else None,
        "precision": cfg.precision,
        "preference": _asked(predictor),
    }


def _asked(predictor: Predictor | MeanDosePredictor) -> list[dict[str, float]] | None:
    """Return the value of every slider of every net; None where nothing is asked for."""
    if isinstance(predictor, MeanDosePredictor) or predictor.preference is None:
        return None
    pairs = [(space_of(model), vector_of(model, predictor.preference)) for model in predictor.models]
    return [dict(zip(space.names, vector, strict=True)) for space, vector in pairs if space and vector]


def _data_settings(data: DictConfig) -> dict[str, object]:
    """Return what tells one set of cases from another: all of the node but its reader and where its cache is."""
    settings: dict[str, object] = {}
    for key in sorted(str(key) for key in data if key not in ("cache_dir", "reader")):
        value = data[key]
        settings[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    if "root" in settings:
        settings["root"] = str(Path(str(settings["root"])).expanduser().resolve())
    return settings


def _claim_folder(out: Path, settings: dict[str, object], case_ids: Sequence[str], overwrite: bool) -> dict[str, Any]:
    """Refuse to mix predictions of two settings in one folder; return its manifest, with the cases that are done.

    With `overwrite`, none is done: each file is replaced once its new one is there.

    Raises:
        InputError: If the folder holds predictions made with other settings, or nobody knows which.
        StorageError: If the folder cannot be written.
    """
    path, there = out / MANIFEST, [out / f"{case_id}.npz" for case_id in case_ids]
    made_with: dict[str, object] = {}
    if not overwrite and (path.exists() or any(file.exists() for file in there)):
        made_with = _read_manifest(path)
        differing = {key: made_with.get(key) for key in settings if made_with.get(key) != settings[key]}
        if differing:
            raise InputError(
                "holds predictions made with other settings: choose another, or overwrite=true",
                argument="out",
                value=differing,
                path=out,
            )
    kept = {key: made_with.get(key) for key in (FINGERPRINTS, SECONDS)}
    manifest = settings | {key: value if isinstance(value, dict) else {} for key, value in kept.items()}
    atomic_write(path, json.dumps(manifest, indent=1))
    return manifest


def _read_manifest(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
