"""The user's own names, and the report they start from."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from dosewright.core import InputError
from dosewright.io.tg263 import NameMatch, NameReport, TG263Matcher, names_table, read_overrides, write_names
from dosewright.io.tg263.overrides import BYTES_MAX, ROWS_MAX


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    rows = "source,name\nNeck post,Neck_Posterior\nBrain,\n  Lt   PAROTID,Parotid_L\n"
    table = written(tmp_path / "names.csv", b"\xef\xbb\xbf" + rows.encode())
    content = {"Neck post": "Neck_Posterior", "Brain": None, "Lt PAROTID": "Parotid_L"}
    object_ = written(tmp_path / "names.json", json.dumps(content))
    expected = {"Neck post": "Neck_Posterior", "Brain": "", "Lt PAROTID": "Parotid_L"}
    assert read_overrides(table) == read_overrides(object_) == expected


def test_overrides_have_the_last_word() -> None:
    matcher = TG263Matcher({"Heart": "Liver", "brain": "", "PTV 70": "PTV_High"})
    report = matcher.match(["HEART", "Brain ", "ptv  70", "Herz", "cord"])
    assert report.mapping == {"HEART": "Liver", "ptv  70": "PTV_High", "Herz": "Heart", "cord": "SpinalCord"}
    left_out = report.of("Brain ")
    assert (left_out.name, left_out.how, left_out.note) == (None, "override", "left out")
    assert report.unused_overrides == ()
    assert TG263Matcher({"x": "Heart"}).match(["cord"]).unused_overrides == ("x",)
    with pytest.raises(KeyError):
        report.of("Liver")


def test_an_override_beats_a_name_of_the_standard() -> None:
    report = TG263Matcher({"Cord": "SpinalCord"}).match(["SpinalCord", "Cord"])
    assert report.mapping == {"Cord": "SpinalCord"}
    assert report.of("SpinalCord").note == "'Cord' is SpinalCord already"


def test_two_overrides_for_one_name_of_a_case_are_refused() -> None:
    matcher = TG263Matcher({"Cord": "SpinalCord", "Myelon": "SpinalCord"})
    assert matcher.match(["Myelon"]).mapping == {"Myelon": "SpinalCord"}
    with pytest.raises(InputError, match="must give SpinalCord to one structure of a case"):
        matcher.match(["Cord", "Myelon"])


def test_the_report_of_a_case_is_an_override_file_to_fill(tmp_path: Path) -> None:
    names = ["Lt Lung", "Mystery", "=2+5", "Brain1", "-PTV", "'quoted'", 'a "b", c']
    report = TG263Matcher().match(names)
    path = write_names(tmp_path / "names.csv", report)
    text = path.read_text()
    assert text.splitlines()[0] == "source,name,how,confidence,note"
    assert text.splitlines()[1] == "Lt Lung,Lung_L,synonym,0.95,"
    assert "\n'=2+5," in text
    assert "\n'-PTV," in text
    text = text.replace("Mystery,,", "Mystery,Stomach,").replace("'=2+5,,", "'=2+5,Spleen,")
    overrides = read_overrides(written(path, text))
    assert overrides["=2+5"] == "Spleen"
    again = TG263Matcher(overrides).match(names)
    assert again.mapping == {"Lt Lung": "Lung_L", "Mystery": "Stomach", "=2+5": "Spleen", "Brain1": "Brain"}
    assert again.of("'quoted'").how == "unmatched"


@given(st.lists(st.text(min_size=1, max_size=20), max_size=8, unique=True))
@settings(max_examples=60, deadline=None)
def test_every_source_survives_the_report(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    names = [name for name in names if name.strip() and name == " ".join(name.split())]
    names = list({name.casefold(): name for name in names}.values())
    report = NameReport(tuple(NameMatch(name, "Heart", "exact", 1.0) for name in names))
    path = write_names(tmp_path_factory.mktemp("names") / "names.csv", report)
    assert read_overrides(path) == dict.fromkeys(names, "Heart")


@pytest.mark.parametrize(
    ("file_name", "text", "rule"),
    [
        ("n.txt", "source,name\n", r"file name must end on \.csv or \.json"),
        ("n.csv", "name\nHeart\n", "header must have columns source and name"),
        ("n.csv", "source,name\nHeart\n", "row 2 must have columns source and name"),
        ("n.csv", "source,name\nA,Heart\nA,Liver\n", "source must occur once"),
        ("n.csv", "source,name\nA b,Heart\na  B,Heart\n", "source must occur once"),
        ("n.csv", "source,name\nA,Lt Lung\n", "name of 'A' must be a structure name"),
        ("n.csv", "source,name\nA,../etc\n", "name of 'A' must be a structure name"),
        ("n.csv", "source,name\nA," + "x" * 65 + "\n", "name of 'A' must be a structure name"),
        ("n.csv", "source,name\n,Heart\n", "source must be a text of 1 to 256"),
        ("n.csv", "source,name\n" + "x" * 257 + ",Heart\n", "source must be a text of 1 to 256"),
        (
            "n.csv",
            "source,name\n" + "".join(f"s{n},\n" for n in range(ROWS_MAX + 1)),
            "number of names must be at most",
        ),
        ("n.csv", b"source,name\n\xff\xfe,Heart\n", "content must be CSV in UTF-8"),
        ("n.csv", 'source,name\n"A"x,Heart\n', "content must be CSV in UTF-8"),
        ("n.csv", "source,name\n" + "x" * 140_000 + ",Heart\n", "content must be CSV in UTF-8"),
        ("n.csv", b"x" * (BYTES_MAX + 1), "file must have at most 1000000 bytes"),
        ("n.json", "[1]", "content must be an object"),
        ("n.json", '{"A": 1}', "name of 'A' must be a structure name or null"),
        ("n.json", '{"A": "Heart", "A": "Liver"}', "key must occur once"),
        ("n.json", "{", "content must be JSON"),
        ("n.json", json.dumps({f"s{n}": "" for n in range(ROWS_MAX + 1)}), "number of names must be at most"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path: Path, file_name: str, text: str | bytes, rule: str) -> None:
    path = written(tmp_path / file_name, text)
    with pytest.raises(InputError, match=rule) as caught:
        read_overrides(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["absent.csv", "absent.json"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_overrides(tmp_path / name)


def test_what_a_matcher_is_given_is_checked() -> None:
    with pytest.raises(InputError, match="must be a structure name"):
        TG263Matcher({"A": "no good"})
    with pytest.raises(InputError, match="number of names must be at most"):
        TG263Matcher().match(["a"] * 10_001)


def test_the_same_thing_twice_is_neither() -> None:
    report = TG263Matcher().match(["BrainStem", "brain stem", "Brainstem PRV", "Brain", "BRAIN", "heart", "heart"])
    assert report.mapping == {"Brainstem PRV": "Brainstem_PRV", "Brain": "Brain"}
    assert report.of("BrainStem").note == "means Brainstem, as 'brain stem' does: say which by an override"
    assert report.of("BRAIN").note == "'Brain' is Brain already"
    assert report.of("heart").how == "unmatched"


def test_a_guess_never_takes_a_name_from_a_match() -> None:
    report = TG263Matcher().match(["Brain1", "brain", "Hart", "Heart2", "Livver"])
    assert report.names(accept_fuzzy=True) == {"brain": "Brain", "Hart": "Heart", "Livver": "Liver"}
    assert report.mapping == {"brain": "Brain", "Hart": "Heart"}


def test_devices_are_named_but_left_out() -> None:
    report = TG263Matcher().match(["CouchSurface", "Bolus", "Heart"])
    assert report.mapping == {"Heart": "Heart"}
    assert report.names(devices=True)["Bolus"] == "Bolus"


def test_the_table_shows_hostile_names_as_they_are() -> None:
    console = Console(width=200, record=True, file=None, force_terminal=False)
    report = TG263Matcher().match(["[red]Lt Lung[/red]", "\x1b[2Jclear", "heart", "x" * 300])
    with console.capture() as capture:
        console.print(names_table(report))
    shown = capture.get()
    assert "[red]Lt Lung[/red]" in shown
    assert "\x1b" not in shown
    assert r"\x1b[2Jclear" in shown
    assert "Structure names: 1 synonym, 3 unmatched" in shown
    assert "x" * 81 not in shown
