"""The monitor units of a unit of fluence, measured once and kept on disk."""

import hashlib
import json
import math
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dosewright.core.files import atomic_write
from dosewright.fluence.calibration import measure_mu_per_fluence
from dosewright.fluence.compute_influence import INFLUENCE_VERSION
from dosewright.fluence.influence_settings import InfluenceSettings

KEY = "mu_per_fluence"
CALIBRATION_VERSION = 3  # raise when the measurement changes


def cached_mu_per_fluence(settings: InfluenceSettings, folder: str | Path) -> float:
    """Return `fluence.calibration.measure_mu_per_fluence` for the settings, from the folder's file where it is there.

    A broken file is measured again.

    Raises:
        MissingExtraError: If it must be measured and pyRadPlan is not installed.
        StorageError: If the file cannot be written.
    """
    path = calibration_path(settings, folder)
    try:
        value = float(json.loads(path.read_text())[KEY])
    except (OSError, ValueError, KeyError, TypeError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        value = measure_mu_per_fluence(settings)
        atomic_write(path, json.dumps({KEY: value, "settings": settings.determinants}, indent=1) + "\n")
    return value


def calibration_path(settings: InfluenceSettings, folder: str | Path) -> Path:
    """Return the file of a calibration; its name ends in a hash of all that determines it."""
    try:
        engine = version("pyradplan")
    except PackageNotFoundError:
        engine = "none"
    parts = json.dumps([CALIBRATION_VERSION, INFLUENCE_VERSION, engine, settings.determinants], sort_keys=True)
    return Path(folder) / f"calibration-{hashlib.sha256(parts.encode()).hexdigest()[:20]}.json"
