"""Makes the helper beside these tests importable, and reads the shipped settings once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from anatomy_cases import shipped

from dosewright.objectives.anatomy.settings import AnatomySettings


@pytest.fixture(scope="session")
def head_neck() -> AnatomySettings:
    return shipped("head_neck")


@pytest.fixture(scope="session")
def prostate() -> AnatomySettings:
    return shipped("prostate")
