"""The weights that ship with the package, or a clear word that this copy has none."""

import pytest

from dosewright.core import CheckpointError
from dosewright.inference import weights


def test_a_copy_without_weights_says_so(monkeypatch):
    monkeypatch.setattr(weights, "DEFAULT_WEIGHTS", "absent.safetensors")
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: default weights must ship with the package; this"):
        weights.default_weights()


def test_the_file_named_is_the_one_returned(monkeypatch, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / weights.DEFAULT_WEIGHTS).touch()
    monkeypatch.setattr(weights, "files", lambda package: tmp_path)
    assert weights.default_weights() == tmp_path / "weights" / weights.DEFAULT_WEIGHTS


def test_sliders_have_weights_of_their_own(monkeypatch, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / weights.SLIDER_WEIGHTS).touch()
    monkeypatch.setattr(weights, "files", lambda package: tmp_path)
    assert weights.default_weights(sliders=True) == tmp_path / "weights" / weights.SLIDER_WEIGHTS
    with pytest.raises(CheckpointError, match="must ship with the package"):
        weights.default_weights()
