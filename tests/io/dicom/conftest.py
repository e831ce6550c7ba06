"""The DICOM phantom's files, whole and to spoil."""

from pathlib import Path

import pytest

from dicom_reading import PHANTOM


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return PHANTOM.write(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy of the phantom's files to spoil."""
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path
