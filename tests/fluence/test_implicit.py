"""Implicit derivatives of the optimised dose: against finite differences, the unrolled twin and closed forms."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from differentiable_problems import CurvedPenalty, DenseInfluence, PlainPenalty
from dosewright.core import InputError
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.implicit import conjugate_gradients, optimised_dose
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.solver import StopRule, solve
from dosewright.fluence.unrolled import unrolled_dose
from dosewright.objectives import Objective, compile_objectives

VOXELS, BEAMLETS = 18, 6
PARAMETERS = ("dose_gy", "priority", "reference_gy")
SOLVER = ProjectedLbfgs(stop=StopRule(max_steps=400, kkt_tolerance=1e-11, value_tolerance=0.0))
EXACT = {"damping": 0.0, "tolerance": 1e-12}


def _problem(plans: int = 1, kind: type[PlainPenalty] = CurvedPenalty, smoothness: float = 0.0) -> FluenceProblem:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    matrix = (torch.eye(BEAMLETS).repeat_interleave(3, 0) + 0.5 * draw(VOXELS, BEAMLETS)) * (0.5 + 5 * draw(BEAMLETS))
    target, organ = torch.zeros(VOXELS, dtype=torch.float64), torch.zeros(VOXELS, dtype=torch.float64)
    target[:10], organ[8:16] = 1, 1
    penalty = kind(
        target,
        organ,
        torch.tensor([[50.0, 20.0]], dtype=torch.float64) + draw(plans, 2),
        torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64) * (0.5 + draw(plans, 3)),
        60 * draw(plans, VOXELS) ** 2,
    )
    influence = DenseInfluence(matrix)
    if smoothness:
        place = 10.0 * np.arange(BEAMLETS)
        object.__setattr__(influence, "beamlets", Beamlets(np.zeros(BEAMLETS, int), place, 0 * place, 10.0))
    return FluenceProblem(influence, penalty, smoothness=smoothness, plans=plans)


def _with(problem: FluenceProblem, name: str, value: Tensor) -> FluenceProblem:
    return problem.with_penalty(replace(problem.penalty, **{name: value}))


def _loss(dose: Tensor) -> Tensor:
    """A smooth loss that weighs every voxel differently."""
    weights = torch.linspace(-1, 2, dose.shape[1], dtype=dose.dtype)
    return (weights * dose + 0.01 * dose**2).sum()


def _implicit(problem: FluenceProblem, name: str) -> Tensor:
    value = getattr(problem.penalty, name).clone().requires_grad_()
    dose, _ = optimised_dose(_with(problem, name, value), SOLVER, **EXACT)
    return torch.autograd.grad(_loss(dose), value)[0]


def _differences(problem: FluenceProblem, name: str, step: float) -> Tensor:
    value, start = getattr(problem.penalty, name), solve(problem, SOLVER).fluence
    found = torch.zeros_like(value)
    for index in np.ndindex(*value.shape):
        ends = []
        for sign in (1, -1):
            moved = value.clone()
            moved[index] += sign * step
            ends.append(_loss(solve(_with(problem, name, moved), SOLVER, start).dose))
        found[index] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("smoothness", [0.0, 0.05])
@pytest.mark.parametrize("name", PARAMETERS)
def test_gradients_are_those_of_finite_differences(name: str, smoothness: float) -> None:
    problem = _problem(smoothness=smoothness)
    found, expected = _implicit(problem, name), _differences(problem, name, 1e-4 if name == "priority" else 1e-3)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_the_problem_has_beamlets_at_zero_and_voxels_on_both_sides_of_every_penalty() -> None:
    problem = _problem()
    result = solve(problem, SOLVER)
    penalty = problem.penalty
    assert 0 < int((result.fluence == 0).sum()) < BEAMLETS
    assert isinstance(penalty, PlainPenalty)
    for mask, over in ((penalty.target, result.dose > 51.5), (penalty.organ, result.dose > 21.5)):
        inside = over[0][mask.bool()]
        assert bool(inside.any())
        assert not bool(inside.all())


def test_the_unrolled_twin_agrees() -> None:
    problem = _problem()
    values = {name: getattr(problem.penalty, name).clone().requires_grad_() for name in PARAMETERS}
    problem = problem.with_penalty(replace(problem.penalty, **values))
    twin_dose = unrolled_dose(problem, steps=300)
    dose, _ = optimised_dose(problem, SOLVER, **EXACT)
    torch.testing.assert_close(dose, twin_dose, rtol=1e-10, atol=1e-10)
    inputs = list(values.values())
    pairs = zip(torch.autograd.grad(_loss(dose), inputs), torch.autograd.grad(_loss(twin_dose), inputs), strict=True)
    for found, twin in pairs:
        torch.testing.assert_close(found, twin, rtol=1e-10, atol=1e-10 * float(twin.abs().max()))


def test_a_penalty_without_curvature_is_differentiated_twice() -> None:
    with_curvature, without = (_implicit(_problem(kind=kind), "dose_gy") for kind in (CurvedPenalty, PlainPenalty))
    torch.testing.assert_close(with_curvature, without, rtol=1e-9, atol=1e-12)


def test_a_batch_is_its_plans_one_by_one() -> None:
    batch = _problem(plans=3)
    whole = _implicit(batch, "priority")
    for plan in range(3):
        parts = {
            name: getattr(batch.penalty, name)[plan : plan + 1] for name in ("dose_gy", "priority", "reference_gy")
        }
        alone = FluenceProblem(batch.influence, replace(batch.penalty, **parts))
        torch.testing.assert_close(whole[plan : plan + 1], _implicit(alone, "priority"), rtol=1e-6, atol=1e-8)


def test_closed_beamlets_carry_no_sensitivity() -> None:
    problem = _problem()
    used = (solve(problem, SOLVER).fluence > 0) & (torch.arange(BEAMLETS) != 0)
    closed = replace(problem, open_beamlets=used)
    smaller = FluenceProblem(DenseInfluence(problem.influence.matrix[:, used[0]]), problem.penalty)
    torch.testing.assert_close(_implicit(closed, "dose_gy"), _implicit(smaller, "dose_gy"), rtol=1e-6, atol=1e-9)


def test_the_squared_distance_to_the_deliverable_doses_has_the_projections_gradient() -> None:
    # ½ ‖p − a(p)‖² for the nearest point a(p) of a convex set has the gradient p − a(p) (Moreau).
    problem = _problem()
    only = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    wanted = (problem.penalty.reference_gy + 10).requires_grad_()
    mimic = problem.with_penalty(replace(problem.penalty, priority=only, reference_gy=wanted))
    achieved, _ = optimised_dose(mimic, SOLVER, **EXACT)
    distance = ((wanted - achieved) ** 2).sum() / 2
    gradient = torch.autograd.grad(distance, wanted)[0]
    torch.testing.assert_close(gradient, (wanted - achieved).detach(), rtol=1e-7, atol=1e-7)


def test_a_beamlet_a_voxel_has_the_derivative_of_clipping() -> None:
    # D = diag(s): the nearest dose is max(r, 0), its derivative 1 where r > 0 and 0 elsewhere.
    influence = DenseInfluence(torch.diag(torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)))
    penalty = _problem().penalty
    wanted = torch.tensor([[3.0, -2.0, 5.0]], dtype=torch.float64, requires_grad=True)
    empty = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    only = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    problem = FluenceProblem(influence, replace(penalty, target=empty, organ=empty, priority=only, reference_gy=wanted))
    dose, result = optimised_dose(problem, SOLVER, **EXACT)
    torch.testing.assert_close(dose.detach(), torch.tensor([[3.0, 0.0, 5.0]], dtype=torch.float64))
    assert torch.equal(result.dose, dose)
    (dose * torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(wanted.grad, torch.tensor([[2.0, 0.0, 4.0]], dtype=torch.float64))


def test_beamlets_of_the_same_dose_need_damping_and_get_it() -> None:
    problem = _problem()
    twice = FluenceProblem(DenseInfluence(torch.cat([problem.influence.matrix] * 2, 1)), problem.penalty)
    value = problem.penalty.dose_gy.clone().requires_grad_()
    dose, _ = optimised_dose(_with(twice, "dose_gy", value), SOLVER, damping=1e-9, tolerance=1e-10)
    found = torch.autograd.grad(_loss(dose), value)[0]
    torch.testing.assert_close(found, _implicit(problem, "dose_gy"), rtol=1e-5, atol=1e-6)


def test_conjugate_gradients_solve_each_plan_and_leave_zero_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    identity = torch.eye(6, dtype=torch.float64)
    root = torch.randn(2, 6, 6, generator=generator, dtype=torch.float64)
    matrix = root @ root.mT + identity
    right = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    right[1] = 0

    def product(v: Tensor) -> Tensor:
        return (matrix @ v[..., None])[..., 0]

    found = conjugate_gradients(product, right, damping=0.0, tolerance=1e-12, max_steps=50)
    torch.testing.assert_close(found[0], torch.linalg.solve(matrix[0], right[0]), rtol=1e-9, atol=1e-9)
    assert not found[1].any()
    quotient = float(right[0] @ matrix[0] @ right[0] / (right[0] @ right[0]))
    damped = conjugate_gradients(product, right, damping=0.5, tolerance=1e-12, max_steps=50)
    shifted = matrix[0] + 0.5 * quotient * identity
    torch.testing.assert_close(damped[0], torch.linalg.solve(shifted, right[0]), rtol=1e-9, atol=1e-9)


def _call(**changes: float) -> Callable[[], object]:
    return lambda: optimised_dose(_problem(), SOLVER, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"damping": -1.0}, "damping must not be negative; got -1.0"),
        ({"tolerance": 1.0}, r"tolerance must be in \(0, 1\); got 1.0"),
        ({"max_steps": 0}, "max_steps must be at least 1; got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _call(**changes)()


def test_unrolling_needs_a_step() -> None:
    with pytest.raises(InputError, match="steps must be at least 1; got 0"):
        unrolled_dose(_problem(), steps=0)


OBJECTIVES = (
    Objective("PTV_High", "squared_underdose", dose_gy=50.0, priority=3.0),
    Objective("PTV_High", "mimic", priority=1.0),
    Objective("SpinalCord", "squared_overdose", dose_gy=30.0, priority=2.0),
    Objective("SpinalCord", "mean_upper", dose_gy=10.0, priority=0.5),
    Objective("SpinalCord", "geud_upper", dose_gy=20.0, exponent=4.0, priority=0.5),
)


@pytest.mark.parametrize("name", PARAMETERS)
def test_objectives_compiled_from_plain_data_are_differentiable(name: str) -> None:
    dense = _problem()
    masks = {"PTV_High": dense.penalty.target.bool(), "SpinalCord": dense.penalty.organ.bool()}
    penalty = compile_objectives(OBJECTIVES, masks, reference_gy=dense.penalty.reference_gy[0])
    problem = dense.with_penalty(penalty)
    value = {
        "dose_gy": penalty.dose_gy.nan_to_num(),
        "priority": penalty.priority,
        "reference_gy": dense.penalty.reference_gy,
    }[name]

    def changed(given: Tensor) -> FluenceProblem:
        return problem.with_penalty(penalty.with_parameters(**{name: given}))

    leaf = value.clone().requires_grad_()
    dose, _ = optimised_dose(changed(leaf), SOLVER, **EXACT)
    found = torch.autograd.grad(_loss(dose), leaf)[0]
    start = solve(problem, SOLVER).fluence
    expected = torch.zeros_like(value)
    for column in range(value.shape[1]):
        step = torch.zeros_like(value)
        step[0, column] = 1e-4
        ends = [_loss(solve(changed(value + sign * step), SOLVER, start).dose) for sign in (1, -1)]
        expected[0, column] = (ends[0] - ends[1]) / 2e-4
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert int((expected.abs() > 1e-3).sum()) >= 4
