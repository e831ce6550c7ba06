"""Time fluence solvers to within a share of the optimum, against pyRadPlan's scipy and IPOPT solvers.

    python benchmarks/fluence_solvers.py [--root DIR] [--case pt_202] [--cache DIR] [--seconds 60] [--clock wall]
    python benchmarks/fluence_solvers.py --tg119 [--cache DIR] [--seconds 60] [--clock wall]

All work on one matrix and the same objectives of voxels (nine or so of a patient), from the same start. The peers are
pyRadPlan's solver classes with its own objective classes and scipy products, as its planning problem calls them, their
tolerances turned off; the IPOPT one runs where `ipyopt` is installed. A peer's best evaluation so far counts, and
nothing but its solve is timed. The optimum is the least value anyone found. DIR holds OpenKBP's `provided-data`;
without it a phantom is planned. `--tg119` takes the C-shape of TG-119 that pyRadPlan ships, with the goals of its file.
(IPOPT beside torch needs KMP_DUPLICATE_LIB_OK=TRUE in the environment.) On a machine that others use, `--clock cpu`
with OMP_NUM_THREADS=1 counts processor time instead.
"""

import argparse
import contextlib
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from dosewright.core import PatientCase
from dosewright.fluence.accelerated_gradient import AcceleratedGradient
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.sketch import sketch_of
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import AbstractSolver, SolverState, StopRule, solve
from dosewright.fluence.start import default_start
from dosewright.objectives.compile import compile_objectives
from dosewright.objectives.objective import Objective
from harness.influences import case_and_influence, influence_of, influence_parser
from harness.patients import source_of
from harness.tg119 import read_tg119
from harness.timing import machine, print_table

SHARES = (0.1, 0.01, 0.003, 0.001)
CEILINGS_GY = {"SpinalCord": 38.0, "Brainstem": 40.0, "Parotid_L": 20.0, "Parotid_R": 20.0, "Larynx": 35.0}
OTHER_CEILING_GY, BODY_CEILING_GY = 45.0, 45.0
Curve = list[tuple[float, float]]  # seconds, value
Masks = dict[str, torch.Tensor]
Clock = Callable[[], float]


def objectives(case: PatientCase, present: Sequence[str]) -> Sequence[Objective]:
    """Return prescriptions for the targets and ceilings for the rest."""
    found = [Objective("External", "squared_overdose", BODY_CEILING_GY, priority=3.0)]
    for name in present:
        if name in case.prescription_gy:
            found.append(Objective(name, "squared_deviation", case.prescription_gy[name], priority=100.0))
        else:
            ceiling = CEILINGS_GY.get(name, OTHER_CEILING_GY)
            found.append(Objective(name, "squared_overdose", ceiling, priority=5.0))
    return found


class Peer:
    """One of pyRadPlan's solvers on the same problem; `curve` is what it evaluated, and when."""

    def __init__(
        self, solver: str, influence: DoseInfluence, goals: Sequence[Objective], masks: Masks, clock: Clock
    ) -> None:
        from pyRadPlan.optimization.objectives import get_objective
        from pyRadPlan.optimization.solvers import get_solver

        names = {
            "squared_overdose": ("Squared Overdosing", "d_max"),
            "squared_deviation": ("Squared Deviation", "d_ref"),
        }
        self.matrix, self.solver = influence.csc, get_solver(solver)
        self.terms = []
        for goal in goals:
            name, field = names[goal.kind]
            objective = get_objective({"name": name, field: goal.dose_gy, "priority": goal.priority})
            self.terms.append((masks[goal.structure].numpy(), objective))
        self.curve: Curve = []
        self.clock, self._began = clock, 0.0
        self._at: np.ndarray | None = None
        self._dose = np.zeros(influence.shape[0], np.float32)

    def _value(self, x: np.ndarray) -> float:
        if self._at is None or not np.array_equal(x, self._at):  # pyRadPlan keeps the last dose, too
            self._at, self._dose = x.copy(), self.matrix @ x.astype(np.float32)
        value = float(sum(term.priority * term.compute_objective(self._dose[mask]) for mask, term in self.terms))
        self.curve.append((self.clock() - self._began, value))
        return value

    def _gradient(self, x: np.ndarray) -> np.ndarray:
        if self._at is None or not np.array_equal(x, self._at):
            self._at, self._dose = x.copy(), self.matrix @ x.astype(np.float32)
        slope = np.zeros(self.matrix.shape[0], np.float32)
        for mask, term in self.terms:
            slope[mask] += term.priority * term.compute_gradient(self._dose[mask])
        return (slope @ self.matrix).astype(np.float64)

    def run(self, start: np.ndarray, seconds: float) -> Curve:
        """Return what the solver evaluated within a time."""
        self._at, solver = None, self.solver
        solver.objective, solver.gradient, solver.bounds = self._value, self._gradient, (0.0, float("inf"))
        solver.display, solver.max_iter, solver.max_time, solver.abs_obj_tol = False, 100_000, seconds, 1e-12
        solver.allow_keyboard_cancel = False
        solver.status_callback = lambda *_, **__: self.clock() - self._began < seconds
        if "acceptable_obj_change_tol" in solver.options:
            solver.options |= {"acceptable_iter": 0, "print_timing_statistics": "no"}
        self._began = self.clock()
        with contextlib.suppress(StopIteration):
            solver.solve(start)
        return self.curve


