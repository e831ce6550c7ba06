"""Plans on made-up beams, whose best dose is known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.status import Status
from dosewright.fluence.step_and_shoot import StepAndShoot
from dosewright.objectives.objective import Objective
from dosewright.planning.deliver import Delivery
from dosewright.planning.goals import Absent, AbstractPlanner, Goals
from dosewright.planning.mimic_planner import MimicPlanner
from dosewright.planning.plan_case import OptimiserSettings, Plan, plan_case
from plan_problems import make_influence

EXACT = OptimiserSettings(smoothness=0, max_steps=400, value_tolerance=0, kkt_tolerance=1e-6)


@dataclass(frozen=True)
class Wishes(AbstractPlanner):
    """Objectives given by the test."""

    objectives: tuple[Objective, ...]
    absent: Absent = "raise"

    def goals(self, case: PatientCase, wanted_gy: FloatVolume) -> Goals:
        return Goals(self.objectives, absent=self.absent)

    def fingerprint(self, case_id: str) -> str:
        return ""


@pytest.fixture(scope="module", autouse=True)
def _single(one_thread: None) -> None:
    """Small products are faster on one thread."""


@pytest.fixture
def influence(case: PatientCase) -> DoseInfluence:
    return make_influence(case)


def deliverable(case: PatientCase, influence: DoseInfluence, top_gy: float = 60.0) -> FloatVolume:
    """The dose of some fluence, on the case's grid."""
    rng = np.random.default_rng(0)
    fluence = torch.from_numpy(rng.uniform(0.5, 1.0, influence.shape[1]).astype(np.float32))
    dose_gy = influence.on_case_grid(influence.forward(fluence), case)
    return dose_gy * np.float32(top_gy / dose_gy.max())


def test_a_dose_that_can_be_delivered_is_replayed(case: PatientCase, influence: DoseInfluence) -> None:
    wanted = deliverable(case, influence)
    plan = plan_case(case, wanted, influence, MimicPlanner(two_sided=True), EXACT)
    np.testing.assert_allclose(plan.dose_gy, wanted, atol=0.05)
    assert (plan.dose_gy[~case.body] == 0).all()
    assert plan.objectives[0][1] == pytest.approx(0.0, abs=1e-4)
    assert (plan.fluence >= 0).all()
    assert plan.delivered is None
    assert set(plan.complexity) == {"sum_of_positive_gradients", "total_variation", "modulation_index"}


def test_less_than_asked_for_costs_nothing_outside_targets(case: PatientCase, influence: DoseInfluence) -> None:
    wanted = deliverable(case, influence)
    targets = case.structures["PTV_High"] | case.structures["PTV_Low"]
    generous = np.where(targets | ~case.body, wanted, wanted + 20).astype(np.float32)
    one_sided = plan_case(case, generous, influence, MimicPlanner(rim_mm=0), EXACT)
    np.testing.assert_allclose(one_sided.dose_gy[targets], wanted[targets], atol=0.1)
    assert sum(value for _, value in one_sided.objectives) == pytest.approx(0.0, abs=1e-3)
    two_sided = plan_case(case, generous, influence, MimicPlanner(two_sided=True), EXACT)
    assert two_sided.objectives[0][1] > 10.0  # Gy²: the 20 Gy more cannot be had without harm to the targets


def test_the_dose_is_zero_where_none_is_scored(case: PatientCase, influence: DoseInfluence) -> None:
    scored = case.body.copy()
    scored[:, :4] = False
    masked = replace(case, dose_mask=scored)
    plan = plan_case(masked, deliverable(case, influence) * scored, influence, MimicPlanner(two_sided=True))
    assert (plan.dose_gy[~scored] == 0).all()
    assert plan.dose_gy[scored].mean() > 1.0


def test_apertures_give_nearly_the_dose_of_the_fluence(case: PatientCase, influence: DoseInfluence) -> None:
    wanted = deliverable(case, influence)
    settings, replay = OptimiserSettings(smoothness=1e-3), MimicPlanner(two_sided=True)
    plan = plan_case(case, wanted, influence, replay, settings, Delivery(StepAndShoot(levels=20), mu_per_fluence=350.0))
    assert plan.delivered is not None
    again = influence.forward(torch.from_numpy(plan.delivered.fluence).float())
    np.testing.assert_allclose(plan.delivered.dose_gy, influence.on_case_grid(again, case), rtol=1e-4, atol=1e-3)
    high = wanted > 30.0
    assert np.abs(plan.delivered.dose_gy - plan.dose_gy)[high].mean() < 0.03 * 60.0
    assert plan.complexity["segments"] == len(plan.delivered.apertures)
    assert plan.complexity["monitor_units"] == pytest.approx(plan.delivered.monitor_units, rel=1e-6)
    assert list(plan.seconds) == ["setting up the problem", "optimisation", "sequencing"]


def test_protons_are_not_sequenced(case: PatientCase, influence: DoseInfluence) -> None:
    proton = replace(case, technique="proton", beams=())
    plan = plan_case(proton, deliverable(case, influence), influence, MimicPlanner(), None, Delivery(StepAndShoot()))
    assert plan.delivered is None
    assert "not sequenced: collimators shape photon beams only" in plan.remarks


