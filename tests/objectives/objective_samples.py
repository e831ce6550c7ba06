"""One objective of every kind, and doses that violate each of them."""

import torch

from dosewright.objectives import DosePenalty, Objective, compile_objectives

VOXELS = 60
_INDEX = torch.arange(VOXELS)
MASKS = {
    "PTV": _INDEX < 20,
    "Parotid_L": (_INDEX >= 15) & (_INDEX < 40),
    "Larynx": _INDEX > 35,
    "Brain": _INDEX % 3 == 0,
}
CONVEX = (
    Objective("PTV", "squared_overdose", 40, priority=3),
    Objective("PTV", "squared_underdose", 35, priority=7),
    Objective("PTV", "squared_deviation", 37),
    Objective("Parotid_L", "squared_overdose", 20, priority=2),
    Objective("Parotid_L", "mean_upper", 20, priority=5),
    Objective("PTV", "mean_lower", 60),
    Objective("Brain", "mean", priority=0.3),
    Objective("Larynx", "max_dvh", 20, 0),
    Objective("PTV", "min_dvh", 33, 100),
    Objective("Brain", "geud_upper", 20, exponent=8),
    Objective("PTV", "geud_lower", 60, exponent=-10),
    Objective("Brain", "cvar_upper", 30, 17),
    Objective("PTV", "cvar_lower", 30, 33),
    Objective("Larynx", "mimic", priority=4),
    Objective("PTV", "mimic"),
    Objective("External", "mimic", priority=0.1),
)
NOT_CONVEX = (
    Objective("Larynx", "max_dvh", 20, 30, priority=2),
    Objective("PTV", "min_dvh", 45, 80, priority=2),
    Objective("Brain", "geud_upper", 3, exponent=0.2),
)
ALL = CONVEX + NOT_CONVEX


def random_dose(plans: int, voxels: int = VOXELS, seed: int = 0) -> torch.Tensor:
    return 60 * torch.rand(plans, voxels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


REFERENCE = random_dose(1, seed=1)[0]


def penalty_of(*objectives: Objective) -> DosePenalty:
    return compile_objectives(objectives, MASKS, reference_gy=REFERENCE)
