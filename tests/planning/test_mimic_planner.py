import numpy as np
import pytest

from dosewright.core import InputError, PatientCase, Role
from dosewright.planning.mimic_planner import BODY, OTHER, MimicPlanner


def test_every_scored_voxel_is_mimicked_once_or_by_each_structure_it_is_in(case: PatientCase) -> None:
    assert case.dose_gy is not None
    goals = MimicPlanner(target_priority=3, oar_priority=2, serial_priority=4, other_priority=1).goals(
        case, case.dose_gy
    )
    priorities = {objective.structure: objective.priority for objective in goals.objectives}
    organs = {"Parotid_L": 2.0, "Parotid_R": 2.0, "SpinalCord": 4.0}
    assert priorities == {"PTV_High": 3.0, "PTV_Low": 3.0, **organs, OTHER: 1.0}
    assert {objective.kind for objective in goals.objectives} == {"mimic"}
    named = np.logical_or.reduce(list(case.structures.values()))
    np.testing.assert_array_equal(goals.helpers[OTHER], case.body & ~named)
    assert (goals.absent, dict(goals.roles)) == ("skip", {})


def test_a_replay_mimics_the_body_up_and_down(case: PatientCase) -> None:
    assert case.dose_gy is not None
    goals = MimicPlanner(two_sided=True, target_priority=7).goals(case, case.dose_gy)
    assert [(o.structure, o.kind, o.priority) for o in goals.objectives] == [(BODY, "mimic", 7.0)]
    assert goals.roles == {BODY: Role.TARGET}
    np.testing.assert_array_equal(goals.helpers[BODY], case.body)


def test_structures_without_priority_are_not_asked_for(case: PatientCase) -> None:
    assert case.dose_gy is not None
    goals = MimicPlanner(oar_priority=0, serial_priority=0, other_priority=0).goals(case, case.dose_gy)
    assert [objective.structure for objective in goals.objectives] == ["PTV_High", "PTV_Low"]


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_priorities_must_not_be_negative(value: float) -> None:
    with pytest.raises(InputError, match=r"planner\.oar_priority must be finite and at least 0; got"):
        MimicPlanner(oar_priority=value)
