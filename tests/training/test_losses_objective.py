"""The loss of the sliders: zero where they are obeyed, closed forms, a numpy twin, gradients."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from losses_cases import predicted
from torch import Tensor

from dosewright.core import InputError, keys
from dosewright.core.preference import PreferenceSpace
from dosewright.training.losses import MaskedL1, ObjectiveLoss, WeightedSum
from tiny import config

# On 500 voxels in array order; the highest target is not the first, Larynx lies in it, Esophagus is absent.
VOXELS = {
    "PTV_Low": range(101, 161),
    "Parotid_L": [*range(81, 101), *range(161, 221)],
    "PTV_High": range(101),
    "SpinalCord": [*range(221, 251), *range(460, 470)],  # the last ten lie outside the dose mask
    "Larynx": range(10, 31),
    "Esophagus": [],
    "zRing": range(251, 301),
}
NAMES = tuple(VOXELS)
GROUPED = {"groups": "per_group", "trade_off": 0.5}
SHAPE = (1, 1, 5, 10, 10)


def make_batch(preference: list[float] | None = None, seed: int = 0) -> dict:
    """One sample: PTV_High is a ramp from 60 to 70 Gy, so that D2, D95 and D98 fall on voxels 98, 5 and 2."""
    flat = 55 * torch.rand(500, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1
    flat[:101] = 60 + 0.1 * torch.arange(101, dtype=torch.float64)
    masks = torch.zeros(len(NAMES), 500, dtype=torch.bool)
    for row, voxels in zip(masks, VOXELS.values(), strict=True):
        row[list(voxels)] = True
    allowed = torch.ones(500, dtype=torch.bool)
    allowed[450:] = False
    batch = {
        keys.CASE_ID: ["case"],
        keys.DOSE: flat.reshape(SHAPE),
        keys.DOSE_MASK: allowed.reshape(SHAPE),
        keys.STRUCTURES: masks.reshape(1, -1, *SHAPE[2:]),
        keys.PRESCRIPTION: torch.tensor([[56.0, 0.0, 70.0, 0.0, 0.0, 0.0, 0.0]]),
    }
    return batch if preference is None else batch | {keys.PREFERENCE: torch.tensor([preference])}


def parts_of(loss: ObjectiveLoss, dose: Tensor, batch: dict) -> dict[str, float]:
    loss(dose, batch)
    return {name: float(value) for name, value in loss.last_parts.items()}


def naive_parts(predicted_gy: np.ndarray, reference_gy: np.ndarray, sparing: dict[str, float], spread: float) -> dict:
    """The definition of the loss on flat arrays, by numpy's percentiles."""
    inside = {name: [v for v in voxels if v < 450] for name, voxels in VOXELS.items()}
    targets = ("PTV_Low", "PTV_High")
    covered = {v for name in targets for v in inside[name]}
    own = {name: [v for v in inside[name] if v not in covered] for name in ("Parotid_L", "SpinalCord")}
    high = inside["PTV_High"]
    wide = [np.percentile(d[high], 98) - np.percentile(d[high], 2) for d in (reference_gy, predicted_gy)]
    gaps = [
        [abs(f(reference_gy[inside[t]]) - f(predicted_gy[inside[t]])) for t in targets]
        for f in (np.mean, lambda dose: np.percentile(dose, 5))
    ]
    return {
        "homogeneity": abs(spread * wide[0] - wide[1]),
        "targets": np.mean(gaps[0]),
        "organs": np.mean([abs(sparing[o] * reference_gy[v].mean() - predicted_gy[v].mean()) for o, v in own.items()]),
        "coverage": np.mean(gaps[1]),
    }


def test_zero_where_the_sliders_are_obeyed():
    batch = make_batch([0.8, 1.2, 1.0, 0.9, 1.3])
    spread = 1.3 * (1 + 0.5 * (1 - (0.8 + 1.2 + 1.0 + 0.9) / 4))
    dose = batch[keys.DOSE].flatten().clone()
    dose[161:221] *= 0.8  # Parotid_L follows the salivary slider outside the targets, the cord the neural one
    dose[221:251] *= 1.2
    risen = (spread - 1) * 9.6  # of D2 − D98 = 69.8 − 60.2 Gy
    dose[98:101] += risen
    dose[20:81] -= risen * 3 / 61  # keeps the mean and, as the order stays, D95
    loss = ObjectiveLoss(NAMES, GROUPED)
    parts = parts_of(loss, dose.reshape(SHAPE), batch)
    assert parts == pytest.approx(dict.fromkeys(parts, 0.0), abs=3e-6)  # sliders are stored in float32
    assert float(loss(batch[keys.DOSE], batch)) > 3.0


