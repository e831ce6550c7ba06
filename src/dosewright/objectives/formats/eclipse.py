"""Eclipse's ObjectiveTemplate XML, version 1.7.

Every number is a decimal without exponent. Doses are total Gy, volumes percent of the structure. A line is as many
objectives of Type 1 that share Group and Priority. Reported to import in Eclipse by a public project; nobody could test
it here.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from dosewright.objectives.formats.content import ExportContent, ExportItem
from dosewright.objectives.formats.eclipse_family import AbstractEclipseFormat
from dosewright.objectives.formats.eclipse_terms import EclipseObjective, EclipseType, eclipse_terms
from dosewright.objectives.formats.format import RESEARCH
from dosewright.objectives.formats.normal_tissue import NormalTissue
from dosewright.objectives.formats.number_text import plain_number
from dosewright.objectives.formats.outcome import Translation

VERSION = "1.7"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"  # ElementTree writes it as xsi:nil
REPORTED = "This layout is reported to import in Eclipse by a public project; nobody could test it here."
_RED, _GREEN = 255, 65280  # 0xBBGGRR; Eclipse keeps its own colours, as UseColors is false
_HELIOS = {
    "DefaultSmoothingX": "40",
    "DefaultSmoothingY": "30",
    "DefaultMinimizeDose": "0",
    "DefaultOptimizationType": "Beamlet",
    "MaxIterations": "1000",
    "MaxTime": "100",
}


@final
@dataclass(frozen=True)
class EclipseFormat(AbstractEclipseFormat):
    """Writes an ObjectiveTemplate.

    Args:
        required_priority: Of required objectives, in [0, 1000]: Eclipse trades everything off.
        normal_tissue: The normal tissue objective, or its arguments; None switches it off.

    Raises:
        InputError: If a value is not allowed.
    """

    name: ClassVar[str] = "eclipse"
    files: ClassVar[tuple[str, ...]] = ("eclipse_objectives.xml",)
    notes: ClassVar[tuple[str, ...]] = (
        REPORTED,
        "Smoothing, iterations and time under Helios are common settings and not derived from anything.",
    )

    def translate(self, item: ExportItem) -> Translation:
        """See `AbstractFormat`."""
        return eclipse_terms(item, float(self.required_priority))

    def render(self, content: ExportContent, entries: Mapping[str, tuple[Any, ...]]) -> Mapping[str, str | bytes]:
        """See `AbstractFormat`."""
        root = ET.Element("ObjectiveTemplate", {"Version": VERSION})
        root.append(_preview(content))
        ET.SubElement(root, "Type").text = "Helios"
        root.append(_helios(NormalTissue.of(self.normal_tissue)))
        all_structures = ET.SubElement(root, "ObjectivesAllStructures")
        for structure, objectives in entries.items():
            target = structure in content.targets
            all_structures.append(_one_structure(content.names[structure], target, objectives))
        ET.indent(root)
        comment = f"Written by Dosewright. Doses are total Gy, volumes %. {REPORTED} {RESEARCH}"
        text = ET.tostring(root, encoding="unicode")
        return {self.files[0]: f'<?xml version="1.0" encoding="utf-8"?>\n<!-- {comment} -->\n{text}\n'}


def _preview(content: ExportContent) -> ET.Element:
    words = {"ID": content.case_id, "Type": "Objective", "ApprovalStatus": "Unapproved", "Diagnosis": ""}
    words |= {"TreatmentSite": "", "Description": RESEARCH, "AssignedUsers": "", "LastModified": ""}
    return ET.Element("Preview", words)


def _helios(normal_tissue: NormalTissue | None) -> ET.Element:
    flags = ("DefaultFixedJaws", "Interpolate", "UseColors", "TargetAutocrop", "Aldo")
    helios = ET.Element("Helios", dict.fromkeys(flags, "false"))
    for name, text in _HELIOS.items():
        ET.SubElement(helios, name).text = text
    node = ET.SubElement(helios, "NormalTissueObjective")
    distance_mm, start, end, fall_off = (0.0, 0.0, 0.0, 0.0) if normal_tissue is None else normal_tissue.shape
    values = {
        "Use": "false" if normal_tissue is None else "true",
        "Priority": plain_number(0.0 if normal_tissue is None else normal_tissue.priority),
        "DistanceFromTargetBorder": plain_number(distance_mm),  # mm: public readers hand it to ESAPI's …InMM as it is
        "StartDose": plain_number(start),
        "EndDose": plain_number(end),
        "FallOff": plain_number(fall_off),
        "Mode": "Off" if normal_tissue is None else normal_tissue.mode.capitalize(),
        "Auto": "true" if normal_tissue is not None and normal_tissue.mode == "auto" else "false",
    }
    for name, text in values.items():
        ET.SubElement(node, name).text = text
    return helios


def _one_structure(name: str, target: bool, objectives: tuple[EclipseObjective, ...]) -> ET.Element:
    node = ET.Element("ObjectivesOneStructure", {"ID": name, "NAME": name, "SurfaceOnly": "false"})
    volume = ET.SubElement(node, "StructureTarget")
    for tag, text in (("VolumeID", ""), ("VolumeCode", ""), ("VolumeType", "PTV" if target else "Organ")):
        ET.SubElement(volume, tag).text = text
    ET.SubElement(volume, "VolumeCodeTable").text = ""
    for tag in ("Distance", "SamplePoints"):
        ET.SubElement(node, tag, {NIL: "true"})
    ET.SubElement(node, "Color").text = str(_RED if target else _GREEN)
    container = ET.SubElement(node, "StructureObjectives")
    for objective in sorted(objectives, key=_order):
        container.append(_objective(objective))
    return node


def _order(objective: EclipseObjective) -> tuple[float, ...]:
    """Lines come last, each from its least dose and largest volume on; all else stays in its order."""
    if objective.type is not EclipseType.LINE:
        return (0.0,)
    return float(objective.group), objective.dose_gy, -(objective.volume_percent or 0.0)


def _objective(objective: EclipseObjective) -> ET.Element:
    node = ET.Element("Objective")
    ET.SubElement(node, "Type").text = str(int(objective.type))
    ET.SubElement(node, "Operator").text = str(int(objective.operator))
    ET.SubElement(node, "Dose").text = plain_number(objective.dose_gy)
    _number_or_nil(node, "Volume", objective.volume_percent)
    ET.SubElement(node, "Priority").text = plain_number(objective.priority)
    _number_or_nil(node, "ParameterA", objective.parameter_a)
    ET.SubElement(node, "Group").text = str(objective.group)
    return node


def _number_or_nil(node: ET.Element, tag: str, value: float | None) -> None:
    if value is None:
        ET.SubElement(node, tag, {NIL: "true"})
    else:
        ET.SubElement(node, tag).text = plain_number(value)
