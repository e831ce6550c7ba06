"""Estimates of a matrix's size against matrices that were computed, and settings out of range."""

from dataclasses import replace

import pytest

from cases import make_case
from dosewright.core import Beam, InputError
from dosewright.fluence.compute_influence import compute_influence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.fluence.influence_size import BYTES_PER_ENTRY, check_memory, estimate_bytes


@pytest.mark.parametrize("beamlet_mm", [3.0, 6.0])
def test_photon_estimate_is_near_the_matrix(beamlet_mm: float) -> None:
    pytest.importorskip("pyRadPlan", reason="the plans extra (pyRadPlan) is not installed")
    case = replace(make_case(), beams=(Beam(0.0), Beam(130.0)))
    settings = InfluenceSettings(beamlet_mm=beamlet_mm, dose_spacing_mm=4.0, lateral_cutoff_mm=20.0)
    matrix = compute_influence(case, settings)
    assert estimate_bytes(case, case.beams, settings) / BYTES_PER_ENTRY == pytest.approx(matrix.nnz, rel=0.2)


def test_estimate_grows_with_resolution() -> None:
    case = make_case()
    base = estimate_bytes(case, case.beams, InfluenceSettings(6.0, 6.0))
    assert estimate_bytes(case, case.beams, InfluenceSettings(6.0, 3.0)) == pytest.approx(8 * base, rel=1e-6)
    assert estimate_bytes(case, case.beams[:3], InfluenceSettings(6.0, 6.0)) < 0.5 * base


def test_a_grid_that_fits_is_suggested() -> None:
    case, settings = make_case(), InfluenceSettings(5.0, 3.0)
    need = estimate_bytes(case, case.beams, settings) / 1e9
    check_memory(case, case.beams, replace(settings, memory_gb=1.01 * need))
    with pytest.raises(InputError, match=r"take a dose grid of 6 mm or more, larger beamlets, .*; got 3\.0"):
        check_memory(case, case.beams, replace(settings, memory_gb=need / 7.9))
    check_memory(case, case.beams, replace(settings, dose_spacing_mm=6.0, memory_gb=need / 7.9))


@pytest.mark.parametrize("name", ["beamlet_mm", "dose_spacing_mm", "lateral_cutoff_mm", "proton_rbe", "memory_gb"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_settings_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be positive"):
        InfluenceSettings(**{name: value})


def test_settings_that_determine_the_matrix() -> None:
    assert InfluenceSettings(5, 4, memory_gb=1).determinants == {
        "beamlet_mm": 5.0,
        "dose_spacing_mm": 4.0,
        "lateral_cutoff_mm": 50.0,
        "machine": "Generic",
        "proton_rbe": 1.1,
    }
