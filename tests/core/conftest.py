"""Fixtures for the tests of the core."""

import jaxtyping
import pytest


@pytest.fixture
def types_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the runtime type checker off, as it is outside the tests, so that the package refuses by itself."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
