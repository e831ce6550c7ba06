"""Hard limits: their excess, and their part of an augmented Lagrangian."""

import pytest
import torch
from objective_samples import MASKS, VOXELS, random_dose

from dosewright.objectives import DosePenalty, Objective, compile_objectives
from dosewright.objectives.constraint import DoseConstraint

LIMITS = [
    Objective("Brain", "max_dose", 30, constraint=True),
    Objective("PTV", "min_dose", 40, constraint=True),
    Objective("Brain", "mean_upper", 25, constraint=True),
    Objective("PTV", "mean_lower", 45, constraint=True),
]


def constraint_of(limit: Objective) -> DoseConstraint:
    return compile_objectives([limit], MASKS).constraints[0]


def test_excess_by_hand() -> None:
    dose = torch.full((2, VOXELS), 28.0, dtype=torch.float64)
    dose[1] = 50.0
    expected = ([-2.0, 20.0], [12.0, -10.0], [3.0, 25.0], [17.0, -5.0])
    for limit, values in zip(LIMITS, expected, strict=True):
        excess = constraint_of(limit).excess(dose)
        count = 1 if limit.kind.startswith("mean") else int(MASKS[limit.structure].sum())
        torch.testing.assert_close(excess, torch.tensor(values).double()[:, None].expand(2, count))


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.kind)
def test_augmented_term_is_its_formula(limit: Objective) -> None:
    constraint, dose = constraint_of(limit), random_dose(2).requires_grad_()
    excess = constraint.excess(dose)
    stiffness = torch.tensor([3.0, 0.5], dtype=torch.float64)
    multiplier = 5 * torch.rand(excess.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = stiffness / 2 * (excess + multiplier / stiffness[:, None]).clamp_min(0).square().sum(1)
    expected_gradient = torch.autograd.grad(expected.sum(), dose)[0]
    penalty = DosePenalty((constraint.augmented(multiplier.detach(), stiffness),), VOXELS)
    value, gradient = penalty.value_and_gradient(dose.detach())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, expected_gradient)


def test_limits_of_some_plans() -> None:
    constraint = constraint_of(LIMITS[0])
    assert constraint.of_plans(torch.tensor([2])) is constraint
    limits = torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64)
    varied = DoseConstraint("", constraint.rows, limits, constraint.upper, constraint.mean)
    dose = random_dose(3)
    chosen = torch.tensor([2, 0])
    torch.testing.assert_close(varied.of_plans(chosen).excess(dose[chosen]), varied.excess(dose)[chosen])
