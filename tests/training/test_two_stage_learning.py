"""A small two-stage net learns two phantoms by heart, and to follow its sliders on them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from two_stage_training import STAGE1, STAGE2, read_phantoms, trained, write_phantoms

from dosewright.core import PatientCase
from dosewright.core.types import FloatVolume
from dosewright.inference.predictor import Predictor
from dosewright.inference.preference import Preference
from dosewright.inference.weights import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
NEUTRAL = ("module.draws.neutral_share=1.0", "module.draws.tied_share=0.0")
MOVED = ("module.draws.neutral_share=0.2", "module.draws.tied_share=0.8")
WORTH_SPARING_GY = 5.0  # mean dose of organs that a slider can be expected to move


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two prepared phantoms with photon plans."""
    pytest.importorskip("pyRadPlan", reason="the extra `plans` is not installed")
    return write_phantoms(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="module")
def steered(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A net trained with the sliders drawn and L_obj for a moment."""
    out = tmp_path_factory.mktemp("steered")
    weights = trained(
        phantoms, out, 200, *STAGE2, "loss=two_stage", *MOVED, "optimizer.lr=3e-3", "model.refine_width=8"
    )
    return Predictor([load_model(weights)], flip=False)


def test_both_stages_together_learn_two_phantoms_by_heart(phantoms: Path, tmp_path: Path):
    codec = trained(phantoms, tmp_path / "stage1", 150, *STAGE1, "optimizer.lr=4e-3")
    own = (f"module.stage1={codec}", "loss=masked_l1", *NEUTRAL, "optimizer.lr=5e-3")
    net = ("model.conditioning=film", "model.refine_width=32")
    weights = trained(phantoms, tmp_path / "stage2", 800, *STAGE2, *own, *net)
    predictor = Predictor([load_model(weights)], flip=False)
    for case in read_phantoms(phantoms):
        assert case.dose_gy is not None
        gap_gy = np.abs(predictor.predict(case) - case.dose_gy)[case.scored_mask]
        assert float(gap_gy.mean()) < 0.5, case.case_id


def test_the_sparing_slider_lowers_organs_and_costs_homogeneity(phantoms: Path, steered: Predictor):
    for case in read_phantoms(phantoms):
        assert case.dose_gy is not None
        sparing, neutral, sparing_less = steered.predict_many(case, [Preference(sparing=w) for w in (0.8, 1.0, 1.2)])
        organs = _organs_worth_sparing(case, steered.models[0].channels.structures)
        assert {"Parotid_L", "Parotid_R", "Esophagus", "Bone_Mandible"} <= set(organs)
        for name, own in organs.items():
            asked_gy = 0.4 * float(case.dose_gy[own].mean())  # from 1.2 to 0.8 of the reference mean
            fallen_gy = float(sparing_less[own].mean() - sparing[own].mean())
            assert 0.25 * asked_gy < fallen_gy < 1.5 * asked_gy, (case.case_id, name)
            assert sparing[own].mean() < neutral[own].mean() < sparing_less[own].mean(), (case.case_id, name)
        dear, usual, cheap = (_homogeneity_index(case, dose_gy) for dose_gy in (sparing, neutral, sparing_less))
        assert 1.05 < dear / usual < 1.7
        assert 1.05 < usual / cheap < 1.7


def test_the_homogeneity_slider_moves_the_spread_in_the_highest_target(phantoms: Path, steered: Predictor):
    for case in read_phantoms(phantoms):
        asked = [Preference(homogeneity=h) for h in (0.75, 1.0, 1.5)]
        low, neutral, high = (_homogeneity_index(case, dose_gy) for dose_gy in steered.predict_many(case, asked))
        assert 0.6 < low / neutral < 0.9
        assert 1.25 < high / neutral < 1.75


def _organs_worth_sparing(case: PatientCase, known: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the organs that L_obj knows, without what lies in targets, where that gets dose worth a slider."""
    assert case.dose_gy is not None
    targets = np.logical_or.reduce([case.structures[name] for name in case.targets])
    own = {name: case.structures[name] & ~targets for name in case.oars if name in known}
    return {n: m for n, m in own.items() if m.any() and float(case.dose_gy[m].mean()) > WORTH_SPARING_GY}


def _homogeneity_index(case: PatientCase, dose_gy: FloatVolume) -> float:
    """Return (D2 − D98) / D50 of the target with the highest prescription (ICRU 83)."""
    d98, d50, d2 = np.percentile(dose_gy[case.structures[case.targets[0]]], (2, 50, 98))
    return float((d2 - d98) / d50)
