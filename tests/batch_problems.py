"""Plans of a phantom of blurred beamlets: a sparse influence, prescriptions and ceilings, priorities that differ."""

import numpy as np
import torch
from scipy import sparse

from dosewright.core import Beam, Grid
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.objectives import Objective, compile_objectives

GOALS = (
    Objective("PTV", "squared_deviation", 60, priority=100),
    Objective("Larynx", "squared_overdose", 20, priority=5),
    Objective("External", "squared_overdose", 45, priority=3),
    Objective("Brain", "mean", priority=0.2),
)


def row_of_beamlets(columns: int = 40, voxels: int = 600) -> DoseInfluence:
    """Columns that fall off from a peak, side by side, of differing strength."""
    rng = np.random.default_rng(0)
    place = np.arange(voxels)[:, None] - np.linspace(50, voxels - 50, columns)
    dense = np.exp(-np.abs(place) / 15) * (np.abs(place) < 90) * rng.uniform(0.5, 2, columns)
    grid = Grid((6, 10, voxels // 60), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0))
    beamlets = Beamlets(np.zeros(columns, int), 5.0 * np.arange(columns), np.zeros(columns), 5.0)
    return DoseInfluence(sparse.csc_array(dense.astype(np.float32)), [Beam(0.0)], beamlets, grid, np.arange(voxels))


def planned_row(plans: int, smoothness: float = 0.0) -> FluenceProblem:
    """A target in the middle of the row, an organ on either side of its end."""
    influence, index = row_of_beamlets(), torch.arange(600)
    masks = {
        "PTV": (index >= 250) & (index < 350),
        "Larynx": (index >= 340) & (index < 420),
        "Brain": index < 200,
        "External": index >= 0,
    }
    penalty = compile_objectives(GOALS, masks)
    spread = torch.exp(0.5 * torch.randn(plans, len(GOALS), generator=torch.Generator().manual_seed(0)))
    changed = penalty.with_parameters(priority=penalty.priority * spread)
    return FluenceProblem(influence, changed, smoothness=smoothness, plans=plans)
