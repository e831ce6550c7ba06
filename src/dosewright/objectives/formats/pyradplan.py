"""pyRadPlan's objectives as JSON: structure → list of what `pyRadPlan.optimization.objectives.get_objective` takes.

Doses are total Gy, as pyRadPlan optimises the whole plan's dose; v in %. Its EUD takes k = 1/a. Means and EUDs are
penalised on both sides of their dose there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.eclipse_terms import NO_CVAR, NO_REFERENCE
from dosewright.objectives.formats.format import RESEARCH, AbstractFormat
from dosewright.objectives.formats.names import NameRule
from dosewright.objectives.formats.normal_tissue import check_required_priority
from dosewright.objectives.formats.outcome import Translation
from dosewright.objectives.objective import Objective

TWO_SIDED = "is penalised on both sides of its dose there"
_PLAIN = {
    "squared_overdose": ("Squared Overdosing", "d_max"),
    "squared_underdose": ("Squared Underdosing", "d_min"),
    "squared_deviation": ("Squared Deviation", "d_ref"),
    "max_dose": ("Squared Overdosing", "d_max"),
    "min_dose": ("Squared Underdosing", "d_min"),
}


@final
@dataclass(frozen=True)
class PyRadPlanFormat(AbstractFormat):
    """Writes lists of objectives for pyRadPlan 0.5.

    Args:
        required_priority: Of required objectives, in [0, 1000]: pyRadPlan has no constraints.

    Raises:
        InputError: If it is not.
    """

    name: ClassVar[str] = "pyradplan"
    doses: ClassVar[str] = "Gy, total"
    files: ClassVar[tuple[str, ...]] = ("pyradplan_objectives.json",)
    name_rule: ClassVar[NameRule] = NameRule("pyRadPlan", 64)
    notes: ClassVar[tuple[str, ...]] = ("EUD takes k = 1/a.",)

    required_priority: float | int = 1000.0

    def __post_init__(self) -> None:
        check_required_priority(self.required_priority)

    def translate(self, item: ExportItem) -> Translation:
        """See `AbstractFormat`."""
        objective = item.objective
        if objective.kind in ("mimic", "cvar_upper", "cvar_lower"):
            return Translation.none(NO_REFERENCE if objective.kind == "mimic" else NO_CVAR)
        priority = float(self.required_priority) if objective.constraint else objective.priority
        reasons = [TWO_SIDED] if objective.kind.startswith(("mean_", "geud_")) else []
        if objective.constraint:
            reasons.append(f"there are no constraints: an objective of priority {priority:g}")
        return Translation(({**_terms(objective), "priority": priority},), "; ".join(reasons))

    def render(self, content: ExportContent, entries: Mapping[str, tuple[Any, ...]]) -> Mapping[str, str | bytes]:
        """See `AbstractFormat`."""
        document = {
            "about": f"Written by Dosewright for {content.case_id}. {RESEARCH}",
            "dose_unit": self.doses,
            "objectives": {content.names[structure]: list(found) for structure, found in entries.items()},
        }
        return {self.files[0]: json.dumps(document, indent=1, ensure_ascii=False) + "\n"}


def _terms(objective: Objective) -> dict[str, Any]:
    dose_gy = objective.dose_gy
    if objective.kind in _PLAIN:
        name, parameter = _PLAIN[objective.kind]
        return {"name": name, parameter: dose_gy}
    if objective.kind == "max_dvh":
        return {"name": "Max DVH", "d": dose_gy, "v_max": objective.volume_percent}
    if objective.kind == "min_dvh":
        return {"name": "Min DVH", "d": dose_gy, "v_min": objective.volume_percent}
    if objective.kind == "mean":
        return {"name": "Mean Dose", "d_ref": 0.0, "f_diff": "linear"}
    if objective.exponent is None:
        return {"name": "Mean Dose", "d_ref": dose_gy, "f_diff": "quadratic"}
    return {"name": "EUD", "eud_ref": dose_gy, "k": 1.0 / objective.exponent, "f_diff": "quadratic"}
