"""From goals to fluence: objectives become a penalty in the voxels of the dose grid, and a solver lowers it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.core import EXTERNAL, InputError, PatientCase, role_of
from dosewright.core.types import FloatVolume, Mask
from dosewright.fluence.augmented_lagrangian import AugmentedLagrangian
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import StopRule, solve
from dosewright.fluence.status import Result, Status
from dosewright.objectives.compile import compile_objectives
from dosewright.objectives.penalty import DosePenalty
from dosewright.planning.goals import Goals

SHARE = 0.5  # of a voxel of the dose grid that is in a structure for it to count there
TARGET_SHARE = 0.1  # a target that no voxel of the dose grid has half of takes those that have this share


class GoalSolver:
    """Solves goals of one case by one influence.

    Args:
        case: The patient.
        wanted_gy: Dose that goals may ask to mimic, total Gy on the case's grid.
        influence: Dose influence of the case's beams.
        stop: When the solver ends.
        smoothness: Weight of the squared differences of neighbouring beamlets.

    Raises:
        InputError: If a target is out of the beams' reach or between the dose grid's voxels.
    """

    def __init__(
        self,
        case: PatientCase,
        wanted_gy: FloatVolume,
        influence: DoseInfluence,
        stop: StopRule,
        smoothness: float = 0.0,
    ) -> None:
        self.case, self.influence, self.stop, self.smoothness = case, influence, stop, smoothness
        self._wanted_gy = wanted_gy
        self._rows: dict[tuple[str, float], tuple[Mask, Bool[Tensor, " n"]]] = {}
        self._wanted: Float[Tensor, " n"] | None = None
        _check_reach(case, influence)

    def compiled(self, goals: Goals) -> DosePenalty:
        """Return the penalty of goals.

        Raises:
            InputError: If no objective is left, or one names an absent structure that may not be skipped.
        """
        named = {objective.structure for objective in goals.objectives}
        volumes: dict[str, Mask] = {EXTERNAL: self.case.body, **self.case.structures, **goals.helpers}
        shares = {name: goals.shares.get(name, SHARE) for name in named}
        masks = {name: self._rows_of(name, mask, shares[name]) for name, mask in volumes.items() if name in named}
        roles = {name: role_of(name) for name in masks} | dict(goals.roles)
        penalty = compile_objectives(goals.objectives, masks, roles, self._wanted_rows(), missing=goals.absent)
        if not (penalty.terms or penalty.constraints):
            rule = "must hold at least one for a structure that the case has"
            raise InputError(
                rule, argument="objectives", value=[objective.describe() for objective in goals.objectives]
            )
        return penalty

    def solved(self, penalty: DosePenalty, start: Float[Tensor, " b"] | None = None) -> Result:
        """Return the best fluence found for a penalty, from a start where one is given.

        Where no step leads on from a given start, the best of that and of a solve from equal fluence.
        """
        solver = AugmentedLagrangian(stop=self.stop) if penalty.constraints else SketchedLbfgs(stop=self.stop)
        found = solve(self.problem(penalty), solver, start)
        if start is None or found.status is not Status.STALLED:
            return found
        afresh = solve(self.problem(penalty), solver)
        return afresh if bool(afresh.value < found.value) else found

    def problem(self, penalty: DosePenalty) -> FluenceProblem:
        """Return the problem that `solved` solves."""
        return FluenceProblem(self.influence, penalty, smoothness=self.smoothness)

    def _rows_of(self, name: str, mask: Mask, share: float) -> Bool[Tensor, " n"]:
        """Return the rows of a structure; those found before where mask and share are the same."""
        known = self._rows.get((name, share))
        if known is None or known[0] is not mask:
            whole = name in self.case.prescription_gy and share == SHARE
            grid = self.case.grid
            rows = target_rows(self.case, self.influence, name) if whole else self.influence.mask(mask, grid, share)
            known = self._rows[name, share] = (mask, rows)
        return known[1]

    def _wanted_rows(self) -> Float[Tensor, " n"]:
        if self._wanted is None:
            self._wanted = self.influence.sample(self._wanted_gy, self.case.grid, inside=self.case.scored_mask)
        return self._wanted


def target_rows(case: PatientCase, influence: DoseInfluence, name: str) -> Bool[Tensor, " n"]:
    """Return the rows of a target; those with a small share of it where none has half, so that it is not lost."""
    rows = influence.mask(case.structures[name], case.grid)
    return rows if bool(rows.any()) else influence.mask(case.structures[name], case.grid, TARGET_SHARE)


def _check_reach(case: PatientCase, influence: DoseInfluence) -> None:
    """Refuse targets that the dose grid or the beams miss."""
    open_field_gy = influence.forward(torch.ones(influence.shape[1], device=influence.device, dtype=influence.dtype))
    for name in case.targets:
        rows = target_rows(case, influence, name)
        if not bool(rows.any()):
            spacing = influence.grid.spacing_xyz_mm
            raise InputError("must not fall between the voxels of the dose grid", argument=name, value=spacing)
        reached = float(open_field_gy[rows].mean())
        if not reached > 0:
            angles = tuple(beam.gantry_angle_deg for beam in influence.beams)
            rule = f"cannot be reached: the beams at {angles}° give it no dose whatever their fluence"
            raise InputError(rule, argument=name, value=reached)
