"""From fluence to apertures, their dose and their weights optimised anew; what a unit of fluence is in MU."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy import optimize
from torch import Tensor

from dosewright.core import InputError, PatientCase
from dosewright.fluence.apertures import aperture_matrix
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.calibration import MU_PER_FLUENCE, _water, measure_mu_per_fluence, mu_per_fluence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.fluence.projected_lbfgs import ProjectedLbfgs
from dosewright.fluence.sequencer import AbstractSequencer
from dosewright.fluence.sequencing import ApertureInfluence, reweighted, sequence
from dosewright.fluence.sliding_window import SlidingWindow
from dosewright.fluence.solver import StopRule
from dosewright.fluence.step_and_shoot import StepAndShoot

EXACT = ProjectedLbfgs(stop=StopRule(max_steps=2000, kkt_tolerance=1e-6, value_tolerance=0.0))


class Dense:
    """Two beams of 6 × 8 beamlets that give 200 voxels a blurred dose."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        v, u = (g.ravel() for g in np.meshgrid(np.arange(6) * 5.0, np.arange(8) * 5.0, indexing="ij"))
        self.beamlets = Beamlets(np.repeat([0, 1], 48), np.tile(u, 2), np.tile(v, 2), 5.0)
        at = rng.uniform([0, 0], [35, 25], (200, 2))
        far = (at[:, :1] - self.beamlets.u_mm) ** 2 + (at[:, 1:] - self.beamlets.v_mm) ** 2
        turn = np.where(self.beamlets.beam == 0, rng.uniform(0.5, 1, (200, 1)), rng.uniform(0.5, 1, (200, 1)))
        self.matrix = torch.from_numpy(np.exp(-far / 100) * turn).float()
        self.shape = (200, 96)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.matrix


class Deviation:
    """Σ (dose − wanted)²."""

    def __init__(self, wanted: Tensor) -> None:
        self.wanted = wanted

    def value_and_gradient(self, dose: Tensor) -> tuple[Tensor, Tensor]:
        excess = dose - self.wanted
        return (excess.double() ** 2).sum(1), 2 * excess


def _fluence() -> Tensor:
    u, v = np.tile(np.arange(8), 12), np.repeat(np.arange(12), 8)
    return torch.from_numpy(2 + np.sin(u) * np.cos(v / 2) + 0.2 * (u % 3)).float()


@pytest.mark.parametrize("sequencer", [StepAndShoot(levels=6, least_mu=0.0), SlidingWindow(control_points=20)])
def test_plan_is_what_its_apertures_give(sequencer: AbstractSequencer) -> None:
    influence = Dense()
    plan = sequence(influence, _fluence(), sequencer, mu_per_fluence=40.0)
    fluence = aperture_matrix(plan.apertures, influence.beamlets).astype(float) @ plan.weights
    np.testing.assert_allclose(plan.fluence, fluence, rtol=1e-5)
    np.testing.assert_allclose(plan.dose_gy, influence.matrix.double().numpy() @ fluence, rtol=1e-5)
    assert plan.monitor_units == pytest.approx(40 * plan.weights.sum())
    assert np.abs(fluence - _fluence().numpy()).mean() < 0.2


