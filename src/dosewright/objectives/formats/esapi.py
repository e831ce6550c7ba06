"""A CSV of objectives, and an ESAPI script that adds them to the plan that is open in Eclipse.

The script holds no name: it reads all of them from the CSV. Doses are total Gy; the script turns them into the unit
that Eclipse shows. A name that a spreadsheet would take for a formula has an apostrophe before it, which the script
takes off.
"""

from collections.abc import Iterator, Mapping
from csv import writer as csv_writer
from dataclasses import dataclass
from importlib.resources import files as resources
from io import StringIO
from typing import Any, ClassVar, final

from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.eclipse_family import AbstractEclipseFormat
from dosewright.objectives.formats.eclipse_terms import EclipseObjective, EclipseType, eclipse_terms
from dosewright.objectives.formats.format import UNTESTED
from dosewright.objectives.formats.normal_tissue import NormalTissue
from dosewright.objectives.formats.number_text import plain_number
from dosewright.objectives.formats.outcome import Translation

COLUMNS = (
    *("structure_id", "objective", "operator", "dose_total_gy", "volume_percent", "priority", "parameter_a"),
    *("distance_mm", "start_percent", "end_percent", "fall_off_per_mm"),
)
_FORMULA = ("=", "+", "-", "@", "'")
_WORDS = {EclipseType.POINT: "Point", EclipseType.LINE: "Point", EclipseType.MEAN: "Mean", EclipseType.GEUD: "gEUD"}


@final
@dataclass(frozen=True)
class EsapiFormat(AbstractEclipseFormat):
    """Writes a CSV and the script that reads it.

    Args:
        required_priority: Of required objectives, in [0, 1000]: Eclipse trades everything off.
        normal_tissue: The normal tissue objective, or its arguments; None leaves the plan's own as it is.

    Raises:
        InputError: If a value is not allowed.
    """

    name: ClassVar[str] = "esapi"
    files: ClassVar[tuple[str, ...]] = ("esapi_objectives.csv", "AddDosewrightObjectives.cs")
    notes: ClassVar[tuple[str, ...]] = (
        UNTESTED,
        "ESAPI has no call for lines: their points are added one by one, each with the line's priority.",
    )

    def translate(self, item: ExportItem) -> Translation:
        """See `AbstractFormat`."""
        translation = eclipse_terms(item, float(self.required_priority))
        if item.line is None:
            return translation
        return Translation(translation.entries, "ESAPI has no call for lines: a point of its own")

    def render(self, content: ExportContent, entries: Mapping[str, tuple[Any, ...]]) -> Mapping[str, str | bytes]:
        """See `AbstractFormat`."""
        text = StringIO()
        writer = csv_writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for structure, objectives in entries.items():
            writer.writerows(_row(content.names[structure], objective) for objective in objectives)
        writer.writerows(_normal_tissue_rows(NormalTissue.of(self.normal_tissue)))
        script = resources("dosewright.objectives.formats").joinpath(self.files[1])
        return {self.files[0]: text.getvalue(), self.files[1]: script.read_text(encoding="utf-8")}


def _row(name: str, objective: EclipseObjective) -> tuple[str, ...]:
    mean = objective.type is EclipseType.MEAN
    return (
        f"'{name}" if name.startswith(_FORMULA) else name,
        _WORDS[objective.type],
        "" if mean else objective.operator.name.capitalize(),
        plain_number(objective.dose_gy),
        "" if objective.volume_percent is None else plain_number(objective.volume_percent),
        plain_number(objective.priority),
        "" if objective.parameter_a is None else plain_number(objective.parameter_a),
        *("", "", "", ""),
    )


def _normal_tissue_rows(normal_tissue: NormalTissue | None) -> Iterator[tuple[str, ...]]:
    if normal_tissue is None:
        return
    manual = normal_tissue.mode == "manual"
    shape = [plain_number(value) for value in normal_tissue.shape] if manual else [""] * 4
    word = "NormalTissue" if manual else "AutomaticNormalTissue"
    yield ("", word, "", "", "", plain_number(normal_tissue.priority), "", *shape)
