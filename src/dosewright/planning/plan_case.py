"""From a wanted dose to a plan: objectives, fluence, and where asked for apertures, with the dose of each."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.core import EXTERNAL, GridMismatchError, InputError, PatientCase, role_of
from dosewright.core.types import FloatVolume, Mask
from dosewright.fluence.augmented_lagrangian import AugmentedLagrangian
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import StopRule, solve
from dosewright.fluence.status import Result, Status
from dosewright.objectives.compile import compile_objectives
from dosewright.objectives.objective import Objective
from dosewright.objectives.penalty import DosePenalty
from dosewright.planning.deliver import Delivered, Delivery, deliver, fluence_complexity, scored_dose
from dosewright.planning.goals import AbstractPlanner, Goals

TARGET_SHARE = 0.1  # a target that no voxel of the dose grid has half of takes those that have this share


@dataclass(frozen=True)
class OptimiserSettings:
    """How the fluence is optimised.

    Args:
        smoothness: Weight of the squared differences of neighbouring beamlets; fluence without it sequences badly.
        max_steps: Most steps of the solver.
        max_seconds: Most wall time, None for no limit.
        kkt_tolerance: Optimal when the conditions of optimality are met this well.
        value_tolerance: Or when the last steps lowered the penalty by less than this share.
    """

    smoothness: float | int = 1e-3
    max_steps: int = 500
    max_seconds: float | int | None = None
    kkt_tolerance: float | int = 1e-5
    value_tolerance: float | int = 2e-3

    @property
    def stop(self) -> StopRule:
        """Return the solver's rule."""
        return StopRule(
            max_steps=self.max_steps,
            max_seconds=None if self.max_seconds is None else float(self.max_seconds),
            kkt_tolerance=float(self.kkt_tolerance),
            value_tolerance=float(self.value_tolerance),
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan and its dose.

    Args:
        case_id: The case.
        fluence: Per beamlet, in the units of the dose influence.
        dose_gy: Total dose on the case's grid; zero where dose is not scored, as in predictions.
        result: How the solve ended.
        objectives: Each objective that took part, and its penalty before its priority.
        skipped: Objectives that were left out, their structures absent or between the dose grid's voxels.
        remarks: What the user should know, in sentences.
        complexity: Measure → value, of the apertures where there are any, else of the fluence.
        delivered: The apertures and their dose, or None.
        seconds: Step → wall time.
    """

    case_id: str
    fluence: Float[np.ndarray, " b"]
    dose_gy: FloatVolume
    result: Result
    objectives: tuple[tuple[Objective, float], ...]
    skipped: tuple[Objective, ...]
    remarks: tuple[str, ...]
    complexity: Mapping[str, float | int]
    delivered: Delivered | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


def plan_case(
    case: PatientCase,
    wanted_gy: FloatVolume,
    influence: DoseInfluence,
    planner: AbstractPlanner,
    optimiser: OptimiserSettings | None = None,
    delivery: Delivery | None = None,
) -> Plan:
    """Return the plan that comes nearest to what the planner asks for.

    Contradictory constraints, or too few steps, are no error: the best plan found is returned, its status and remarks
    say what is wrong.

    Args:
        case: The patient.
        wanted_gy: Dose asked for, total Gy on the case's grid.
        influence: Dose influence of the case's beams.
        planner: What the dose should be like.
        optimiser: How to optimise; None takes the defaults.
        delivery: How to make apertures; None makes none.

    Raises:
        GridMismatchError: If the wanted dose has another shape than the case.
        InputError: If the wanted dose is not finite, a target is out of the beams' reach, no objective is left, or one
            names an absent structure that may not be skipped.
    """
    _check_wanted(case, wanted_gy)
    _check_reach(case, influence)
    clock = time.perf_counter()
    penalty = _compiled(case, wanted_gy, influence, planner.goals(case, wanted_gy))
    seconds = {"setting up the problem": time.perf_counter() - clock}
    result = _solved(influence, penalty, optimiser or OptimiserSettings())
    seconds["optimisation"] = result.seconds
    delivered = None
    if delivery is not None and case.technique != "proton":
        clock = time.perf_counter()
        delivered = deliver(case, influence, result.fluence[0], penalty, delivery)
        seconds["sequencing"] = time.perf_counter() - clock
    fluence = result.fluence[0].double().cpu().numpy()
    return Plan(
        case_id=case.case_id,
        fluence=fluence,
        dose_gy=scored_dose(influence, result.dose[0], case),
        result=result,
        objectives=tuple(zip(penalty.objectives, penalty.values(result.dose)[0].tolist(), strict=True)),
        skipped=penalty.skipped,
        remarks=tuple(_remarks(case, result, penalty, delivery, delivered)),
        complexity=fluence_complexity(influence, fluence) if delivered is None else delivered.complexity,
        delivered=delivered,
        seconds=seconds,
    )


def _solved(influence: DoseInfluence, penalty: DosePenalty, optimiser: OptimiserSettings) -> Result:
    problem = FluenceProblem(influence, penalty, smoothness=float(optimiser.smoothness))
    stop = optimiser.stop
    return solve(problem, AugmentedLagrangian(stop=stop) if penalty.constraints else SketchedLbfgs(stop=stop))


def _check_wanted(case: PatientCase, wanted_gy: FloatVolume) -> None:
    shape = case.grid.shape_zyx
    if wanted_gy.shape != shape:
        raise GridMismatchError(f"must have the case's shape {shape}", argument="wanted_gy", value=wanted_gy.shape)
    if not np.isfinite(wanted_gy).all():
        bad = f"{np.count_nonzero(~np.isfinite(wanted_gy))} voxels NaN or infinite"
        raise InputError("must be finite", argument="wanted_gy", value=bad)


def _target_rows(case: PatientCase, influence: DoseInfluence, name: str) -> Bool[Tensor, " n"]:
    """Return the rows of a target; those with a small share of it where none has half, so that it is not lost."""
    rows = influence.mask(case.structures[name], case.grid)
    return rows if bool(rows.any()) else influence.mask(case.structures[name], case.grid, TARGET_SHARE)


def _check_reach(case: PatientCase, influence: DoseInfluence) -> None:
    """Refuse targets that the dose grid or the beams miss."""
    open_field_gy = influence.forward(torch.ones(influence.shape[1], device=influence.device, dtype=influence.dtype))
    for name in case.targets:
        rows = _target_rows(case, influence, name)
        if not bool(rows.any()):
            spacing = influence.grid.spacing_xyz_mm
            raise InputError("must not fall between the voxels of the dose grid", argument=name, value=spacing)
        reached = float(open_field_gy[rows].mean())
        if not reached > 0:
            angles = tuple(beam.gantry_angle_deg for beam in influence.beams)
            rule = f"cannot be reached: the beams at {angles}° give it no dose whatever their fluence"
            raise InputError(rule, argument=name, value=reached)


def _compiled(case: PatientCase, wanted_gy: FloatVolume, influence: DoseInfluence, goals: Goals) -> DosePenalty:
    named = {objective.structure for objective in goals.objectives}
    volumes: dict[str, Mask] = {EXTERNAL: case.body, **case.structures, **goals.helpers}
    masks = {
        name: _target_rows(case, influence, name) if name in case.prescription_gy else influence.mask(mask, case.grid)
        for name, mask in volumes.items()
        if name in named
    }
    roles = {name: role_of(name) for name in masks} | dict(goals.roles)
    wanted = influence.sample(wanted_gy, case.grid, inside=case.scored_mask)
    penalty = compile_objectives(goals.objectives, masks, roles, wanted, missing=goals.absent)
    if not (penalty.terms or penalty.constraints):
        rule = "must hold at least one for a structure that the case has"
        raise InputError(rule, argument="objectives", value=[objective.describe() for objective in goals.objectives])
    return penalty


def _remarks(
    case: PatientCase, result: Result, penalty: DosePenalty, delivery: Delivery | None, delivered: Delivered | None
) -> Iterator[str]:
    if result.status is not Status.CONVERGED:
        yield f"the optimiser did not converge ({result.status.value}); this is the best plan found"
    for broken in result.violations:
        yield f"not met: {broken.constraint}, by {broken.excess_gy:.2f} Gy"
    for broken in () if delivered is None else delivered.violations:
        yield f"not met once sequenced: {broken.constraint}, by {broken.excess_gy:.2f} Gy"
    for objective in penalty.skipped:
        yield f"left out, as the structure is absent or between the dose grid's voxels: {objective.describe()}"
    if delivery is not None and case.technique == "proton":
        yield "not sequenced: collimators shape photon beams only"