def test_a_shift_costs_itself_in_every_mean():
    batch = make_batch()
    parts = parts_of(ObjectiveLoss(NAMES), batch[keys.DOSE] + 2.0, batch)
    assert parts == pytest.approx({"homogeneity": 0.0, "targets": 2.0, "organs": 2.0, "coverage": 2.0}, abs=1e-12)


def test_a_wider_spread_than_asked_costs_the_difference():
    batch = make_batch([1.0, 1.0, 1.0, 1.0, 1.25])
    dose = batch[keys.DOSE].clone()
    dose.flatten()[:101] = 65 + 0.2 * torch.arange(-50, 51, dtype=torch.float64)
    parts = parts_of(ObjectiveLoss(NAMES, GROUPED), dose, batch)
    # 19.2 Gy for 1.25 · 9.6 Gy; D95 falls from 60.5 to 56 Gy in one of two targets.
    assert parts == pytest.approx({"homogeneity": 7.2, "targets": 0.0, "organs": 0.0, "coverage": 2.25}, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_parts_are_those_of_the_numpy_twin(seed: int):
    vector = [0.8 + 0.1 * seed, 1.15, 1.05, 0.85, 0.75 + 0.2 * seed]
    batch = make_batch(vector, seed)
    dose = predicted(batch, seed=seed + 10)
    loss = ObjectiveLoss(NAMES, GROUPED)
    exact = [float(v) for v in batch[keys.PREFERENCE][0]]
    sparing = {"Parotid_L": exact[0], "SpinalCord": exact[1]}
    spread = exact[4] * (1 + 0.5 * (1 - sum(exact[:4]) / 4))
    expected = naive_parts(dose.flatten().numpy(), batch[keys.DOSE].flatten().numpy(), sparing, spread)
    assert parts_of(loss, dose, batch) == pytest.approx(expected, rel=1e-11)


def test_one_slider_for_all_organs():
    batch = make_batch([0.9, 1.0])
    parts = parts_of(ObjectiveLoss(NAMES, {"groups": "global", "trade_off": 0.0}), batch[keys.DOSE], batch)
    flat = batch[keys.DOSE].flatten()
    saved = [0.1 * float(flat[161:221].mean()), 0.1 * float(flat[221:251].mean())]
    assert parts["organs"] == pytest.approx(sum(saved) / 2, rel=1e-5)
    assert parts["homogeneity"] == 0.0


def test_no_preference_is_the_neutral_one():
    neutral = make_batch([1.0] * 5)
    dose = predicted(neutral)
    plain = {key: value for key, value in neutral.items() if key != keys.PREFERENCE}
    value = ObjectiveLoss(NAMES, GROUPED)(dose, neutral)
    assert torch.equal(value, ObjectiveLoss(NAMES, GROUPED)(dose, plain))
    assert torch.equal(value, ObjectiveLoss(NAMES)(dose, plain))


def test_weights_and_parts():
    batch = make_batch()
    dose = predicted(batch).requires_grad_()
    loss = ObjectiveLoss(NAMES, None, homogeneity_weight=2.0, target_weight=0.5, organ_weight=0.0, coverage_weight=3)
    value = loss(dose, batch)
    weights = {"homogeneity": 2.0, "targets": 0.5, "organs": 0.0, "coverage": 3.0}
    assert float(value.detach()) == pytest.approx(sum(w * float(loss.last_parts[p]) for p, w in weights.items()))
    assert float(loss.last_parts["organs"]) > 0.05  # still watched
    assert not any(part.requires_grad for part in loss.last_parts.values())


def test_samples_have_their_own_sliders():
    first, second = make_batch([0.8, 1.0, 1.0, 1.0, 1.0], seed=1), make_batch([1.2, 0.9, 1.0, 1.0, 1.4], seed=2)
    both = {key: torch.cat([first[key], second[key]]) for key in first if key != keys.CASE_ID}
    loss = ObjectiveLoss(NAMES, GROUPED)
    apart = [loss(predicted(batch, seed=3), batch) for batch in (first, second)]
    together = loss(torch.cat([predicted(batch, seed=3) for batch in (first, second)]), both)
    torch.testing.assert_close(together, torch.stack(apart).mean(), rtol=1e-13, atol=0)


def test_gradient_is_that_of_finite_differences():
    batch = make_batch([0.85, 1.1, 1.0, 0.9, 1.2])
    loss = ObjectiveLoss(NAMES, GROUPED, 0.7, 1.3, 0.9, 1.1)
    assert torch.autograd.gradcheck(lambda dose: loss(dose, batch), predicted(batch).requires_grad_())


@pytest.mark.parametrize(("slider", "sign"), [(0.9, 1.0), (1.1, -1.0)])
def test_a_slider_moves_its_organs_outside_the_targets_only(slider: float, sign: float):
    batch = make_batch([slider, 1.0, 1.0, 1.0, 1.0])
    dose = batch[keys.DOSE].clone().requires_grad_()
    ObjectiveLoss(NAMES, GROUPED, homogeneity_weight=0.0)(dose, batch).backward()
    expected = torch.zeros(500, dtype=torch.float64)
    expected[161:221] = sign / (60 * 2)  # mean of two organs; descent lowers the dose where the gradient is positive
    torch.testing.assert_close(dose.grad.flatten(), expected, rtol=1e-12, atol=0)


def test_the_homogeneity_slider_widens_the_highest_target():
    batch = make_batch([1.0, 1.0, 1.0, 1.0, 1.5])
    dose = batch[keys.DOSE].clone().requires_grad_()
    ObjectiveLoss(NAMES, GROUPED)(dose, batch).backward()
    assert {int(i): float(dose.grad.flatten()[i]) for i in dose.grad.flatten().nonzero()} == {2: 1.0, 98: -1.0}


def test_without_prescriptions_the_first_target_counts_as_the_highest():
    batch = make_batch()
    batch[keys.PRESCRIPTION] = torch.zeros(1, 7)
    dose = batch[keys.DOSE].clone()
    dose.flatten()[101:161] *= 1.1
    low = batch[keys.DOSE].flatten()[101:161].numpy()
    expected = 0.1 * (np.percentile(low, 98) - np.percentile(low, 2))
    assert parts_of(ObjectiveLoss(NAMES), dose, batch)["homogeneity"] == pytest.approx(expected, rel=1e-10)


def test_an_absent_highest_target_leaves_the_next():
    batch = make_batch()
    batch[keys.STRUCTURES][:, 2] = False  # PTV_High
    dose = batch[keys.DOSE].clone()
    dose.flatten()[:101] += 5.0  # now larynx, and twenty voxels of the parotid
    parts = parts_of(ObjectiveLoss(NAMES), dose, batch)
    expected = (0.0 + 5.0 + 5.0 * 20 / 80) / 3  # cord, larynx, parotid
    assert parts == pytest.approx({"homogeneity": 0.0, "targets": 0.0, "organs": expected, "coverage": 0.0}, abs=1e-12)


@pytest.mark.parametrize("kept", [[], ["zRing"], ["Larynx"], ["PTV_Low"], ["SpinalCord"], ["PTV_High", "Larynx"]])
def test_missing_structures_leave_finite_numbers(kept: list[str]):
    batch = make_batch([0.8] * 5)
    for i, name in enumerate(NAMES):
        batch[keys.STRUCTURES][:, i] &= name in kept
    loss = ObjectiveLoss(NAMES, GROUPED)
    for start in (torch.zeros(SHAPE), batch[keys.DOSE].float(), -torch.ones(SHAPE)):
        dose = start.clone().requires_grad_()
        value = loss(dose, batch)
        value.backward()
        assert bool(torch.isfinite(value))
        assert bool(torch.isfinite(dose.grad).all())
        touched = set(dose.grad.flatten().nonzero().flatten().tolist())
        assert touched <= {voxel for name in kept if name != "zRing" for voxel in VOXELS[name]}
    if kept in ([], ["zRing"]):
        assert float(value.detach()) == 0.0


@pytest.mark.parametrize("names", [["PTV_High", "SpinalCord"], ["SpinalCord"], ["zRing"]])
def test_structures_of_any_kind_may_lack(names: list[str]):
    batch = make_batch()
    batch[keys.STRUCTURES] = batch[keys.STRUCTURES][:, [NAMES.index(name) for name in names]]
    batch[keys.PRESCRIPTION] = batch[keys.PRESCRIPTION][:, [NAMES.index(name) for name in names]]
    parts = parts_of(ObjectiveLoss(names), batch[keys.DOSE] + 1.0, batch)
    has_target, has_organ = "PTV_High" in names, "SpinalCord" in names
    expected = {"homogeneity": 0.0, "targets": has_target, "organs": has_organ, "coverage": has_target}
    assert parts == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-12)


