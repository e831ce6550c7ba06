"""Makes the suites of tests/contracts importable, with pytest's assertion messages."""

import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("net_contract")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))
