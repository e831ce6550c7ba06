"""`dosewright plan` with other beams than the cases' own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases import make_case
from dosewright.core import PatientCase
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.io.prepared import write_case
from dosewright.jobs import plan as job
from dosewright.jobs.plan import run
from plan_problems import make_influence
from tiny import config

SETTINGS = ("dose=reference", "planner=replay", "delivery=null", "optimiser.max_steps=1", "influence_cache=unused")


def influence_of(case: PatientCase, *_: object, **__: object) -> DoseInfluence:
    return make_influence(case, tuple(round(beam.gantry_angle_deg) for beam in case.beams))


def test_the_beams_are_planned_with_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    case = make_case()
    dose = np.where(case.body, 30.0, 0).astype(np.float32)
    write_case(tmp_path / "in" / "case_1.case", replace(case, dose_gy=dose))
    asked: list[tuple[float, ...]] = []

    def counted(case: PatientCase, *_: object, **__: object) -> DoseInfluence:
        asked.append(tuple(beam.gantry_angle_deg for beam in case.beams))
        return influence_of(case)

    monkeypatch.setattr(job, "cached_influence", counted)
    monkeypatch.setattr("dosewright.jobs.plan_figures.DPI", 20)

    def plan(*overrides: str) -> dict:
        cfg = config("plan", *SETTINGS, f"out={tmp_path / 'out'}", *overrides)
        cfg.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(tmp_path / "in")}
        run(cfg)
        return json.loads((tmp_path / "out" / "cases" / "case_1" / "report.json").read_text())

    four = ("beams=nine", "beams.count=4")
    record = plan(*four)
    assert record["made_with"]["settings"]["beams"] == {
        "_target_": "dosewright.planning.beam_setup.EquispacedBeams",
        "count": 4,
        "start_deg": 0,
        "modality": "photon",
    }
    with np.load(tmp_path / "out" / "cases" / "case_1" / "plan.npz") as stored:
        np.testing.assert_array_equal(stored["gantry_angle_deg"], [0.0, 90.0, 180.0, 270.0])
    assert plan(*four) == record  # there already
    plan("beams=given", "beams.gantry_angles_deg=[0,90]")
    assert asked == [(0.0, 90.0, 180.0, 270.0), (0.0, 90.0)]


TO_AND_FRO = "arcs=[{start_deg:181,span_deg:358},{start_deg:179,span_deg:358,clockwise:false}]"


@pytest.mark.parametrize(
    "setup",
    [
        ("beams=arcs", f"beams.{TO_AND_FRO}", "beams.spacing_deg=90"),
        ("beams=lung_arcs", f"beams.central.{TO_AND_FRO}", "beams.central.spacing_deg=90"),
    ],
    ids=["the same for all", "by the side"],
)
def test_arcs_tell_what_they_take(
    setup: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    """Two arcs to and fro over the same four beams deliver all apertures between them."""
    case = make_case()
    dose = np.where(case.body, 30.0 + 30.0 * case.structures["PTV_High"], 0).astype(np.float32)
    write_case(tmp_path / "in" / "case_1.case", replace(case, dose_gy=dose))
    monkeypatch.setattr(job, "cached_influence", influence_of)
    monkeypatch.setattr("dosewright.jobs.plan_figures.DPI", 20)
    kept = [setting for setting in SETTINGS if not setting.startswith("delivery")]
    cfg = config("plan", *kept, "delivery.mu_per_fluence=300", *setup, f"out={tmp_path}")
    cfg.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(tmp_path / "in")}
    run(cfg)
    folder = tmp_path / "cases" / "case_1"
    told = json.loads((folder / "report.json").read_text())["arcs"]
    apertures = json.loads((folder / "apertures.json").read_text())["apertures"]
    assert len(told) == 2
    assert {aperture["beam"] for aperture in apertures} == {0, 1, 2, 3}
    units = sum(aperture["monitor_units"] for aperture in apertures)
    assert sum(arc["monitor_units"] for arc in told) == pytest.approx(units, abs=1e-3)
    assert all(arc["seconds"] >= 358 / 6.0 - 90 / 6.0 for arc in told)  # at 6 degrees a second, the last sector aside
