"""Plans on made-up beams: the same whatever their batch, scaled to their coverage, and following their draws."""

from dataclasses import replace

import numpy as np
import pytest

from cases import make_case
from dosewright.core import InputError, PatientCase
from dosewright.planning.factory.draws import DrawSettings
from dosewright.planning.factory.goals import BODY, TISSUE, FactoryGoals, goals_of
from dosewright.planning.factory.maker import FactoryPlan, FactorySettings, PlanMaker
from dosewright.planning.factory.quality import QualityRules
from plan_problems import make_influence

LENIENT = QualityRules(least_d95=0.01, most_hot=9.0, most_spill=9.0, most_mean_excess=9.0, factors=(0.01, 100.0))


@pytest.fixture(scope="module", autouse=True)
def _single(one_thread: None) -> None:
    """Small products are faster on one thread."""


@pytest.fixture(scope="module")
def case() -> PatientCase:
    case = make_case()
    smooth = np.where(case.body, 25.0 + 40.0 * case.structures["PTV_High"], 0).astype(np.float32)
    return replace(case, dose_gy=smooth)


def maker_of(case: PatientCase, **settings: object) -> PlanMaker:
    chosen = FactorySettings(**{"quality": LENIENT, **settings})
    return PlanMaker(case, make_influence(case), "four", chosen, lambda dose: float(dose.max()))


@pytest.fixture(scope="module")
def maker(case: PatientCase) -> PlanMaker:
    return maker_of(case)


@pytest.fixture(scope="module")
def plans(maker: PlanMaker) -> list[FactoryPlan]:
    return maker.make(range(6))


def test_a_plan_is_much_the_same_in_any_batch(maker: PlanMaker, plans: list[FactoryPlan]) -> None:
    """Rounding in another order lets a solve that ends early end elsewhere; other draws differ many times more."""
    alone = maker.make([4])[0]
    assert alone.draw == plans[4].draw
    apart = [float(np.abs(alone.dose_gy - plan.dose_gy).mean()) for plan in plans]
    assert apart[4] < 0.5
    assert min(other for index, other in enumerate(apart) if index != 4) > 2 * apart[4]


def test_the_same_batch_gives_the_same_plans(case: PatientCase, plans: list[FactoryPlan]) -> None:
    for one, other in zip(maker_of(case).make(range(6)), plans, strict=True):
        assert np.array_equal(one.dose_gy, other.dose_gy)
        assert one.measures == other.measures


def test_plans_are_scaled_to_the_coverage_drawn(case: PatientCase, plans: list[FactoryPlan]) -> None:
    sizes = {name: np.count_nonzero(case.structures[name]) for name in case.targets}
    for plan in plans:
        shares = {n: np.percentile(plan.dose_gy[case.structures[n]], 5) / case.prescription_gy[n] for n in case.targets}
        coverage = sum(shares[name] * sizes[name] for name in sizes) / sum(sizes.values())
        assert coverage == pytest.approx(plan.draw.coverage, rel=1e-4)
        assert plan.measures["PTV_Low D95"] == pytest.approx(shares["PTV_Low"], rel=1e-4)


def test_the_fluence_gives_the_dose(maker: PlanMaker, plans: list[FactoryPlan]) -> None:
    import torch

    fluence = torch.from_numpy(np.stack([plan.fluence for plan in plans])).float()
    doses = maker.influence.forward(fluence).numpy()
    rows = maker.influence.voxels  # the influence is on the case's own grid
    for plan, dose in zip(plans, doses, strict=True):
        np.testing.assert_allclose(plan.dose_gy.ravel()[rows], np.maximum(dose, 0), rtol=2e-3, atol=0.02)


def test_measures_are_those_of_the_dose(case: PatientCase, plans: list[FactoryPlan]) -> None:
    plan = plans[0]
    gland = plan.dose_gy[case.structures["Parotid_L"]]
    assert plan.measures["Parotid_L mean"] == pytest.approx(float(gland.mean()), rel=1e-5)
    high = plan.dose_gy[case.structures["PTV_High"]]
    assert plan.measures["PTV_High HI"] == pytest.approx(
        float(np.subtract(*np.percentile(high, [98, 2]))) / 70, rel=1e-4
    )
    assert plan.measures["score"] == pytest.approx(float(plan.dose_gy.max()))