def test_a_sum_shows_the_parts_of_its_parts():
    batch = make_batch()
    dose = predicted(batch)
    total = WeightedSum({"l1": MaskedL1(), "objective": ObjectiveLoss(NAMES)}, {"l1": 1.0, "objective": 0.5})
    value = total(dose, batch)
    alone = ObjectiveLoss(NAMES)
    expected = MaskedL1()(dose, batch) + 0.5 * alone(dose, batch)
    torch.testing.assert_close(value, expected, rtol=1e-13, atol=0)
    parts = {"homogeneity", "targets", "organs", "coverage"}
    assert set(total.last_parts) == {"l1", "objective", *(f"objective/{part}" for part in parts)}
    for part in parts:
        assert torch.equal(total.last_parts[f"objective/{part}"], alone.last_parts[part])


@pytest.mark.parametrize("name", ["objective", "two_stage"])
@pytest.mark.parametrize("model", ["unet_half", "two_stage"])
def test_configuration(name: str, model: str):
    cfg = config("train", f"loss={name}", f"model={model}")
    loss = instantiate(cfg.loss)
    objective = loss if name == "objective" else loss.losses["objective"]
    assert type(objective) is ObjectiveLoss
    assert objective.structures == tuple(cfg.channels.structures)
    node = cfg.loss if name == "objective" else cfg.loss.losses.objective
    parts = ("homogeneity", "target", "organ", "coverage")
    assert objective.weights == tuple(node[f"{part}_weight"] for part in parts)
    assert objective.has_sliders == (model == "two_stage")  # the net's own, so that the two cannot differ
    assert objective.space == PreferenceSpace(**(cfg.model.get("preference") or {}))
    if name == "two_stage":
        assert loss.weights == dict(cfg.loss.weights)
        assert list(loss.losses) == ["l1", "moment", "objective"]


