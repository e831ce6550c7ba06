"""`dosewright sweep-preferences`: what the sliders of a net do to doses, as numbers and pictures."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.progress import track

from dosewright.core import DosewrightError, InputError, PatientCase, StorageError
from dosewright.core.files import atomic_write
from dosewright.dose.case_dose import CaseDose
from dosewright.dose.table import BIN_GY, DvhCurves, dvh_curves
from dosewright.inference.predictor import Predictor
from dosewright.inference.preference import Vector, common_space
from dosewright.inference.preference_behaviour import responses
from dosewright.inference.preference_sweep import HOMOGENEITY, SPARING, CaseSweep, Sweep, sweep_case
from dosewright.io.reader import AbstractReader
from dosewright.jobs.chosen_cases import chosen_cases
from dosewright.jobs.hydra_task import build
from dosewright.jobs.pictures import drawn_cases, save_picture
from dosewright.jobs.predict import build_net_predictor, prediction_settings
from dosewright.jobs.sweep_figures import draw_families, draw_responses
from dosewright.jobs.sweep_tables import summarize, write_csv, write_summary

DRAWN = (SPARING, HOMOGENEITY)  # sliders that get pictures
_ABOVE_PRESCRIPTION = 1.3  # where the DVHs in pictures end

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Sweep the sliders as configured; return the shares of pairs that follow them.

    A case whose results are there, made with the same settings, is not predicted again.

    Args:
        cfg: conf/sweep-preferences.yaml.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
        InputError: If a net has no sliders, a setting is out of range, a case is unknown, or cases failed (the results
            of all others are written).
        StorageError: If a file cannot be written; what was done before is kept.
    """
    drawn = drawn_cases(cfg.plots)
    reader: AbstractReader = build(cfg.data.reader)
    case_ids = chosen_cases(cfg.cases, reader.case_ids)
    predictor = build_net_predictor(cfg, sliders=True)
    space = common_space(predictor.models)
    sweep = Sweep(space, list(cfg.sparing), list(cfg.homogeneity), per_group=cfg.per_group, grid=cfg.grid)
    log.info("%d cases, %d settings of %s", len(case_ids), len(sweep.vectors), ", ".join(space.names))
    job = _Job(predictor, reader, sweep, Path(cfg.out), prediction_settings(cfg, predictor), overwrite=cfg.overwrite)
    cases, failed = [], {}
    for at, case_id in enumerate(track(case_ids, description="sweeping")):
        try:
            cases.append(job.sweep_one(case_id, drawn=drawn is None or at < drawn))
        except StorageError:
            raise
        except (DosewrightError, RuntimeError, ValueError) as error:  # torch's, for memory and for sizes
            log.error("%s: not swept: %s", case_id, error, exc_info=not isinstance(error, DosewrightError))
            failed[case_id] = str(error)
    summary = job.conclude(cases, failed) if cases else None
    if failed or summary is None:
        listed = "\n".join(f"  {case_id}: {reason}" for case_id, reason in failed.items())
        raise InputError(f"could not be swept ({len(cases)} others were):\n{listed}", argument=f"{len(failed)} cases")
    return {"cases": len(cases)} | {what: pairs["share_follows"] for what, pairs in summary["pairs"].items()}


class _Job:
    """Sweeps case by case and keeps each one's results in a file.

    Args:
        predictor: What predicts.
        reader: Where the cases come from.
        sweep: The settings.
        out: Folder of all results.
        settings: What the doses depend on besides the case and the sliders.
        overwrite: Predict again what is there.
    """

    def __init__(
        self,
        predictor: Predictor,
        reader: AbstractReader,
        sweep: Sweep,
        out: Path,
        settings: dict[str, object],
        overwrite: bool,
    ) -> None:
        self.predictor, self.reader, self.sweep = predictor, reader, sweep
        self.out, self.settings, self.overwrite = out, settings, overwrite

    def sweep_one(self, case_id: str, drawn: bool) -> CaseSweep:
        """Return a case's results: those that are there if they fit, else predicted."""
        path, pictures = self.out / "cases" / f"{case_id}.json", self._pictures(case_id)
        made_with = json.loads(
            json.dumps(
                {
                    "settings": self.settings,
                    "vectors": self.sweep.vectors,
                    "fingerprint": self.reader.fingerprint(case_id),
                }
            )
        )
        found = None if self.overwrite else _stored(path, made_with)
        if found is not None and (not drawn or all(picture.exists() for picture in pictures.values())):
            return found
        for picture in pictures.values():
            picture.unlink(missing_ok=True)  # it may be of other settings
        case = self.reader.read(case_id)
        curves = _Curves(case)
        result = sweep_case(self.predictor, case, self.sweep, curves.add if drawn else None)
        atomic_write(path, json.dumps({"made_with": made_with, "result": result.to_plain()}))
        if drawn:
            self._draw(case, curves, pictures)
        return result

    def conclude(self, cases: Sequence[CaseSweep], failed: dict[str, str]) -> dict[str, Any]:
        """Write tables and pictures of all cases; return the summary."""
        summary = summarize(self.sweep, cases, failed)
        write_csv(self.sweep, cases, self.out / "preferences.csv")
        found = responses(self.sweep, cases)
        pictures = []
        for slider in self.sweep.series:
            path = self.out / "plots" / f"over_{slider}.png"
            pictures.append(save_picture(draw_responses(found, slider), path))
        pictures += [path for case in cases for path in self._pictures(case.case_id).values() if path.exists()]
        write_summary(summary, self.out, pictures)
        for what, pairs in summary["pairs"].items():
            if pairs["pairs"]:
                log.info("%s: %.1f %% of %d", what, 100 * pairs["share_follows"], pairs["pairs"])
        log.info("tables and pictures in %s", self.out)
        return summary

    def _pictures(self, case_id: str) -> dict[str, Path]:
        return {slider: self.out / "plots" / f"{case_id}_dvh_{slider}.png" for slider in DRAWN}

    def _draw(self, case: PatientCase, curves: "_Curves", pictures: dict[str, Path]) -> None:
        """Draw a case's DVHs; what cannot be drawn is a warning, the case is swept all the same."""
        try:
            for slider, path in pictures.items():
                family = {value: curves.found[vector] for value, vector in self.sweep.series[slider]}
                save_picture(draw_families(case, slider, family, curves.found[self.sweep.space.neutral]), path)
        except (RuntimeError, ValueError) as error:
            log.warning("%s: not drawn: %s", case.case_id, error)


class _Curves:
    """Collects the DVHs of a case, all with the same bins."""

    def __init__(self, case: PatientCase) -> None:
        self.bins_gy = np.arange(0.0, _ABOVE_PRESCRIPTION * max(case.prescription_gy.values()), BIN_GY)
        self.found: dict[Vector, DvhCurves] = {}

    def add(self, vector: Vector, doses: CaseDose) -> None:
        """Keep the DVHs of one setting."""
        self.found[vector] = dvh_curves(doses, bins_gy=self.bins_gy)


def _stored(path: Path, made_with: dict[str, Any]) -> CaseSweep | None:
    """Return the results of a file if they are whole and were made with these settings."""
    try:
        content = json.loads(path.read_text())
        return CaseSweep.from_plain(content["result"]) if content["made_with"] == made_with else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
