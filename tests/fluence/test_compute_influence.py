"""Dose influence: pyRadPlan's own numbers, closed forms in water, symmetry, and which way round a real patient lies."""

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from dosewright.core import Beam, Grid, InputError, PatientCase, Role
from dosewright.fluence.compute_influence import compute_influence, default_beams
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.fluence.photon_influence import photon_influence
from dosewright.fluence.problem import FluenceProblem
from dosewright.fluence.sketched_lbfgs import SketchedLbfgs
from dosewright.fluence.solver import StopRule, solve
from dosewright.geometry.beam_frame import beam_frame
from dosewright.io.openkbp import OpenKBPReader
from dosewright.objectives.compile import compile_objectives
from dosewright.objectives.objective import Objective

pytest.importorskip("pyRadPlan", reason="the plans extra (pyRadPlan) is not installed")

COARSE = InfluenceSettings(beamlet_mm=20.0, dose_spacing_mm=10.0)
BETAS_PER_MM, M_PER_MM = (0.3252, 0.016, 0.0051), 0.005066  # of pyRadPlan's generic 6 MV machine


def water(*beams: Beam, cavity: bool = False, technique: str = "IMRT") -> PatientCase:
    """A 220 mm cube of water around the origin with a central target of 40 mm, and perhaps an air cavity beside it."""
    grid = Grid((24, 24, 24), (10.0, 10.0, 10.0), (-115.0, -115.0, -115.0))
    body, target = np.zeros(grid.shape_zyx, bool), np.zeros(grid.shape_zyx, bool)
    body[1:23, 1:23, 1:23] = True
    target[10:14, 10:14, 10:14] = True
    ct = np.where(body, 0, -1000).astype(np.int16)
    if cavity:
        target[10:14, 10:14, 14:16] = True
        ct[8:16, 3:8, 4:20] = -1000
        ct[4:20, 14:17, 16:19] = 1000
    return PatientCase(
        case_id="water",
        grid=grid,
        ct_hu=ct,
        body=body,
        structures={"PTV_High": target},
        prescription_gy={"PTV_High": 70.0},
        beams=beams,
        isocenter_xyz_mm=(0.0, 0.0, 0.0),
        technique=technique,  # type: ignore[arg-type]
    )


@cache
def cube(gantry: float) -> DoseInfluence:
    return compute_influence(water(Beam(gantry)), COARSE)


def open_field(influence: DoseInfluence) -> np.ndarray:
    """Dose of all beamlets at unit fluence, on the dose grid."""
    return influence.volume(influence.forward(torch.ones(influence.shape[1])))


def test_equals_pyradplans_own_engine() -> None:
    beams = (Beam(0.0), Beam(70.0), Beam(250.0, couch_angle_deg=30.0))
    case = water(*beams, cavity=True)
    cutoff_mm = 47.3  # no voxel of this regular phantom lies exactly there
    ours = compute_influence(case, InfluenceSettings(15.0, 9.0, cutoff_mm))
    theirs = photon_influence(case, beamlet_mm=15.0, dose_spacing_mm=9.0, lateral_cutoff_mm=cutoff_mm)
    assert theirs.grid.is_close(ours.grid)
    assert theirs.matrix.shape[1] == ours.shape[1]
    expected, found = theirs.matrix.tocsr()[ours.voxels].toarray(), ours.csc.toarray()
    known = (expected > 0).any(axis=1)  # pyRadPlan leaves out some voxels at the skin, which have dose here
    assert np.count_nonzero(known) > 0.9 * np.count_nonzero((found > 0).any(axis=1))
    assert (np.abs(found - expected)[known].max(axis=0) / expected.max(axis=0)).max() < 1e-5


