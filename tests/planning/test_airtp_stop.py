"""When a planner stops iterating, and which plan it keeps."""

import pytest

from dosewright.core import InputError
from dosewright.planning.iteration_stop import IterationStop
from dosewright.planning.iterative_planner import Judgement
from dosewright.planning.trace import Step, Trace


def test_the_first_of_equal_plans_is_the_best() -> None:
    same = [Step(at, Judgement(5.0, 9.0), 5.0, 1, 1.0, 0.1, "converged", 3, 0.5, 0.4) for at in (1, 2)]
    trace = Trace(tuple(same), "")
    assert (trace.best.iteration, trace.gain, trace.seconds) == (1, 0.0, 1.0)


def test_the_number_of_plans_is_kept() -> None:
    stop = IterationStop(max_iterations=3, patience=2)
    assert stop.reason([1.0, 2.0], 0.0) == ""
    assert stop.reason([1.0, 2.0, 9.0], 0.0) == "3 plans made"


def test_a_score_that_creeps_has_converged_and_one_that_rises_has_not() -> None:
    stop = IterationStop(max_iterations=99, patience=3, tolerance=0.5)
    assert stop.reason([50.0, 60.0, 60.1, 60.2, 60.4], 0.0).startswith("converged: 3 plans in a row")
    assert stop.reason([50.0, 60.0, 60.1, 60.2, 60.6], 0.0) == ""
    assert stop.reason([50.0, 40.0, 30.0], 0.0) == ""


def test_every_failure_halves_the_reach() -> None:
    assert IterationStop().reach([5.0]) == 1.0
    assert IterationStop().reach([5.0, 6.0, 6.0, 7.0, 1.0]) == 0.25
    assert IterationStop(shrink=1).reach([5.0, 4.0, 3.0]) == 1.0


def test_out_of_time() -> None:
    assert IterationStop(max_seconds=5).reason([1.0], 6.0) == "out of time after 6 s"
    assert IterationStop(max_seconds=5).reason([1.0], 4.0) == ""


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"tolerance": -1.0}, "tolerance must be finite and at least 0"),
        ({"max_seconds": 0}, "max_seconds must be positive"),
        ({"shrink": 0}, r"shrink must be in \(0, 1\]"),
    ],
)
def test_stops_out_of_range(setting: dict[str, int], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        IterationStop(**setting)  # type: ignore[arg-type]