@pytest.mark.parametrize("names", [(), ("PTV", "PTV")])
def test_structures_must_be_different_names(names: tuple[str, ...]):
    with pytest.raises(InputError, match="structures must be different names, at least one"):
        ObjectiveLoss(names)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_must_be_finite_and_not_negative(weight: float):
    with pytest.raises(InputError, match="weight of organs must be finite, zero or more"):
        ObjectiveLoss(NAMES, organ_weight=weight)


def test_the_batch_must_hold_the_structures_of_the_loss():
    batch = make_batch()
    with pytest.raises(InputError, match=r"structures must hold the 6 structures of the loss; got \(1, 7, 5, 10, 10\)"):
        ObjectiveLoss(NAMES[:6])(batch[keys.DOSE], batch)


def test_prescriptions_must_be_there_and_one_per_structure():
    batch = make_batch()
    dose = batch[keys.DOSE]
    batch[keys.PRESCRIPTION] = batch[keys.PRESCRIPTION][:, :2]
    with pytest.raises(InputError, match=r"prescription_gy must have shape \(1, 7\); got \(1, 2\)"):
        ObjectiveLoss(NAMES)(dose, batch)
    del batch[keys.PRESCRIPTION]
    with pytest.raises(InputError, match="prescription_gy must be in the batch"):
        ObjectiveLoss(NAMES)(dose, batch)


def test_preferences_must_be_those_of_the_space():
    batch = make_batch([1.0, 1.0])
    with pytest.raises(InputError, match=r"preference must have shape \(1, 5\); got \(1, 2\)"):
        ObjectiveLoss(NAMES, GROUPED)(batch[keys.DOSE], batch)
    with pytest.raises(InputError, match=r"preference must not be in the batch: the loss has no sliders; got \(1, 2\)"):
        ObjectiveLoss(NAMES)(batch[keys.DOSE], batch)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_preferences_must_be_positive_and_finite(value: float):
    batch = make_batch([1.0, value])
    with pytest.raises(InputError, match="preference must be positive and finite"):
        ObjectiveLoss(NAMES, {"groups": "global"})(batch[keys.DOSE], batch)
