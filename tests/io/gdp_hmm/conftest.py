"""Gives the suite of tests/contracts pytest's assertion messages."""

import pytest

pytest.register_assert_rewrite("reader_contract")
