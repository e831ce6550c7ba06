"""From draws to objectives: one set for a patient, with doses and priorities of each plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import PatientCase
from dosewright.core.preference import PreferenceSpace
from dosewright.core.types import Mask
from dosewright.geometry.distance import distance_to_mm
from dosewright.objectives.objective import Objective
from dosewright.objectives.penalty import DosePenalty
from dosewright.planning.factory.draws import GROUPS, Draw
from dosewright.planning.goals import Goals
from dosewright.planning.mimic_planner import SERIAL
from dosewright.planning.solve_goals import GoalSolver

BODY, TISSUE = "zBody", "zTissue"
_SPACE = PreferenceSpace("per_group")


@dataclass(frozen=True)
class FactoryGoals:
    """Priorities and doses that the draws vary; the values are ours.

    Targets: no voxel below the prescription, none above `hot` times it; a target of lower prescription only where it is
    `away_mm` from those of higher ones; nothing in the body above `hot` times the highest. Organs: a mean of at most
    `sparing` times that of the reference dose, or of `protocol_mean_gy` without one; serial organs (cord, canal,
    brainstem, chiasm) their hottest dose likewise. Outside the targets: a dose that falls off exponentially with the
    distance from them; the middle of the draws runs along the 90th percentile of clinical head-and-neck doses (0.75 of
    the prescription at 12 mm, 0.45 at 35 mm, measured on five OpenKBP patients).

    Args:
        cold_priority: Of too little dose in a target.
        hot_priority: Of too much; ten times that for all of the body.
        mean_priority: Of an organ's mean.
        serial_priority: Of a serial organ's hottest dose.
        tissue_priority: Of other tissue.
        hot: Factor on the prescription.
        margin_mm: By which targets grow into the body for the optimisation, so that the voxels at their rim are covered
            too; None is half a voxel of the dose grid, where its voxels are longest.
        start_mm: Distance from the targets at which the fall-off starts.
        away_mm: Distance that a dose needs to fall from one prescription to the next.
        far: What the fall-off ends at, as a share of the prescription.
        peak_percent: Volume of a serial organ that counts as its hottest.
        protocol_mean_gy: Organ → mean to start from where there is no reference dose; others take `protocol_other_gy`.
        protocol_other_gy: See there.
    """

    cold_priority: float | int = 1000.0
    hot_priority: float | int = 500.0
    mean_priority: float | int = 4.0
    serial_priority: float | int = 10.0
    tissue_priority: float | int = 10.0
    hot: float | int = 1.03
    margin_mm: float | int | None = None
    start_mm: float | int = 3.0
    away_mm: float | int = 8.0
    far: float | int = 0.35
    peak_percent: float | int = 2.0
    protocol_mean_gy: Mapping[str, float | int] | None = None
    protocol_other_gy: float | int = 35.0


class BatchGoals:
    """Penalties of a patient's plans, a batch at a time.

    Args:
        solver: Of the patient; what it mimics is not used.
        settings: See there.
    """

    def __init__(self, solver: GoalSolver, settings: FactoryGoals) -> None:
        self.settings = settings
        case, influence = solver.case, solver.influence
        half_voxel_mm = max(influence.grid.spacing_zyx_mm) / 2
        self._penalty = solver.compiled(
            goals_of(case, settings, half_voxel_mm if settings.margin_mm is None else float(settings.margin_mm))
        )
        self._prescribed_gy = dict(case.prescription_gy)
        self._away_mm = {}
        for name in case.targets:
            away_mm = distance_to_mm(case.structures[name], case.grid.spacing_zyx_mm)
            self._away_mm[name] = (influence.sample(away_mm, case.grid) - float(settings.start_mm)).clamp(min=0.0)

    def penalty(self, draws: Sequence[Draw]) -> DosePenalty:
        """Return one penalty for all plans of a batch."""
        factors = [_factors(objective, draws) for objective in self._penalty.objectives]
        return self._penalty.with_parameters(
            dose_gy=torch.stack([dose for dose, _ in factors], 1) * self._penalty.dose_gy.nan_to_num(),
            priority=torch.stack([priority for _, priority in factors], 1) * self._penalty.priority,
            reference_gy=self._falloff_gy(draws),
        )

    def _falloff_gy(self, draws: Sequence[Draw]) -> Float[Tensor, "k n"]:
        """Return the dose that tissue should not exceed, in the rows of the influence."""
        far, hot = float(self.settings.far), float(self.settings.hot)
        rates = torch.tensor([draw.falloff_per_mm for draw in draws])[:, None]
        limits = [
            self._prescribed_gy[name] * (far + (hot - far) * torch.exp(-rates * away_mm))
            for name, away_mm in self._away_mm.items()
        ]
        return torch.stack(limits).amax(0)


def goals_of(case: PatientCase, settings: FactoryGoals, margin_mm: float) -> Goals:
    """Return the objectives at neutral draws, targets grown by a margin; order and kinds are the same for all draws."""
    objectives, helpers = _target_objectives(case, settings, margin_mm)
    for organ in case.oars:
        mean_gy, peak_gy = _reference(case, organ, settings)
        objectives.append(Objective(organ, "mean_upper", mean_gy, priority=settings.mean_priority))
        if organ in SERIAL:
            objectives.append(Objective(organ, "squared_overdose", peak_gy, priority=settings.serial_priority))
    targets = np.logical_or.reduce([helpers[f"z{name}_Grown"] for name in case.targets])
    helpers[BODY] = case.scored_mask & case.body
    helpers[TISSUE] = helpers[BODY] & ~targets
    hottest = settings.hot * max(case.prescription_gy.values())
    objectives.append(Objective(BODY, "squared_overdose", hottest, priority=10 * settings.hot_priority))
    objectives.append(Objective(TISSUE, "mimic", priority=settings.tissue_priority))
    return Goals(tuple(objectives), helpers, absent="skip")


def _target_objectives(
    case: PatientCase, settings: FactoryGoals, margin_mm: float
) -> tuple[list[Objective], dict[str, Mask]]:
    objectives, helpers = [], {}
    higher = np.zeros(case.grid.shape_zyx, bool)
    for name in case.targets:
        prescribed, spacing = case.prescription_gy[name], case.grid.spacing_zyx_mm
        grown = (distance_to_mm(case.structures[name], spacing) <= margin_mm) & case.body & case.scored_mask
        away = grown.copy()
        if higher.any():
            away &= distance_to_mm(higher, spacing) > settings.away_mm
        for suffix, mask, kind, dose, priority in (
            ("Grown", grown, "squared_underdose", prescribed, settings.cold_priority),
            ("Away", away, "squared_overdose", settings.hot * prescribed, settings.hot_priority),
        ):
            if mask.any():
                helpers[f"z{name}_{suffix}"] = mask
                objectives.append(Objective(f"z{name}_{suffix}", kind, dose, priority=priority))
        higher |= case.structures[name]
    return objectives, helpers


def _reference(case: PatientCase, organ: str, settings: FactoryGoals) -> tuple[float, float]:
    """Return an organ's mean and hottest dose in Gy to start from."""
    if case.dose_gy is None:
        mean = float((settings.protocol_mean_gy or {}).get(organ, settings.protocol_other_gy))
        return mean, max(2 * mean, 45.0)
    voxels = case.dose_gy[case.structures[organ]]
    return float(voxels.mean()), float(np.percentile(voxels, 100.0 - settings.peak_percent))


def _factors(objective: Objective, draws: Sequence[Draw]) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Return the factors on dose and priority of an objective, one per plan."""
    name = objective.structure
    if name in (BODY, TISSUE):
        pairs = [(1.0, 1.0) for _ in draws]
    elif name.startswith("z"):
        pairs = [(1.0, draw.target_weight) for draw in draws]
    else:
        group = GROUPS[_SPACE.index_of(name)]
        pairs = [(draw.sparing[group], draw.organ_weight) for draw in draws]
    doses, priorities = zip(*pairs)
    return torch.tensor(doses, dtype=torch.float64), torch.tensor(priorities, dtype=torch.float64)
