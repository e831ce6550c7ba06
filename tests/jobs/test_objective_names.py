from pathlib import Path

import pytest

from dosewright.core import InputError
from dosewright.jobs.objective_names import read_own_names


def names(folder: Path, *lines: str) -> Path:
    path = folder / "names.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_names_are_turned_around(tmp_path: Path) -> None:
    rows = ("source,name", "Parotis li,Parotid_L", '"Größe, ""1""",PTV_High', "not matched,")
    assert read_own_names(names(tmp_path, *rows)) == {"Parotid_L": "Parotis li", "PTV_High": 'Größe, "1"'}


def test_a_report_of_names_is_taken_and_guesses_give_way(tmp_path: Path) -> None:
    report = names(
        tmp_path,
        "source,name,how,confidence,note",
        "parotisli,Parotid_L,fuzzy,0.8,",
        "Parotis links,Parotid_L,synonym,1.0,",
        "Kehlkopff,Larynx,fuzzy,0.9,",
    )
    assert read_own_names(report) == {"Parotid_L": "Parotis links", "Larynx": "Kehlkopff"}


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_bytes(b"\xef\xbb\xbfsource,name\r\nHerz,Heart\r\n")
    assert read_own_names(path) == {"Heart": "Herz"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"own,name\n", r"names must have the columns source and name; got \['own', 'name'\]"),
        (b"", "names must have the columns source and name; got None"),
        (b"source,name\nA,Heart\nB,Heart\n", r"names: Heart must have one row for each name; got \('A', 'B'\)"),
        (b"source,name\nA,Heart\nA,Larynx\n", r"names must give each source one name; got \['A'\]"),
        (b"source,name\n\xff\xfe,Heart\n", "names must be a CSV in UTF-8"),
        (b'source,name\n"A,Heart\n', "names must be a CSV in UTF-8"),
        (b"source,name\n" + b" " * 1_000_000, "names must have at most 1000000 bytes"),
    ],
)
def test_what_cannot_be_names_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_own_names(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv: names cannot be read: No such file"):
        read_own_names(tmp_path / "absent.csv")