def ours(solver: AbstractSolver, problem: FluenceProblem, seconds: float, clock: Clock) -> Curve:
    """Return a solver's values and seconds, its default start included."""
    curve: Curve = []
    began = clock()

    def note(state: SolverState) -> bool:
        curve.append((clock() - began, float(state.point.value)))
        return curve[-1][0] > seconds

    solve(problem, solver, callbacks=[note])
    return curve


def reached(curve: Curve, value: float) -> float:
    """Return when a curve first came down to a value; infinite where it never did."""
    return next((seconds for seconds, at in curve if at <= value), float("inf"))


def peers(influence: DoseInfluence, goals: Sequence[Objective], masks: Masks, clock: Clock) -> dict[str, Peer]:
    """Return the peers that are installed."""
    found = {}
    for name in ("scipy", "ipopt"):
        try:
            found[f"pyRadPlan {name}"] = Peer(name, influence, goals, masks, clock)
        except (ImportError, ValueError, KeyError) as error:
            print(f"without pyRadPlan's {name}: {error}")
    return found


def timed(work: Callable[[], Any], clock: Clock) -> tuple[Any, float]:
    began = clock()
    return work(), clock() - began


def compare(
    case: PatientCase, influence: DoseInfluence, goals: Sequence[Objective], options: argparse.Namespace
) -> None:
    """Print the table of one patient."""
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    masks = influence.masks(case)
    masks["External"] = torch.ones(influence.shape[0], dtype=torch.bool)
    penalty = compile_objectives(goals, masks)
    influence.adjoint(influence.forward(torch.ones(influence.shape[1])))  # both orientations are made
    problem, norms_s = timed(lambda: FluenceProblem(influence, penalty), clock)
    sketch, sketch_s = timed(lambda: sketch_of(influence), clock)
    sketch.adjoint(sketch.forward(torch.ones(influence.shape[1])))
    exact = StopRule(max_steps=100_000, kkt_tolerance=0.0, value_tolerance=1e-5, window=30)
    methods: dict[str, AbstractSolver] = {
        "SketchedLbfgs": SketchedLbfgs(stop=exact),
        "ProjectedLbfgs": ProjectedLbfgs(stop=exact),
        "AcceleratedGradient": AcceleratedGradient(stop=exact),
    }
    curves = {name: ours(solver, problem, options.seconds, clock) for name, solver in methods.items()}
    start = default_start(problem)[0].double().numpy()
    for name, peer in peers(influence, goals, masks, clock).items():
        gc.collect()
        curves[name] = peer.run(start, options.seconds)
    optimum = min(value for curve in curves.values() for _, value in curve)
    print(
        f"{case.case_id}: {influence.shape[0]} voxels × {influence.shape[1]} beamlets, {influence.nnz / 1e6:.1f} M "
        f"entries, {len(goals)} objectives; sketch of {sketch.nnz / influence.nnz:.0%} made in {sketch_s:.2f} s, "
        f"columns' norms in {norms_s:.2f} s (neither is counted below); optimum {optimum:.5g}\n"
    )
    fastest = min(reached(curve, optimum * 1.01) for name, curve in curves.items() if name.startswith("pyRadPlan"))
    rows = []
    for name, curve in curves.items():
        least, at = min(value for _, value in curve), reached(curve, optimum * 1.01)
        cells = [f"{reached(curve, optimum * (1 + share)):.2f}" for share in SHARES]
        rows.append([name, *cells, f"{least / optimum - 1:.2%}", f"{fastest / at:.1f}"])
    print_table(["seconds to within", *(f"{share:.1%}" for share in SHARES), "end", "times faster at 1 %"], rows)


def main() -> None:
    arguments = influence_parser(__doc__ or "", repeats=1)
    arguments.add_argument("--seconds", type=float, default=60.0, help="most time of each solver")
    arguments.add_argument("--tg119", action="store_true", help="the C-shape of TG-119 instead of a patient")
    arguments.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = arguments.parse_args()
    goals: Sequence[Objective]
    if options.tg119:
        case, goals = read_tg119()
        influence, source = influence_of(case, options), "the C-shape of TG-119"
    else:
        case, influence = case_and_influence(options)
        goals = objectives(case, [name for name, mask in influence.masks(case).items() if mask.any()])
        source = source_of(options.root)
    print(machine("scipy", "pyRadPlan"))
    print(f"{source}; {options.clock} time")
    compare(case, influence, goals, options)


if __name__ == "__main__":
    main()
