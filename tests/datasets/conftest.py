"""Fixtures of the datasets' tests."""

import jaxtyping
import pytest

from dosewright.datasets.channels import CT, BeamPlates, ChannelSet, Distances, Masks, PrescriptionMap, Regions

STRUCTURES = ("PTV_High", "PTV_Low", "Parotid_L", "Parotid_R", "SpinalCord")


@pytest.fixture
def channels() -> ChannelSet:
    """One group of every kind."""
    groups = [
        CT(),
        Regions(),
        PrescriptionMap(),
        Masks(STRUCTURES[2:]),
        Distances(STRUCTURES[:2]),
        BeamPlates("rays", STRUCTURES[:2]),
        BeamPlates("angle"),
        BeamPlates("gdphmm"),
    ]
    return ChannelSet(groups, STRUCTURES)


@pytest.fixture
def types_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch the runtime type checker off, as it is outside the tests, so that the package refuses by itself."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
