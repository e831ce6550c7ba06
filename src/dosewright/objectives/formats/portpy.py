"""PortPy's clinical criteria and optimisation parameters as JSON.

`portpy_clinical_criteria.json` is for `ClinicalCriteria(file_name=…)`, `portpy_opt_params.json` for
`Optimization(opt_params=…)`. Doses are total Gy: PortPy divides them by the number of fractions itself, and penalises
dose per fraction, which scales all quadratic objectives alike. Volumes are in %.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.eclipse_terms import NO_CVAR, NO_REFERENCE
from dosewright.objectives.formats.format import RESEARCH, UNTESTED, AbstractFormat
from dosewright.objectives.formats.names import NameRule
from dosewright.objectives.formats.outcome import Translation
from dosewright.objectives.objective import Objective

_OVER, _UNDER = "quadratic-overdose", "quadratic-underdose"
_QUADRATIC = {
    "squared_overdose": (_OVER,),
    "squared_underdose": (_UNDER,),
    "squared_deviation": (_UNDER, _OVER),
}
_MISSING = {
    "mimic": NO_REFERENCE,
    "cvar_upper": NO_CVAR,
    "cvar_lower": NO_CVAR,
    "mean": "PortPy has no linear mean",
    "geud_upper": "PortPy has no gEUD",
    "geud_lower": "PortPy has no gEUD",
    "min_dose": "PortPy has no constraint from below",
    "mean_lower": "PortPy has no lower limit on the mean",
    "min_dvh": "PortPy has no DVH point from below",
}


@final
@dataclass(frozen=True)
class PortPyFormat(AbstractFormat):
    """Writes both of PortPy's JSON files."""

    name: ClassVar[str] = "portpy"
    doses: ClassVar[str] = "Gy, total"
    files: ClassVar[tuple[str, ...]] = ("portpy_clinical_criteria.json", "portpy_opt_params.json")
    name_rule: ClassVar[NameRule] = NameRule("PortPy", 64)
    notes: ClassVar[tuple[str, ...]] = (
        UNTESTED,
        "PortPy leaves out max_dose limits of structures named GTV or CTV.",
        "No smoothness of fluence is asked for: add PortPy's smoothness-quadratic if the plan is to be delivered.",
    )

    def translate(self, item: ExportItem) -> Translation:
        """See `AbstractFormat`."""
        objective = item.objective
        if objective.kind in _QUADRATIC:
            return _quadratic(objective, *_QUADRATIC[objective.kind])
        if objective.kind == "max_dvh":
            return _quadratic(objective, _OVER) if objective.volume_percent == 0.0 else _dvh_goal(objective)
        if objective.kind == "min_dvh" and objective.volume_percent == 100.0:
            return _quadratic(objective, _UNDER)
        if objective.kind in _MISSING:
            return Translation.none(_MISSING[objective.kind])
        limit = {("limit" if objective.constraint else "goal") + "_dose_gy": objective.dose_gy}
        criterion = {"type": "max_dose" if objective.kind == "max_dose" else "mean_dose", "constraints": limit}
        reason = "" if objective.constraint else "a goal without priority, which PortPy reports and does not optimise"
        return Translation((("criteria", criterion),), reason)

    def render(self, content: ExportContent, entries: Mapping[str, tuple[Any, ...]]) -> Mapping[str, str | bytes]:
        """See `AbstractFormat`."""
        found = [(content.names[structure], *entry) for structure, listed in entries.items() for entry in listed]
        about = {"about": f"Written by Dosewright for {content.case_id}. {RESEARCH}", "dose_unit": self.doses}
        prescription_gy = content.highest_prescription_gy
        criteria = {
            **about,
            "protocol_name": "Dosewright",
            "pres_per_fraction_gy": prescription_gy / content.fractions,
            "num_of_fractions": content.fractions,
            "criteria": [_criterion(name, entry) for name, part, entry in found if part == "criteria"],
        }
        parameters = {
            **about,
            "prescription_gy": prescription_gy,
            "objective_functions": [
                {"type": entry["type"], "structure_name": name, **entry}
                for name, part, entry in found
                if part == "goal"
            ],
            "constraints": [],  # they are among the criteria
        }
        texts = (json.dumps(document, indent=1, ensure_ascii=False) + "\n" for document in (criteria, parameters))
        return dict(zip(self.files, texts, strict=True))


def _quadratic(objective: Objective, *types: str) -> Translation:
    terms = {"weight": objective.priority, "dose_gy": objective.dose_gy}
    return Translation(tuple(("goal", {"type": name, **terms}) for name in types))


def _dvh_goal(objective: Objective) -> Translation:
    criterion = {
        "type": "dose_volume_V",
        "parameters": {"dose_gy": objective.dose_gy, "weight": objective.priority},
        "constraints": {"goal_volume_perc": objective.volume_percent},
    }
    return Translation((("criteria", criterion),), "a DVH goal: only PortPy's DVH-based optimisations read it")


def _criterion(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"structure_name": name, **entry.get("parameters", {})}
    return {"type": entry["type"], "parameters": parameters, "constraints": entry["constraints"]}