def test_depth_dose_follows_the_machine_data() -> None:
    # along the axis: (SAD / r)² Σ_c w_c β_c / (β_c - m) (exp(-m d) - exp(-β_c d)), Bortfeld et al. 1993
    case = replace(water(Beam(0.0)), isocenter_xyz_mm=(5.0, 0.0, 5.0))  # the axis runs through centres of voxels
    influence = compute_influence(case, COARSE)
    central = int(np.argmin(np.hypot(influence.beamlets.u_mm, influence.beamlets.v_mm)))
    dose = influence.volume(influence.forward(torch.eye(influence.shape[1])[central]))
    y = influence.grid.axis_mm("y")
    inside = np.abs(y) < 110
    axis, depth, far = dose[12, :, 12][inside], y[inside] + 110, 1000 + y[inside]
    parts = [b / (b - M_PER_MM) * (np.exp(-M_PER_MM * depth) - np.exp(-b * depth)) for b in BETAS_PER_MM]
    without = np.stack(parts, axis=1)
    curves = without * (1000 / far[:, None]) ** 2
    assert axis == pytest.approx(curves @ np.linalg.lstsq(curves, axis, rcond=None)[0], rel=2e-6)
    # 22 depths and three weights: without the inverse square it does not fit
    assert np.abs(without @ np.linalg.lstsq(without, axis, rcond=None)[0] / axis - 1).max() > 1e-3


def test_open_field_builds_up_and_falls_like_6_mv() -> None:
    case = replace(water(Beam(0.0)), isocenter_xyz_mm=(0.0, -10.0, 0.0))  # at 100 mm depth
    influence = compute_influence(case, InfluenceSettings(beamlet_mm=10.0, dose_spacing_mm=5.0, lateral_cutoff_mm=80.0))
    inside = np.hypot(influence.beamlets.u_mm, influence.beamlets.v_mm) < 45
    dose = influence.volume(influence.forward(torch.from_numpy(inside).float()))
    at = influence.grid.index_zyx(np.stack([np.zeros(90), np.linspace(-108, 92, 90), np.zeros(90)], axis=1)).T
    curve, depth = ndimage.map_coordinates(dose, at, order=1), np.linspace(2, 202, 90)
    assert depth[np.argmax(curve)] == pytest.approx(17, abs=6)  # 15 mm at 6 MV; the grid has 5 mm
    # BJR Supplement 25 at SSD 100 cm, 8 cm field: 50, 100 and 200 mm; here at SSD 90 cm, (SSD + d)-² corrected
    for at_mm, percent in ((50, 85.4), (100, 65.3), (200, 36.6)):
        closer = ((1000 + at_mm) / 1015 * 915 / (900 + at_mm)) ** 2
        assert 100 * np.interp(at_mm, depth, curve) / curve.max() == pytest.approx(percent * closer, rel=0.05)


def test_field_is_as_wide_as_its_beamlets_and_symmetric() -> None:
    case = replace(water(Beam(0.0)), isocenter_xyz_mm=(0.0, 20.0, 0.0))
    influence = compute_influence(case, InfluenceSettings(beamlet_mm=10.0, dose_spacing_mm=4.0))
    u, v = influence.beamlets.u_mm, influence.beamlets.v_mm
    fluence = torch.from_numpy((np.abs(u) < 21) & (np.abs(v) < 21)).float()  # 50 mm wide
    dose = influence.volume(influence.forward(fluence))
    across = np.linspace(-60, 60, 601)
    for depth_y in (-30.0, 20.0, 60.0):
        line = np.stack([across, np.full(601, depth_y), np.zeros(601)], axis=1)
        profile = ndimage.map_coordinates(dose, influence.grid.index_zyx(line).T, order=1)
        profile /= profile[300]
        sides = (slice(0, 301), slice(600, 299, -1))
        at = {level: [np.interp(level, profile[s], across[s]) for s in sides] for level in (0.2, 0.5, 0.8)}
        assert at[0.5][1] - at[0.5][0] == pytest.approx(
            50 * (980 + depth_y) / 1000, abs=1.0
        )  # magnified from the source
        assert sum(at[0.5]) / 2 == pytest.approx(
            0, abs=0.6
        )  # pyRadPlan's kernels sit a quarter millimetre off their axis
        left, right = (abs(at[0.8][i] - at[0.2][i]) for i in (0, 1))
        assert left == pytest.approx(right, abs=0.5)
        assert left == pytest.approx(6.2, abs=1.2)  # 5 mm of the machine, and the dose grid


