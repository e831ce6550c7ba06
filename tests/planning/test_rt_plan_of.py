"""Sequenced plans as RTPLAN: read back, they give the same fluence and monitor units."""

import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_written import check_valid, octant_case
from dosewright.core import Beam, InputError
from dosewright.fluence.apertures import Aperture, aperture_fluence
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.fluence_map import fluence_maps
from dosewright.fluence.mlc import Mlc
from dosewright.fluence.sequencer import AbstractSequencer
from dosewright.fluence.sliding_window import SlidingWindow
from dosewright.fluence.step_and_shoot import StepAndShoot
from dosewright.geometry.beam_frame import beam_frame
from dosewright.io.dicom.write_plan_types import RtPlan
from dosewright.io.dicom.write_study import write_study
from dosewright.planning.arc_beams import ArcBeams, PlannedArc
from dosewright.planning.deliver import Delivered
from dosewright.planning.dicom_plan import rt_plan_of, rt_plan_of_arcs

Positions = dict[str, np.ndarray]

CASE = octant_case()
MLC = Mlc()
U, V = (axis.ravel() for axis in np.meshgrid(np.arange(-4, 4) * 5.0 + 2.5, np.arange(-3, 3) * 5.0 + 2.5))
BEAMLETS = Beamlets(np.repeat([0, 1], len(U)), np.tile(U, 2), np.tile(V, 2), 5.0)


def sequenced(sequencer: AbstractSequencer) -> tuple[Aperture, ...]:
    fluence = np.random.default_rng(5).uniform(0, 3, len(BEAMLETS))
    return tuple(one for beam in fluence_maps(fluence, BEAMLETS) for one in sequencer.apertures(beam, 20.0))


def read(plan: RtPlan, folder: Path) -> Dataset:
    found = write_study(CASE, folder, plan=plan, doses=())
    assert found.plan is not None
    check_valid(found.plan)
    return pydicom.dcmread(found.plan)


def apertures_in(one: Dataset) -> list[Aperture]:
    """A naive reading: what stands between two control points, weights in monitor units."""
    found = []
    units = {r.ReferencedBeamNumber: float(r.BeamMeterset) for r in one.FractionGroupSequence[0].ReferencedBeamSequence}
    for index, beam in enumerate(one.BeamSequence):
        (mlc,) = (d for d in beam.BeamLimitingDeviceSequence if d.RTBeamLimitingDeviceType == "MLCX")
        edges = np.array(mlc.LeafPositionBoundaries, float)
        now: dict[str, np.ndarray] = {}
        before, share = now, 0.0
        for point in beam.ControlPointSequence:
            before, now = now, dict(now)
            for device in point.get("BeamLimitingDevicePositionSequence", ()):
                now[device.RTBeamLimitingDeviceType] = np.array(device.LeafJawPositions, float)
            weight = (float(point.CumulativeMetersetWeight) - share) * units[beam.BeamNumber]
            share = float(point.CumulativeMetersetWeight)
            if weight > 0:
                found.append(_between(index, edges, before, now, weight))
    return found


def _between(
    beam: int, edges: np.ndarray, a: dict[str, np.ndarray], b: dict[str, np.ndarray], weight: float
) -> Aperture:
    assert np.array_equal(a["ASYMX"], b["ASYMX"])
    low, high = b["ASYMY"]
    rows = slice(int(np.searchsorted(edges, low - 1e-6)), int(np.searchsorted(edges, high - 1e-6)))
    pairs = len(edges) - 1
    left = np.stack([one["MLCX"][:pairs][rows] for one in (a, b)])
    right = np.stack([one["MLCX"][pairs:][rows] for one in (a, b)])
    jaws = (float(b["ASYMX"][0]), float(b["ASYMX"][1]))
    return Aperture(beam, edges[rows.start : rows.stop + 1], left, right, jaws, weight)


@pytest.mark.parametrize("sequencer", [StepAndShoot(MLC, levels=7), SlidingWindow(MLC, control_points=9)])
def test_a_plan_read_back_gives_the_same_fluence(sequencer: AbstractSequencer, tmp_path: Path) -> None:
    apertures = sequenced(sequencer)
    units = 20.0 * sum(one.weight for one in apertures)
    one = read(rt_plan_of(CASE, apertures, units, MLC), tmp_path)
    back = apertures_in(one)
    assert len(back) == len(apertures)
    wanted = 20.0 * aperture_fluence(apertures, BEAMLETS)
    assert aperture_fluence(back, BEAMLETS) == pytest.approx(wanted, rel=1e-4, abs=1e-4 * wanted.max())
    assert sum(one.weight for one in back) == pytest.approx(units, rel=1e-9)
    still = isinstance(sequencer, StepAndShoot)
    assert {beam.BeamType for beam in one.BeamSequence} == {"STATIC" if still else "DYNAMIC"}
    points = [beam.NumberOfControlPoints for beam in one.BeamSequence]
    counts = [sum(a.beam == index for a in apertures) for index in (0, 1)]
    assert points == [2 * count if still else count + 1 for count in counts]