def test_what_spares_more_gets_less(case: PatientCase) -> None:
    """Two makers that differ in the glands' factor only: the mean of both follows."""
    means = {}
    for factor in (0.3, 1.0):
        draws = DrawSettings(
            sparing=(factor, factor),
            organ_weight=(5, 5),
            target_weight=(1, 1),
            falloff_per_mm=(0.05, 0.05),
            coverage=(1, 1),
        )
        plan = maker_of(case, draws=draws).make([0])[0]
        means[factor] = plan.measures["Parotid_L mean"] + plan.measures["Parotid_R mean"]
    assert means[0.3] < 0.8 * means[1.0]


def test_goals_hold_what_they_say(case: PatientCase) -> None:
    settings = FactoryGoals(away_mm=8.0, hot=1.1)
    goals = goals_of(case, settings, 3.0)
    asked = {(o.structure, o.kind): o for o in goals.objectives}
    assert asked["zPTV_High_Grown", "squared_underdose"].dose_gy == 70.0
    assert asked["zPTV_Low_Away", "squared_overdose"].dose_gy == pytest.approx(61.6)
    assert asked[BODY, "squared_overdose"].dose_gy == pytest.approx(77.0)
    assert asked["Parotid_L", "mean_upper"].dose_gy == pytest.approx(25.0)
    assert ("SpinalCord", "squared_overdose") in asked
    assert ("Parotid_L", "squared_overdose") not in asked
    grown = goals.helpers["zPTV_High_Grown"]
    assert (
        int(grown.sum()) == int(case.structures["PTV_High"].sum()) + 4 * 4 * 4
    )  # 3 mm: one voxel in x and y, none in z
    assert not (goals.helpers[TISSUE] & grown).any()
    column = np.flatnonzero(goals.helpers["zPTV_Low_Away"][:, 10, 11])
    assert column[0] == 11  # PTV_High ends with slice 8, slices are 4 mm apart: 10 is 8 mm away, 11 more


def test_targets_grow_by_half_a_voxel_of_the_dose_grid(case: PatientCase) -> None:
    influence = make_influence(case)
    half = max(influence.grid.spacing_zyx_mm) / 2
    doses = [maker_of(case, goals=FactoryGoals(margin_mm=mm)).make([0])[0].dose_gy for mm in (None, half, half + 3.0)]
    np.testing.assert_array_equal(doses[0], doses[1])
    assert np.abs(doses[2] - doses[1]).max() > 0.1


def test_without_a_reference_dose_the_protocol_counts(case: PatientCase) -> None:
    goals = goals_of(replace(case, dose_gy=None), FactoryGoals(protocol_mean_gy={"Parotid_L": 26.0}), 2.5)
    means = {o.structure: o.dose_gy for o in goals.objectives if o.kind == "mean_upper"}
    assert means == {"Parotid_L": 26.0, "Parotid_R": 35.0, "SpinalCord": 35.0}


def test_quality_control_rejects_with_reasons(case: PatientCase) -> None:
    plan = maker_of(case, quality=replace(LENIENT, most_hot=0.5)).make([0])[0]
    assert len(plan.reasons) == 1
    assert plan.reasons[0].startswith("D0.1cc is ")
    assert plan.measures["score"] > 35.0  # it is measured all the same


def test_plans_solved_together_are_those_solved_alone(case: PatientCase) -> None:
    """Eight and more are solved by another method than one: to the end, both find the one smooth plan."""
    maker = maker_of(case, value_tolerance=1e-7, max_steps=400, smoothness=1e-2)
    together = maker.make(range(8))
    for index in (0, 5):
        alone = maker.make([index])[0]
        assert float(np.abs(alone.dose_gy - together[index].dose_gy)[case.body].mean()) < 0.3


def test_bad_settings_are_refused(maker: PlanMaker) -> None:
    with pytest.raises(InputError, match=r"factory\.seed must not be negative; got -1"):
        FactorySettings(seed=-1)
    with pytest.raises(InputError, match="indices must not be negative; got -3"):
        maker.make([2, -3])
