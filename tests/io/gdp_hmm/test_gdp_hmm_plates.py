"""Plates on the challenge's grid against its published definition, written down once more without our geometry."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cases import make_case
from dosewright.core import Beam, Grid, PatientCase
from dosewright.io.gdp_hmm import GdpHmmReader
from dosewright.io.gdp_hmm.plates import plate_differences, plates_of
from gdp_hmm_files import PLAN, load, rewrite, write_plans

SPACING_ZYX = (2.0, 2.5, 2.5)


def published_beam_plate(target: np.ndarray, isocenter: list[float], angles: list[float]) -> np.ndarray:
    """Rays from a source 1000 mm away through the target's surface to the far border in y; closed; inverse square."""
    total = np.zeros(target.shape)
    z0, y0, x0 = (int(i) for i in isocenter)
    for angle in angles:
        way = math.radians(angle) - math.pi / 2
        source = np.array([z0, int(y0 + 1000 * math.sin(way) / 2.5), int(x0 + 1000 * math.cos(way) / 2.5)])
        hit = np.zeros(target.shape, bool)
        surface = target & ~ndimage.binary_erosion(target, ndimage.generate_binary_structure(3, 1))
        for point in np.argwhere(surface):
            run = point - source
            last = 0 if source[1] > point[1] else target.shape[1] - 1
            ratio = (last - source[1]) / (run[1] or 1)
            end = np.array([int(source[0] + ratio * run[0]), last, int(source[2] + ratio * run[2])])
            steps = int(np.abs(end - source).max())
            path = np.stack([np.round(np.linspace(s, e, steps + 1)) for s, e in zip(source, end)], axis=1).astype(int)
            inside = ((path >= 0) & (path < target.shape)).all(axis=1)
            hit[tuple(path[inside].T)] = True
        hit = ndimage.binary_erosion(ndimage.binary_dilation(hit, np.ones((4, 4, 4))), np.ones((3, 3, 3)))
        distance_2 = sum((g - s) ** 2 for g, s in zip(np.indices(target.shape), source))
        reference_2 = float(((source - (z0, y0, x0)) ** 2).sum())
        total += hit * (reference_2 / np.maximum(distance_2, 1))
    return total


def plan(angles: tuple[float, ...], **changes: object) -> PatientCase:
    case = make_case(PLAN, shape=(18, 26, 24))
    grid = Grid((18, 26, 24), (2.5, 2.5, 2.0), (-11.0, 3.0, 40.0))
    at = grid.position_xyz_mm(np.array([8.0, 11.0, 12.0]))
    place = (float(at[0]), float(at[1]), float(at[2]))
    beams = tuple(Beam(angle) for angle in angles)
    return replace(case, **{"grid": grid, "isocenter_xyz_mm": place, "beams": beams} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("angles", [(0.0, 40.0, 200.0), (90.0, 270.0, 333.0)])
def test_the_beam_plate_is_the_published_one(tmp_path: Path, angles: tuple[float, ...]) -> None:
    write_plans(tmp_path, plan(angles))
    content = load(tmp_path / f"{PLAN}.npz")
    union = (content["PTVHigh"] | content["PTVLow"]).astype(bool)
    expected = published_beam_plate(union, content["isocenter"], content["angle_list"].tolist())
    assert content["spacing"][::-1] == SPACING_ZYX
    np.testing.assert_allclose(content["beam_plate"], expected, rtol=1e-12)
    assert np.count_nonzero(expected) > 1000


def test_an_arc_takes_every_second_control_point_in_the_files_order(tmp_path: Path) -> None:
    angles = (181.0, 4.0, 90.0, 300.0, 12.5)
    write_plans(tmp_path, plan(angles, technique="VMAT"))
    case = GdpHmmReader(tmp_path).read(PLAN)
    union = case.structures["PTV_High"] | case.structures["PTV_Low"]
    expected = published_beam_plate(union, [8, 11, 12], list(angles[::2]))
    np.testing.assert_allclose(plates_of(case)[1], expected, rtol=1e-12)


def test_the_beam_plate_goes_through_ptv_total_where_there_is_one(tmp_path: Path) -> None:
    case = plan((40.0,))
    total = np.roll(case.structures["PTV_High"], 2, axis=0)
    case = replace(case, structures={**case.structures, "zPTV_Total": total})
    write_plans(tmp_path, case)
    back = GdpHmmReader(tmp_path).read(PLAN)
    np.testing.assert_allclose(plates_of(back)[1], published_beam_plate(total, [8, 11, 12], [40.0]), rtol=1e-12)


def test_the_angle_plate_is_a_line_of_fifty_voxels_toward_the_gantry() -> None:
    grid = Grid((4, 130, 140), (2.5, 2.5, 2.0))
    mask = np.zeros((4, 130, 140), bool)
    mask[1:3, 60:70, 60:70] = True
    case = PatientCase(
        case_id=PLAN,
        grid=grid,
        ct_hu=np.zeros((4, 130, 140), np.int16),
        body=np.ones((4, 130, 140), bool),
        structures={"PTV_High": mask},
        prescription_gy={"PTV_High": 60.0},
        beams=(Beam(0.0), Beam(90.0)),
        isocenter_xyz_mm=(65 * 2.5, 64 * 2.5, 2.0),
    )
    plate = plates_of(case)[0]
    up, left = plate[10:60, 65], plate[64, 70:120]  # gantry 0 is anterior, up the image; 90 the patient's left
    assert (up.sum(), left.sum()) == (48.0, 48.0)  # rows 12 to 59, columns 70 to 117 of the 50 and its round end
    assert plate[64 + 4 :, 65].sum() == 0
    assert plate[64, : 65 - 3].sum() == 0
    assert plate[30, 60:70].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]


def test_plates_of_a_file_are_compared(tmp_path: Path) -> None:
    write_plans(tmp_path, plan((0.0, 40.0)))
    reader = GdpHmmReader(tmp_path)
    assert plate_differences(reader.read_content(PLAN), reader.read(PLAN)) == ()
    rewrite(tmp_path / f"{PLAN}.npz", lambda d: d["beam_plate"].__setitem__((3, 4, 5), 99.0))
    rewrite(tmp_path / f"{PLAN}.npz", lambda d: d.pop("angle_plate"))
    angle, beam = plate_differences(reader.read_content(PLAN), reader.read(PLAN))
    assert (angle.plate, angle.voxels, angle.largest) == ("angle_plate", 26 * 24, math.inf)
    assert (beam.plate, beam.voxels) == ("beam_plate", 1)
    assert beam.largest == pytest.approx(99.0, abs=3.0)
