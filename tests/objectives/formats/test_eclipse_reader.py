"""What is written is read back; what is not such a template is refused with what is wrong with it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from export_samples import HOSTILE, content, line, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dosewright.core import InputError
from dosewright.objectives import Objective
from dosewright.objectives.formats.content import ExportItem
from dosewright.objectives.formats.eclipse import EclipseFormat
from dosewright.objectives.formats.eclipse_reader import read_eclipse
from dosewright.objectives.formats.normal_tissue import NormalTissue
from dosewright.objectives.formats.safe_xml import read_safe_xml

FILE = "eclipse_objectives.xml"

doses = st.floats(0.0, 250.0)
structures = st.sampled_from(("PTV", "Larynx", "Parotid_L"))
shared = {"structure": structures, "dose_gy": doses, "priority": st.floats(0.0, 1000.0)}
exponents = st.floats(-40.0, 40.0).filter(lambda a: a != 0.0)
objectives = st.one_of(
    st.builds(
        Objective, kind=st.sampled_from(("squared_overdose", "squared_underdose", "squared_deviation")), **shared
    ),
    st.builds(Objective, kind=st.sampled_from(("mean_upper", "mean_lower")), **shared),
    st.builds(Objective, kind=st.just("max_dvh"), volume_percent=st.floats(0.0, 100.0, exclude_max=True), **shared),
    st.builds(Objective, kind=st.just("min_dvh"), volume_percent=st.floats(0.0, 100.0, exclude_min=True), **shared),
    st.builds(Objective, kind=st.sampled_from(("geud_upper", "geud_lower")), exponent=exponents, **shared),
)


@st.composite
def lines(draw: st.DrawFn) -> list[Objective]:
    """Points of one line: volumes rise, doses fall."""
    volumes = sorted(draw(st.lists(st.floats(0.0, 99.9), min_size=2, max_size=9, unique=True)))
    falling = sorted(draw(st.lists(doses, min_size=len(volumes), max_size=len(volumes))), reverse=True)
    priority = draw(shared["priority"])
    points = zip(volumes, falling, strict=True)
    return [Objective("Brain", "max_dvh", dose, volume, priority) for volume, dose in points]


def as_eclipse_says(objective: Objective) -> list[Objective]:
    """The same wish in the only form that a template has for it."""
    plain = {"structure": objective.structure, "dose_gy": objective.dose_gy, "priority": objective.priority}
    under, over = Objective(kind="squared_underdose", **plain), Objective(kind="squared_overdose", **plain)
    if objective.kind == "squared_deviation":
        return [under, over]
    if objective.kind == "mean_lower":
        return [Objective(kind="geud_lower", exponent=1.0, **plain)]
    if (objective.kind, objective.volume_percent) == ("max_dvh", 0.0):
        return [over]
    return [under] if (objective.kind, objective.volume_percent) == ("min_dvh", 100.0) else [objective]


def by_structure(found: Sequence[Objective]) -> list[Objective]:
    first = list(dict.fromkeys(objective.structure for objective in found))
    return sorted(found, key=lambda objective: first.index(objective.structure))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(objectives, max_size=8), points=lines())
def test_what_is_written_is_read_back(asked: list[Objective], points: list[Objective], tmp_path: Path) -> None:
    plan = content([*asked, *(ExportItem(point, 1) for point in points)])
    assert EclipseFormat().write(tmp_path, plan).remarks == ()
    template = read_eclipse(tmp_path / FILE)
    back = [item.objective for item in template.items if item.line is None]
    assert back == by_structure([said for objective in asked for said in as_eclipse_says(objective)])
    on_line = [item.objective for item in template.items if item.line == 1]
    assert sorted(on_line, key=lambda point: point.volume_percent or 0.0) == points
    assert (template.ignored, template.normal_tissue) == ((), None)


@pytest.mark.parametrize("normal", [NormalTissue("auto", 120.0), NormalTissue("manual", 150.0, 3.5, 100.0, 40.0, 0.05)])
def test_lines_and_normal_tissue_come_back(normal: NormalTissue, tmp_path: Path) -> None:
    EclipseFormat(normal_tissue=normal).write(tmp_path, content([*line("Larynx", 2), *line("Brain", 5)]))
    template = read_eclipse(tmp_path / FILE)
    assert [(item.objective.structure, item.line) for item in template.items] == [("Larynx", 1)] * 3 + [
        ("Brain", 2)
    ] * 3
    assert template.objectives[0] == Objective("Larynx", "max_dvh", 10.5, 50, 40)
    assert template.normal_tissue == normal


@pytest.mark.parametrize("name", HOSTILE)
def test_own_names_are_turned_back(name: str, tmp_path: Path) -> None:
    asked = Objective("PTV", "squared_overdose", 60)
    EclipseFormat().write(tmp_path, content([asked], {"PTV": name}))
    assert read_eclipse(tmp_path / FILE, {name: "PTV"}).objectives == (asked,)


def template(folder: Path, old: str = "", new: str = "", **changes: object) -> Path:
    """A template of one upper point, with a piece of its text replaced."""
    asked = replace(Objective("PTV", "max_dvh", 30, 20, 80), **changes)  # type: ignore[arg-type]
    EclipseFormat().write(folder, content([asked]))
    before = text(folder, FILE)
    assert old in before
    (folder / FILE).write_text(before.replace(old, new, 1))
    return folder / FILE


def test_points_that_ask_for_nothing_are_told(tmp_path: Path) -> None:
    found = read_eclipse(template(tmp_path, "<Volume>20<", "<Volume>100<"))
    assert (found.objectives, found.ignored) == ((), ("PTV: objective 1 (upper 100 %)",))


def test_a_mean_may_be_marked_as_upper(tmp_path: Path) -> None:
    path = template(tmp_path, "<Type>0<", "<Type>2<")
    assert read_eclipse(path).objectives == (Objective("PTV", "mean_upper", 30, priority=80),)


def test_older_templates_switch_normal_tissue_by_use_and_auto(tmp_path: Path) -> None:
    assert read_eclipse(template(tmp_path, "<Mode>Off</Mode>", "")).normal_tissue is None
    path = template(tmp_path, "<Mode>Off</Mode>", "")
    path.write_text(path.read_text().replace("<Use>false<", "<Use>true<").replace("<Auto>false<", "<Auto>true<"))
    assert read_eclipse(path).normal_tissue == NormalTissue("auto", 0.0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ObjectiveTemplate ", "PlanTemplate ", "must be well-formed XML"),
        ("<Dose>30</Dose>", "", "PTV: objective 1: Dose must be given"),
        ("<Dose>30<", "<Dose> <", "PTV: objective 1: Dose must be given"),
        ("<Dose>30<", "<Dose>3000<", r"PTV: objective 1: PTV \(max_dvh\): dose_gy must be in \[0, 250\] Gy, total"),
        ("<Dose>30<", "<Dose>nan<", "Dose must be a finite number with a decimal point; got 'nan'"),
        ("<Dose>30<", "<Dose>1e999<", "Dose must be a finite number"),
        ("<Dose>30<", "<Dose>30,5<", "Dose must be a finite number with a decimal point; got '30,5'"),
        ("<Dose>30<", "<Dose>٣٠<", "Dose must be a finite number"),
        ("<Volume>20<", "<Volume>120<", r"volume_percent must be in \[0, 100\) %"),
        ("<Volume>20<", "<Volume/><Old>20<", "must be well-formed XML"),
        ("<Volume>20</Volume>", "<Volume/>", "objective 1: Volume must be given"),
        ("<Priority>80<", "<Priority>-1<", "priority must be at least 0; got -1"),
        ("<Type>0<", "<Type>7<", "objective 1: Type, Operator must be one Eclipse has: 7"),
        ("<Type>0<", "<Type>0.5<", "objective 1: Type must be a whole number; got 0.5"),
        ("<Type>0<", "<Type>3<", "objective 1: ParameterA must be given"),
        ("<Operator>0<", "<Operator>2<", "objective 1: Operator must be 0 or 1 for this type; got 2"),
        ("<Operator>0<", "<Operator>99<", "objective 1: Operator must be 0 or 1 for this type; got 99"),
        ('ID="PTV"', 'ID="Mein PTV"', "Mein PTV: objective 1: structure of an objective must be a structure name"),
        ('ID="PTV"', "", "ObjectivesOneStructure: ID must be there"),
        ("<ObjectivesAllStructures>", '<ObjectivesAllStructures Unit="cGy">', "Unit must be Gy; got 'cGy'"),
        ("<Mode>Off<", "<Mode>Srs<", 'NormalTissueObjective: normal_tissue.mode must be "auto" or "manual"; got'),
        ("<Use>false</Use>", "<Use/><!-- -", "must be well-formed XML"),
    ],
)
def test_what_is_wrong_is_told(old: str, new: str, told: str, tmp_path: Path) -> None:
    path = template(tmp_path, old, new)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{told}"):
        read_eclipse(path)


def test_other_xml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.xml"
    path.write_text("<ObjectiveTemplate/>")
    with pytest.raises(InputError, match="ObjectivesAllStructures must be there"):
        read_eclipse(path)
    path.write_text("<Protocol/>")
    with pytest.raises(InputError, match="root element must be ObjectiveTemplate; got 'Protocol'"):
        read_eclipse(path)
    with pytest.raises(InputError, match=r"absent\.xml: file cannot be read: No such file"):
        read_eclipse(tmp_path / "absent.xml")


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;">]><a>&y;</a>'


@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        (BOMB.encode(), "content must have no DOCTYPE, as it may define entities; got 'a'"),
        (BOMB.encode("utf-16"), "content must have no DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "file:relative"><a/>', "content must have no DOCTYPE"),
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "secret.txt">]><a>&e;</a>', "content must have no DOCTYPE"),
        (b"<a>&e;</a>", r"must be well-formed XML \(undefined entity"),
        (b"<a>" * 33 + b"</a>" * 33, "elements must be nested at most 32 deep; got 33"),
        (b"<a>" + b" " * 10_000_000 + b"</a>", "file must have at most 10000000 bytes; got 10000007"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "must be well-formed XML"),
        (b'<?xml version="1.0" encoding="utf-7"?><a/>', "must be well-formed XML"),
        (b"", "must be well-formed XML"),
        (b"<a>\x00</a>", "must be well-formed XML"),
        (b"\xff\xfe\x00", "must be well-formed XML"),
        (b"<a b='1' b='2'/>", "must be well-formed XML"),
        (b"<a", "must be well-formed XML"),
    ],
)
def test_hostile_xml_is_refused(hostile: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.xml"
    path.write_bytes(hostile)
    with pytest.raises(InputError, match=told):
        read_safe_xml(path)


def test_a_flood_of_elements_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flood.xml"
    path.write_bytes(b"<a>" + b"<b/>" * 99 + b"</a>")
    monkeypatch.setattr("dosewright.objectives.formats.safe_xml.ELEMENTS_MAX", 100)
    assert len(read_safe_xml(path)) == 99
    path.write_bytes(b"<a>" + b"<b/>" * 100 + b"</a>")
    with pytest.raises(InputError, match="number of elements must be at most 100; got 101"):
        read_safe_xml(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_broken_template_is_read_or_refused_with_its_path(data: st.DataObject, tmp_path: Path) -> None:
    good = template(tmp_path / "good").read_bytes()
    at, end = sorted(data.draw(st.tuples(st.integers(0, len(good)), st.integers(0, len(good)))))
    path = tmp_path / "broken.xml"
    path.write_bytes(good[:at] + data.draw(st.binary(max_size=8)) + good[end:])
    assert outcome(path).startswith((str(path), "read"))


def outcome(path: Path) -> str:
    """Return why a template is refused, or "read"; any error but ours passes."""
    try:
        read_eclipse(path)
    except InputError as error:
        return str(error)
    return "read"
