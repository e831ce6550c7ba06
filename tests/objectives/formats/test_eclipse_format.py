"""The XML against the layout of Eclipse's ObjectiveTemplate 1.7, worked out by hand."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from export_samples import HOSTILE, content, line, text

from dosewright.core import InputError
from dosewright.objectives import Objective
from dosewright.objectives.formats.eclipse import EclipseFormat
from dosewright.objectives.formats.normal_tissue import NormalTissue

FILE = "eclipse_objectives.xml"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}nil"
ELEMENTS = ["Type", "Operator", "Dose", "Volume", "Priority", "ParameterA", "Group"]


def written(folder: Path, *objectives: object, names: dict[str, str] | None = None, **settings: object) -> ET.Element:
    EclipseFormat(**settings).write(folder, content(objectives, names))  # type: ignore[arg-type]
    return ET.fromstring(text(folder, FILE))


def rows(root: ET.Element) -> list[tuple[str | None, ...]]:
    """Elements of every objective; None where nil."""
    found = []
    for node in root.iter("Objective"):
        assert [child.tag for child in node] == ELEMENTS
        assert all((child.get(XSI) == "true") == (child.text is None) for child in node)
        found.append(tuple(child.text for child in node))
    return found


def test_elements_stand_in_the_order_of_the_layout(tmp_path: Path) -> None:
    root = written(tmp_path, Objective("PTV", "squared_underdose", 70.7, priority=300))
    assert (root.tag, root.attrib) == ("ObjectiveTemplate", {"Version": "1.7"})
    assert [child.tag for child in root] == ["Preview", "Type", "Helios", "ObjectivesAllStructures"]
    assert list(root[0].attrib) == [
        *("ID", "Type", "ApprovalStatus", "Diagnosis", "TreatmentSite", "Description", "AssignedUsers"),
        "LastModified",
    ]
    assert root[0].get("ID") == "pt_1"
    assert root.findtext("Type") == "Helios"
    (one,) = root[3]
    assert one.attrib == {"ID": "PTV", "NAME": "PTV", "SurfaceOnly": "false"}
    assert [child.tag for child in one] == [
        *("StructureTarget", "Distance", "SamplePoints", "Color", "StructureObjectives"),
    ]
    assert [one.find(tag).get(XSI) for tag in ("Distance", "SamplePoints")] == ["true", "true"]  # type: ignore[union-attr]
    assert [child.tag for child in root[2]] == [
        *("DefaultSmoothingX", "DefaultSmoothingY", "DefaultMinimizeDose", "DefaultOptimizationType"),
        *("MaxIterations", "MaxTime", "NormalTissueObjective"),
    ]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("PTV", "squared_underdose", 70.7, priority=300), [("0", "1", "70.7", "100", "300", None, "0")]),
        (Objective("PTV", "squared_overdose", 73.5, priority=300), [("0", "0", "73.5", "0", "300", None, "0")]),
        (Objective("PTV", "min_dvh", 66.5, 95), [("0", "1", "66.5", "95", "1", None, "0")]),
        (Objective("PTV", "max_dvh", 30, 20, 80), [("0", "0", "30", "20", "80", None, "0")]),
        (Objective("PTV", "mean_upper", 26, priority=10), [("2", "99", "26", None, "10", None, "0")]),
        (Objective("PTV", "mean_lower", 60), [("3", "1", "60", None, "1", "1", "0")]),
        (Objective("PTV", "geud_upper", 20, exponent=4), [("3", "0", "20", None, "1", "4", "0")]),
        (Objective("PTV", "geud_lower", 60, exponent=-10), [("3", "1", "60", None, "1", "-10", "0")]),
        (Objective("PTV", "mean", priority=2), [("2", "99", "0", None, "2", None, "0")]),
        (
            Objective("PTV", "squared_deviation", 70, priority=5),
            [("0", "1", "70", "100", "5", None, "0"), ("0", "0", "70", "0", "5", None, "0")],
        ),
        (Objective("PTV", "max_dose", 75, constraint=True), [("0", "0", "75", "0", "900", None, "0")]),
        (Objective("PTV", "cvar_upper", 60, 5), []),
    ],
)
def test_types_operators_and_units(objective: Objective, expected: list, tmp_path: Path) -> None:
    assert rows(written(tmp_path, objective, required_priority=900)) == expected


def test_a_line_is_points_that_share_group_and_priority_and_fall(tmp_path: Path) -> None:
    mean = Objective("Larynx", "mean_upper", 26)
    root = written(tmp_path, *line("Larynx", 1), mean, *line("Brain", 2, 50.0))
    assert rows(root) == [
        ("2", "99", "26", None, "1", None, "0"),
        *(("1", "0", dose, volume, "40", None, "1") for dose, volume in (("10.5", "50"), ("30", "20"), ("60", "0"))),
        *(("1", "0", dose, volume, "50", None, "2") for dose, volume in (("10.5", "50"), ("30", "20"), ("60", "0"))),
    ]
    assert [node.get("ID") for node in root.iter("ObjectivesOneStructure")] == ["Larynx", "Brain"]


def test_the_file_says_what_is_known_of_it(tmp_path: Path) -> None:
    notes = EclipseFormat().write(tmp_path, content([])).notes
    first, comment = text(tmp_path, FILE).splitlines()[:2]
    assert first == '<?xml version="1.0" encoding="utf-8"?>'
    assert comment.startswith("<!--")
    assert comment.endswith("-->")
    for fact in (
        "Doses are total Gy",
        "reported to import in Eclipse by a public project",
        "nobody could test it here",
    ):
        assert fact in comment
    assert "nobody could test it here" in notes[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_name(name: str, tmp_path: Path) -> None:
    root = written(tmp_path, Objective("PTV", "squared_overdose", 60), names={"PTV": name})
    (node,) = root.iter("ObjectivesOneStructure")
    assert (node.get("ID"), node.get("NAME")) == (name, name)
    assert len(list(root.iter())) == len(list(written(tmp_path, Objective("PTV", "squared_overdose", 60)).iter()))


def test_the_normal_tissue_objective(tmp_path: Path) -> None:
    def nodes(normal_tissue: NormalTissue | None) -> dict[str, str | None]:
        root = written(tmp_path, normal_tissue=normal_tissue)
        return {node.tag: node.text for node in root.find("Helios/NormalTissueObjective")}  # type: ignore[union-attr]

    off = nodes(None)
    assert list(off) == [
        *("Use", "Priority", "DistanceFromTargetBorder", "StartDose", "EndDose", "FallOff", "Mode", "Auto"),
    ]
    assert (off["Use"], off["Mode"], off["Auto"]) == ("false", "Off", "false")
    auto = nodes(NormalTissue("auto", 120))
    assert (auto["Use"], auto["Priority"], auto["Mode"], auto["Auto"]) == ("true", "120", "Auto", "true")
    manual = nodes(NormalTissue("manual", 150, 3.5, 100, 40, 0.05))
    assert list(manual.values()) == ["true", "150", "3.5", "100", "40", "0.05", "Manual", "false"]


def test_a_priority_eclipse_does_not_take_is_refused(tmp_path: Path) -> None:
    told = r"priority of 'PTV: every voxel at most 60 Gy, priority 1001' must be at most 1000 in Eclipse; got 1001"
    with pytest.raises(InputError, match=told):
        written(tmp_path, Objective("PTV", "squared_overdose", 60, priority=1001))
