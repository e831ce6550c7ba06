"""The loop of an iterative planner: the best plan is kept, whatever ends it, and nothing made is lost."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from airtp_problems import CARD
from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.solver import solve
from dosewright.fluence.status import Result, Status
from dosewright.fluence.step_and_shoot import StepAndShoot
from dosewright.objectives.extraction_rules import ExtractionSettings
from dosewright.objectives.objective import Objective
from dosewright.planning import solve_goals
from dosewright.planning.airtp_course import AirtpCourse
from dosewright.planning.airtp_normalisation import Normalisation
from dosewright.planning.airtp_planner import AirtpPlanner
from dosewright.planning.checkpoint import Checkpoint, CourseState
from dosewright.planning.deliver import Delivery, scored_dose
from dosewright.planning.goals import Goals
from dosewright.planning.iterate import SAME, Optimised, iterate
from dosewright.planning.iteration_stop import IterationStop
from dosewright.planning.iterative_planner import AbstractCourse, AbstractIterativePlanner, Judgement
from dosewright.planning.plan_case import OptimiserSettings, plan_case
from dosewright.planning.solve_goals import GoalSolver
from dosewright.planning.trace import Step
from dosewright.scorecards.scorer import Scorer
from plan_problems import make_influence

FOUR = IterationStop(max_iterations=4, patience=4)
FEW = ExtractionSettings(volumes_percent=(10, 40), around_volumes_percent=(20,), means=False, maximum_cc=None)
QUICK = OptimiserSettings(max_steps=3)


@dataclass(frozen=True)
class Boxed(AbstractIterativePlanner):
    """AIRTP's planner with the tests' card, which is no file."""

    inner: AirtpPlanner = field(default_factory=lambda: AirtpPlanner(extraction=FEW))
    stop: IterationStop = FOUR

    def course(self, case: PatientCase, wanted_gy: FloatVolume) -> AirtpCourse:
        return AirtpCourse(case, wanted_gy, self.inner, Scorer(CARD, case))

    def fingerprint(self, case_id: str) -> str:
        return ""


@pytest.fixture(scope="module", autouse=True)
def _single(one_thread: None) -> None:
    """Small products are faster on one thread."""


@pytest.fixture
def influence(case: PatientCase) -> DoseInfluence:
    return make_influence(case)


@pytest.fixture
def solver(case: PatientCase, influence: DoseInfluence) -> GoalSolver:
    return GoalSolver(case, wished(case), influence, QUICK.stop, 1e-3)


def wished(case: PatientCase) -> FloatVolume:
    """Prescriptions in the targets, 45 Gy in the rest of the body: far from good."""
    dose_gy = (case.body * 45.0).astype(np.float32)
    for name in case.targets:
        dose_gy[case.structures[name]] = case.prescription_gy[name]
    return dose_gy


def made(case: PatientCase, **settings: object) -> AirtpCourse:
    return Boxed(AirtpPlanner(extraction=FEW, **settings)).course(case, wished(case))  # type: ignore[arg-type]


def scores(found: Optimised) -> list[float]:
    assert found.trace is not None
    return [step.judgement.score for step in found.trace.steps]


class Breaking(AbstractCourse):
    """A course that raises when a plan is judged, once."""

    def __init__(self, course: AirtpCourse, at: int, error: BaseException) -> None:
        self.course, self.at, self.error, self.judged = course, at, error, 0

    def first(self) -> Goals:
        return self.course.first()

    def next(self, dose_gy: FloatVolume, reach: float) -> Goals | None:
        return self.course.next(dose_gy, reach)

    def of(self, objectives: Sequence[Objective]) -> Goals:
        return self.course.of(objectives)

    def factor(self, dose_gy: FloatVolume) -> float:
        return self.course.factor(dose_gy)

    def judge(self, dose_gy: FloatVolume) -> Judgement:
        self.judged += 1
        if self.judged == self.at:
            raise self.error
        return self.course.judge(dose_gy)


def test_iterating_lifts_the_score_and_keeps_the_best_plan(case: PatientCase, solver: GoalSolver) -> None:
    course = made(case)
    found = iterate(course, solver, FOUR)
    assert found.trace is not None
    best = [step.best for step in found.trace.steps]
    assert best == sorted(best)
    assert best == np.maximum.accumulate(scores(found)).tolist()
    assert found.trace.gain > 3.0  # of 107 points: glands and cord come down from the 45 Gy that were asked for
    kept = course.judge(scored_dose(solver.influence, found.result.dose[0], case))
    assert kept.score == pytest.approx(max(scores(found)), abs=1e-3)
    assert found.trace.stopped == "4 plans made"
    assert [step.iteration for step in found.trace.steps] == [1, 2, 3, 4]
    torch.testing.assert_close(found.result.dose, solver.influence.forward(found.result.fluence))
    assert found.result.evaluations == sum(step.evaluations for step in found.trace.steps)


def test_every_plan_is_normalised(case: PatientCase, solver: GoalSolver) -> None:
    found = iterate(made(case, normalise=Normalisation(97.0, 2.0, None)), solver, replace(FOUR, max_iterations=2))
    assert found.trace is not None
    dose_gy = scored_dose(solver.influence, found.result.dose[0], case)
    inside = dose_gy[case.structures["PTV_High"]].astype(np.float64)
    assert np.percentile(inside, 3.0) == pytest.approx(70.0, rel=1e-4)
    bare = iterate(made(case, normalise=None), solver, replace(FOUR, max_iterations=1))
    assert bare.trace is not None
    assert bare.trace.steps[0].factor == 1.0


def test_a_replay_makes_one_plan(case: PatientCase, solver: GoalSolver) -> None:
    found = iterate(made(case, follow="dose"), solver, FOUR)
    assert found.trace is not None
    assert (len(found.trace.steps), found.trace.stopped) == (1, SAME)


def test_hard_limits_that_the_best_plan_misses_are_told(case: PatientCase, solver: GoalSolver) -> None:
    limit = {"structure": "PTV_High", "kind": "max_dose", "dose_gy": 20.0, "priority": 100.0, "constraint": True}
    contrary = limit | {"kind": "min_dose", "dose_gy": 60.0}
    course = made(case, start="protocol", protocol=(limit, contrary), normalise=None)
    found = iterate(course, solver, replace(FOUR, max_iterations=1))
    inside = found.result.dose[0][solver.influence.mask(case.structures["PTV_High"], case.grid)]
    assert float(inside.min()) > 60.0  # the lower limit holds, so the upper one cannot
    assert [one.excess_gy for one in found.result.violations] == pytest.approx([float(inside.max()) - 20.0], abs=1e-3)


def test_a_caller_can_stop(case: PatientCase, solver: GoalSolver) -> None:
    seen: list[int] = []

    def watch(state: CourseState) -> bool:
        seen.append(len(state.steps))
        return len(state.steps) == 2

    found = iterate(made(case), solver, FOUR, watch=watch)
    assert (seen, len(scores(found))) == ([1, 2], 2)
    assert found.trace is not None
    assert found.trace.stopped == "stopped by the caller"


@pytest.mark.parametrize("error", [RuntimeError("no memory"), InputError("must be fine", argument="dose", value=0)])
def test_a_plan_that_fails_costs_no_other(case: PatientCase, solver: GoalSolver, error: Exception) -> None:
    found = iterate(Breaking(made(case), 3, error), solver, FOUR)
    assert found.trace is not None
    assert (len(found.trace.steps), found.trace.failed) == (2, True)
    assert found.trace.stopped.startswith("plan 3 failed: ")
    kept = made(case).judge(scored_dose(solver.influence, found.result.dose[0], case))
    assert kept.score == pytest.approx(max(scores(found)), abs=1e-3)
    with pytest.raises(type(error), match=str(error)[:8]):
        iterate(Breaking(made(case), 1, error), solver, FOUR)


def test_a_score_that_is_no_number_ends_the_course(case: PatientCase, solver: GoalSolver) -> None:
    course = made(case)
    course.judge = lambda dose_gy: Judgement(float("nan"), 1.0)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="score of a plan of case_1 must be finite"):
        iterate(course, solver, FOUR)


def test_an_interrupted_course_goes_on_where_it_was(case: PatientCase, solver: GoalSolver, tmp_path: Path) -> None:
    whole = iterate(made(case), solver, FOUR)
    checkpoint = Checkpoint(tmp_path / "course.npz", "these settings")
    with pytest.raises(KeyboardInterrupt):
        iterate(Breaking(made(case), 3, KeyboardInterrupt()), solver, FOUR, checkpoint)
    state = checkpoint.load(solver.influence.shape[1])
    assert state is not None
    assert len(state.steps) == 2
    counted = Breaking(made(case), 99, KeyboardInterrupt())
    resumed = iterate(counted, solver, FOUR, checkpoint)
    assert counted.judged == 2
    assert scores(resumed) == pytest.approx(scores(whole), abs=1e-6)
    torch.testing.assert_close(resumed.result.fluence, whole.result.fluence, rtol=1e-5, atol=1e-6)
    assert resumed.trace is not None
    assert resumed.result.seconds == pytest.approx(sum(step.seconds for step in resumed.trace.steps[2:]))
    again = iterate(counted, solver, FOUR, checkpoint)
    assert (counted.judged, scores(again)) == (2, scores(resumed))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_text("{}"),
        lambda path: path.unlink(),
    ],
)
def test_no_state_of_a_broken_or_foreign_file(
    case: PatientCase, solver: GoalSolver, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    checkpoint, beamlets = Checkpoint(tmp_path / "course.npz", "a"), solver.influence.shape[1]
    iterate(made(case), solver, replace(FOUR, max_iterations=1), checkpoint)
    assert checkpoint.load(beamlets) is not None
    assert checkpoint.load(beamlets + 1) is None
    assert Checkpoint(checkpoint.path, "b").load(beamlets) is None
    spoil(checkpoint.path)
    assert checkpoint.load(beamlets) is None
    checkpoint.remove()


def test_a_plan_from_start_to_apertures(case: PatientCase, influence: DoseInfluence) -> None:
    planner = Boxed(
        AirtpPlanner(extraction=FEW, normalise=Normalisation(97.0, 2.0, None)), stop=replace(FOUR, max_iterations=2)
    )
    delivery = Delivery(StepAndShoot(levels=20), mu_per_fluence=350.0)
    plan = plan_case(case, wished(case), influence, planner, QUICK, delivery)
    assert plan.trace is not None
    assert plan.delivered is not None
    for dose_gy in (plan.dose_gy, plan.delivered.dose_gy):
        inside = dose_gy[case.structures["PTV_High"]].astype(np.float64)
        assert np.percentile(inside, 3.0) == pytest.approx(70.0, rel=1e-3)
    again = influence.forward(torch.from_numpy(plan.delivered.fluence).float())
    np.testing.assert_allclose(plan.delivered.dose_gy, influence.on_case_grid(again, case), rtol=1e-4, atol=1e-3)
    assert plan.trace.delivered == planner.course(case, wished(case)).judge(plan.delivered.dose_gy)
    assert list(plan.seconds) == ["setting up the problem", "optimisation", "sequencing"]
    assert planner.goals(case, wished(case)).objectives == made(case).first().objectives


def test_the_trace_as_data(case: PatientCase, solver: GoalSolver) -> None:
    found = iterate(made(case), solver, replace(FOUR, max_iterations=2))
    assert found.trace is not None
    plain = json.loads(json.dumps(found.trace.to_plain(), allow_nan=False))
    assert tuple(Step.from_plain(step) for step in plain["steps"]) == found.trace.steps
    assert plain["gain"] == pytest.approx(plain["best_score"] - plain["first_score"])
    rows = list(csv.DictReader(io.StringIO(found.trace.to_csv())))
    assert [float(row["score"]) for row in rows] == pytest.approx(scores(found))
    items = [name for name in rows[0] if name.startswith(("P", "S", "Gl"))]
    assert sum(float(rows[1][name]) for name in items) == pytest.approx(scores(found)[1])
    assert rows[0]["Larynx Dmean [Gy]"] == ""


def test_after_a_failure_the_next_plan_goes_half_as_far_from_the_best(case: PatientCase, solver: GoalSolver) -> None:
    course, scripted, seen = made(case, normalise=None), [5.0, 7.0, 6.0, 8.0], []

    class Scripted(Breaking):
        def judge(self, dose_gy: FloatVolume) -> Judgement:
            self.judged += 1
            return Judgement(scripted[self.judged - 1], 9.0)

        def next(self, dose_gy: FloatVolume, reach: float) -> Goals | None:
            seen.append((float(dose_gy.sum()), reach))
            return self.course.next(dose_gy, reach)

    found = iterate(Scripted(course, 99, RuntimeError()), solver, FOUR)
    assert [reach for _, reach in seen] == [1.0, 1.0, 0.5]
    assert seen[1][0] == seen[2][0] != seen[0][0]
    assert found.trace is not None
    assert found.trace.best.iteration == 4
    seen.clear()
    iterate(Scripted(course, 99, RuntimeError()), solver, replace(FOUR, shrink=1))
    assert [reach for _, reach in seen] == [1.0, 1.0, 1.0]
    assert len({dose for dose, _ in seen}) == 3


def test_a_solve_that_cannot_leave_its_start_begins_afresh(
    case: PatientCase, solver: GoalSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, penalty = [], solver.compiled(made(case).first())

    def stalling(problem: object, method: object, start: object = None) -> Result:
        starts.append(start)
        found = solve(problem, method, start)  # type: ignore[arg-type]
        stuck = replace(found, statuses=(Status.STALLED,), value=found.value + 1.0)
        return found if start is None else stuck

    monkeypatch.setattr(solve_goals, "solve", stalling)
    given = torch.zeros(solver.influence.shape[1])
    found = solver.solved(penalty, given)
    assert [start is None for start in starts] == [False, True]
    assert found.status is not Status.STALLED
