"""The loop of an iterative planner: solve, judge, ask for more, and keep the best plan."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from dosewright.core import DosewrightError, InputError
from dosewright.core.types import FloatVolume
from dosewright.fluence.augmented_lagrangian import AugmentedLagrangian, broken
from dosewright.fluence.status import Result, Status
from dosewright.objectives.penalty import DosePenalty
from dosewright.planning.checkpoint import BestPlan, Checkpoint, CourseState
from dosewright.planning.deliver import scored_dose
from dosewright.planning.goals import Goals
from dosewright.planning.iteration_stop import IterationStop
from dosewright.planning.iterative_planner import AbstractCourse
from dosewright.planning.solve_goals import GoalSolver
from dosewright.planning.trace import Step, Trace

Watch = Callable[[CourseState], bool | None]
SAME = "the next goals would be those of the last plan"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Optimised:
    """A plan as optimised: the best one where there were several.

    Args:
        result: Its fluence and dose; evaluations are those of all plans, seconds those of all that this run made.
        penalty: What it was optimised for.
        trace: All plans; None where only one was asked for.
        remarks: On how the goals came about.
    """

    result: Result
    penalty: DosePenalty
    trace: Trace | None = None
    remarks: tuple[str, ...] = ()


def iterate(
    course: AbstractCourse,
    solver: GoalSolver,
    stop: IterationStop,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Optimised:
    """Return the best plan of a course, each plan solved from the fluence of the one it goes on from.

    A plan that fails ends the course with the best one before it; only the first one's failure is raised.

    Args:
        course: What is asked of each plan, and what it is worth.
        solver: Of the case.
        stop: When the score has converged, and how far plans reach.
        checkpoint: Where the state is kept after each plan; one of the same key is taken up.
        watch: Called with the state after each plan; stops the course when it returns True.

    Raises:
        InputError: If the first goals cannot be solved.
        StorageError: If the checkpoint cannot be written.
    """
    state = None if checkpoint is None else checkpoint.load(solver.influence.shape[1])
    taken_up = 0 if state is None else len(state.steps)
    if state is None:
        state = _kept(_planned(course, solver, course.first()), checkpoint)
    else:
        log.info("%s: taken up after plan %d", solver.case.case_id, taken_up)
    stopped = _asked(watch, state) or stop.reason(state.scores, state.seconds)
    while not stopped:
        try:
            base = state.fluence if stop.shrink == 1 else state.best.fluence
            goals = course.next(_dose_gy(solver, base), stop.reach(state.scores))
            new = None if goals is None else _planned(course, solver, goals, state, base)
        except (DosewrightError, RuntimeError, ValueError, MemoryError) as error:
            return _best(course, solver, state, f"plan {len(state.steps) + 1} failed: {error}", taken_up, failed=True)
        if new is None:
            stopped = SAME
            break
        state = _kept(new, checkpoint)
        stopped = _asked(watch, state) or stop.reason(state.scores, state.seconds)
    log.info("%s: %s", solver.case.case_id, stopped)
    return _best(course, solver, state, stopped, taken_up)


def _kept(state: CourseState, checkpoint: Checkpoint | None) -> CourseState:
    if checkpoint is not None:
        checkpoint.save(state)
    return state


def _asked(watch: Watch | None, state: CourseState) -> str:
    return "stopped by the caller" if watch is not None and watch(state) else ""


def _planned(
    course: AbstractCourse,
    solver: GoalSolver,
    goals: Goals,
    before: CourseState | None = None,
    base: Float[np.ndarray, " b"] | None = None,
) -> CourseState:
    """Return the state after one more plan, solved from a base where there is one."""
    clock, processor = time.perf_counter(), time.process_time()
    penalty = solver.compiled(goals)
    result = solver.solved(penalty, None if base is None else _tensor(solver, base))
    dose_gy = scored_dose(solver.influence, result.dose[0], solver.case)
    factor = 1.0 if penalty.constraints else course.factor(dose_gy)
    judgement = course.judge(np.float32(factor) * dose_gy)
    if not np.isfinite(judgement.score):
        raise InputError("must be finite", argument=f"score of a plan of {solver.case.case_id}", value=judgement.score)
    fluence = factor * result.fluence[0].double().cpu().numpy()
    scores = [judgement.score] if before is None else [*before.scores, judgement.score]
    step = Step(
        iteration=len(scores),
        judgement=judgement,
        best=max(scores),
        objectives=len(penalty.objectives),
        factor=factor,
        penalty=float(result.value[0]),
        status=result.status.value,
        evaluations=result.evaluations,
        seconds=time.perf_counter() - clock,
        processor_seconds=time.process_time() - processor,
    )
    log.info("%s: plan %d scores %.2f", solver.case.case_id, step.iteration, judgement.score)
    if before is not None and judgement.score <= max(before.scores):
        return CourseState(fluence, before.best, (*before.steps, step))
    best = BestPlan(fluence, goals.objectives, step.status, float(result.kkt_residual[0]))
    return CourseState(fluence, best, (*(() if before is None else before.steps), step))


def _best(
    course: AbstractCourse, solver: GoalSolver, state: CourseState, stopped: str, taken_up: int, failed: bool = False
) -> Optimised:
    """Return the best plan, its dose and penalty computed anew."""
    goals = course.of(state.best.objectives)
    penalty = solver.compiled(goals)
    problem = solver.problem(penalty)
    fluence = _tensor(solver, state.best.fluence)[None]
    with torch.no_grad():
        dose = problem.dose(fluence)
        value = problem.value(fluence, dose)
    result = Result(
        fluence=fluence,
        dose=dose,
        value=value,
        kkt_residual=torch.tensor([state.best.kkt_residual], dtype=fluence.dtype),
        statuses=(Status(state.best.status),),
        evaluations=sum(step.evaluations for step in state.steps),
        seconds=sum((step.seconds for step in state.steps[taken_up:]), 0.0),
        history=(),
        violations=broken(penalty.constraints, dose, AugmentedLagrangian.tolerance_gy),
    )
    return Optimised(result, penalty, Trace(state.steps, stopped, failed), goals.remarks)


def _dose_gy(solver: GoalSolver, fluence: Float[np.ndarray, " b"]) -> FloatVolume:
    with torch.no_grad():
        return scored_dose(solver.influence, solver.influence.forward(_tensor(solver, fluence)), solver.case)


def _tensor(solver: GoalSolver, fluence: Float[np.ndarray, " b"]) -> Float[torch.Tensor, " b"]:
    return torch.from_numpy(fluence).to(solver.influence.device, solver.influence.dtype)
