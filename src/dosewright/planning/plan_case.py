"""From a wanted dose to a plan: objectives, fluence, and where asked for apertures, with the dose of each."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.solver import StopRule
from dosewright.fluence.status import Result, Status
from dosewright.objectives.objective import Objective
from dosewright.objectives.penalty import DosePenalty
from dosewright.planning.checkpoint import Checkpoint
from dosewright.planning.deliver import Delivered, Delivery, deliver, fluence_complexity, scored_dose
from dosewright.planning.goals import AbstractPlanner
from dosewright.planning.iterate import Optimised, iterate
from dosewright.planning.iterative_planner import AbstractCourse, AbstractIterativePlanner
from dosewright.planning.solve_goals import GoalSolver
from dosewright.planning.trace import Trace


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
        trace: How an iterative planner came to it; None of others.
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
    trace: Trace | None = None


def plan_case(
    case: PatientCase,
    wanted_gy: FloatVolume,
    influence: DoseInfluence,
    planner: AbstractPlanner,
    optimiser: OptimiserSettings | None = None,
    delivery: Delivery | None = None,
    checkpoint: Checkpoint | None = None,
) -> Plan:
    """Return the plan that comes nearest to what the planner asks for; of an iterative planner the best one.

    Contradictory constraints, or too few steps, are no error: the best plan found is returned, its status and remarks
    say what is wrong.

    Args:
        case: The patient.
        wanted_gy: Dose asked for, total Gy on the case's grid.
        influence: Dose influence of the case's beams.
        planner: What the dose should be like.
        optimiser: How to optimise; None takes the defaults.
        delivery: How to make apertures; None makes none.
        checkpoint: Where an iterative planner keeps what it has after each plan; None keeps nothing.

    Raises:
        GridMismatchError: If the wanted dose has another shape than the case.
        InputError: If the wanted dose is not finite, a target is out of the beams' reach, no objective is left, or one
            names an absent structure that may not be skipped.
        StorageError: If the checkpoint cannot be written.
    """
    _check_wanted(case, wanted_gy)
    clock, optimiser = time.perf_counter(), optimiser or OptimiserSettings()
    solver = GoalSolver(case, wanted_gy, influence, optimiser.stop, float(optimiser.smoothness))
    course = planner.course(case, wanted_gy) if isinstance(planner, AbstractIterativePlanner) else None
    found = _optimised(planner, solver, course, wanted_gy, checkpoint)
    result, penalty = found.result, found.penalty
    seconds = {"setting up the problem": time.perf_counter() - clock - result.seconds, "optimisation": result.seconds}
    clock = time.perf_counter()
    delivered, trace = _sequenced(solver, found, course, delivery)
    if delivered is not None:
        seconds["sequencing"] = time.perf_counter() - clock
    fluence = result.fluence[0].double().cpu().numpy()
    return Plan(
        case_id=case.case_id,
        fluence=fluence,
        dose_gy=scored_dose(influence, result.dose[0], case),
        result=result,
        objectives=tuple(zip(penalty.objectives, penalty.values(result.dose)[0].tolist(), strict=True)),
        skipped=penalty.skipped,
        remarks=(*_remarks(case, result, penalty, delivery, delivered), *_unfinished(trace), *found.remarks),
        complexity=fluence_complexity(influence, fluence) if delivered is None else delivered.complexity,
        delivered=delivered,
        seconds=seconds,
        trace=trace,
    )


def _optimised(
    planner: AbstractPlanner,
    solver: GoalSolver,
    course: AbstractCourse | None,
    wanted_gy: FloatVolume,
    checkpoint: Checkpoint | None,
) -> Optimised:
    if course is not None and isinstance(planner, AbstractIterativePlanner):
        return iterate(course, solver, planner.stop, checkpoint)
    goals = planner.goals(solver.case, wanted_gy)
    penalty = solver.compiled(goals)
    return Optimised(solver.solved(penalty), penalty, remarks=goals.remarks)


def _sequenced(
    solver: GoalSolver, found: Optimised, course: AbstractCourse | None, delivery: Delivery | None
) -> tuple[Delivered | None, Trace | None]:
    """Return the apertures, if any are to be made, and the trace with what they are worth."""
    if delivery is None or solver.case.technique == "proton":
        return None, found.trace
    factor = None if course is None else course.factor
    delivered = deliver(solver.case, solver.influence, found.result.fluence[0], found.penalty, delivery, factor)
    if found.trace is None or course is None:
        return delivered, found.trace
    return delivered, replace(found.trace, delivered=course.judge(delivered.dose_gy))


def _check_wanted(case: PatientCase, wanted_gy: FloatVolume) -> None:
    shape = case.grid.shape_zyx
    if wanted_gy.shape != shape:
        raise GridMismatchError(f"must have the case's shape {shape}", argument="wanted_gy", value=wanted_gy.shape)
    if not np.isfinite(wanted_gy).all():
        bad = f"{np.count_nonzero(~np.isfinite(wanted_gy))} voxels NaN or infinite"
        raise InputError("must be finite", argument="wanted_gy", value=bad)


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


def _unfinished(trace: Trace | None) -> Iterator[str]:
    if trace is not None and trace.failed:
        yield f"{trace.stopped}; the best of the {len(trace.steps)} plans before it was kept"
