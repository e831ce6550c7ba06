"""Time many plans of one patient optimised together against one by one, to within a share of each one's optimum.

    python benchmarks/fluence_batched.py [--root DIR] [--case pt_202] [--cache DIR] [--plans 32] [--clock wall]

The plans differ in the priorities of their objectives, by factors of e^N(0, 1/2). Their optima are found first, by a
long solve of all. One by one, `--alone` of the plans are solved by each method and the mean time counts; a solve ends
when its plans are within `--share` of their optima, all of them. The last row is `solve_batch` as it is used, which
does not know the optima and ends by its own rule. Everything a solve makes (dense rows, preconditioner) is counted;
what is kept with the influence (both orientations, norms, sketch) is made before. DIR holds OpenKBP's `provided-data`;
without it a phantom is planned. On a machine that others use, `--clock cpu` counts processor time.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from dosewright.core import PatientCase
from dosewright.fluence.batch import solve_batch
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.screened_lbfgs import ScreenedLbfgs
from dosewright.fluence.sketch import sketch_of
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import AbstractSolver, SolverState, StopRule, solve
from dosewright.fluence.status import Result
from dosewright.objectives.compile import compile_objectives
from fluence_solvers import objectives
from harness.influences import case_and_influence, influence_parser
from harness.patients import source_of
from harness.timing import machine, print_table


def problem_of(case: PatientCase, influence: DoseInfluence, plans: int) -> FluenceProblem:
    """Return plans that differ in priorities."""
    masks = {name: mask for name, mask in influence.masks(case).items() if mask.any()}
    goals = objectives(case, list(masks))
    masks["External"] = torch.ones(influence.shape[0], dtype=torch.bool)
    penalty = compile_objectives(goals, masks)
    spread = torch.exp(0.5 * torch.randn(plans, len(goals), generator=torch.Generator().manual_seed(0)))
    return FluenceProblem(influence, penalty.with_parameters(priority=penalty.priority * spread), plans=plans)


def timed(work: Callable[[], Any], clock: Callable[[], float]) -> tuple[Any, float]:
    began = clock()
    return work(), clock() - began


def optima(problem: FluenceProblem) -> torch.Tensor:
    """Return the least value found for each plan by a long solve of all."""
    rule = StopRule(max_steps=30, kkt_tolerance=0.0, value_tolerance=5e-5)
    return solve(problem, ScreenedLbfgs(inner_steps=40, memory=10, stop=rule)).value


def reach(problem: FluenceProblem, solver: AbstractSolver, goal: torch.Tensor) -> Result:
    """Return the result of a solve that ends as soon as every plan's value is down at its goal."""
    best = torch.full_like(goal, torch.inf)

    def reached(state: SolverState) -> bool:
        if len(state.point.value) == len(best):
            best.copy_(torch.minimum(best, state.point.value))
        return bool((best <= goal).all())

    return solve(problem, solver, callbacks=[reached])


def compare(problem: FluenceProblem, options: argparse.Namespace) -> None:
    """Print the table."""
    influence, plans = problem.influence, options.plans
    assert isinstance(influence, DoseInfluence)
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    for operator in (influence, sketch_of(influence)):
        operator.adjoint(operator.forward(torch.ones(1, influence.shape[1])))
    best = optima(problem)
    goal = best * (1 + options.share)
    on = StopRule(max_steps=2000, kkt_tolerance=0.0, value_tolerance=0.0)
    methods: dict[str, AbstractSolver] = {
        "SketchedLbfgs": SketchedLbfgs(stop=on),
        "ProjectedLbfgs": ProjectedLbfgs(stop=on),
        "ScreenedLbfgs": ScreenedLbfgs(stop=on),
    }
    rows, reference = [], float("inf")
    spread = torch.linspace(0, plans - 1, options.alone).round().long()
    for name, solver in methods.items():
        results, seconds = [], []
        for plan in spread.tolist():
            one = torch.tensor([plan])
            found, took = timed(lambda: reach(problem.of_plans(one), solver, goal[one]), clock)  # noqa: B023
            results.append(found)
            seconds.append(took)
        took = sum(seconds) / len(seconds)
        reference = min(reference, took)
        rows.append(_row(f"{name}, one by one", results, took, best[spread]))
    for name in options.together:
        found, took = timed(lambda: reach(problem, methods[name], goal), clock)  # noqa: B023
        rows.append(_row(f"{name}, {plans} together", [found], took / plans, best))
    found, took = timed(lambda: solve_batch(problem, at_once=plans), clock)
    rows.append(_row(f"solve_batch, {plans} together", list(found), took / plans, best))
    for row in rows:
        row.append(f"{reference / float(row[1]):.1f}")
    print_table(["", "s a plan", "plans an hour", "evaluations", "above optimum", "times the best one by one"], rows)


def _row(name: str, results: list[Result], seconds: float, best: torch.Tensor) -> list[str]:
    above = float((torch.cat([result.value for result in results]) / best - 1).max())
    evaluations = max(result.evaluations for result in results)
    return [name, f"{seconds:.3f}", f"{3600 / seconds:.0f}", str(evaluations), f"{above:.2%}"]


def main() -> None:
    arguments = influence_parser(__doc__ or "", repeats=1)
    arguments.add_argument("--plans", type=int, default=32)
    arguments.add_argument("--alone", type=int, default=4, help="plans that are also solved one by one")
    arguments.add_argument("--share", type=float, default=0.003, help="of its optimum that a plan may be above it")
    arguments.add_argument(
        "--together", nargs="*", default=["ScreenedLbfgs"], help="methods for all plans at once", metavar="METHOD"
    )
    arguments.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = arguments.parse_args()
    case, influence = case_and_influence(options)
    print(machine("scipy"))
    print(f"{source_of(options.root)}, {case.case_id}: {influence.shape[0]} voxels × {influence.shape[1]} beamlets")
    compare(problem_of(case, influence, options.plans), options)


if __name__ == "__main__":
    main()
