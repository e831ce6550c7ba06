"""AIRTP on a phantom patient with dose influence of pyRadPlan."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dosewright.core import Beam
from dosewright.fluence.influence_cache import cached_influence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.io.phantom import PhantomAnatomyReader
from dosewright.objectives.extraction_rules import ExtractionSettings
from dosewright.planning.airtp_planner import AirtpPlanner
from dosewright.planning.iteration_stop import IterationStop
from dosewright.planning.plan_case import OptimiserSettings, plan_case

FEW = ExtractionSettings(volumes_percent=(10, 40), around_volumes_percent=(20,), means=False, maximum_cc=None)


def test_on_a_phantom_with_beams_of_pyradplan_every_best_score_is_higher_than_the_first(
    tmp_path: Path, one_thread: None
) -> None:
    pytest.importorskip("pyRadPlan", reason="the plans extra (pyRadPlan) is not installed")
    phantom = PhantomAnatomyReader(shape_zyx=(32, 32, 32), spacing_xyz_mm=(12.0, 12.0, 10.0))
    case = replace(phantom.read(phantom.case_ids[0]), beams=tuple(Beam(angle) for angle in (0, 72, 144, 216, 288)))
    influence = cached_influence(case, InfluenceSettings(10.0, 12.0), tmp_path)
    planner = AirtpPlanner(start="card", extraction=FEW, stop=IterationStop(max_iterations=3))
    plan = plan_case(
        case, np.zeros(case.grid.shape_zyx, np.float32), influence, planner, OptimiserSettings(max_steps=3)
    )
    assert plan.trace is not None
    best = [step.best for step in plan.trace.steps]
    assert best == np.maximum.accumulate([step.judgement.score for step in plan.trace.steps]).tolist()
    assert plan.trace.gain > 0.5
    assert {item.reason for item in plan.trace.best.judgement.items if item.structure == "Shoulders"} == {
        "the case has no structure Shoulders"
    }
