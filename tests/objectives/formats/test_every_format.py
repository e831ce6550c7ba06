"""What holds of every format: nothing is dropped in silence, names stay names, files and units are told."""

from pathlib import Path

import pytest
from export_samples import EVERY_KIND, content, line

from dosewright.core import InputError, StorageError
from dosewright.objectives import Objective
from dosewright.objectives.formats.eclipse import EclipseFormat
from dosewright.objectives.formats.esapi import EsapiFormat
from dosewright.objectives.formats.format import AbstractFormat
from dosewright.objectives.formats.normal_tissue import NormalTissue
from dosewright.objectives.formats.number_text import plain_number
from dosewright.objectives.formats.pyradplan import PyRadPlanFormat
from dosewright.objectives.formats.registry import CLASSES, NAMES

FORMATS = {kind.name: kind() for kind in CLASSES}
every_format = pytest.mark.parametrize("name", NAMES)

#: Worked out by hand from what each system knows; everything else says exactly what was asked.
LEFT_OUT = {
    "eclipse": {"mimic", "cvar_upper", "cvar_lower"},
    "esapi": {"mimic", "cvar_upper", "cvar_lower"},
    "raystation": {"mimic", "cvar_upper", "cvar_lower", "mean"},
    "portpy": {
        *("mimic", "cvar_upper", "cvar_lower", "mean", "geud_upper", "geud_lower"),
        *("min_dose", "mean_lower", "min_dvh"),
    },
    "pyradplan": {"mimic", "cvar_upper", "cvar_lower"},
    "matrad": {"mimic", "cvar_upper", "cvar_lower"},
}
CHANGED = {
    "eclipse": {"mean"},
    "esapi": {"mean"},
    "raystation": set(),
    "portpy": {"mean_upper", "max_dvh"},
    "pyradplan": {"mean_upper", "mean_lower", "geud_upper", "geud_lower"},
    "matrad": {"mean_upper", "mean_lower", "geud_upper", "geud_lower"},
}
CHANGES_REQUIRED = {"eclipse", "esapi", "pyradplan"}


def exact_in_portpy(objective: Objective) -> bool:
    """Points about every voxel are quadratic objectives there, and limits on means can be required."""
    about_all = (objective.kind, objective.volume_percent) in (("max_dvh", 0.0), ("min_dvh", 100.0))
    return about_all or (objective.kind == "mean_upper" and objective.constraint)


def expected_status(name: str, objective: Objective) -> str:
    if name == "portpy" and exact_in_portpy(objective):
        return ""
    if objective.kind in LEFT_OUT[name]:
        return "left out"
    if objective.constraint and name == "matrad":
        return ""
    return "changed" if objective.kind in CHANGED[name] or (objective.constraint and name in CHANGES_REQUIRED) else ""


@every_format
@pytest.mark.parametrize("objective", EVERY_KIND, ids=lambda objective: objective.describe())
def test_what_a_format_cannot_say_is_told(name: str, objective: Objective, tmp_path: Path) -> None:
    written = FORMATS[name].write(tmp_path, content([objective]))
    status = expected_status(name, objective)
    assert [remark.status for remark in written.remarks] == ([status] if status else [])
    assert all(remark.objective == objective.describe() and len(remark.reason) > 10 for remark in written.remarks)
    assert written.count("left out") == (status == "left out")


@every_format
def test_the_files_are_the_ones_it_names_and_the_same_each_time(name: str, tmp_path: Path) -> None:
    kind, plan = FORMATS[name], content([*EVERY_KIND, *line("Brain")])
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert kind.write(folder, plan).files == kind.files
        assert sorted(path.name for path in folder.iterdir()) == sorted(kind.files)
        contents.append([(folder / file).read_bytes() for file in kind.files if not file.endswith(".mat")])
    assert contents[0] == contents[1]


@every_format
def test_a_plan_without_objectives_is_written_too(name: str, tmp_path: Path) -> None:
    assert FORMATS[name].write(tmp_path, content([])).remarks == ()


@every_format
def test_units_and_totals_are_told(name: str, tmp_path: Path) -> None:
    written = FORMATS[name].write(tmp_path, content([]))
    assert written.doses == ("cGy, total" if name == "raystation" else "Gy, total")
    assert written.to_plain()["doses"] == written.doses
    stated = "".join((tmp_path / file).read_bytes().decode("utf-8", "replace") for file in written.files)
    assert "total" in stated


