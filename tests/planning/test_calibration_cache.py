from pathlib import Path

import pytest

from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.planning import calibration_cache
from dosewright.planning.calibration_cache import cached_mu_per_fluence, calibration_path


def test_it_is_measured_once_for_each_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(settings: InfluenceSettings) -> float:
        measured.append(settings.beamlet_mm)
        return 10.0 * float(settings.beamlet_mm)

    monkeypatch.setattr(calibration_cache, "measure_mu_per_fluence", measure)
    fine, coarse = InfluenceSettings(), InfluenceSettings(beamlet_mm=10.0)
    assert [cached_mu_per_fluence(s, tmp_path) for s in (fine, coarse, fine, coarse)] == [50.0, 100.0, 50.0, 100.0]
    assert measured == [5.0, 10.0]
    assert cached_mu_per_fluence(InfluenceSettings(memory_gb=1.0), tmp_path) == 50.0  # it changes no dose
    assert measured == [5.0, 10.0]


@pytest.mark.parametrize("content", ["", "{}", '{"mu_per_fluence": -1}', '{"mu_per_fluence": NaN}', "[1]"])
def test_a_broken_file_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(calibration_cache, "measure_mu_per_fluence", lambda settings: 42.0)
    path = calibration_path(InfluenceSettings(), tmp_path)
    path.write_text(content)
    assert cached_mu_per_fluence(InfluenceSettings(), tmp_path) == 42.0
    assert '"mu_per_fluence": 42.0' in path.read_text()
