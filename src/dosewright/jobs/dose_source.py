"""Where a job takes the dose from that a plan should have: a net, a folder of predictions, or the reference."""

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import final

from omegaconf import DictConfig

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.inference.mean_dose import MeanDosePredictor
from dosewright.inference.predictor import Predictor
from dosewright.io.predictions import list_predictions, prediction_files, read_prediction
from dosewright.jobs.predict import build_predictor, prediction_settings

KINDS = ("model", "predictions", "reference")


class AbstractDoseSource(ABC):
    """Gives a dose for a case, on the case's grid.

    `label` is what reports call the dose.
    """

    label = "predicted"

    @abstractmethod
    def dose_gy(self, case: PatientCase) -> FloatVolume:
        """Return the dose in Gy on the case's grid.

        Raises:
            InputError: If there is none, or it does not fit the case.
        """

    @abstractmethod
    def fingerprint(self, case_id: str) -> str:
        """Return a text that changes when the dose of a case may have changed, besides by the case itself."""

    @abstractmethod
    def describe(self) -> str:
        """Return where the doses come from, for people."""


@final
class ModelDoses(AbstractDoseSource):
    """Doses predicted by a net, or by the baseline.

    Args:
        predictor: What predicts.
        settings: All that the doses depend on besides the case.
    """

    def __init__(self, predictor: Predictor | MeanDosePredictor, settings: dict[str, object]) -> None:
        self.predictor, self.settings = predictor, settings

    def dose_gy(self, case: PatientCase) -> FloatVolume:
        """Return the predicted dose in Gy."""
        return self.predictor.predict(case)

    def fingerprint(self, case_id: str) -> str:
        """Return the settings of the prediction."""
        return json.dumps(self.settings, sort_keys=True, default=str)

    def describe(self) -> str:
        """Return the names of the nets."""
        if isinstance(self.predictor, MeanDosePredictor):
            return "the mean dose of the training cases"
        return "predicted by " + ", ".join(model.path.name for model in self.predictor.models)


@final
class StoredDoses(AbstractDoseSource):
    """Doses of files: a folder of predictions (see `io.predictions`), one such file, or a zip of `pt_N.csv`.

    Args:
        source: The folder, file or zip.

    Raises:
        CaseError: If it is missing, or not a readable zip.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = Path(source).expanduser()
        if not self.source.is_file() or self.source.suffix == ".zip":
            list_predictions(self.source)

    def dose_gy(self, case: PatientCase) -> FloatVolume:
        """Return the stored dose in Gy."""
        return read_prediction(self.source, case)

    def fingerprint(self, case_id: str) -> str:
        """Return a hash of the case's file, or of the one file there is."""
        paths = prediction_files(self.source, case_id) if self.source.is_dir() else (self.source,)
        return ";".join(hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths if path.is_file())

    def describe(self) -> str:
        """Return the file or folder."""
        return f"read from {self.source}"


@final
class ReferenceDoses(AbstractDoseSource):
    """The cases' own doses."""

    label = "reference"

    def dose_gy(self, case: PatientCase) -> FloatVolume:
        """Return the case's dose in Gy.

        Raises:
            CaseError: If it has none.
        """
        if case.dose_gy is None:
            raise CaseError("must have a reference dose for dose=reference", argument=case.case_id, value=None)
        return case.dose_gy

    def fingerprint(self, case_id: str) -> str:
        """Return the same for every case: its own fingerprint covers its dose."""
        return "reference"

    def describe(self) -> str:
        """Return "the reference dose"."""
        return "the reference dose"


def build_dose_source(cfg: DictConfig) -> AbstractDoseSource:
    """Return the source that `cfg.dose` names.

    Args:
        cfg: With `dose` (one of `KINDS`), `predictions`, and for a net the keys of conf/predict.yaml.

    Raises:
        InputError: If the kind is unknown, or `predictions` is given without being asked for, or the other way round.
        CheckpointError: If a checkpoint cannot be used.
    """
    if cfg.dose not in KINDS:
        raise InputError(f"must be one of {KINDS}", argument="dose", value=cfg.dose)
    if (cfg.dose == "predictions") != (cfg.predictions is not None):
        rule = "must name a folder with dose=predictions, and be null otherwise"
        raise InputError(rule, argument="predictions", value=cfg.predictions)
    if cfg.dose == "predictions":
        return StoredDoses(str(cfg.predictions))
    if cfg.dose == "reference":
        return ReferenceDoses()
    predictor = build_predictor(cfg)
    return ModelDoses(predictor, prediction_settings(cfg, predictor))
