"""A RayStation script that adds the objectives to the current plan.

Dose levels are total cGy, volumes percent. Names stand in the script as string literals only, so that no name can be
more than a name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from typing import Any, ClassVar, final

from dosewright.core import InputError
from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.eclipse_terms import NO_CVAR, NO_REFERENCE
from dosewright.objectives.formats.format import UNTESTED, AbstractFormat
from dosewright.objectives.formats.names import NameRule
from dosewright.objectives.formats.number_text import plain_number, times_exactly
from dosewright.objectives.formats.outcome import Translation

CGY_PER_GY = 100
_MARK = "OBJECTIVES = []"  # the template's line that the objectives replace
_FUNCTIONS = {
    "squared_overdose": "MaxDose",
    "squared_underdose": "MinDose",
    "squared_deviation": "UniformDose",
    "max_dose": "MaxDose",
    "min_dose": "MinDose",
    "max_dvh": "MaxDvh",
    "min_dvh": "MinDvh",
    "mean_upper": "MaxEud",
    "mean_lower": "MinEud",
    "geud_upper": "MaxEud",
    "geud_lower": "MinEud",
}
_MEANS = ("mean_upper", "mean_lower")


@final
@dataclass(frozen=True)
class RayStationFormat(AbstractFormat):
    """Writes a script for RayStation; means are EUDs with a = 1."""

    name: ClassVar[str] = "raystation"
    doses: ClassVar[str] = "cGy, total"
    files: ClassVar[tuple[str, ...]] = ("raystation_objectives.py",)
    name_rule: ClassVar[NameRule] = NameRule("RayStation", 64, "\\", ignores_case=True)
    notes: ClassVar[tuple[str, ...]] = (
        UNTESTED,
        "Priorities are written as weights; RayStation weighs its functions in its own way.",
    )

    def translate(self, item: ExportItem) -> Translation:
        """See `AbstractFormat`."""
        objective = item.objective
        if objective.kind in ("mimic", "cvar_upper", "cvar_lower"):
            return Translation.none(NO_REFERENCE if objective.kind == "mimic" else NO_CVAR)
        if objective.kind == "mean":
            return Translation.none("RayStation's functions need a dose level")
        function, volume = _FUNCTIONS[objective.kind], objective.volume_percent
        if volume == 0.0 or (function == "MinDvh" and volume == 100.0):  # about every voxel
            function, volume = {"MaxDvh": "MaxDose", "MinDvh": "MinDose"}[function], None
        entry: dict[str, Any] = {
            "function": function,
            "dose_level_cgy": times_exactly(objective.dose_gy or 0.0, CGY_PER_GY),
            "percent_volume": volume,
            "eud_parameter_a": 1.0 if objective.kind in _MEANS else objective.exponent,
            "weight": None if objective.constraint else objective.priority,
            "is_constraint": objective.constraint,
        }
        return Translation((entry,))

    def render(self, content: ExportContent, entries: Mapping[str, tuple[Any, ...]]) -> Mapping[str, str | bytes]:
        """See `AbstractFormat`."""
        template = resources("dosewright.objectives.formats").joinpath("raystation_template.txt")
        rows = (_literal(content.names[structure], entry) for structure, listed in entries.items() for entry in listed)
        text = "OBJECTIVES = [\n" + "".join(f"    {row},\n" for row in rows) + "]"
        before, mark, after = template.read_text(encoding="utf-8").partition(_MARK)
        if not mark:
            raise InputError(f"must hold {_MARK!r}", argument="template", path=str(template))
        return {self.files[0]: before + text + after}


def _literal(name: str, entry: Mapping[str, Any]) -> str:
    """Return a row as a Python literal in ASCII, the same in Python 2.7 and 3."""
    fields = {"roi": "u" + ascii(name), **{key: _value(value) for key, value in entry.items()}}
    return "{" + ", ".join(f'"{key}": {text}' for key, text in fields.items()) + "}"


def _value(value: str | float | bool | None) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = plain_number(value)
        return text if "." in text else text + ".0"
    return repr(value)