def test_aperture_influence_is_the_product_and_its_transpose() -> None:
    influence = Dense()
    plan = sequence(influence, _fluence(), StepAndShoot(levels=4, least_mu=0.0), mu_per_fluence=1.0)
    operator = ApertureInfluence(influence, plan.apertures)
    product = influence.matrix.double().numpy() @ aperture_matrix(plan.apertures, influence.beamlets)
    assert operator.shape == product.shape
    rng = np.random.default_rng(1)
    w, y = rng.uniform(size=product.shape[1]), rng.normal(size=200)
    np.testing.assert_allclose(operator.forward(torch.from_numpy(w).float()), product @ w, rtol=1e-4)
    np.testing.assert_allclose(operator.adjoint(torch.from_numpy(y).float()), product.T @ y, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(operator.column_norms, np.linalg.norm(product, axis=0), rtol=1e-5)


def test_new_weights_are_the_nonnegative_least_squares_ones() -> None:
    influence = Dense()
    plan = sequence(influence, _fluence(), StepAndShoot(levels=3, least_mu=0.0), mu_per_fluence=1.0)
    wanted = influence.forward(_fluence())
    penalty = Deviation(wanted)
    better = reweighted(plan, influence, penalty, EXACT)
    product = influence.matrix.double().numpy() @ aperture_matrix(plan.apertures, influence.beamlets)
    _, norm = optimize.nnls(product, wanted.double().numpy())
    before, after = (float(penalty.value_and_gradient(one.dose_gy[None])[0]) for one in (plan, better))
    assert after == pytest.approx(norm**2, rel=0.01)
    assert after < 0.7 * before


def test_weak_apertures_are_left_out_and_the_others_take_over() -> None:
    influence = Dense()
    plan = sequence(influence, _fluence(), StepAndShoot(levels=8, least_mu=0.0), mu_per_fluence=10.0)
    penalty = Deviation(influence.forward(_fluence()))
    solver = ProjectedLbfgs(stop=StopRule(max_steps=60))
    free, strong = (reweighted(plan, influence, penalty, solver, least_mu=least) for least in (0.0, 5.0))
    assert free.weights.min() * 10 < 5 <= strong.weights.min() * 10
    assert len(strong.apertures) < len(free.apertures)
    nothing = Deviation(torch.zeros(200))
    with pytest.raises(InputError, match="penalty leaves no aperture; got"):
        reweighted(plan, influence, nothing, solver, least_mu=1.0)


def test_plans_that_cannot_be_are_refused() -> None:
    influence = Dense()
    with pytest.raises(InputError, match="mu_per_fluence must be finite and positive; got 0"):
        sequence(influence, _fluence(), StepAndShoot(), mu_per_fluence=0.0)
    with pytest.raises(InputError, match="fluence must not be zero everywhere"):
        sequence(influence, torch.zeros(96), StepAndShoot(), mu_per_fluence=1.0)


def test_the_shipped_configurations_are_the_defaults() -> None:
    conf = Path(__file__).resolve().parents[2] / "conf" / "sequencing"
    assert instantiate(OmegaConf.load(conf / "step_and_shoot.yaml")) == StepAndShoot()
    assert instantiate(OmegaConf.load(conf / "sliding_window.yaml")) == SlidingWindow()


@pytest.mark.parametrize("spacing_mm", [3.0, 4.0, 5.0, 7.0, 10.0])
def test_the_calibration_point_lies_at_ten_centimetres_whatever_the_voxels(spacing_mm: float) -> None:
    case = _water(spacing_mm)
    wet = case.grid.axis_mm("y")[case.body.any(axis=(0, 2))]
    assert wet[0] - spacing_mm / 2 == pytest.approx(-100.0)
    assert wet[-1] > 90.0
    assert case.isocenter_xyz_mm == (0.0, 0.0, 0.0)


def test_monitor_units_are_those_of_the_calibration_field() -> None:
    pytest.importorskip("pyRadPlan", reason="the plans extra (pyRadPlan) is not installed")
    assert measure_mu_per_fluence(InfluenceSettings(20.0, 10.0)) == pytest.approx(MU_PER_FLUENCE, rel=0.02)
    assert mu_per_fluence(35) == pytest.approx(82 / 35)
    with pytest.raises(InputError, match="fractions, total must be positive"):
        mu_per_fluence(0)


def test_the_calibration_is_measured_on_a_grid_that_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compute(case: PatientCase, settings: InfluenceSettings) -> None:
        asked.append((settings.dose_spacing_mm, case.grid.spacing_xyz_mm))
        raise InterruptedError

    monkeypatch.setattr("dosewright.fluence.calibration.compute_influence", compute)
    for spacing_mm in (1.0, 4.0):
        with pytest.raises(InterruptedError):
            measure_mu_per_fluence(InfluenceSettings(5.0, spacing_mm))
    assert asked == [(2.5, (2.5, 2.5, 2.5)), (4.0, (4.0, 4.0, 4.0))]
