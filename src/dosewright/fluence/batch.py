"""Many plans of one patient: in groups that are solved together, by the method that suits their number and the memory.

Rule of thumb on two cores: the plans of a group of 32 take a third of a second each where one alone takes six, once the
influence is there (5 mm beamlets and voxels). See `benchmarks/fluence_batched.py`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.screened_lbfgs import ScreenedLbfgs, ScreenedPenalty
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import AbstractSolver, StopRule, solve
from dosewright.fluence.status import Result

FEWEST = 8  # plans for which a dense matrix of their common voxels pays
WITHIN = StopRule(max_steps=40, value_tolerance=1e-3)  # ends within 0.3 % of the optimum: see the benchmark
_ARRAYS = 30  # of (plans, voxels): what a solve holds at a time, the preconditioner included
_PAIRS = 40  # of (plans, beamlets): pairs of L-BFGS, and what steps are made of


def batch_bytes(influence: DoseInfluence, plans: int) -> int:
    """Return the memory that solving plans together takes at most, beside the influence in both orientations.

    The matrix in half precision, also in both orientations, of all voxels (as a rule a third to a half of them are
    used), and single-precision arrays for each plan.

    Args:
        influence: D.
        plans: k.
    """
    voxels, beamlets = influence.shape
    return 4 * voxels * beamlets + 4 * plans * (_ARRAYS * voxels + _PAIRS * beamlets)


def batch_solver(problem: FluenceProblem, stop: StopRule = WITHIN, memory_gb: float = 8.0) -> AbstractSolver:
    """Return the fastest method for a problem: `ScreenedLbfgs` for many plans, else `SketchedLbfgs`.

    Args:
        problem: Plans of one `DoseInfluence`.
        stop: When to stop, for `ScreenedLbfgs`; its tolerance is for a model of 25 steps, of 12 in `SketchedLbfgs`,
            which gets a fifth of it.
        memory_gb: Most that the batch may take beside the influence, 10⁹ bytes.
    """
    influence = problem.influence
    fits = isinstance(influence, DoseInfluence) and batch_bytes(influence, problem.plans) <= 1e9 * memory_gb
    if problem.plans >= FEWEST and fits and isinstance(problem.penalty, ScreenedPenalty):
        return ScreenedLbfgs(stop=stop)
    tolerance = stop.value_tolerance / 5
    return SketchedLbfgs(stop=StopRule(500, stop.max_seconds, stop.kkt_tolerance, tolerance, stop.window))


def solve_batch(
    problem: FluenceProblem,
    stop: StopRule = WITHIN,
    start: Float[Tensor, "*k b"] | None = None,
    *,
    at_once: int = 32,
    memory_gb: float = 8.0,
) -> tuple[Result, ...]:
    """Return what was found for the plans of a problem, a result for each group of them, in their order.

    Args:
        problem: Any number of plans of one `DoseInfluence`.
        stop: See `batch_solver`.
        start: Fluence to start from, (b,) for all plans or (k, b); None starts each from equal fluence.
        at_once: Most plans in a group; groups are made smaller where the memory asks for it.
        memory_gb: Most that a group may take beside the influence, 10⁹ bytes.

    Raises:
        InputError: If a number is not positive, or there are several groups and the penalty cannot be split.
    """
    if at_once < 1:
        raise InputError("must be at least 1", argument="at_once", value=at_once)
    if not memory_gb > 0:
        raise InputError("must be positive", argument="memory_gb", value=memory_gb)
    while at_once > FEWEST and isinstance(problem.influence, DoseInfluence):
        if batch_bytes(problem.influence, min(at_once, problem.plans)) <= 1e9 * memory_gb:
            break
        at_once = max(FEWEST, at_once // 2)
    groups = torch.arange(problem.plans).split(at_once)
    if len(groups) > 1 and not problem.can_split:
        raise InputError("must be able to split into plans", argument="penalty", value=type(problem.penalty).__name__)
    results = []
    for group in groups:
        part = problem if len(groups) == 1 else problem.of_plans(group)
        given = start if start is None or start.ndim == 1 or len(start) == 1 else start[group]
        results.append(solve(part, batch_solver(part, stop, memory_gb), given))
    return tuple(results)
