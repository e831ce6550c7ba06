"""Plans of one patient and one set of beams, a batch at a time over one dose influence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.dose.case_dose import CaseDose
from dosewright.dose.dvh import sorted_dose_at_cc
from dosewright.dose.voxels import percentile
from dosewright.fluence.batch import solve_batch
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.solver import StopRule
from dosewright.fluence.status import Status
from dosewright.planning.deliver import scored_dose
from dosewright.planning.factory.draws import GROUPS, Draw, DrawSettings, draw
from dosewright.planning.factory.goals import BatchGoals, FactoryGoals
from dosewright.planning.factory.quality import QualityControl, QualityRules
from dosewright.planning.solve_goals import GoalSolver

Judge = Callable[[FloatVolume], float]


@dataclass(frozen=True)
class FactorySettings:
    """How plans are made; equal settings and seed make equal plans.

    Args:
        seed: Of the draws.
        draws: What the plans ask for.
        goals: How they ask for it.
        quality: What is rejected.
        smoothness: Weight of the squared differences of neighbouring beamlets.
        value_tolerance: Share by which a model must still lower the penalty, see `fluence.batch.solve_batch`.
        max_steps: Most models of the solver for a batch: with 8 and 4 the penalty ends 1 % and 3 % above the optimum,
            and their doses differ by 0.3 Gy (mean over 32 plans of one patient).
        memory_gb: Most memory for solving a batch, beside the dose influence. What is estimated is two to three times
            what is used; too little of it makes plans ten times slower.
    """

    seed: int = 0
    draws: DrawSettings = field(default_factory=DrawSettings)
    goals: FactoryGoals = field(default_factory=FactoryGoals)
    quality: QualityRules = field(default_factory=QualityRules)
    smoothness: float | int = 3e-5
    value_tolerance: float | int = 1e-2
    max_steps: int = 4
    memory_gb: float | int = 8.0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError("must not be negative", argument="factory.seed", value=self.seed)


@dataclass(frozen=True, eq=False)
class FactoryPlan:
    """One plan.

    Args:
        draw: What was asked for.
        dose_gy: Total Gy on the case's grid, scaled to its coverage; zero where dose is not scored.
        fluence: Scaled likewise.
        measures: Indices of the dose: see `PlanMaker.measured`.
        reasons: Why quality control rejects it; empty when it does not.
    """

    draw: Draw
    dose_gy: FloatVolume
    fluence: Float[np.ndarray, " b"]
    measures: Mapping[str, float]
    reasons: tuple[str, ...]


class PlanMaker:
    """Makes plans of one patient with one set of beams.

    Args:
        case: The patient, with these beams; its dose is the reference for the organs.
        influence: Of these beams.
        beam_set: Name of the beams, which the draws depend on.
        settings: See there.
        judge: Dose → score, recorded with each plan; None records none.

    Raises:
        InputError: If a target is out of the beams' reach or between the dose grid's voxels.
    """

    def __init__(
        self,
        case: PatientCase,
        influence: DoseInfluence,
        beam_set: str,
        settings: FactorySettings,
        judge: Judge | None = None,
    ) -> None:
        self.case, self.influence, self.beam_set, self.settings, self.judge = case, influence, beam_set, settings, judge
        self._stop = StopRule(max_steps=settings.max_steps, value_tolerance=float(settings.value_tolerance))
        nothing = np.zeros(case.grid.shape_zyx, np.float32)
        solver = GoalSolver(case, nothing, influence, self._stop, float(settings.smoothness))
        self._goals = BatchGoals(solver, settings.goals)
        self._quality = QualityControl(case, settings.quality)
        self._start = self._neutral_fluence()

    def make(self, indices: Sequence[int]) -> list[FactoryPlan]:
        """Return the plans of some indices, solved together.

        Raises:
            InputError: If an index is negative.
        """
        if any(index < 0 for index in indices):
            raise InputError("must not be negative", argument="indices", value=min(indices))
        draws = [self._draw(index) for index in indices]
        problem = self._problem(draws)
        memory_gb = float(self.settings.memory_gb)
        results = solve_batch(problem, self._stop, self._start, at_once=len(draws), memory_gb=memory_gb)
        rows = [(r.dose[i], r.fluence[i], r.statuses[i]) for r in results for i in range(len(r.fluence))]
        return [self._plan(one, *row) for one, row in zip(draws, rows, strict=True)]

    def measured(self, dose_gy: FloatVolume) -> dict[str, float]:
        """Return what is recorded of a dose: D95 and D2 − D98 of targets over their prescription, organ means in Gy,
        D0.1cc of organs in Gy, and the score.
        """
        return self._measured(CaseDose.of(self.case, dose_gy))

    def _measured(self, dose: CaseDose) -> dict[str, float]:
        found = {}
        for name, prescribed in self.case.prescription_gy.items():
            high, covered, low = (float(percentile(dose.ascending_gy[name], p)) for p in (98.0, 5.0, 2.0))
            found[f"{name} D95"] = covered / prescribed
            found[f"{name} HI"] = (high - low) / prescribed
        for name in self.case.oars:
            voxels = dose.ascending_gy[name]
            found[f"{name} mean"] = float(voxels.mean())
            found[f"{name} D0.1cc"] = float(sorted_dose_at_cc(voxels, 0.1, self.case.grid.voxel_volume_cc))
        if self.judge is not None:
            found["score"] = float(self.judge(dose.dose_gy))
        return found

    def _plan(self, one: Draw, dose: Tensor, fluence: Tensor, status: Status) -> FactoryPlan:
        dose_gy = scored_dose(self.influence, dose, self.case)
        coverage = self._coverage(dose_gy)
        if not (np.isfinite(dose_gy).all() and coverage > 0):
            return FactoryPlan(one, dose_gy, fluence.numpy(), {}, (f"D95 of the targets is {coverage:.0%}",))
        factor = one.coverage / coverage
        scaled = CaseDose.of(self.case, np.float32(factor) * dose_gy)
        reasons = self._quality.reasons(scaled, factor)
        if status is Status.DIVERGED:
            reasons = ("the optimisation diverged", *reasons)
        return FactoryPlan(one, scaled.dose_gy, factor * fluence.numpy(), self._measured(scaled), reasons)

    def _coverage(self, dose_gy: FloatVolume) -> float:
        """Return D95 over the prescription, averaged over the targets' voxels."""
        masks = [self.case.structures[name] for name in self.case.targets]
        shares = [
            float(np.percentile(dose_gy[mask], 5.0)) / self.case.prescription_gy[name]
            for name, mask in zip(self.case.targets, masks, strict=True)
        ]
        return float(np.average(shares, weights=[np.count_nonzero(mask) for mask in masks]))

    def _neutral_fluence(self) -> Float[Tensor, "1 b"]:
        """Return the fluence that all plans start from: that of the middle of the draws, however they are batched."""
        middle = replace(
            self._draw(0), sparing=dict.fromkeys(GROUPS, 1.0), organ_weight=1.0, target_weight=1.0, falloff_per_mm=0.05
        )
        stop = StopRule(value_tolerance=0.05)
        return solve_batch(self._problem([middle]), stop)[0].fluence

    def _draw(self, index: int) -> Draw:
        return draw(self.settings.draws, self.settings.seed, self.case.case_id, self.beam_set, index)

    def _problem(self, draws: Sequence[Draw]) -> FluenceProblem:
        penalty = self._goals.penalty(draws)
        return FluenceProblem(self.influence, penalty, smoothness=float(self.settings.smoothness), plans=len(draws))
