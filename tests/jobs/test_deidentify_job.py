"""`dosewright deidentify`: copies, and not a trace of the patient in them, in messages or beside them."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from dicom_written import octant_case
from dosewright.core import InputError
from dosewright.io.dicom.write_study import PatientName, write_study
from dosewright.jobs.deidentify import NAMES, run
from tiny import config

SECRET = "zebedee"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in a folder, and with a file, named by the patient; among them one file that is no DICOM."""
    folder = tmp_path_factory.mktemp("in") / "Zebedee"
    for path in write_study(octant_case(), folder, patient=PatientName("Zebedee^Quux", "ZEBEDEE-4711")).paths:
        one = pydicom.dcmread(path)
        one.StudyDate, one.InstitutionName = "20230405", "Zebedee's"
        one.save_as(path)
    (folder / "A_Zebedee.txt").write_text("Zebedee")
    return folder


def files_in(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_copies_are_written_and_files_told_by_number(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with caplog.at_level(logging.DEBUG):
        result = run(config("deidentify", f"folder={source}", f"out={out}"))
    assert result == {"files": 12, "patients": 1, "renamed": 0, "left_out": 1}
    assert "file 1 of 13, sorted by path: left out, not readable as DICOM" in caplog.text
    assert "12 files of 1 patients written, 0 structures renamed; left out: 1 not readable as DICOM" in caplog.text
    told = capfd.readouterr()
    assert SECRET not in (caplog.text + told.out + told.err).lower()
    written = files_in(out)
    assert len(written) == 13
    assert not [
        name for name, content in written.items() if SECRET in name.lower() or SECRET.encode() in content.lower()
    ]
    assert written[NAMES].decode().split() == ["External", "PTV_High", "Parotid_L", "zRing"]
    first = next(path for path in out.rglob("CT.*.dcm"))
    assert pydicom.dcmread(first).StudyDate == ""


def test_what_is_there_is_overwritten_only_when_asked(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(config("deidentify", f"folder={source}", f"out={out}", "key=a"))
    before = files_in(out)
    with pytest.raises(InputError, match="out must be absent or empty"):
        run(config("deidentify", f"folder={source}", f"out={out}"))
    run(config("deidentify", f"folder={source}", f"out={out}", "key=a", "overwrite=true"))
    assert files_in(out) == before
    changed = ("overwrite=true", "key=b", "dates=shift", "keep_structure_names=false")
    result = run(config("deidentify", f"folder={source}", f"out={out}", *changed))
    assert result["renamed"] == 4
    after = files_in(out)
    assert len(after) == 12  # no names are left to look through
    assert not set(before) & set(after)
    assert {pydicom.dcmread(path).StudyDate for path in out.rglob("*.dcm")} != {""}
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"out must hold nothing but what an earlier run wrote.*1 other files"):
        run(config("deidentify", f"folder={source}", f"out={out}", "overwrite=true"))
    assert files_in(out).keys() == {*after, "thesis.txt"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["out={folder}/out"], "out must not lie within the folder that is read"),
        (["out={folder}/out", "overwrite=true"], "folder and out must not lie within the other"),
        (["out={folder}/..", "overwrite=true"], "folder and out must not lie within the other"),
        (["folder={folder}/none", "out={folder}-out"], "folder must be a folder"),
        (["out={folder}-out", "dates=keep"], "dates must be one of"),
        (["out={folder}-out", "key=12"], "key must be a text"),
        (["out={folder}-out", "overwrite=yes"], "overwrite must be true or false"),
        (["out={folder}-out", "keep_structure_names=no"], "keep_structure_names must be true or false"),
    ],
)
def test_what_is_asked_must_make_sense(source: Path, overrides: list[str], message: str) -> None:
    before = files_in(source)
    with pytest.raises(InputError, match=message):
        run(config("deidentify", f"folder={source}", *(one.format(folder=source) for one in overrides)))
    assert files_in(source) == before
    assert not Path(f"{source}-out").exists()


def test_the_command_leaves_neither_configuration_nor_log(source: Path, tmp_path: Path) -> None:
    """The key, and the name of the folder, would be in them."""
    command = [sys.executable, "-m", "dosewright.jobs.cli", "deidentify", f"folder={source}", "out=out"]
    command.append("key=${oc.env:THE_KEY}")
    environment = {**os.environ, "THE_KEY": "sesame"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {".dcm", ".txt"}
    assert SECRET not in (done.stdout + done.stderr).lower()
    swept = subprocess.run([*command, "-m"], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert swept.returncode != 0
    assert "this_job_is_not_for_sweeps" in swept.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
