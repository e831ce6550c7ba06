import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import GridMismatchError, SubmissionError
from dosewright.submission.openkbp import write_submission
from dosewright.submission.validate_openkbp import require_valid, validate

SHAPE = (128, 128, 128)
EXPECTED = ("pt_1", "pt_2")
ROWS = [f"{1_000_000 + at},{50 + at % 20}.5" for at in range(1200)]


def content(change: dict[int, str] | None = None, header: str = ",data") -> str:
    """A valid file; `change` replaces rows by their number in the file, the header being row 1."""
    rows = ROWS.copy()
    for row, text in (change or {}).items():
        rows[row - 2] = text
    return "\n".join([header, *rows]) + "\n"


def make(path: Path, entries: list[tuple[str | zipfile.ZipInfo, str]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries:
            archive.writestr(name, text)
    return path


@pytest.fixture
def submit(tmp_path: Path) -> Callable[..., str]:
    """Return the message about a zip of a good pt_1 and the given further entries."""

    def build(*entries: tuple[str | zipfile.ZipInfo, str]) -> str:
        path = make(tmp_path / "sub.zip", [("pt_1.csv", content()), *entries])
        with pytest.raises(SubmissionError) as caught:
            require_valid(path, EXPECTED)
        return str(caught.value)

    return build


def test_what_the_writer_writes_is_valid(tmp_path: Path) -> None:
    dose = np.zeros(SHAPE, np.float32)
    dose[50:70, 50:70, 50:70] = 60.0
    path = write_submission([(patient, dose) for patient in EXPECTED], tmp_path / "sub.zip")
    masks = dict.fromkeys(EXPECTED, dose > 0)
    assert validate(path, EXPECTED, masks) == []
    assert require_valid(path, EXPECTED, masks) == []


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "sub.zip"
    path.write_text(content())
    with pytest.raises(SubmissionError, match=r"sub\.zip: must be a zip; got a file starting with b',dat'"):
        require_valid(path, EXPECTED)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"sub\.zip: must exist; got no such file"):
        require_valid(tmp_path / "sub.zip", EXPECTED)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"must be a readable file; got Is a directory"):
        require_valid(tmp_path, EXPECTED)


def test_a_truncated_zip(tmp_path: Path) -> None:
    path = make(tmp_path / "sub.zip", [("pt_1.csv", content()), ("pt_2.csv", content())])
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SubmissionError, match=r"sub\.zip: must be a complete zip: its end is missing"):
        require_valid(path, EXPECTED)


def test_damaged_content(tmp_path: Path) -> None:
    path = tmp_path / "sub.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that a digit can be changed in place
        for patient in EXPECTED:
            archive.writestr(f"{patient}.csv", content({5: "1000003,77.125"} if patient == "pt_2" else None))
    path.write_bytes(path.read_bytes().replace(b"77.125", b"77.225"))
    with pytest.raises(SubmissionError, match=r"pt_2\.csv: must be undamaged; got Bad CRC-32"):
        require_valid(path, EXPECTED)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("predictions/", "predictions/: must not be there: zip the files themselves, not their folder"),
        ("results/pt_2.csv", "results/pt_2.csv: must not be inside a folder: zip the files themselves"),
        ("__MACOSX/._pt_1.csv", "__MACOSX/._pt_1.csv: must not be there: it is a hidden file"),
        (".DS_Store", ".DS_Store: must not be there: it is a hidden file"),
        ("._pt_1.csv", "._pt_1.csv: must not be there: it is a hidden file"),
        ("../pt_2.csv", "../pt_2.csv: must not point outside the folder it is unpacked in"),
        ("/etc/pt_2.csv", "/etc/pt_2.csv: must not point outside the folder it is unpacked in"),
        ("C:/pt_2.csv", "C:/pt_2.csv: must not point outside the folder it is unpacked in"),
        ("..\\pt_2.csv", "..\\pt_2.csv: must not point outside the folder it is unpacked in"),
        ("patient_2.csv", "patient_2.csv: must be named pt_N.csv"),
        ("pt_02.csv", "pt_02.csv: must be named pt_N.csv"),
        ("PT_2.csv", "PT_2.csv: must be named pt_N.csv"),
        ("pt_2.CSV", "pt_2.CSV: must be named pt_N.csv"),
        ("pt_2.txt", "pt_2.txt: must be named pt_N.csv"),
        ("pt_3.csv", "pt_3.csv: is not a patient of this set"),
    ],
)
def test_names(submit: Callable[..., str], name: str, expected: str) -> None:
    message = submit((name, "" if name.endswith("/") else content()))
    assert f"\n  {expected}" in message


def test_missing_patient(submit: Callable[..., str]) -> None:
    assert submit().endswith("1 problem\n  pt_2.csv: is missing: every patient must be predicted")


