from dataclasses import replace

import numpy as np
import pytest

from dosewright.core import InputError, PatientCase, Role
from dosewright.planning.mimic_planner import BODY, OTHER, RIM, MimicPlanner


def test_every_scored_voxel_is_mimicked_once_or_by_each_structure_it_is_in(case: PatientCase) -> None:
    assert case.dose_gy is not None
    goals = MimicPlanner(target_priority=3, oar_priority=2, serial_priority=4, other_priority=1).goals(
        case, case.dose_gy
    )
    priorities = {objective.structure: objective.priority for objective in goals.objectives}
    organs = {"Parotid_L": 2.0, "Parotid_R": 2.0, "SpinalCord": 4.0}
    assert priorities == {"PTV_High": 3.0, "PTV_Low": 3.0, **organs, RIM: 3.0, OTHER: 1.0}
    assert {objective.kind for objective in goals.objectives} == {"mimic"}
    named = np.logical_or.reduce(list(case.structures.values()))
    np.testing.assert_array_equal(goals.helpers[OTHER] | goals.helpers[RIM], case.body & ~named)
    assert not (goals.helpers[OTHER] & goals.helpers[RIM]).any()
    assert (goals.absent, dict(goals.roles)) == ("skip", {RIM: Role.TARGET})


def test_the_rim_is_the_tissue_within_reach_of_the_targets(case: PatientCase) -> None:
    # Voxels are 3 × 3 × 4 mm and the targets one box of 7 × 4 × 4: 4 mm reach its six faces and no edge, as those along
    # z are 4.2 mm away and the others 5 mm; 4.5 mm reach the former. No organ is that close.
    faces, edges = 2 * 4 * 4 + 4 * 4 * 7, 4 * 7
    for rim_mm, voxels in ((0, 0), (2.9, 0), (4.0, faces), (4.5, faces + edges)):
        rim = MimicPlanner(rim_mm=rim_mm)._around(case)[0]
        assert np.count_nonzero(rim) == voxels
    touching = replace(case, structures=dict(case.structures) | {"Larynx": np.roll(case.structures["PTV_High"], 4, 1)})
    rim = MimicPlanner(rim_mm=4.0)._around(touching)[0]
    assert np.count_nonzero(rim) == faces - 4 * 4  # the Larynx lies against a face of PTV_High, 4 × 4 voxels
    assert not (rim & touching.structures["Larynx"]).any()


def test_no_rim_is_asked_for_where_there_is_none(case: PatientCase) -> None:
    assert case.dose_gy is not None
    goals = MimicPlanner(rim_mm=0).goals(case, case.dose_gy)
    assert RIM not in {objective.structure for objective in goals.objectives}


def test_a_replay_mimics_the_body_up_and_down(case: PatientCase) -> None:
    assert case.dose_gy is not None
    goals = MimicPlanner(two_sided=True, target_priority=7).goals(case, case.dose_gy)
    assert [(o.structure, o.kind, o.priority) for o in goals.objectives] == [(BODY, "mimic", 7.0)]
    assert goals.roles == {BODY: Role.TARGET}
    np.testing.assert_array_equal(goals.helpers[BODY], case.body)


def test_structures_without_priority_are_not_asked_for(case: PatientCase) -> None:
    assert case.dose_gy is not None
    goals = MimicPlanner(oar_priority=0, serial_priority=0, other_priority=0).goals(case, case.dose_gy)
    assert [objective.structure for objective in goals.objectives] == ["PTV_High", "PTV_Low", RIM]


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_priorities_must_not_be_negative(value: float) -> None:
    with pytest.raises(InputError, match=r"planner\.oar_priority must be finite and at least 0; got"):
        MimicPlanner(oar_priority=value)
    with pytest.raises(InputError, match=r"planner\.rim_mm must be finite and at least 0; got"):
        MimicPlanner(rim_mm=value)
