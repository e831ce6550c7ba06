"""GDP-HMM's flat zip: what is written is valid, and every way to be refused is named."""

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import SubmissionError
from dosewright.submission.gdp_hmm import write_result, write_submission
from dosewright.submission.validate_gdp_hmm import require_valid, validate

SHAPES = {"P1+9Ag+A": (3, 4, 5), "P2+2Ac+B": (4, 3, 2)}
DOSES = {plan: np.full(shape, 60.0, np.float32) for plan, shape in SHAPES.items()}
NAME, OTHER = (f"{plan}_pred.npy" for plan in SHAPES)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


GOOD = npy(DOSES["P1+9Ag+A"])


def test_what_is_written_is_valid_and_numpy_reads_it(tmp_path: Path) -> None:
    path = write_submission(DOSES.items(), tmp_path / "sub.zip")
    assert validate(path, SHAPES) == []
    assert require_valid(path, SHAPES) == []
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [NAME, OTHER]
        for plan, dose in DOSES.items():
            back = np.load(io.BytesIO(archive.read(f"{plan}_pred.npy")))
            assert back.dtype == np.float32
            np.testing.assert_array_equal(back, dose)
    first = path.read_bytes()
    assert write_submission(DOSES.items(), path).read_bytes() == first


def test_a_result_is_the_same_file(tmp_path: Path) -> None:
    path = write_result(tmp_path / "results", "P1+9Ag+A", np.asfortranarray(DOSES["P1+9Ag+A"]))
    assert path.name == NAME
    assert path.read_bytes() == GOOD


@pytest.mark.parametrize(
    ("plan", "dose", "message"),
    [
        ("pt_1", DOSES["P1+9Ag+A"], r"plan must be <PID>\+<PlanID>\+<suffix>; got 'pt_1'"),
        ("../P1+9Ag", DOSES["P1+9Ag+A"], "plan must be"),
        (
            "P1+9Ag+A",
            np.full((2, 2, 2), -1.0),
            r"dose of P1.* must be in \[0, 250\] Gy total; got \(-1.0, -1.0\)",
        ),
        ("P1+9Ag+A", np.full((2, 2, 2), 6000.0), r"must be in \[0, 250\] Gy total"),
        ("P1+9Ag+A", np.full((2, 2, 2), np.nan), "must be finite; got '8 voxels NaN or infinite'"),
    ],
)
def test_the_writer_refuses(tmp_path: Path, plan: str, dose: np.ndarray, message: str) -> None:
    with pytest.raises(SubmissionError, match=message):
        write_submission([(plan, dose)], tmp_path / "sub.zip")
    with pytest.raises(SubmissionError, match=message):
        write_result(tmp_path, plan, dose)
    assert list(tmp_path.iterdir()) == []


def test_the_writer_refuses_nothing_twice_and_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="predictions must hold at least one plan"):
        write_submission([], tmp_path / "sub.zip")
    with pytest.raises(SubmissionError, match=r"plan must appear once; got 'P1\+9Ag\+A'"):
        write_submission([*DOSES.items(), *DOSES.items()], tmp_path / "sub.zip")
    with pytest.raises(SubmissionError, match=r"path must end in \.zip"):
        write_submission(DOSES.items(), tmp_path / "sub.tar")
    assert list(tmp_path.iterdir()) == []


Entry = tuple[str | zipfile.ZipInfo, bytes]


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(OTHER)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