def test_contradictory_constraints_end_infeasible_with_the_best_plan(
    case: PatientCase, influence: DoseInfluence
) -> None:
    wishes = Wishes(
        (
            Objective("PTV_High", "squared_deviation", 60.0),
            Objective("PTV_High", "min_dose", 60.0, constraint=True),
            Objective("PTV_High", "max_dose", 40.0, constraint=True),
        )
    )
    plan = plan_case(case, deliverable(case, influence), influence, wishes)
    assert plan.result.status is Status.INFEASIBLE
    assert np.isfinite(plan.dose_gy).all()
    assert 35.0 < plan.dose_gy[case.structures["PTV_High"]].mean() < 65.0
    broken = [line for line in plan.remarks if line.startswith("not met: PTV_High")]
    assert broken
    assert any("hard constraints that no fluence meets" in line for line in plan.remarks)


def test_apertures_keep_hard_limits_or_the_plan_says_so(case: PatientCase, influence: DoseInfluence) -> None:
    hot = (Objective("PTV_High", "squared_deviation", 60.0), Objective("External", "max_dose", 50.0, constraint=True))
    delivery = Delivery(StepAndShoot(levels=4), mu_per_fluence=350.0)
    kept = plan_case(case, deliverable(case, influence), influence, Wishes(hot), delivery=delivery)
    assert kept.delivered is not None
    dose_gy = influence.forward(torch.from_numpy(kept.delivered.fluence).float())
    assert float(dose_gy.max()) == pytest.approx(50.0, abs=0.15)  # as near to 60 Gy as the limit lets it
    assert kept.delivered.violations == ()
    colder = Objective("PTV_High", "min_dose", 55.0, constraint=True)
    broken = plan_case(case, deliverable(case, influence), influence, Wishes((*hot, colder)), delivery=delivery)
    assert any(line.startswith("not met once sequenced: ") for line in broken.remarks)


def test_objectives_for_absent_structures_are_refused_or_left_out_and_told(
    case: PatientCase, influence: DoseInfluence
) -> None:
    both = (Objective("PTV_High", "squared_deviation", 60.0), Objective("Larynx", "mean_upper", 40.0))
    wanted = deliverable(case, influence)
    with pytest.raises(InputError, match="Larynx: mean at most 40 Gy"):
        plan_case(case, wanted, influence, Wishes(both))
    plan = plan_case(case, wanted, influence, Wishes(both, absent="skip"))
    assert plan.skipped == (both[1],)
    assert any(line.startswith("left out") and "Larynx: mean at most 40 Gy" in line for line in plan.remarks)
    with pytest.raises(InputError, match="objectives must hold at least one for a structure that the case has"):
        plan_case(case, wanted, influence, Wishes(both[1:], absent="skip"))


def test_a_target_out_of_the_beams_reach_is_named(case: PatientCase, influence: DoseInfluence) -> None:
    rows = influence.mask(case.structures["PTV_Low"], case.grid).numpy()
    matrix = influence.csc.toarray()
    matrix[rows] = 0.0
    from scipy import sparse

    blind = DoseInfluence(
        sparse.csc_array(matrix), influence.beams, influence.beamlets, influence.grid, influence.voxels
    )
    with pytest.raises(InputError, match=r"PTV_Low cannot be reached: the beams at \(0.0, 90.0, 180.0, 270.0\)°"):
        plan_case(case, deliverable(case, influence), blind, MimicPlanner())


def test_a_target_without_voxels_on_the_dose_grid_is_named(case: PatientCase, influence: DoseInfluence) -> None:
    elsewhere = influence.of_rows(~influence.mask(case.structures["PTV_High"], case.grid))
    with pytest.raises(InputError, match="PTV_High must not fall between the voxels of the dose grid"):
        plan_case(case, deliverable(case, influence), elsewhere, MimicPlanner())


def test_a_dose_on_another_grid_or_not_finite_is_refused(case: PatientCase, influence: DoseInfluence) -> None:
    wanted = deliverable(case, influence)
    with pytest.raises(GridMismatchError, match="wanted_gy must have the case's shape"):
        plan_case(case, wanted[1:], influence, MimicPlanner())
    wanted[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="wanted_gy must be finite; got '1 voxels NaN or infinite'"):
        plan_case(case, wanted, influence, MimicPlanner())


def test_few_steps_are_told(case: PatientCase, influence: DoseInfluence) -> None:
    hasty = OptimiserSettings(max_steps=1)
    plan: Plan = plan_case(case, deliverable(case, influence), influence, MimicPlanner(), hasty)
    assert plan.result.status is Status.MAX_STEPS
    assert plan.remarks[0] == "the optimiser did not converge (most steps taken); this is the best plan found"


def test_monitor_units_must_be_known_to_sequence(case: PatientCase, influence: DoseInfluence) -> None:
    with pytest.raises(InputError, match=r"delivery\.mu_per_fluence must be given to sequence a fluence"):
        plan_case(case, deliverable(case, influence), influence, MimicPlanner(), None, Delivery(StepAndShoot()))
    with pytest.raises(InputError, match=r"delivery\.mu_per_fluence must be finite and positive; got 0"):
        Delivery(StepAndShoot(), mu_per_fluence=0)


@pytest.mark.parametrize("value", [-1.0, float("inf")])
def test_least_mu_must_not_be_negative(value: float) -> None:
    with pytest.raises(InputError, match=r"delivery\.least_mu must be finite and at least 0; got"):
        Delivery(StepAndShoot(), least_mu=value)