def test_a_patient_in_a_folder_is_not_called_missing_too(submit: Callable[..., str]) -> None:
    assert submit(("all/pt_2.csv", content())).count("\n") == 1


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_entry(submit: Callable[..., str]) -> None:
    message = submit(("pt_2.csv", content()), ("pt_2.csv", content()))
    assert "pt_2.csv: must appear once in the zip; got 2 times" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({9: "2097152,60.0"}, "row 9: the index must be in [0, 2097152), a flat index into 128×128×128; got 2097152"),
        ({9: "-1,60.0"}, "row 9: the index must be in [0, 2097152), a flat index into 128×128×128; got -1"),
        ({9: f"{10**30},6.0"}, "row 9: the index must be in [0, 2097152), a flat index into 128×128×128; got 4611"),
        ({9: "1000000,60.0"}, "row 9: the index must appear once; got 1000000"),
        ({9: "1000003.5,60.0"}, "row 9: the index must be a whole number; got '1000003.5,60.0'"),
        ({9: "1000003.0,60.0"}, "row 9: the index must be a whole number; got '1000003.0,60.0'"),
        ({9: "a,60.0"}, "row 9: the index must be a whole number; got 'a,60.0'"),
        ({9: "1000003,sixty"}, "row 9: the dose must be a number; got '1000003,sixty'"),
        ({9: "1000003,6_0"}, "row 9: the dose must be a number; got '1000003,6_0'"),
        ({9: "1000003,"}, "row 9: the dose must not be left empty: it reads as NaN; got '1000003,'"),
        ({9: "1000003;60.0"}, "row 9: a row must be index,dose; got '1000003;60.0'"),
        ({9: "1000003,60,0"}, "row 9: a row must be index,dose; got '1000003,60,0'"),
        ({9: ""}, "row 9: a row must be index,dose; got ''"),
        ({9: "x", 30: "y", 77: "z"}, "row 9: a row must be index,dose (and in 2 more rows); got 'x'"),
        ({9: "1000003,-0.25"}, "row 9: the dose must not be negative; got -0.25"),
        ({9: "1000003,-0.25", 8: "1000004,-3"}, "row 8: the dose must not be negative (and in 1 more rows); got -3.0"),
        ({9: "1000003,nan"}, "row 9: the dose must be finite; got nan"),
        ({9: "1000003,-inf"}, "row 9: the dose must be finite; got -inf"),
        ({9: "1000003,7000"}, "row 9: the dose must be total Gy, at most 250 (is it in cGy?); got 7000.0"),
        ({9: "1000003,-1", 8: "x,5"}, "row 9: the dose must not be negative; got -1.0"),
    ],
)
def test_rows(submit: Callable[..., str], change: dict[int, str], expected: str) -> None:
    assert f"\n  pt_2.csv, {expected}" in submit(("pt_2.csv", content(change)))


@pytest.mark.parametrize("header", ["", "index,data", "data", ",dose", "\ufeff,data"])
def test_header(submit: Callable[..., str], header: str) -> None:
    message = submit(("pt_2.csv", content(header=header)))
    if header.startswith("\ufeff"):
        assert r"pt_2.csv: must be plain ASCII text; got b'\xef\xbb\xbf,data" in message
    else:
        assert f"pt_2.csv, row 1: the header must be ',data'; got {header!r}" in message


def test_an_empty_file(submit: Callable[..., str]) -> None:
    assert "pt_2.csv, row 1: the header must be ',data'; got ''" in submit(("pt_2.csv", ""))


def test_nearly_empty_doses(submit: Callable[..., str]) -> None:
    assert "pt_2.csv: must hold dose in at least 1000 voxels; the dose is nearly empty; got 999 voxels" in submit(
        ("pt_2.csv", "\n".join([",data", *ROWS[:999]]))
    )
    assert "got 0 voxels" in submit(("pt_2.csv", ",data\n"))
    zeros = [f"{at},0.0" for at in range(3000)]
    assert "got 0 voxels" in submit(("pt_2.csv", "\n".join([",data", *zeros])))
    scaled = [f"{at},0.97" for at in range(3000)]
    rule = "pt_2.csv: must reach 10 Gy; the dose is nearly zero (is it scaled to [0, 1]?); got at most 0.97 Gy"
    assert rule in submit(("pt_2.csv", "\n".join([",data", *scaled])))


def test_dose_outside_the_mask_is_a_warning(tmp_path: Path) -> None:
    path = make(tmp_path / "sub.zip", [("pt_1.csv", content()), ("pt_2.csv", content())])
    mask = np.ones(SHAPE, bool)
    axis_0, axis_1, axis_2 = np.unravel_index([1_000_003, 1_000_005], SHAPE)
    mask[127 - axis_2, axis_0, axis_1] = False
    warnings = require_valid(path, EXPECTED, {"pt_2": mask})
    rule = "dose lies outside the possible dose mask, where the reference is zero (and in 1 more rows)"
    assert [str(w) for w in warnings] == [f"pt_2.csv, row 5: {rule}; got 53.5"]
    assert [w.severity for w in warnings] == ["warning"]
    with pytest.raises(GridMismatchError, match=r"masks\[pt_2\] must have shape \(128, 128, 128\)"):
        validate(path, EXPECTED, {"pt_2": mask[1:]})


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pt_1.csv", content())
        with archive.open("pt_2.csv", "w", force_zip64=True) as stream:
            for _ in range(201):
                stream.write(bytes(10**6))
    real = zipfile.ZipFile.read

    def read(self: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        assert entry.filename == "pt_1.csv"
        return real(self, entry)

    monkeypatch.setattr(zipfile.ZipFile, "read", read)
    with pytest.raises(SubmissionError, match=r"pt_2\.csv: must unpack to at most 200 MB; .*; got 201 MB"):
        require_valid(path, EXPECTED)


def test_encrypted_entries_and_links(tmp_path: Path, submit: Callable[..., str]) -> None:
    link = zipfile.ZipInfo("pt_2.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "pt_2.csv: must be a file, not a link" in submit((link, "/etc/passwd"))
    path = make(tmp_path / "sub.zip", [("pt_1.csv", content()), ("pt_2.csv", content())])
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the central directory's entry of pt_2; its flags are at byte 8
    data[at + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(SubmissionError, match=r"pt_2\.csv: must not be encrypted"):
        require_valid(path, EXPECTED)


def test_every_problem_is_listed(submit: Callable[..., str]) -> None:
    message = submit((".DS_Store", ""), ("pt_3.csv", content({4: "1000002,-1", 7: "1000005,nan"})), ("notes.txt", ""))
    assert "sub.zip: 6 problems\n" in message
    assert message.count("\n  ") == 6
