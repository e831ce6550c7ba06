"""The deliverability loss: nothing for what beams can give, closed forms, finite differences, flips, refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from deliverability_cases import (
    OneCase,
    batch_of,
    coarse_grid,
    deliverable,
    influence_of,
    lopsided,
    made_up_influence,
    random_dose,
)
from hydra.utils import instantiate
from scipy import optimize, sparse

from dosewright.core import InputError, PatientCase, keys
from dosewright.datasets.augmentation import Draw
from dosewright.datasets.sample import sample_box
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.solver import StopRule
from dosewright.io.prepared import write_case
from dosewright.jobs.recipe import recipe_of
from dosewright.training.losses import DeepSupervisionLoss, MaskedL1, WeightedSum
from dosewright.training.losses.deliverability import DeliverabilityLoss
from dosewright.training.losses.deliverable_cases import DeliverableCases
from tiny import config

CPU = torch.device("cpu")


@pytest.fixture
def case() -> PatientCase:
    return lopsided()


def _exact(cases: DeliverableCases, steps: int = 300, kkt_tolerance: float = 1e-6) -> DeliverabilityLoss:
    loss = DeliverabilityLoss(cases, gradient_steps=200)
    loss.solver = ProjectedLbfgs(stop=StopRule(max_steps=steps, kkt_tolerance=kkt_tolerance, value_tolerance=0.0))
    return loss


def test_where_every_voxel_has_a_beamlet_only_negative_doses_cost(case, monkeypatch, tmp_path) -> None:
    grid = coarse_grid(case)
    size = int(np.prod(grid.shape_zyx))
    influence = influence_of(sparse.eye_array(size, dtype=np.float32), case, grid, np.arange(size))
    cases = deliverable(monkeypatch, tmp_path, case, influence=influence)
    batch = batch_of(case)
    dose = (random_dose(batch) - 30).requires_grad_()
    value = _exact(cases, steps=30)(dose, batch)
    expected = cases.get("case_1", CPU).sampler.sample(dose[0, 0]).clamp(max=0).abs().mean()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    found, slope = (torch.autograd.grad(each, dose)[0] for each in (value, expected))
    torch.testing.assert_close(found, slope, rtol=1e-3, atol=1e-3 * float(slope.abs().max()))


def test_a_deliverable_dose_costs_next_to_nothing_and_the_nearest_is_that_of_nnls(case, monkeypatch, tmp_path) -> None:
    influence = made_up_influence(case, case.grid)
    cases = deliverable(monkeypatch, tmp_path, case, influence=influence)
    loss, batch = _exact(cases), batch_of(case)
    fluence = torch.linspace(0, 20, influence.shape[1])
    crop = torch.from_numpy(influence.volume(influence.forward(fluence))[sample_box(case, 0)]).float()
    dose = torch.zeros(batch[keys.DOSE_MASK].shape)
    dose[0, 0, : crop.shape[0], : crop.shape[1], : crop.shape[2]] = crop
    assert float(loss(dose, batch)) < 1e-3
    found = cases.get("case_1", CPU)
    wanted = found.sampler.sample(random_dose(batch)[0, 0])
    nearest = loss.nearest("case_1", found, wanted)
    x, _ = optimize.nnls(found.influence.csr.toarray().astype(float), wanted.double().numpy())
    expected = torch.from_numpy(found.influence.csr @ x).float()
    torch.testing.assert_close(nearest, expected, rtol=1e-3, atol=1e-2)


def test_gradient_is_that_of_finite_differences(case, monkeypatch, tmp_path) -> None:
    cases = deliverable(monkeypatch, tmp_path, case)
    held = cases.get("case_1", CPU)
    cases._kept[("case_1", "cpu")] = replace(held, influence=held.influence.to(dtype=torch.float64))
    loss, batch = _exact(cases, kkt_tolerance=1e-10), batch_of(case)
    dose = random_dose(batch, dtype=torch.float64).requires_grad_()
    loss(dose, batch).backward()
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = torch.randn(dose.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ends = [float(loss(dose + sign * 1e-4 * direction, batch)) for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / 2e-4
        assert float((dose.grad * direction).sum()) == pytest.approx(expected, rel=2e-3, abs=1e-4)


def test_descent_closes_the_gap(case, monkeypatch, tmp_path) -> None:
    loss = DeliverabilityLoss(deliverable(monkeypatch, tmp_path, case))
    batch = batch_of(case)
    dose = random_dose(batch).requires_grad_()
    first = float(loss(dose, batch).detach())
    optimiser = torch.optim.Adam([dose], lr=4.0)
    for _ in range(12):
        optimiser.zero_grad()
        value = loss(dose, batch)
        value.backward()
        optimiser.step()
    assert float(value.detach()) < 0.5 * first


def test_a_mirrored_sample_costs_the_same(case, monkeypatch, tmp_path) -> None:
    loss = _exact(deliverable(monkeypatch, tmp_path, case))
    batch, mirrored = batch_of(case, multiple=1), batch_of(case, multiple=1, draw=Draw(flip=True))
    dose = random_dose(batch)
    torch.testing.assert_close(loss(dose.flip(-1), mirrored), loss(dose, batch), rtol=1e-4, atol=0)


def test_samples_count_alike_and_autocast_changes_nothing(monkeypatch, tmp_path) -> None:
    first, second = lopsided("a"), lopsided("b")
    loss = _exact(deliverable(monkeypatch, tmp_path, first, second))
    batch = batch_of(first, second)
    dose = random_dose(batch)
    alone = [loss(dose[i : i + 1], batch_of(each)) for i, each in enumerate((first, second))]
    torch.testing.assert_close(loss(dose, batch), torch.stack(alone).mean(), rtol=1e-4, atol=0)
    outputs = dose.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(outputs, batch)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.detach(), loss(dose, batch), rtol=1e-4, atol=0)
    value.backward()
    assert bool(torch.isfinite(outputs.grad).all())


def test_later_searches_start_where_earlier_ones_ended(case, monkeypatch, tmp_path) -> None:
    cases = deliverable(monkeypatch, tmp_path, case)
    loss, batch = _exact(cases), batch_of(case)
    assert cases.last_fluence("case_1") is None
    loss(random_dose(batch), batch)
    kept = cases.last_fluence("case_1")
    assert kept is not None
    assert kept.shape == (1, 12)
    quick = DeliverabilityLoss(cases, max_steps=1)
    again = float(quick(random_dose(batch), batch))
    assert again == pytest.approx(float(loss(random_dose(batch), batch)), rel=1e-3)


def test_memory_is_bounded_and_cases_come_back(monkeypatch, tmp_path) -> None:
    first, second = lopsided("a"), lopsided("b")
    cases = deliverable(monkeypatch, tmp_path, first, second, memory_gb=1e-9)
    before = cases.get("a", CPU)
    assert cases.get("a", CPU) is before
    cases.get("b", CPU)
    assert list(cases._kept) == [("b", "cpu")]
    again = cases.get("a", CPU)
    assert again is not before
    assert (again.influence.csr != before.influence.csr).nnz == 0


def test_what_is_missing_is_named(case, monkeypatch, tmp_path) -> None:
    loss = _exact(deliverable(monkeypatch, tmp_path, case))
    batch = batch_of(case)
    dose = random_dose(batch)
    for key in (keys.CASE_ID, keys.DOSE_MASK, keys.STRUCTURES, keys.PRESCRIPTION):
        with pytest.raises(InputError, match=f"{key} must be in the batch"):
            loss(dose, {k: v for k, v in batch.items() if k != key})
    with pytest.raises(InputError, match="outputs must be one tensor: the final output; got 'tuple'"):
        loss((dose, dose), batch)
    with pytest.raises(InputError, match=r"dose_mask must have shape \(1, 1, 16, 16, 8\)"):
        loss(dose[..., :8], batch)
    with pytest.raises(InputError, match="gradient_steps must be at least 1; got 0"):
        DeliverabilityLoss(loss.cases, gradient_steps=0)


def test_a_case_without_influence_says_how_to_make_one(case, tmp_path) -> None:
    cases = DeliverableCases(OneCase(case), tmp_path, compute=False)
    with pytest.raises(InputError, match=r"case_1-\w+\.npz: cache_dir must hold the dose influence .* compute=true"):
        cases.get("case_1", CPU)
    with pytest.raises(InputError, match="reader must be given"):
        DeliverableCases(None, tmp_path).get("case_1", CPU)
    with pytest.raises(InputError, match="beamlet_mm must be positive"):
        DeliverableCases(None, tmp_path, settings={"beamlet_mm": 0.0})


def test_the_reader_is_made_when_the_first_case_comes(monkeypatch, tmp_path) -> None:
    node = config(
        "train", "data=prepared", f"data.root={tmp_path}", f"paths.cache_dir={tmp_path}", "loss=deliverability"
    ).loss
    loss = instantiate(node)  # there is no train/ to read yet
    assert type(loss) is WeightedSum
    assert isinstance(loss.losses["l1"], MaskedL1)
    gap = loss.losses["deliverability"]
    assert isinstance(gap, DeliverabilityLoss)
    assert gap.cases.split == "train"
    assert Path(gap.cases.cache_dir) == tmp_path / "influence"
    assert gap.cases.settings.beamlet_mm == 10.0
    case = lopsided("here")
    write_case(tmp_path / "train" / "here.case", case)
    deliverable(monkeypatch, tmp_path)  # made-up influences from here on
    batch = batch_of(case)
    total = loss(random_dose(batch), batch)
    parts = loss.last_parts
    expected = parts["l1"] + node.weights["deliverability"] * parts["deliverability"]
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=0)


def test_a_run_may_go_on_where_folders_have_moved_but_not_with_another_search() -> None:
    def recipe(*overrides: str) -> dict:
        return recipe_of(config("train", "loss=deliverability", "out=unused", *overrides), ["a"])

    assert recipe("paths.cache_dir=elsewhere") == recipe()
    changed, search = recipe("loss.losses.deliverability.max_steps=7"), "loss.losses.deliverability.max_steps"
    assert {key for key, value in recipe().items() if changed[key] != value} == {search}


def test_coarser_outputs_are_left_to_other_losses(case, monkeypatch, tmp_path) -> None:
    loss = _exact(deliverable(monkeypatch, tmp_path, case))
    batch = batch_of(case)
    dose = random_dose(batch)
    deep = DeepSupervisionLoss(loss, (1.0, 0.5))
    with pytest.raises(InputError, match="a net's full-size output"):
        deep((dose, dose[..., ::2, ::2, ::2]), batch)
