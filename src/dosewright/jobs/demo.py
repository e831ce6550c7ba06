"""`dosewright demo`: every step a user takes, as the very commands a user would type."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

from omegaconf import DictConfig

from dosewright.core import DosewrightError

log = logging.getLogger(__name__)


class StepError(DosewrightError):
    """A step of the demo failed; its own message stands above."""


def run(cfg: DictConfig) -> dict[str, float]:
    """Prepare, train, predict and evaluate on phantoms; compare with the mean training dose; return the two scores.

    Raises:
        StepError: If a step fails.
    """
    out, started = Path(cfg.out), time.perf_counter()
    cache, test = f"paths.cache_dir={cfg.paths.cache_dir}", ["data=phantom", "data.split=test"]
    _step("prepare", "data=phantom", f"workers={cfg.workers}", cache, f"out={out / 'prepare'}")
    epochs = [f"trainer.max_epochs={cfg.epochs}", f"trainer.check_val_every_n_epoch={cfg.epochs}"] if cfg.epochs else []
    _step("train", f"experiment={cfg.experiment}", cache, f"out={out / 'train'}", *epochs)
    scores = {}
    for name, choice in (
        ("net", f"checkpoint={out / 'train' / 'model.safetensors'}"),
        ("mean_dose", "baseline=mean_dose"),
    ):
        predictions, scored = out / f"predict_{name}", out / f"evaluate_{name}"
        _step("predict", *test, choice, cache, "overwrite=true", f"out={predictions}")
        _step(
            "evaluate",
            *test,
            cache,
            f"predictions={predictions}",
            f"out={scored}",
            f"plots={3 if name == 'net' else 0}",
        )
        scores[name] = float(json.loads((scored / "metrics.json").read_text())["dose_score"])
    gain = 100.0 * (1.0 - scores["net"] / scores["mean_dose"])
    log.info(
        "dose score on held-out phantoms: net %.2f Gy, mean training dose %.2f Gy: %.0f %% lower, in %.0f s",
        scores["net"],
        scores["mean_dose"],
        gain,
        time.perf_counter() - started,
    )
    log.info("report with pictures: %s", out / "evaluate_net" / "report.html")
    return scores | {"gain_percent": gain}


def _step(*arguments: str) -> None:
    print(f"\n$ dosewright {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "dosewright.jobs.cli", *arguments], check=False)
    if done.returncode != 0:
        raise StepError(f"`dosewright {arguments[0]}` failed with exit code {done.returncode}")
