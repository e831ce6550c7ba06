"""Values and gradients of pyRadPlan's objectives, where it is installed."""

import numpy as np
import pytest
import torch
from objective_samples import MASKS, penalty_of, random_dose

from dosewright.objectives import Objective

objectives = pytest.importorskip("pyRadPlan.optimization.objectives", reason="needs the extra 'plans'")

PAIRS = {
    "overdose": (Objective("PTV", "squared_overdose", 40), "SquaredOverdosing", {"d_max": 40.0}),
    "underdose": (Objective("PTV", "squared_underdose", 35), "SquaredUnderdosing", {"d_min": 35.0}),
    "deviation": (Objective("PTV", "squared_deviation", 37), "SquaredDeviation", {"d_ref": 37.0}),
    "mean": (Objective("Brain", "mean_upper", 20), "MeanDose", {"d_ref": 20.0}),
    "max_dvh": (Objective("Larynx", "max_dvh", 20, 30), "MaxDVH", {"d": 20.0, "v_max": 30.0}),
    "min_dvh": (Objective("PTV", "min_dvh", 45, 80), "MinDVH", {"d": 45.0, "v_min": 80.0}),
    "geud": (Objective("Brain", "geud_upper", 20, exponent=8), "EUD", {"eud_ref": 20.0, "k": 1 / 8}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_pyradplan(name: str) -> None:
    ours, peer_name, parameters = PAIRS[name]
    peer = getattr(objectives, peer_name)(**parameters)
    mask, dose = MASKS[ours.structure], random_dose(1)
    inside = dose[0, mask].numpy()
    value, gradient = penalty_of(ours).value_and_gradient(dose)
    assert value.item() == pytest.approx(float(peer.compute_objective(inside)), rel=1e-6)
    expected = np.asarray(peer.compute_gradient(inside))
    np.testing.assert_allclose(gradient[0, mask].numpy(), expected, rtol=1e-6, atol=1e-12)
    assert (gradient[0, ~mask] == torch.zeros(1, dtype=torch.float64)).all()
