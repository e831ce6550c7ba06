import json
from pathlib import Path

import pytest
from omegaconf import DictConfig

from dosewright.core import InputError
from dosewright.io.prepared import PreparedReader
from dosewright.jobs.objectives import run
from dosewright.objectives import Objective, read_objectives
from dosewright.objectives.extraction import extract_objectives
from dosewright.objectives.formats.eclipse_reader import read_eclipse
from dosewright.objectives.formats.normal_tissue import NormalTissue
from dosewright.objectives.formats.registry import CLASSES, NAMES
from tiny import config

XML = "eclipse_objectives.xml"
OURS = {"objectives.csv", "objectives.json", "objectives.md"}
ALWAYS = {"structures.csv", "summary.json"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def job_config(root: Path, out: Path, *overrides: str) -> DictConfig:
    data = ["data=prepared", f"data.root={root}", "data.split=test", "cases=test_5"]
    return config("objectives", *data, f"out={out}", "dose=reference", *overrides)


def files(out: Path) -> set[str]:
    return {path.name for path in (out / "test_5").iterdir()}


def wanted(root: Path) -> list[Objective]:
    """The case's objectives as a template has them: structure by structure, means as upper limits."""
    return list(extract_objectives(PreparedReader(root, "test").read("test_5")).objectives)


def test_a_format_takes_the_place_of_our_own_files(prepared_root: Path, out: Path) -> None:
    run(job_config(prepared_root, out, "format=eclipse"))
    assert files(out) == {XML, "exports.json"} | ALWAYS
    assert read_eclipse(out / "test_5" / XML).objectives == tuple(wanted(prepared_root))


def test_all_formats_together(prepared_root: Path, out: Path) -> None:
    run(job_config(prepared_root, out, f"format=[json,csv,markdown,{','.join(NAMES)}]"))
    assert files(out) == OURS | ALWAYS | {"exports.json"} | {file for kind in CLASSES for file in kind.files}
    record = json.loads((out / "test_5" / "exports.json").read_text())
    asked = wanted(prepared_root)
    assert (record["case"], record["objectives"], record["fractions"]) == ("test_5", len(asked), 35)
    assert list(record["formats"]) == list(NAMES)
    assert record["formats"]["raystation"]["doses"] == "cGy, total"
    assert record["formats"]["eclipse"]["remarks"] == []
    means = [objective.describe() for objective in asked if objective.kind == "mean_upper"]
    reason = "is penalised on both sides of its dose there"
    told = record["formats"]["pyradplan"]["remarks"]
    assert told == [{"status": "changed", "reason": reason, "objectives": means}]
    counts = json.loads((out / "manifest.json").read_text())["cases"]["test_5"]["exports"]
    assert counts["pyradplan"] == {"left out": 0, "changed": len(means)}
    assert counts["eclipse"] == {"left out": 0, "changed": 0}
    assert read_objectives(out / "test_5" / "objectives.json") == tuple(asked)


def test_dvh_lines_are_lines_in_eclipse(prepared_root: Path, out: Path) -> None:
    run(
        job_config(
            prepared_root,
            out,
            "format=eclipse",
            "objectives=lines",
            "format.eclipse.normal_tissue={mode:auto,priority:90}",
        )
    )
    template = read_eclipse(out / "test_5" / XML)
    assert template.normal_tissue == NormalTissue("auto", 90.0)
    lines: dict[int, list[Objective]] = {}
    for item in template.items:
        if item.line is not None:
            lines.setdefault(item.line, []).append(item.objective)
    assert len(lines) >= 3
    for number, points in lines.items():
        assert len(points) > 1
        assert {(point.structure, point.priority) for point in points} == {(points[0].structure, 40.0)}, number
        doses = [point.dose_gy for point in points]
        assert doses == sorted(doses)  # type: ignore[type-var]
        volumes = [point.volume_percent for point in points]
        assert volumes == sorted(volumes, reverse=True)  # type: ignore[type-var]


OWN = ("PTV_High,Ziel 70", "PTV_Low,Ziel 56", "Parotid_L,Parotis li", "Parotid_R,Parotis re", "SpinalCord,Myelon")


def names(path: Path, *rows: str) -> Path:
    """A file of names; rows are TG-263 name, own name."""
    turned = [",".join(reversed(row.split(","))) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["source,name", *turned]) + "\n")
    return path