def test_leaves_fill_the_collimator_and_the_unused_stand_behind_the_jaw(tmp_path: Path) -> None:
    one = read(rt_plan_of(CASE, sequenced(StepAndShoot(MLC, levels=3)), 100.0, MLC), tmp_path)
    beam = one.BeamSequence[0]
    mlc = beam.BeamLimitingDeviceSequence[2]
    assert (mlc.NumberOfLeafJawPairs, mlc.LeafPositionBoundaries[0], mlc.LeafPositionBoundaries[-1]) == (80, -200, 200)
    positions = {
        d.RTBeamLimitingDeviceType: np.array(d.LeafJawPositions, float)
        for d in beam.ControlPointSequence[0].BeamLimitingDevicePositionSequence
    }
    edges = np.array(mlc.LeafPositionBoundaries, float)
    outside = (edges[:-1] < positions["ASYMY"][0]) | (edges[1:] > positions["ASYMY"][1])
    assert np.array_equal(positions["MLCX"][:80][outside], np.full(outside.sum(), positions["ASYMX"][1]))
    assert np.allclose((positions["MLCX"][80:] - positions["MLCX"][:80])[outside], MLC.minimum_gap_mm)


def test_angles_isocentre_and_prescription_are_the_cases(tmp_path: Path) -> None:
    one = read(rt_plan_of(CASE, sequenced(StepAndShoot(MLC, levels=3)), 100.0, MLC), tmp_path)
    first = [beam.ControlPointSequence[0] for beam in one.BeamSequence]
    assert [(p.GantryAngle, p.PatientSupportAngle, p.BeamLimitingDeviceAngle) for p in first] == [
        (0, 0, 0),
        (72.5, 10, 0),
    ]
    assert all([float(v) for v in p.IsocenterPosition] == [-20.125, 25.0, -90.5] for p in first)
    assert one.DoseReferenceSequence[0].TargetPrescriptionDose == 66
    assert one.FractionGroupSequence[0].NumberOfFractionsPlanned == 33


@pytest.mark.parametrize(("gantry", "couch"), [(0.0, 0.0), (90.0, 0.0), (40.0, 30.0), (200.0, 330.0)])
def test_u_and_v_are_the_collimators_x_and_y_of_iec_61217(gantry: float, couch: float) -> None:
    """RTPLAN positions are along IEC X and Y: the frame the apertures live in is turned there from first principles."""
    g, c = math.radians(gantry), math.radians(couch)
    gantry_to_fixed = np.array([[math.cos(g), 0, math.sin(g)], [0, 1, 0], [-math.sin(g), 0, math.cos(g)]])
    fixed_to_table = np.array([[math.cos(c), math.sin(c), 0], [-math.sin(c), math.cos(c), 0], [0, 0, 1]])
    table_to_lps = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # supine, head first: x left, y to the head, z up
    turned = table_to_lps @ fixed_to_table @ gantry_to_fixed
    frame = beam_frame((0.0, 0.0, 0.0), Beam(gantry, couch))
    assert turned[:, 0] == pytest.approx(frame.u_xyz, abs=1e-12)
    assert turned[:, 1] == pytest.approx(frame.v_xyz, abs=1e-12)
    assert turned[:, 2] == pytest.approx(-frame.axis_xyz, abs=1e-12)


def slit(beam: int, at_mm: float, weight: float) -> Aperture:
    left, right = np.full((2, 2), at_mm), np.full((2, 2), at_mm + 10.0)
    return Aperture(beam, np.array([0.0, 5.0, 10.0]), left, right, (-100.0, 100.0), weight)


def test_an_arc_gives_half_of_an_aperture_before_its_middle_and_half_after(tmp_path: Path) -> None:
    setup = ArcBeams([PlannedArc(350, 40), PlannedArc(30, 40, clockwise=False, couch_deg=5)], spacing_deg=20)
    apertures = (slit(0, 0.0, 1.0), slit(1, 30.0, 3.0), slit(2, 5.0, 2.0), slit(3, 8.0, 2.0))
    delivered = Delivered(apertures, np.zeros(1), np.zeros((1, 1, 1), np.float32), 80.0, {})
    one = read(rt_plan_of_arcs(CASE, setup, delivered, MLC), tmp_path)
    there, back = one.BeamSequence
    assert [p.GantryAngle for p in there.ControlPointSequence] == [350, 0, 20, 30]
    assert [p.GantryRotationDirection for p in there.ControlPointSequence] == ["CW", "CW", "CW", "NONE"]
    assert [p.CumulativeMetersetWeight for p in there.ControlPointSequence] == [0, 0.125, 0.625, 1]
    assert [p.GantryAngle for p in back.ControlPointSequence] == [30, 20, 0, 350]
    assert back.ControlPointSequence[0].GantryRotationDirection == "CC"
    assert back.ControlPointSequence[0].PatientSupportAngle == 5
    group = one.FractionGroupSequence[0].ReferencedBeamSequence
    assert [float(item.BeamMeterset) for item in group] == [40, 40]


def test_beams_without_apertures_are_left_out(tmp_path: Path) -> None:
    plan = rt_plan_of(CASE, (slit(1, 0.0, 1.0), slit(0, 0.0, 0.0)), 10.0, MLC)
    assert [beam.gantry_angle_deg for beam in plan.beams] == [72.5]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="apertures must have a weight"):
        rt_plan_of(CASE, (slit(0, 0.0, 0.0),), 10.0, MLC)
    with pytest.raises(InputError, match="monitor_units must be finite and positive"):
        rt_plan_of(CASE, (slit(0, 0.0, 1.0),), 0.0, MLC)
    with pytest.raises(InputError, match=r"apertures must be of the case's 2 beams; got \[7\]"):
        rt_plan_of(CASE, (slit(7, 0.0, 1.0),), 10.0, MLC)
    shifted = Aperture(0, np.array([1.0, 6.0, 11.0]), np.zeros((2, 2)), np.ones((2, 2)), (-5.0, 5.0), 1.0)
    with pytest.raises(InputError, match="must have the edges of their leaves on one lattice of 5 mm"):
        rt_plan_of(CASE, (slit(0, 0.0, 1.0), shifted), 10.0, MLC)
