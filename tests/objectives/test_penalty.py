"""Penalties: terms together against terms one by one, batches, parameters, and precision."""

import pytest
import torch
from objective_samples import ALL, REFERENCE, VOXELS, penalty_of, random_dose

from dosewright.core import InputError
from dosewright.objectives import DosePenalty, Objective, compile_objectives
from dosewright.objectives.terms.mean_term import MeanTerm
from dosewright.objectives.terms.quadratic import QuadraticTerm

PLANS = 4


def one_by_one(penalty: DosePenalty, dose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ priority · term, as the definition reads."""
    value, gradient = torch.zeros(len(dose), dtype=torch.float64), torch.zeros_like(dose)
    for term in penalty.terms:
        value += term.priority * term.value(dose[:, term.rows])
        gradient[:, term.rows] += term.priority.to(dose)[:, None] * term.gradient(dose[:, term.rows])
    return value, gradient


def varied(penalty: DosePenalty) -> DosePenalty:
    """The penalty with other parameters for each of four plans."""
    factor = 1 + torch.arange(PLANS, dtype=torch.float64)[:, None] / 10
    return penalty.with_parameters(
        dose_gy=penalty.dose_gy * factor,
        priority=penalty.priority * factor.flip(0),
        reference_gy=random_dose(PLANS, seed=7),
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("block", [7, 40, 32768])
def test_terms_together_are_the_terms_one_by_one(transposed: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dosewright.objectives.layers.BLOCK", block)
    dose = random_dose(PLANS)
    dose = dose.T.contiguous().T if transposed else dose
    for penalty in (penalty_of(*ALL), varied(penalty_of(*ALL)), penalty_of(ALL[0]), penalty_of(ALL[4])):
        value, gradient = penalty.value_and_gradient(dose)
        expected_value, expected_gradient = one_by_one(penalty, dose)
        torch.testing.assert_close(value, expected_value, rtol=1e-12, atol=0.0)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-12)


def test_more_terms_than_the_order_of_voxels_can_tell_apart() -> None:
    generator = torch.Generator().manual_seed(8)
    one = torch.ones(1, dtype=torch.float64)
    terms = tuple(
        QuadraticTerm(
            torch.randperm(VOXELS, generator=generator)[: 1 + index % 30],
            one * (1 + index),
            one * index / 2,
            over=index % 3 != 0,
            under=index % 3 != 1,
        )
        for index in range(100)
    )
    penalty, dose = DosePenalty(terms, VOXELS), random_dose(2)
    value, gradient = penalty.value_and_gradient(dose)
    expected_value, expected_gradient = one_by_one(penalty, dose)
    torch.testing.assert_close(value, expected_value, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-12, atol=1e-12)
    curvature = torch.stack([penalty.hessian_product(dose, row.expand(2, -1)) for row in torch.eye(VOXELS).double()])
    expected = torch.zeros_like(dose)
    for term in terms:
        ones = torch.ones(2, len(term.rows), dtype=torch.float64)
        expected[:, term.rows] += term.priority * term.hessian_product(dose[:, term.rows], ones)
    torch.testing.assert_close(curvature.sum(0), expected, rtol=1e-12, atol=0.0)


def test_batch_is_its_plans_one_by_one() -> None:
    penalty, dose = varied(penalty_of(*ALL)), random_dose(PLANS).float()
    value, gradient = penalty.value_and_gradient(dose)
    for plan in range(PLANS):
        single = penalty.of_plans(torch.tensor([plan]))
        single_value, single_gradient = single.value_and_gradient(dose[plan : plan + 1])
        torch.testing.assert_close(value[plan : plan + 1], single_value, rtol=1e-6, atol=0.0)
        torch.testing.assert_close(gradient[plan : plan + 1], single_gradient, rtol=1e-5, atol=1e-5)


def test_some_plans_of_a_batch() -> None:
    penalty, dose, chosen = varied(penalty_of(*ALL)), random_dose(PLANS), torch.tensor([3, 1])
    torch.testing.assert_close(penalty.of_plans(chosen).value(dose[chosen]), penalty.value(dose)[chosen])
    shared = penalty_of(*ALL)
    torch.testing.assert_close(shared.of_plans(chosen).value(dose[chosen]), shared.value(dose)[chosen])


def test_single_precision_sums_keep_six_digits() -> None:
    voxels = 20_000
    index = torch.arange(voxels)
    masks = {"PTV": index % 7 == 0, "Parotid_L": index % 5 < 2, "External": index >= 0}
    objectives = [
        Objective("PTV", "squared_deviation", 60),
        Objective("Parotid_L", "squared_overdose", 20),
        Objective("External", "mean_upper", 20),
        Objective("External", "mimic"),
        Objective("Parotid_L", "max_dvh", 30, 20),
        Objective("Parotid_L", "cvar_upper", 30, 20),
        Objective("Parotid_L", "geud_upper", 20, exponent=8),
    ]
    reference = random_dose(1, voxels, seed=2)[0].float()
    penalty = compile_objectives(objectives, masks, reference_gy=reference)
    dose = random_dose(3, voxels).float()
    exact = penalty.value(dose.double())
    assert penalty.value(dose).dtype == torch.float64
    torch.testing.assert_close(penalty.value(dose), exact, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(penalty.values(dose), penalty.values(dose.double()), rtol=2e-6, atol=0.0)


def test_value_is_the_weighted_sum_of_values() -> None:
    penalty, dose = varied(penalty_of(*ALL)), random_dose(PLANS)
    torch.testing.assert_close((penalty.values(dose) * penalty.priority).sum(1), penalty.value(dose))


def test_gradient_s_derivatives_with_respect_to_parameters() -> None:
    penalty, dose = penalty_of(*ALL), random_dose(1)
    probe = torch.randn(1, VOXELS, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    start = {
        "dose_gy": torch.nan_to_num(penalty.dose_gy),
        "priority": penalty.priority,
        "reference_gy": REFERENCE[None],
    }

    def pulled(**parameters: torch.Tensor) -> torch.Tensor:
        plans = max(len(tensor) for tensor in parameters.values())
        changed = penalty.with_parameters(**parameters)
        return (changed.gradient(dose.expand(plans, -1)) * probe).sum(1)

    inputs = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    derivatives = torch.autograd.grad(pulled(**inputs).sum(), list(inputs.values()))
    for (name, tensor), derivative in zip(start.items(), derivatives, strict=True):
        steps = 1e-5 * torch.eye(tensor.shape[1], dtype=torch.float64)  # one plan for each parameter
        ahead, behind = pulled(**start | {name: tensor + steps}), pulled(**start | {name: tensor - steps})
        expected = ((ahead - behind) / 2e-5)[None]
        assert expected.abs().amax() > 1e-3
        torch.testing.assert_close(derivative, expected, rtol=1e-5, atol=1e-7)


def test_differentiable_and_fast_ways_agree() -> None:
    penalty, dose = varied(penalty_of(*ALL)), random_dose(PLANS)
    value, gradient = penalty.value_and_gradient(dose.clone().requires_grad_())
    assert value.requires_grad
    torch.testing.assert_close(penalty.value_and_gradient(dose), (value.detach(), gradient.detach()))


def test_parameters_changed_in_place_are_noticed() -> None:
    priority = torch.ones(1, 1, dtype=torch.float64)
    penalty = penalty_of(Objective("PTV", "squared_overdose", 40)).with_parameters(priority=priority)
    dose = random_dose(1)
    before = penalty.value(dose)
    priority *= 3
    torch.testing.assert_close(penalty.value(dose), 3 * before)


def test_penalty_without_terms_is_zero() -> None:
    penalty, dose = DosePenalty((), VOXELS), random_dose(2)
    value, gradient = penalty.value_and_gradient(dose)
    assert value.tolist() == [0.0, 0.0]
    assert (gradient == torch.zeros_like(dose)).all()
    assert penalty.values(dose).shape == (2, 0)
    assert penalty.dose_gy.shape == (1, 0)


def test_added_terms_add_their_cost() -> None:
    penalty, dose = penalty_of(*ALL), random_dose(2)
    extra = MeanTerm(torch.arange(5), torch.tensor([2.0], dtype=torch.float64))
    expected = penalty.value(dose) + 2 * dose[:, :5].mean(1)
    torch.testing.assert_close(penalty.with_terms(extra).value(dose), expected)
    assert penalty.objectives == ALL


def test_doses_and_priorities_in_a_table() -> None:
    penalty = penalty_of(Objective("PTV", "mean"), Objective("Larynx", "mean_upper", 30, priority=2))
    torch.testing.assert_close(penalty.dose_gy, torch.tensor([[torch.nan, 30.0]]).double(), equal_nan=True)
    torch.testing.assert_close(penalty.priority, torch.tensor([[1.0, 2.0]]).double())


def test_refusals() -> None:
    penalty, one = varied(penalty_of(*ALL)), torch.ones(1, dtype=torch.float64)
    with pytest.raises(InputError, match=r"dose_gy must have 60 voxels; got \(4, 61\)"):
        penalty.value(random_dose(PLANS, VOXELS + 1))
    with pytest.raises(InputError, match=r"dose_gy must have 4 plans; got \(3, 60\)"):
        penalty.value(random_dose(3))
    with pytest.raises(InputError, match=f"priority must have {len(ALL)} columns, one a term"):
        penalty.with_parameters(priority=torch.ones(1, 2))
    with pytest.raises(InputError, match="reference_gy must have 60 voxels"):
        penalty.with_parameters(reference_gy=torch.ones(1, 2))
    with pytest.raises(InputError, match=r"terms\[0\].rows must have a voxel"):
        DosePenalty((MeanTerm(torch.arange(0), one),), VOXELS)
    with pytest.raises(InputError, match=r"terms\[0\].rows must be in \[0, 60\); got \(0, 60\)"):
        DosePenalty((MeanTerm(torch.arange(61), one),), VOXELS)
    with pytest.raises(InputError, match=r"parameters must be 1 or one common number of plans; got \[2, 3\]"):
        DosePenalty((MeanTerm(torch.arange(3), one.expand(2)), MeanTerm(torch.arange(3), one.expand(3))), VOXELS)
    with pytest.raises(InputError, match="objectives must be 1, one a term; got 2"):
        DosePenalty((MeanTerm(torch.arange(3), one),), VOXELS, (ALL[0], ALL[1]))
