"""The CSV worked out by hand, and the script run against a stub of ESAPI where a C# compiler is installed."""

import csv
import shutil
import subprocess
from pathlib import Path

import pytest
from export_samples import HOSTILE, content, line, text

from dosewright.objectives import Objective
from dosewright.objectives.formats.esapi import COLUMNS, EsapiFormat
from dosewright.objectives.formats.normal_tissue import NormalTissue

TABLE, SCRIPT = EsapiFormat.files
ASKED = (
    Objective("PTV", "squared_underdose", 70.7, priority=300),
    Objective("Larynx", "mean_upper", 26.0, priority=10),
    Objective("Larynx", "geud_upper", 20.0, priority=0.5, exponent=4),
    Objective("PTV", "max_dose", 75.0, constraint=True),
)
STUB = Path(__file__).with_name("esapi_stub.cs")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_rows_hold_total_gy_and_percent(tmp_path: Path) -> None:
    normal_tissue = NormalTissue("manual", 150, 3.5, 100, 40, 0.05)
    EsapiFormat(800, normal_tissue).write(tmp_path, content(ASKED))
    assert text(tmp_path, TABLE).splitlines() == [
        ",".join(COLUMNS),
        "PTV,Point,Lower,70.7,100,300,,,,,",
        "PTV,Point,Upper,75,0,800,,,,,",
        "Larynx,Mean,,26,,10,,,,,",
        "Larynx,gEUD,Upper,20,,0.5,4,,,,",
        ",NormalTissue,,,,150,,3.5,100,40,0.05",
    ]
    assert COLUMNS[3:5] == ("dose_total_gy", "volume_percent")
    EsapiFormat(800, NormalTissue("auto", 90)).write(tmp_path, content([]))
    assert text(tmp_path, TABLE).splitlines()[1:] == [",AutomaticNormalTissue,,,,90,,,,,"]


def test_lines_become_points_and_that_is_told(tmp_path: Path) -> None:
    written = EsapiFormat().write(tmp_path, content(line("Larynx")))
    assert [(row["objective"], row["dose_total_gy"], row["volume_percent"]) for row in rows(tmp_path)] == [
        *(("Point", "60", "0"), ("Point", "30", "20"), ("Point", "10.5", "50")),
    ]
    assert (written.count("changed"), written.remarks[0].reason) == (
        3,
        "ESAPI has no call for lines: a point of its own",
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_no_formula_and_comes_back(name: str, tmp_path: Path) -> None:
    EsapiFormat().write(tmp_path, content(ASKED, {"PTV": name}))
    found = [row["structure_id"] for row in rows(tmp_path)]
    assert not any(field.startswith(("=", "+", "-", "@")) for field in found)
    assert [field.removeprefix("'") for field in found] == [name, name, "Larynx", "Larynx"]
    assert name not in text(tmp_path, SCRIPT)


def test_the_script_holds_no_name_and_no_dose(tmp_path: Path) -> None:
    EsapiFormat().write(tmp_path / "one", content(ASKED))
    EsapiFormat().write(tmp_path / "two", content([]))
    assert text(tmp_path / "one", SCRIPT) == text(tmp_path / "two", SCRIPT)
    assert all(f'"{column}"' in text(tmp_path / "one", SCRIPT) for column in COLUMNS)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script compiled with the stub, in the version of the language that Eclipse compiles."""
    if shutil.which("mcs") is None or shutil.which("mono") is None:
        pytest.skip("no C# compiler (mono-mcs)")
    folder = tmp_path_factory.mktemp("esapi")
    EsapiFormat().write(folder, content([]))
    path = folder / "program.exe"
    command = ["mcs", "-langversion:5", f"-out:{path}", str(folder / SCRIPT), str(STUB)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return path


def run(program: Path, table: Path, unit: str, *structures: str) -> list[str]:
    command = ["mono", str(program), str(table), unit, *structures]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8-sig")
    return done.stdout.splitlines()


def test_the_script_adds_what_the_table_says(program: Path, tmp_path: Path) -> None:
    manual = NormalTissue("manual", 150, 3.5, 100, 40, 0.05)
    EsapiFormat(800, manual).write(tmp_path, content(ASKED, {"PTV": '=Ziel, "1"'}))
    said = run(program, tmp_path / TABLE, "Gy", '=ZIEL, "1"', "Larynx")
    assert said == [
        "QUESTION Add 5 objectives to plan Plan1?",
        "BEGIN",
        'CALL Point|=ZIEL, "1"|Lower|70.7Gy|100|300',
        'CALL Point|=ZIEL, "1"|Upper|75Gy|0|800',
        "CALL Mean|Larynx|26Gy|10",
        "CALL gEUD|Larynx|Upper|20Gy|4|0.5",
        "CALL NTO|150|3.5|100|40|0.05",
        "MESSAGE 5 objectives were added. Look at each of them.",
    ]


def test_the_script_turns_doses_into_the_plans_unit(program: Path, tmp_path: Path) -> None:
    EsapiFormat(normal_tissue=NormalTissue("auto", 90)).write(tmp_path, content(ASKED[:2]))
    calls = [row for row in run(program, tmp_path / TABLE, "cGy", "PTV", "Larynx") if row.startswith("CALL")]
    assert calls == ["CALL Point|PTV|Lower|7070cGy|100|300", "CALL Mean|Larynx|2600cGy|10", "CALL AutoNTO|90"]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_script_finds_hostile_names(program: Path, name: str, tmp_path: Path) -> None:
    EsapiFormat().write(tmp_path, content(ASKED[:1], {"PTV": name}))
    assert f"CALL Point|{name}|Lower|70.7Gy|100|300" in run(program, tmp_path / TABLE, "Gy", name)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Larynx,Mean", "Pharynx,Mean", "Row 3: no structure 'Pharynx', or it is empty."),
        ("70.7", '"70,7"', "Row 2: dose_total_gy must be a number."),
        ("70.7", "70,7", "Row 2 must have 11 fields."),
        ("Lower", "Below", "Row 2: unknown operator 'Below'."),
        ("Point", "Blob", "Row 2: unknown objective 'Blob'."),
        (",300,", ",3000,", "Row 2: the priority must be in 0 to 1000."),
        ("dose_total_gy", "dose_cgy", "The first line must name the columns " + ",".join(COLUMNS) + "."),
        ("PTV", '"PTV', "A quote is not closed."),
    ],
)
def test_the_script_adds_nothing_if_a_row_is_wrong(
    program: Path, old: str, new: str, told: str, tmp_path: Path
) -> None:
    EsapiFormat().write(tmp_path, content(ASKED[:2]))
    (tmp_path / TABLE).write_text(text(tmp_path, TABLE).replace(old, new, 1))
    assert run(program, tmp_path / TABLE, "Gy", "PTV", "Larynx") == [f"MESSAGE Nothing was added. {told}"]
