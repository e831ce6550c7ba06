"""Time many plans of one patient optimised together against one by one, to the same tolerance.

    python benchmarks/fluence_batched.py [--root DIR] [--case pt_202] [--cache DIR] [--plans 32] [--clock wall]

The plans differ in the priorities of their objectives, by factors of e^N(0, 1/2). One by one, `--alone` of them are
solved and their mean time counts. The optimum of those is found by a long solve of each. DIR holds OpenKBP's
`provided-data`; without it a phantom is planned. On a machine that others use, `--clock cpu` counts processor time.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from dosewright.core import PatientCase
from dosewright.fluence.dense_influence import DenseInfluence
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.sketch import sketch_of
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import AbstractSolver, StopRule, solve
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


def compare(problem: FluenceProblem, options: argparse.Namespace) -> None:
    """Print the table."""
    influence, plans = problem.influence, options.plans
    assert isinstance(influence, DoseInfluence)
    alone = [problem.of_plans(torch.tensor([plan])) for plan in range(options.alone)]
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    dense, dense_s = timed(lambda: DenseInfluence(influence), clock)
    _, sketch_s = timed(lambda: sketch_of(influence), clock)
    for operator in (influence, sketch_of(influence)):
        operator.adjoint(operator.forward(torch.ones(1, influence.shape[1])))
    stop = StopRule(value_tolerance=options.tolerance)
    exact = StopRule(max_steps=5000, max_seconds=options.seconds, kkt_tolerance=0.0, value_tolerance=1e-7, window=60)
    best = [float(solve(one, SketchedLbfgs(stop=exact)).value) for one in alone]
    methods: dict[str, AbstractSolver] = {
        "ProjectedLbfgs": ProjectedLbfgs(stop=stop),
        "SketchedLbfgs": SketchedLbfgs(stop=stop),
        "SketchedLbfgs, dense bf16": SketchedLbfgs(sketch=dense, inner_steps=25, stop=stop),
    }
    rows, reference = [], None
    for name, solver in list(methods.items())[:2]:
        results, seconds = timed(lambda: [solve(one, solver) for one in alone], clock)  # noqa: B023
        seconds /= len(results)
        reference = seconds if reference is None else min(reference, seconds)
        rows.append(_row(f"{name}, one by one", results, seconds, best))
    for name, solver in methods.items():
        result, seconds = timed(lambda: solve(problem, solver), clock)  # noqa: B023
        rows.append(_row(f"{name}, {plans} together", [result], seconds / plans, best))
    assert reference is not None
    for row in rows:
        row.append(f"{reference / float(row[1]):.1f}")
    print(f"sketch made in {sketch_s:.2f} s, dense matrix in {dense_s:.2f} s (not counted below)\n")
    head = ["", "s a plan", "plans an hour", "evaluations", "above optimum", "times the best one by one"]
    print_table(head, rows)


def _row(name: str, results: list[Result], seconds: float, best: list[float]) -> list[str]:
    values = torch.cat([result.value for result in results])[: len(best)]
    above = max(float(value) / least - 1 for value, least in zip(values, best))
    evaluations = max(result.evaluations for result in results)
    return [name, f"{seconds:.3f}", f"{3600 / seconds:.0f}", str(evaluations), f"{above:.2%}"]


def main() -> None:
    arguments = influence_parser(__doc__ or "", repeats=1)
    arguments.add_argument("--plans", type=int, default=32)
    arguments.add_argument("--alone", type=int, default=4, help="plans that are also solved one by one")
    arguments.add_argument("--tolerance", type=float, default=1e-3, help="share a value falls in ten steps at the end")
    arguments.add_argument("--seconds", type=float, default=30.0, help="wall time of the long solve of a plan")
    arguments.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = arguments.parse_args()
    case, influence = case_and_influence(options)
    print(machine("scipy"))
    print(f"{source_of(options.root)}, {case.case_id}: {influence.shape[0]} voxels × {influence.shape[1]} beamlets")
    compare(problem_of(case, influence, options.plans), options)


if __name__ == "__main__":
    main()