@every_format
def test_names_beyond_its_limits_are_refused_all_at_once(name: str, tmp_path: Path) -> None:
    kind = FORMATS[name]
    asked = [Objective("PTV", "squared_overdose", 60), Objective("Larynx", "mean_upper", 30)]
    long = "x" * (kind.name_rule.longest + 1)
    told = rf"allowed in {kind.name_rule.system}: '{long}' has .* more than .*; 'a\\x00b' has .* not printable\. Give"
    with pytest.raises(InputError, match=told):
        kind.write(tmp_path, content(asked, {"PTV": long, "Larynx": "a\0b"}))
    with pytest.raises(InputError, match="'Larynx' stands for PTV and Larynx"):
        kind.write(tmp_path, content(asked, {"PTV": "Larynx"}))
    assert list(tmp_path.iterdir()) == []
    kind.write(tmp_path, content(asked, {"PTV": long[:-1]}))


@every_format
@pytest.mark.parametrize("bad", ["", " ", " a", "a ", "a\nb", "a\tb", "\x1b[0m", "a\u2028b", "a\ud800", "\u202egnal"])
def test_names_nobody_can_mean_are_refused(name: str, bad: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is empty, or begins or ends with a space|is not printable"):
        FORMATS[name].write(tmp_path, content([Objective("PTV", "squared_overdose", 60)], {"PTV": bad}))


@pytest.mark.parametrize("name", ["eclipse", "esapi", "raystation"])
def test_clinical_systems_take_no_backslash_and_ignore_case(name: str, tmp_path: Path) -> None:
    asked = [Objective("PTV", "squared_overdose", 60), Objective("Larynx", "mean_upper", 30)]
    with pytest.raises(InputError, match=r"'a\\\\b' has a character that is not allowed"):
        FORMATS[name].write(tmp_path, content(asked, {"PTV": "a\\b"}))
    with pytest.raises(InputError, match="stands for PTV and Larynx"):
        FORMATS[name].write(tmp_path, content(asked, {"PTV": "LARYNX"}))


@every_format
def test_a_name_of_what_is_left_out_does_not_matter(name: str, tmp_path: Path) -> None:
    written = FORMATS[name].write(tmp_path, content([Objective("PTV", "mimic")], {"PTV": "x" * 99}))
    assert written.count("left out") == 1


@every_format
def test_a_folder_that_cannot_be_written_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        FORMATS[name].write(tmp_path / "file" / "below", content([]))


def test_formats_have_names() -> None:
    assert NAMES == ("eclipse", "esapi", "raystation", "portpy", "pyradplan", "matrad")
    assert all(isinstance(kind, AbstractFormat) for kind in FORMATS.values())


@pytest.mark.parametrize("kind", [EclipseFormat, EsapiFormat, PyRadPlanFormat])
@pytest.mark.parametrize("priority", [1001, -1, float("nan")])
def test_the_priority_of_what_is_required_has_limits(kind: type, priority: float) -> None:
    with pytest.raises(InputError, match=r"required_priority must be in \[0, 1000\]; got"):
        kind(priority)


def test_a_normal_tissue_objective_may_come_from_yaml() -> None:
    assert EclipseFormat(normal_tissue={"mode": "auto", "priority": 90}).normal_tissue == NormalTissue("auto", 90)
    for settings in ({"mode": "auto"}, {"mode": "auto", "prio": 1}):
        with pytest.raises(InputError, match=r"normal_tissue must be null, or mode and priority, and for manual"):
            EsapiFormat(normal_tissue=settings)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("off", 100), 'normal_tissue.mode must be "auto" or "manual"; got \'off\''),
        (("auto", 1001), r"normal_tissue.priority must be in \[0, 1000\]; got 1001"),
        (("auto", float("nan")), r"normal_tissue.priority must be in \[0, 1000\]; got nan"),
        (("auto", 100, 5.0), "normal_tissue.distance_mm must be given for manual and not for auto; got 5.0"),
        (("manual", 100, 5.0, 105, 60), "normal_tissue.fall_off_per_mm must be given for manual"),
        (("manual", 100, 5.0, 105, float("inf"), 0.05), "normal_tissue.end_percent must be finite, zero or more"),
        (("manual", 100, -5.0, 105, 60, 0.05), "normal_tissue.distance_mm must be finite, zero or more"),
    ],
)
def test_a_normal_tissue_objective_that_makes_no_sense_is_refused(arguments: tuple, told: str) -> None:
    with pytest.raises(InputError, match=told):
        NormalTissue(*arguments)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (-0.0, "0"), (100, "100"), (1e22, "1" + "0" * 22), (0.1 + 0.2, "0.30000000000000004"), (-10.0, "-10")],
)
def test_numbers_are_plain_decimals(value: float, expected: str) -> None:
    assert plain_number(value) == expected
    assert float(plain_number(value)) == value
