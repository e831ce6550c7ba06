"""Compiling: which voxels and sides a term gets, hard limits apart, and structures that are not there."""

import pytest
import torch
from objective_samples import MASKS, REFERENCE, VOXELS, random_dose

from dosewright.core import InputError
from dosewright.core.structures import Role
from dosewright.objectives import Objective, compile_objectives


def test_rows_are_the_structure_s_voxels() -> None:
    penalty = compile_objectives([Objective("Larynx", "mean"), Objective("External", "mean")], MASKS)
    assert penalty.terms[0].rows.tolist() == list(range(36, 60))
    assert penalty.terms[1].rows.tolist() == list(range(VOXELS))
    assert penalty.voxels == VOXELS


def test_external_mask_is_used_where_given() -> None:
    masks = {"External": torch.tensor([False, True, True])}
    assert compile_objectives([Objective("External", "mean")], masks).terms[0].rows.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("structure", "roles", "two_sided"),
    [
        ("PTV", None, True),
        ("Larynx", None, False),
        ("External", None, False),
        ("Larynx", {"Larynx": Role.TARGET}, True),
        ("PTV", {"PTV": Role.HELPER}, False),
    ],
)
def test_mimicking_lets_organs_have_less(structure: str, roles: dict | None, two_sided: bool) -> None:
    penalty = compile_objectives([Objective(structure, "mimic")], MASKS, roles, REFERENCE)
    colder, hotter = REFERENCE[None] - 2.0, REFERENCE[None] + 3.0
    assert penalty.value(REFERENCE[None]).item() == 0.0
    assert penalty.value(hotter).item() == pytest.approx(9.0)
    assert penalty.value(colder).item() == pytest.approx(4.0 if two_sided else 0.0)


def test_dvh_points_about_every_voxel_are_plain_limits() -> None:
    dose = random_dose(2)
    for dvh, plain in (
        (Objective("Larynx", "max_dvh", 20, 0), Objective("Larynx", "squared_overdose", 20)),
        (Objective("PTV", "min_dvh", 40, 100), Objective("PTV", "squared_underdose", 40)),
    ):
        values = [compile_objectives([objective], MASKS).value(dose) for objective in (dvh, plain)]
        torch.testing.assert_close(values[0], values[1], rtol=0.0, atol=0.0)


def test_hard_limits_are_constraints_and_cost_nothing() -> None:
    objectives = [
        Objective("PTV", "squared_overdose", 60),
        Objective("Brain", "max_dose", 30, constraint=True),
        Objective("Brain", "mean_upper", 20, constraint=True),
    ]
    penalty = compile_objectives(objectives, MASKS)
    assert penalty.objectives == (objectives[0],)
    assert [constraint.name for constraint in penalty.constraints] == [o.describe() for o in objectives[1:]]
    assert len(penalty.terms) == 1


def test_absent_and_empty_structures() -> None:
    masks = MASKS | {"Esophagus": torch.zeros(VOXELS, dtype=torch.bool)}
    absent, empty, there = Objective("Heart", "mean"), Objective("Esophagus", "mean"), Objective("PTV", "mean")
    with pytest.raises(InputError, match=r"'Heart: mean .*, priority 1' must be among \['Brain'.*'Heart'"):
        compile_objectives([there, absent], masks)
    with pytest.raises(InputError, match=r"must have a voxel in the dose grid; got 'Esophagus'"):
        compile_objectives([there, empty], masks)
    penalty = compile_objectives([absent, there, empty], masks, missing="skip")
    assert penalty.skipped == (absent, empty)
    assert penalty.objectives == (there,)


def test_refusals() -> None:
    with pytest.raises(InputError, match="reference_gy must be given to mimic; got 'PTV: as in the reference dose"):
        compile_objectives([Objective("PTV", "mimic")], MASKS)
    with pytest.raises(InputError, match=r"masks must have one number of voxels; got .*'reference_gy': 3"):
        compile_objectives([], MASKS, reference_gy=torch.ones(3))
    with pytest.raises(InputError, match=r"masks must have one number of voxels; got {}"):
        compile_objectives([], {})