BAD: dict[str, tuple[list[Entry], str]] = {
    "missing": ([], rf"{OTHER}: is missing: every plan must be predicted"),
    "extra": (
        [(OTHER, npy(DOSES["P2+2Ac+B"])), ("P3+9Ag+C_pred.npy", GOOD)],
        "P3.9Ag.C_pred.npy: is not a plan",
    ),
    "in a folder": ([(f"out/{OTHER}", GOOD)], "must not be inside a folder"),
    "a folder": ([("out/", b"")], "zip the files themselves, not their folder"),
    "litter": ([("__MACOSX/._x", b"")], "a hidden file of the operating system"),
    "zip slip": ([(f"../{OTHER}", GOOD)], "must not point outside the folder"),
    "another name": ([("P2+2Ac+B.npy", GOOD)], r"must be named <PID>\+<PlanID>\+<suffix>_pred\.npy"),
    "twice": ([(NAME, GOOD)], rf"{NAME}: must appear once in the zip; got 2 times"),
    "no npy": ([(OTHER, b"PK\x03\x04" * 30)], rf"{OTHER}: must be an .npy file; got npy must start as an .npy file"),
    "empty": ([(OTHER, b"")], "must be an .npy file"),
    "cut off": ([(OTHER, npy(DOSES["P2+2Ac+B"])[:-4])], "must hold as many bytes as its header says; got 92"),
    "objects": ([(OTHER, npy(np.array([[[print]]], object)))], "must be of float32 or float64; got object"),
    "integers": ([(OTHER, npy(np.ones((4, 3, 2), np.int64)))], "must be of float32 or float64; got int64"),
    "half": ([(OTHER, npy(np.ones((4, 3, 2), np.float16)))], "must be of float32 or float64; got float16"),
    "another shape": ([(OTHER, npy(np.ones((2, 3, 4))))], r"own shape \(4, 3, 2\) \(z, y, x\); got \(2, 3, 4\)"),
    "another order": ([(OTHER, npy(np.asfortranarray(np.full((4, 3, 2), 60.0))))], "must be in C order"),
    "not finite": ([(OTHER, npy(np.full((4, 3, 2), np.inf)))], "must be finite; got 24 voxels NaN or infinite"),
    "negative": ([(OTHER, npy(np.full((4, 3, 2), -0.5)))], "must not be negative; got -0.5"),
    "in cGy": ([(OTHER, npy(np.full((4, 3, 2), 6000.0)))], r"at most 250 \(is it in cGy\?\); got 6000"),
    "divided by ten": ([(OTHER, npy(np.full((4, 3, 2), 6.0)))], "must reach 10 Gy.*got at most 6 Gy"),
    "a bomb": ([(OTHER, b"\0" * 50_000)], "must unpack to at most 0 MB; it was not unpacked"),
    "a link": ([(link(), b"x")], "must be a file, not a link"),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_validator_names_every_problem(tmp_path: Path, kind: str) -> None:
    entries, message = BAD[kind]
    path = tmp_path / "sub.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the name that is there twice
        for name, content in [(NAME, GOOD), *entries]:
            archive.writestr(name, content)
    with pytest.raises(SubmissionError, match=message.replace("+", r"\+").replace(r"\\+", r"\+")):
        require_valid(path, SHAPES)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda p: None, "must exist; got no such file"),
    "text": (lambda p: p.write_text("dose"), "must be a zip; got a file starting with b'dose'"),
    "cut off": (lambda p: p.write_bytes(write_submission(DOSES.items(), p).read_bytes()[:-9]), "it was cut short"),
    "a folder": (lambda p: p.mkdir(), "must be a readable file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_zip_is_named(tmp_path: Path, kind: str) -> None:
    make, message = FILES[kind]
    make(tmp_path / "sub.zip")
    with pytest.raises(SubmissionError, match=message):
        require_valid(tmp_path / "sub.zip", SHAPES)


def test_damage_and_encryption_are_named(tmp_path: Path) -> None:
    path = write_submission(DOSES.items(), tmp_path / "sub.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 16] ^= 1  # the first entry's checksum
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    data[second + 8 : second + 10] = struct.pack("<H", 1)
    path.write_bytes(bytes(data))
    damage, secret = (str(problem) for problem in validate(path, SHAPES))
    assert damage.startswith(f"{NAME}: must be undamaged; got Bad CRC-32")
    assert secret == f"{OTHER}: must not be encrypted"
