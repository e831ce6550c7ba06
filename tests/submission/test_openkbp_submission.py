import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import StorageError, SubmissionError
from dosewright.submission.openkbp import write_submission

SHAPE = (128, 128, 128)
OCTANTS = list(itertools.product((3, 100), (20, 120), (7, 90)))  # z, y, x: asymmetric along every axis


def marked_dose(first_gy: float = 10.0) -> np.ndarray:
    dose = np.zeros(SHAPE, np.float32)
    for at, place in enumerate(OCTANTS):
        dose[place] = first_gy + at
    return dose


def naive_read(text: str) -> dict[tuple[int, int, int], float]:
    """Published rows as (z, y, x) → Gy, by division: axis 0 is y, axis 1 is x, axis 2 is z reversed."""
    header, *rows = text.splitlines()
    assert header == ",data"
    values = {}
    for row in rows:
        index, dose = row.split(",")
        rest, axis_2 = divmod(int(index), 128)
        axis_0, axis_1 = divmod(rest, 128)
        values[(127 - axis_2, axis_0, axis_1)] = float(dose)
    return values


def test_written_voxels_are_read_back_where_they_were(tmp_path: Path) -> None:
    path = write_submission([("pt_201", marked_dose()), ("pt_7", marked_dose(30.0))], tmp_path / "new" / "sub.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pt_201.csv", "pt_7.csv"]
        for name, first_gy in (("pt_201.csv", 10.0), ("pt_7.csv", 30.0)):
            expected = {place: first_gy + at for at, place in enumerate(OCTANTS)}
            assert naive_read(archive.read(name).decode("ascii")) == expected
    assert [p.name for p in path.parent.iterdir()] == ["sub.zip"]


def test_real_values_keep_six_digits(tmp_path: Path) -> None:
    dose = np.zeros(SHAPE, np.float32)
    dose[40:60, 40:60, 40:60] = np.random.default_rng(0).uniform(0.01, 80, (20, 20, 20))
    path = write_submission([("pt_1", dose)], tmp_path / "sub.zip")
    with zipfile.ZipFile(path) as archive:
        values = naive_read(archive.read("pt_1.csv").decode("ascii"))
    assert set(values) == {tuple(p) for p in np.argwhere(dose).tolist()}
    worst = max(abs(values[place] - dose[place]) / dose[place] for place in values)
    assert worst <= 5e-6


def test_bytes_are_the_same_whenever_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_submission([("pt_1", marked_dose())], tmp_path / "a.zip")
    monkeypatch.setattr("time.time", lambda: 2e9)
    second = write_submission([("pt_1", marked_dose())], tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()


def test_one_dose_at_a_time(tmp_path: Path) -> None:
    seen: list[str] = []

    def predictions():
        for number in (1, 2, 3):
            seen.append(f"made {number}")
            dose = marked_dose()
            yield f"pt_{number}", dose
            seen.append(f"written {number}")

    write_submission(predictions(), tmp_path / "sub.zip")
    assert seen == ["made 1", "written 1", "made 2", "written 2", "made 3", "written 3"]


@pytest.mark.parametrize(
    ("patient", "change", "match"),
    [
        ("case_1", lambda d: d, r"patient must be pt_N; got 'case_1'"),
        ("pt_01", lambda d: d, r"patient must be pt_N; got 'pt_01'"),
        ("../pt_1", lambda d: d, r"patient must be pt_N; got '\.\./pt_1'"),
        ("pt_1", lambda d: d, r"patient must appear once; got 'pt_1'"),
        ("pt_2", lambda d: d[1:], r"dose of pt_2 must have shape \(128, 128, 128\); got \(127, 128, 128\)"),
        (
            "pt_2",
            lambda d: np.where(d == 10, np.nan, d),
            r"dose of pt_2 must be finite; got '1 voxels NaN or infinite'",
        ),
        ("pt_2", lambda d: d - 1, r"dose of pt_2 must be in \[0, 250\] Gy total; got \(-1\.0, 16\.0\)"),
        ("pt_2", lambda d: d * 100, r"dose of pt_2 must be in \[0, 250\] Gy total; got \(0\.0, 1700\.0\)"),
    ],
)
def test_refused_doses_leave_the_old_file_alone(tmp_path: Path, patient: str, change, match: str) -> None:
    path = write_submission([("pt_9", marked_dose())], tmp_path / "sub.zip")
    old = path.read_bytes()
    bad = change(marked_dose()).astype(np.float32)
    with pytest.raises(SubmissionError, match=match):
        write_submission([("pt_1", marked_dose()), (patient, bad)], path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["sub.zip"]


def test_empty_and_misnamed_submissions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="predictions must hold at least one patient; got 'none'"):
        write_submission([], tmp_path / "sub.zip")
    with pytest.raises(SubmissionError, match=r"path must end in \.zip; got 'sub'"):
        write_submission([("pt_1", marked_dose())], tmp_path / "sub")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"sub\.zip: cannot be written"):
        write_submission([("pt_1", marked_dose())], tmp_path / "file" / "sub.zip")
