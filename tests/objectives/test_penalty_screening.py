"""Penalties on the voxels that bend them: what doses change there is what they change everywhere, but for slopes."""

import pytest
import torch
from objective_samples import ALL, CONVEX, VOXELS, penalty_of, random_dose

from dosewright.core import InputError
from dosewright.objectives import DosePenalty, Objective
from dosewright.objectives.terms.quadratic import QuadraticTerm

VOXEL_WISE = tuple(o for o in CONVEX if o.kind.startswith("squared") or o.kind in ("mimic", "mean", "max_dvh"))


def beyond_slope(penalty: DosePenalty, dose: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """What a change costs beside what the slope says."""
    value, gradient = penalty.value_and_gradient(dose)
    return penalty.value(dose + change) - value - (gradient * change).sum(1)


@pytest.mark.parametrize("objectives", [VOXEL_WISE, ALL])
def test_changes_below_the_margin_cost_the_same_on_the_bent_voxels(objectives: tuple[Objective, ...]) -> None:
    factor = torch.tensor([[1.0], [0.5], [2.0]], dtype=torch.float64)
    penalty = penalty_of(*objectives)
    penalty = penalty.with_parameters(priority=penalty.priority * factor, dose_gy=penalty.dose_gy * factor)
    dose, change = random_dose(3), (random_dose(3, seed=4) - 30) / 30 * 3.9
    bent = penalty.bent_rows(dose, 4.0)
    rows = bent.nonzero()[:, 0].flip(0)  # in any order
    inside = penalty.of_rows(rows)
    assert inside.voxels == len(rows)
    expected = beyond_slope(penalty, dose, change)
    found = beyond_slope(inside, dose[:, rows], change[:, rows])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    diagonal = torch.zeros_like(dose)
    diagonal[:, rows] = inside.curvature(dose[:, rows]).diagonal
    torch.testing.assert_close(diagonal, penalty.curvature(dose).diagonal)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("squared_overdose", [False, True, True, True]),
        ("squared_underdose", [True, True, True, False]),
        ("squared_deviation", [True] * 4),
    ],
)
def test_voxels_near_or_past_a_level_are_bent(kind: str, expected: list[bool]) -> None:
    term = QuadraticTerm(
        torch.arange(4),
        torch.ones(1, dtype=torch.float64),
        torch.tensor([40.0], dtype=torch.float64),
        over=kind != "squared_underdose",
        under=kind != "squared_overdose",
    )
    penalty = DosePenalty((term,), 6)
    dose = torch.tensor([[10.0, 38.5, 41.0, 60.0, 60.0, 0.0]])
    assert penalty.bent_rows(dose, 2.0).tolist() == [*expected, False, False]
    assert penalty.bent_rows(dose, 0.5).tolist() == [
        *{"squared_overdose": [False, False, True, True], "squared_underdose": [True, True, False, False]}.get(
            kind, expected
        ),
        False,
        False,
    ]


def test_a_voxel_is_bent_that_one_plan_bends() -> None:
    penalty = penalty_of(Objective("Larynx", "squared_overdose", 30))
    dose = torch.zeros(2, VOXELS, dtype=torch.float64)
    dose[1, 50] = 31.0
    assert penalty.bent_rows(dose, 1.0).nonzero()[:, 0].tolist() == [50]


def test_linear_terms_bend_nothing_and_terms_of_whole_structures_all_of_them() -> None:
    dose = random_dose(1)
    assert not bool(penalty_of(Objective("Brain", "mean")).bent_rows(dose, 100.0).any())
    assert penalty_of(Objective("Brain", "geud_upper", 20, exponent=8)).bent_rows(dose, 0.0).sum() == VOXELS // 3


def test_voxels_of_whole_structures_must_not_be_left_out() -> None:
    penalty = penalty_of(Objective("PTV", "squared_overdose", 40), Objective("Brain", "cvar_upper", 30, 17))
    with pytest.raises(InputError, match=r"rows must hold all voxels of such a term; got 'terms\[1\]'"):
        penalty.of_rows(torch.arange(30))
