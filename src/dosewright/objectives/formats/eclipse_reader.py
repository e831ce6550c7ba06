"""Reads Eclipse's ObjectiveTemplate XML, what `EclipseFormat` writes and what Eclipse exports."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dosewright.core import InputError
from dosewright.objectives.formats.content import ExportItem
from dosewright.objectives.formats.eclipse import NIL
from dosewright.objectives.formats.eclipse_terms import EclipseType, Operator
from dosewright.objectives.formats.normal_tissue import NormalTissue
from dosewright.objectives.formats.safe_xml import read_safe_xml
from dosewright.objectives.objective import Objective

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class EclipseTemplate:
    """What an ObjectiveTemplate says.

    Args:
        items: Its objectives, those of lines with the line's number from 1 on.
        normal_tissue: The normal tissue objective, None if it is off.
        ignored: Points that ask for nothing ("at most 100 % above …"), in words.
    """

    items: tuple[ExportItem, ...]
    normal_tissue: NormalTissue | None
    ignored: tuple[str, ...]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives alone."""
        return tuple(item.objective for item in self.items)


def read_eclipse(path: str | Path, names: Mapping[str, str] | None = None) -> EclipseTemplate:
    """Return the objectives of a template; doses are taken as total Gy.

    An upper point at 0 % is read as `squared_overdose`, a lower one at 100 % as `squared_underdose`, a mean as
    `mean_upper`.

    Args:
        path: The XML file.
        names: Name in the file → TG-263 name; names that are not in it stay.

    Raises:
        InputError: If the file is no such template, its doses are not in Gy, or an objective is not one we have; it
            names the file, the structure and the objective.
    """
    path = Path(path)
    root = read_safe_xml(path)
    try:
        return _template(root, names or {})
    except InputError as error:
        raise InputError.located(error, path) from error


def _template(root: ET.Element, names: Mapping[str, str]) -> EclipseTemplate:
    if root.tag != "ObjectiveTemplate":
        raise InputError("must be ObjectiveTemplate", argument="root element", value=root.tag)
    structures = root.find("ObjectivesAllStructures")
    if structures is None:
        raise InputError("must be there", argument="ObjectivesAllStructures")
    if structures.get("Unit", "Gy") != "Gy":
        raise InputError("must be Gy", argument="ObjectivesAllStructures: Unit", value=structures.get("Unit"))
    items: list[ExportItem] = []
    ignored: list[str] = []
    lines: dict[tuple[object, ...], int] = {}
    for node in structures.findall("ObjectivesOneStructure"):
        structure = node.get("ID")
        if structure is None:
            raise InputError("must be there", argument="ObjectivesOneStructure: ID")
        for index, entry in enumerate(node.iterfind("StructureObjectives/Objective")):
            try:
                found = _Entry(entry)
                items += found.items(names.get(structure, structure), lines)
            except InputError as error:
                where = f"{structure}: objective {index + 1}"
                label = f"{where}: {error.argument}" if error.argument else where
                raise InputError(error.rule, argument=label, value=error.value) from error
            if found.is_empty:
                ignored.append(f"{structure}: objective {index + 1} ({found.operator.name.lower()} {found.volume:g} %)")
    return EclipseTemplate(tuple(items), _normal_tissue(root), tuple(ignored))


class _Entry:
    """One `Objective` element, checked."""

    def __init__(self, node: ET.Element) -> None:
        try:
            self.type = EclipseType(_whole(node, "Type"))
            self.operator = Operator(_whole(node, "Operator"))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"must be one Eclipse has: {error}", argument="Type, Operator") from error
        self.dose_gy, self.priority = _number(node, "Dose"), _number(node, "Priority")
        self.node = node

    @property
    def volume(self) -> float:
        """Volume of a point in %."""
        return _number(self.node, "Volume")

    @property
    def is_empty(self) -> bool:
        """Whether it is a point that every dose satisfies."""
        if self.type not in (EclipseType.POINT, EclipseType.LINE):
            return False
        return self.volume == (100.0 if self.operator is Operator.UPPER else 0.0)

    def items(self, structure: str, lines: dict[tuple[object, ...], int]) -> Iterator[ExportItem]:
        """Yield what it says; lines are numbered as they come."""
        allowed = {EclipseType.MEAN: (Operator.NONE, Operator.UPPER)}.get(self.type, (Operator.UPPER, Operator.LOWER))
        if self.operator not in allowed:
            words = " or ".join(f"{int(operator)}" for operator in allowed)
            raise InputError(f"must be {words} for this type", argument="Operator", value=int(self.operator))
        if self.type is EclipseType.MEAN:
            yield ExportItem(Objective(structure, "mean_upper", self.dose_gy, priority=self.priority))
        elif self.type is EclipseType.GEUD:
            kind = "geud_upper" if self.operator is Operator.UPPER else "geud_lower"
            exponent = _number(self.node, "ParameterA")
            yield ExportItem(Objective(structure, kind, self.dose_gy, priority=self.priority, exponent=exponent))
        elif not self.is_empty:
            yield self._point(structure, lines)

    def _point(self, structure: str, lines: dict[tuple[object, ...], int]) -> ExportItem:
        upper, volume = self.operator is Operator.UPPER, self.volume
        if self.type is EclipseType.LINE:
            line = (structure, _whole(self.node, "Group"), self.priority, upper)
            number = lines.setdefault(line, len(lines) + 1)
            kind = "max_dvh" if upper else "min_dvh"
            return ExportItem(Objective(structure, kind, self.dose_gy, volume, self.priority), number)
        if volume == (0.0 if upper else 100.0):
            kind = "squared_overdose" if upper else "squared_underdose"
            return ExportItem(Objective(structure, kind, self.dose_gy, priority=self.priority))
        return ExportItem(Objective(structure, "max_dvh" if upper else "min_dvh", self.dose_gy, volume, self.priority))


def _normal_tissue(root: ET.Element) -> NormalTissue | None:
    node = root.find("Helios/NormalTissueObjective")
    if node is None:
        return None
    try:
        mode = (node.findtext("Mode") or "").strip().lower()
        if mode == "off" or (not mode and _word(node, "Use") != "true"):
            return None
        mode = mode or ("auto" if (node.findtext("Auto") or "").strip() == "true" else "manual")
        if mode == "auto":
            return NormalTissue("auto", _number(node, "Priority"))
        shape = (_number(node, tag) for tag in ("DistanceFromTargetBorder", "StartDose", "EndDose", "FallOff"))
        return NormalTissue(mode, _number(node, "Priority"), *shape)
    except InputError as error:
        label = f"NormalTissueObjective: {error.argument}"
        raise InputError(error.rule, argument=label, value=error.value) from error


def _word(node: ET.Element, tag: str) -> str:
    child = node.find(tag)
    if child is None or child.get(NIL) in ("true", "1") or not (child.text or "").strip():
        raise InputError("must be given", argument=tag)
    return (child.text or "").strip()


def _number(node: ET.Element, tag: str) -> float:
    text = _word(node, tag)
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise InputError("must be a finite number with a decimal point", argument=tag, value=text)
    return float(text)


def _whole(node: ET.Element, tag: str) -> int:
    number = _number(node, tag)
    if number != int(number):
        raise InputError("must be a whole number", argument=tag, value=number)
    return int(number)