def test_beamlets_stand_where_they_say() -> None:
    for beam in (Beam(90.0), Beam(30.0, couch_angle_deg=20.0)):
        case = water(beam)
        influence = compute_influence(case, InfluenceSettings(beamlet_mm=20.0, dose_spacing_mm=5.0))
        frame = beam_frame((0.0, 0.0, 0.0), beam)
        u, v = influence.beamlets.u_mm, influence.beamlets.v_mm
        for k in np.flatnonzero((np.abs(u) > 15) & (np.abs(v) > 15))[:4]:
            dose = influence.volume(influence.forward(torch.eye(influence.shape[1])[k]))
            index = np.argwhere(dose > 0.5 * dose.max()).astype(float)
            position = influence.grid.position_xyz_mm(index)
            far = 1000 + position @ frame.axis_xyz
            weight = dose[dose > 0.5 * dose.max()]
            seen = [np.average(position @ axis * 1000 / far, weights=weight) for axis in (frame.u_xyz, frame.v_xyz)]
            assert seen == pytest.approx([u[k], v[k]], abs=1.0)


def test_turning_gantry_and_patient_together_changes_nothing() -> None:
    still, turned = water(Beam(40.0), cavity=True), water(Beam(130.0), cavity=True)

    def rotated(volume: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(volume, -1, axes=(1, 2)))  # anterior to the patient's left, as the gantry

    turned = replace(
        turned,
        ct_hu=rotated(still.ct_hu),
        structures={"PTV_High": rotated(still.structures["PTV_High"])},
    )
    first, second = compute_influence(still, COARSE), compute_influence(turned, COARSE)
    assert first.shape == second.shape
    dose, other = open_field(first), open_field(second)
    assert not np.allclose(dose, other, rtol=0.1)
    assert rotated(dose) == pytest.approx(other, abs=0.002 * dose.max())


def test_protons_stop_at_their_range() -> None:
    case = water(Beam(270.0, modality="proton"), technique="proton")
    settings = InfluenceSettings(beamlet_mm=20.0, dose_spacing_mm=5.0, proton_rbe=1.1)
    influence = compute_influence(case, settings)
    energy = influence.beamlets.energy_mev
    assert energy is not None
    x = influence.grid.axis_mm("x")
    for k in (int(np.argmin(energy)), int(np.argmax(energy))):
        dose = influence.volume(influence.forward(torch.eye(influence.shape[1])[k])).sum((0, 1))
        fall = x[np.argmax(dose) :], dose[np.argmax(dose) :]
        range_mm = np.interp(-0.8 * dose.max(), -fall[1], fall[0]) + 110  # enters at the patient's right
        # range in water of Bragg and Kleeman, 0.022 E^1.77 mm (Bortfeld 1997)
        assert range_mm == pytest.approx(0.022 * energy[k] ** 1.77, rel=0.03)
    weighted, plain = (compute_influence(case, replace(COARSE, proton_rbe=rbe)) for rbe in (1.1, 1.0))
    assert weighted.csc.data == pytest.approx(1.1 * plain.csc.data, rel=1e-6)
    assert influence.csc.has_canonical_format


def test_matrix_covers_the_body_and_no_more() -> None:
    influence = cube(90.0)
    case = water()
    assert influence.grid.is_close(case.grid)
    assert np.array_equal(influence.voxels, np.flatnonzero(case.body))
    assert influence.csc.has_canonical_format
    assert (influence.csc.data >= 0).all()
    assert influence.beams == (Beam(90.0),)


