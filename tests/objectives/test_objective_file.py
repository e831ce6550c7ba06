"""Files of objectives: round trip, and what a hostile one is told."""

import json
from pathlib import Path

import pytest
from objective_samples import ALL

from dosewright.core import InputError
from dosewright.objectives import Objective, read_objectives, write_objectives

HEAD = {"schema_version": 1, "dose_unit": "Gy, total"}


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_round_trip(tmp_path: Path) -> None:
    hard = Objective("Brainstem", "max_dose", 54, constraint=True)
    path = write_objectives(tmp_path / "objectives.json", (*ALL, hard))
    assert read_objectives(path) == (*ALL, hard)


def test_no_objectives(tmp_path: Path) -> None:
    assert read_objectives(write_objectives(tmp_path / "none.json", [])) == ()


def test_form_of_the_file(tmp_path: Path) -> None:
    path = write_objectives(tmp_path / "objectives.json", [Objective("Larynx", "mean_upper", 45, priority=20)])
    entry = {"structure": "Larynx", "kind": "mean_upper", "dose_gy": 45.0, "priority": 20.0}
    assert json.loads(path.read_text()) == HEAD | {"objectives": [entry]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "content must be JSON in UTF-8"),
        ("[" * 200_000, "content must be JSON in UTF-8"),
        ([], "content must be an object with the keys"),
        (HEAD, "content must be an object with the keys"),
        (HEAD | {"objectives": [], "extra": 1}, "content must be an object with the keys"),
        (HEAD | {"schema_version": 2, "objectives": []}, "schema_version must be 1; got 2"),
        (HEAD | {"schema_version": True, "objectives": []}, "schema_version must be 1; got True"),
        (HEAD | {"dose_unit": "cGy", "objectives": []}, "dose_unit must be 'Gy, total'; got 'cGy'"),
        (HEAD | {"objectives": {}}, "objectives must be a list; got {}"),
        (HEAD | {"objectives": [7]}, r"objectives\[0\] must be an object; got 7"),
        (
            HEAD | {"objectives": [{"structure": "A", "kind": "mean"}, {"structure": "PTV", "kind": "max_dvh"}]},
            r"objectives\[1\]: PTV \(max_dvh\): dose_gy must be given",
        ),
        (
            '{"schema_version": 1, "dose_unit": "Gy, total", "objectives": [NaN]}',
            "must hold finite numbers only; got 'NaN'",
        ),
        ('{"schema_version": 1, "schema_version": 1}', "key must occur once in an object; got 'schema_version'"),
        (
            '{"schema_version": 1, "dose_unit": "Gy, total", "objectives": '
            '[{"structure": "PTV", "kind": "mean_upper", "dose_gy": 1e999}]}',
            "dose_gy must be finite; got inf",
        ),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: object, message: str) -> None:
    path = written(tmp_path / "broken.json", content)
    with pytest.raises(InputError, match=f"broken.json: .*{message}"):
        read_objectives(path)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent.json: file cannot be read: No such file"):
        read_objectives(tmp_path / "absent.json")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(InputError, match=r"bytes.json: content must be JSON in UTF-8"):
        read_objectives(tmp_path / "bytes.json")


def test_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.core.strict_json.BYTES_MAX", 10)
    with pytest.raises(InputError, match=r"large.json: file must have at most 10 bytes; got 11"):
        read_objectives(written(tmp_path / "large.json", "x" * 11))