def test_own_names_are_written_and_helpers_keep_theirs(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    path = names(tmp_path / "names.csv", *OWN, "SpinalCord_PRV05,Myelon+5")
    run(job_config(prepared_root, out, "format=[json,eclipse]", f"names={path}"))
    back = {own: name for name, own in (row.split(",") for row in (*OWN, "SpinalCord_PRV05,Myelon+5"))}
    assert read_eclipse(out / "test_5" / XML, back).objectives == tuple(wanted(prepared_root))
    record = json.loads((out / "test_5" / "exports.json").read_text())["names"]
    assert (record["PTV_High"], record["SpinalCord_PRV05"]) == ("Ziel 70", "Myelon+5")
    assert record["Ring_PTV_High"] == "Ring_PTV_High"
    assert {objective.structure for objective in read_objectives(out / "test_5" / "objectives.json")} == set(record)


def test_a_folder_has_the_names_of_each_case(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    names(tmp_path / "names" / "test_5.csv", *OWN)
    run(job_config(prepared_root, out, "format=eclipse", f"names={tmp_path / 'names'}"))
    told = r"(?s)1 cases could not .*test_6: .*test_6\.csv: names cannot be read: No such file"
    with pytest.raises(InputError, match=told):
        run(job_config(prepared_root, out, "format=eclipse", f"names={tmp_path / 'names'}", "cases=all"))


def test_names_that_are_missing_or_too_long_are_told(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    path = names(tmp_path / "names.csv", *OWN[1:])
    with pytest.raises(InputError, match=r"names\.csv: names must have an entry for each of \['PTV_High'\]"):
        run(job_config(prepared_root, out, "format=eclipse", f"names={path}"))
    names(path, *OWN, "zTissue,Restliches Gewebe")
    told = r"must be allowed in Eclipse: 'Restliches Gewebe' has 17 characters, more than 16\. Give other names"
    with pytest.raises(InputError, match=told):
        run(job_config(prepared_root, out, "format=[eclipse,matrad]", f"names={path}"))
    assert not (out / "test_5" / "summary.json").exists()


def test_what_is_there_is_made_again_only_if_it_would_differ(prepared_root: Path, tmp_path: Path, out: Path) -> None:
    path = names(tmp_path / "names.csv", *OWN)
    asked = ["format=[json,eclipse]", f"names={path}"]
    run(job_config(prepared_root, out, *asked))
    before = {file: (out / "test_5" / file).stat().st_mtime_ns for file in files(out)}
    run(job_config(prepared_root, out, *asked))
    assert {file: (out / "test_5" / file).stat().st_mtime_ns for file in files(out)} == before
    names(path, *OWN, "zTissue,Rest")
    run(job_config(prepared_root, out, *asked))
    assert (out / "test_5" / XML).stat().st_mtime_ns != before[XML]
    (out / "test_5" / XML).unlink()
    run(job_config(prepared_root, out, *asked))
    assert 'ID="Rest"' in (out / "test_5" / XML).read_text()
    run(job_config(prepared_root, out, "format=raystation"))
    assert files(out) == {"raystation_objectives.py", "exports.json"} | ALWAYS
    run(job_config(prepared_root, out))
    assert files(out) == OURS | ALWAYS


def test_what_is_left_out_is_warned_of(
    prepared_root: Path, out: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dosewright.objectives.formats.portpy._QUADRATIC", {"squared_underdose": ("any",)})
    monkeypatch.setattr("dosewright.objectives.formats.portpy._MISSING", {"squared_overdose": "a test"})
    run(job_config(prepared_root, out, "format=portpy"))
    expected = sum(objective.kind == "squared_overdose" for objective in wanted(prepared_root))
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(f"test_5: portpy leaves out {expected} objectives" in message for message in warned)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("format=[]", r"format must be one or several of \('json', 'csv', .*'matrad'\); got \[\]"),
        ("format=nrrd", r"format must be one or several of .*; got \['_target_', "),
        ("names=absent.csv", r"absent\.csv: names must be a file or a folder; got 'nothing there'"),
        ("format.eclipse.required_priority=2000", r"required_priority must be in \[0, 1000\]; got 2000"),
        ("format.eclipse.normal_tissue={mode:auto}", "normal_tissue must be null, or mode and priority"),
        ("format.eclipse.normal_tissue={mode:sbrt,priority:1}", 'normal_tissue.mode must be "auto" or "manual"; got'),
    ],
)
def test_bad_settings_are_refused_before_any_work(prepared_root: Path, out: Path, override: str, told: str) -> None:
    formats = [] if override.startswith("format=") else ["format=eclipse"]
    with pytest.raises(InputError, match=told):
        run(job_config(prepared_root, out, *formats, override))
    assert not out.exists()