def test_cases_without_beams_get_the_usual_ones() -> None:
    assert [beam.gantry_angle_deg for beam in default_beams(water())] == [40.0 * i for i in range(9)]
    assert default_beams(water(Beam(7.0))) == (Beam(7.0),)
    protons = default_beams(water(technique="proton"))
    assert [(beam.gantry_angle_deg, beam.modality) for beam in protons] == [(a, "proton") for a in (60, 180, 300)]


def test_progress_and_log(caplog: pytest.LogCaptureFixture) -> None:
    told = []
    with caplog.at_level(logging.INFO, logger="dosewright"):
        influence = compute_influence(
            water(Beam(0.0), Beam(90.0)), COARSE, progress=lambda done, of: told.append((done, of))
        )
    assert told == [(1, 2), (2, 2)]
    assert f"water: dose influence of 10648 voxels × {influence.shape[1]} beamlets" in caplog.text


def test_a_target_lost_on_the_dose_grid_is_told() -> None:
    case = water(Beam(0.0))
    tiny = np.zeros(case.grid.shape_zyx, bool)
    tiny[12, 11, 12] = True
    case = replace(case, structures={"PTV_High": tiny})
    with pytest.raises(InputError, match=r"PTV_High must not fall between the voxels of the dose grid"):
        compute_influence(case, InfluenceSettings(beamlet_mm=20.0, dose_spacing_mm=60.0))


def test_a_beam_that_misses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from dosewright.fluence import compute_influence as module

    case = water(Beam(0.0), Beam(90.0))
    influence = compute_influence(case, COARSE)
    influence.csc.data[influence.csc.indptr[influence.shape[1] // 2] :] = 0  # of the second beam
    with pytest.raises(InputError, match=r"beams must reach the targets: beam 1 at gantry 90°, couch 0° gives them"):
        module._check_reach(case, influence)


def test_too_large_a_matrix_is_refused_before_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    from dosewright.fluence import compute_influence as module

    monkeypatch.setattr(module, "import_pyradplan", lambda: pytest.fail("was started"))
    with pytest.raises(InputError, match=r"dose_spacing_mm must fit in memory_gb=0\.0001"):
        compute_influence(water(Beam(0.0)), replace(COARSE, memory_gb=0.0001))


def mimic_error(influence: DoseInfluence, case: PatientCase, dose_gy: np.ndarray, scored: np.ndarray) -> float:
    """Mean absolute error in Gy, where a dose is scored, of the fluence that fits it best."""
    part = influence.of_rows(influence.mask(scored & case.body, case.grid))
    goal = part.sample(dose_gy, case.grid, inside=scored)
    everywhere = {"scored": torch.ones(len(goal), dtype=torch.bool)}
    penalty = compile_objectives((Objective("scored", "mimic"),), everywhere, {"scored": Role.TARGET}, goal)
    solver = SketchedLbfgs(stop=StopRule(max_steps=12, value_tolerance=0.0))
    return float((solve(FluenceProblem(part, penalty), solver).dose[0] - goal).abs().mean())


def test_a_real_patient_lies_the_right_way_round(openkbp_root: Path) -> None:
    case = OpenKBPReader(openkbp_root, "validation").read("pt_202")
    settings = InfluenceSettings(beamlet_mm=5.0, dose_spacing_mm=6.0)
    influence = compute_influence(case, settings)
    right = mimic_error(influence, case, case.dose_gy, case.scored_mask)
    assert right < 0.8  # Gy
    for axis in range(3):
        flipped = np.flip(case.dose_gy, axis), np.flip(case.scored_mask, axis)
        assert mimic_error(influence, case, *flipped) > 2.0 * right
    # nine beams at 0, 40, …, 320°: turned over, anterior to posterior, they stand at 20, 60, …, 340°
    over = replace(case, beams=tuple(Beam(beam.gantry_angle_deg + 20) for beam in case.beams))
    assert mimic_error(compute_influence(over, settings), case, case.dose_gy, case.scored_mask) > 2.0 * right
