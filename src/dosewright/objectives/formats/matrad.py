"""matRad's objectives and constraints as a MAT file, and a function that adds them to `cst`.

Each is the struct that matRad saves: className, parameters (a cell), penalty, robustness. Doses are total Gy: matRad
divides them by the number of fractions itself. Volumes are in %, and k of its EUD is our a.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from typing import Any, ClassVar, final

import numpy as np
from scipy.io import savemat

from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.eclipse_terms import NO_CVAR, NO_REFERENCE
from dosewright.objectives.formats.format import RESEARCH, UNTESTED, AbstractFormat
from dosewright.objectives.formats.names import NameRule
from dosewright.objectives.formats.outcome import Translation
from dosewright.objectives.formats.pyradplan import TWO_SIDED
from dosewright.objectives.objective import Objective

_LINEAR, _QUADRATIC = 1, 2  # of matRad_MeanDose
_BY_LOG_SUM_EXP = 1  # of matRad_MinMaxDose: one smooth constraint instead of one per voxel
_PLAIN = {
    "squared_overdose": "matRad_SquaredOverdosing",
    "squared_underdose": "matRad_SquaredUnderdosing",
    "squared_deviation": "matRad_SquaredDeviation",
}
_DVH = {"max_dvh": "matRad_MaxDVH", "min_dvh": "matRad_MinDVH"}


@final
@dataclass(frozen=True)
class MatRadFormat(AbstractFormat):
    """Writes a MAT file and the function that adds its content to matRad's `cst`."""

    name: ClassVar[str] = "matrad"
    doses: ClassVar[str] = "Gy, total"
    files: ClassVar[tuple[str, ...]] = ("matrad_objectives.mat", "add_dosewright_objectives.m")
    name_rule: ClassVar[NameRule] = NameRule("matRad", 64)
    notes: ClassVar[tuple[str, ...]] = (
        UNTESTED,
        "In MATLAB: cst = add_dosewright_objectives(cst, 'matrad_objectives.mat').",
    )

    def translate(self, item: ExportItem) -> Translation:
        """See `AbstractFormat`."""
        objective = item.objective
        if objective.kind in ("mimic", "cvar_upper", "cvar_lower"):
            return Translation.none(NO_REFERENCE if objective.kind == "mimic" else NO_CVAR)
        if objective.constraint:
            class_name, parameters = _constraint(objective)
            return Translation(({"className": class_name, "parameters": parameters},))
        class_name, parameters = _objective(objective)
        reason = TWO_SIDED if objective.kind.startswith(("mean_", "geud_")) else ""
        entry = {"className": class_name, "parameters": parameters, "penalty": float(objective.priority)}
        return Translation((entry,), reason)

    def render(self, content: ExportContent, entries: Mapping[str, tuple[Any, ...]]) -> Mapping[str, str | bytes]:
        """See `AbstractFormat`."""
        structures = _cell([content.names[structure] for structure in entries])
        functions = _cell([_cell([_struct(entry) for entry in found]) for found in entries.values()])
        stored = {
            "about": f"Written by Dosewright for {content.case_id}. {RESEARCH}",
            "dose_unit": self.doses,
            "structures": structures,
            "functions": functions,
        }
        stream = io.BytesIO()
        savemat(stream, stored, long_field_names=True)
        script = resources("dosewright.objectives.formats").joinpath(self.files[1]).read_text(encoding="utf-8")
        return {self.files[0]: stream.getvalue(), self.files[1]: script}


def _objective(objective: Objective) -> tuple[str, list[float]]:
    dose_gy = float(objective.dose_gy or 0.0)
    if objective.kind in _PLAIN:
        name, parameters = _PLAIN[objective.kind], [dose_gy]
    elif objective.kind in _DVH:
        name, parameters = _DVH[objective.kind], [dose_gy, float(objective.volume_percent or 0.0)]
    elif objective.exponent is not None:
        name, parameters = "matRad_EUD", [dose_gy, float(objective.exponent)]
    else:
        name, parameters = "matRad_MeanDose", [dose_gy, float(_LINEAR if objective.kind == "mean" else _QUADRATIC)]
    return f"DoseObjectives.{name}", parameters


def _constraint(objective: Objective) -> tuple[str, list[float]]:
    """Return a constraint from a least to a most dose."""
    dose_gy = float(objective.dose_gy or 0.0)
    limits = [0.0, dose_gy] if objective.kind in ("max_dose", "mean_upper") else [dose_gy, math.inf]
    if objective.kind in ("max_dose", "min_dose"):
        return "DoseConstraints.matRad_MinMaxDose", [*limits, float(_BY_LOG_SUM_EXP)]
    return "DoseConstraints.matRad_MinMaxMeanDose", limits


def _struct(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "parameters": _cell(entry["parameters"]), "robustness": "none"}


def _cell(values: list[Any]) -> np.ndarray:
    """Return a row of cells."""
    cell = np.empty((1, len(values)), dtype=object)
    for index, value in enumerate(values):
        cell[0, index] = value
    return cell
