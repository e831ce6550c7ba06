"""Ray geometry against closed forms, plain loops and symmetry."""

import math

import numpy as np
import pytest
from scipy import ndimage

from dosewright.core import Beam, Grid, GridMismatchError, InputError
from dosewright.geometry import (
    beam_eye_view,
    beam_frame,
    primary_fluence_plate,
    radiological_depth_mm,
    relative_electron_density,
)
from dosewright.geometry.silhouette import cast_silhouette

CUBE = Grid((41, 41, 41), (4.0, 4.0, 4.0), (-80.0, -80.0, -80.0))
ZERO = (0.0, 0.0, 0.0)


def positions(grid: Grid) -> np.ndarray:
    """LPS positions of all voxel centres, (z, y, x, 3)."""
    z, y, x = np.meshgrid(grid.axis_mm("z"), grid.axis_mm("y"), grid.axis_mm("x"), indexing="ij")
    return np.stack([x, y, z], axis=-1)


def ball(grid: Grid, center_xyz_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    return np.linalg.norm(positions(grid) - center_xyz_mm, axis=-1) <= radius_mm


def source_of(gantry_deg: float, couch_deg: float = 0.0) -> np.ndarray:
    """The source about the origin by two rotations: the gantry's about the table's axis, then the couch's undone."""
    g, c = math.radians(gantry_deg), math.radians(couch_deg)
    about_z = np.array([[math.cos(g), -math.sin(g), 0], [math.sin(g), math.cos(g), 0], [0, 0, 1]])
    about_y = np.array([[math.cos(c), 0, math.sin(c)], [0, 1, 0], [-math.sin(c), 0, math.cos(c)]])
    return about_y @ about_z @ np.array([0.0, -1000.0, 0.0])


@pytest.mark.parametrize(
    ("gantry", "couch", "source"),
    [
        (0.0, 0.0, (0, -1000, 0)),
        (90.0, 0.0, (1000, 0, 0)),
        (180.0, 0.0, (0, 1000, 0)),
        (270.0, 0.0, (-1000, 0, 0)),
        (90.0, 90.0, (0, 0, -1000)),
        (0.0, 45.0, (0, -1000, 0)),
    ],
)
def test_sources_stand_where_iec_61217_says(gantry, couch, source):
    np.testing.assert_allclose(beam_frame(ZERO, Beam(gantry, couch)).source_xyz_mm, source, atol=1e-9)


@pytest.mark.parametrize(("gantry", "couch"), [(0.0, 0.0), (37.0, 25.0), (210.0, 330.0), (123.0, 270.0)])
def test_frames_are_right_handed_and_move_with_the_isocenter(gantry, couch):
    frame = beam_frame((3.0, -4.0, 5.0), Beam(gantry, couch))
    axes = np.stack([frame.u_xyz, frame.v_xyz, -frame.axis_xyz])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(frame.source_xyz_mm, source_of(gantry, couch) + np.array([3.0, -4.0, 5.0]), atol=1e-9)


@pytest.mark.parametrize(("gantry", "couch"), [(0.0, 0.0), (90.0, 0.0), (140.0, 0.0), (75.0, 20.0), (300.0, 315.0)])
def test_points_on_the_central_axis_project_to_zero(gantry, couch):
    isocenter = np.array([12.0, -7.0, 30.0])
    for fraction in (-0.2, 0.0, 0.1):
        place = isocenter - fraction * source_of(gantry, couch)
        grid = Grid((1, 1, 1), (1.0, 1.0, 1.0), tuple(float(v) for v in place))
        u, v, depth = (float(a[0, 0, 0]) for a in beam_eye_view(grid, (12.0, -7.0, 30.0), Beam(gantry, couch)))
        assert (u, v) == pytest.approx((0.0, 0.0), abs=1e-4)
        assert depth == pytest.approx(1000 * (1 + fraction), rel=1e-6)


def test_projection_closed_form_at_gantry_0_and_90():
    grid = Grid((5, 6, 7), (3.0, 4.0, 5.0), (-9.0, -60.0, 100.0))
    x, y, z = np.moveaxis(positions(grid) - np.array([2.0, -50.0, 110.0]), -1, 0)
    u, v, depth = beam_eye_view(grid, (2.0, -50.0, 110.0), Beam(0.0))
    np.testing.assert_allclose(depth, 1000 + y, rtol=1e-6)
    np.testing.assert_allclose(u, 1000 * x / (1000 + y), atol=1e-4)
    np.testing.assert_allclose(v, 1000 * z / (1000 + y), atol=1e-4)
    u, v, depth = beam_eye_view(grid, (2.0, -50.0, 110.0), Beam(90.0))
    np.testing.assert_allclose(depth, 1000 - x, rtol=1e-6)
    np.testing.assert_allclose(u, 1000 * y / (1000 - x), atol=1e-4)
    np.testing.assert_allclose(v, 1000 * z / (1000 - x), atol=1e-4)


def test_projection_with_couch_against_a_plain_loop():
    grid = Grid((3, 4, 5), (6.0, 5.0, 7.0), (-10.0, 20.0, -30.0))
    frame = beam_frame((1.0, 2.0, 3.0), Beam(110.0, 20.0), sad_mm=850.0)
    u, v, depth = beam_eye_view(grid, (1.0, 2.0, 3.0), Beam(110.0, 20.0), sad_mm=850.0)
    for index in np.ndindex(grid.shape_zyx):
        ray = grid.position_xyz_mm(np.array(index, float)) - frame.source_xyz_mm
        reach = sum(a * b for a, b in zip(ray, frame.axis_xyz))
        crossing = frame.source_xyz_mm + ray * 850.0 / reach - np.array([1.0, 2.0, 3.0])
        assert depth[index] == pytest.approx(reach, rel=1e-6)
        assert u[index] == pytest.approx(float(crossing @ frame.u_xyz), abs=2e-4)
        assert v[index] == pytest.approx(float(crossing @ frame.v_xyz), abs=2e-4)


@pytest.mark.parametrize("beam", [Beam(0.0), Beam(40.0), Beam(205.0), Beam(60.0, 30.0)])
@pytest.mark.parametrize("margin", [0.0, 7.0])
def test_a_ball_is_hit_by_a_cone(beam, margin):
    """Inside the cone that touches the ball from the source, and by inverse square; one voxel of grace at its rim."""
    center, radius = (12.0, -8.0, 4.0), 30.0
    plate = primary_fluence_plate(ball(CUBE, center, radius), CUBE, ZERO, [beam], margin_mm=margin)
    source = source_of(beam.gantry_angle_deg, beam.couch_angle_deg)
    rays = positions(CUBE) - source
    distance = np.linalg.norm(rays, axis=-1)
    to_center = np.array(center) - source
    cosine = rays @ to_center / (distance * np.linalg.norm(to_center))
    off_axis_mm = np.tan(np.arccos(np.clip(cosine, -1, 1))) * np.linalg.norm(to_center)
    well_inside, well_outside = off_axis_mm < radius + margin - 4.0, off_axis_mm > radius + margin + 5.0
    np.testing.assert_allclose(plate[well_inside], (1000 / distance[well_inside]) ** 2, rtol=2e-6)
    assert np.count_nonzero(plate[well_outside]) == 0
    assert np.count_nonzero(well_inside) >= 5000


def test_gantry_90_enters_from_the_left():
    """An off-centre target: the beam's halves, and the weight's slope, tell left from right and front from back."""
    target = ball(CUBE, (40.0, 0.0, 0.0), 12.0)
    left = primary_fluence_plate(target, CUBE, ZERO, [Beam(90.0)])
    front = primary_fluence_plate(target, CUBE, ZERO, [Beam(0.0)])
    j, k = 20, 20
    np.testing.assert_allclose(left[k, j], (1000 / (1000 - CUBE.axis_mm("x"))) ** 2, rtol=1e-6)
    assert np.count_nonzero(front[k, j, :20]) == 0
    i = 30  # x = 40 mm
    np.testing.assert_allclose(front[k, :, i], 1e6 / ((1000 + CUBE.axis_mm("y")) ** 2 + 40**2), rtol=1e-6)


def test_turning_gantry_and_patient_together_changes_nothing():
    rng = np.random.default_rng(5)
    target = np.zeros(CUBE.shape_zyx, bool)
    target[14:25, 12:22, 18:30] = rng.random((11, 10, 12)) < 0.3
    ct = ndimage.gaussian_filter(rng.uniform(-900, 900, CUBE.shape_zyx), 2).astype(np.float32)
    one = primary_fluence_plate(target, CUBE, ZERO, [Beam(25.0)], ct_hu=ct)
    for turns in (1, 2, 3):
        # from anterior (-y) to left (+x): the (y, x) plane turns clockwise as displayed
        turned = [np.ascontiguousarray(np.rot90(a, -turns, axes=(1, 2))) for a in (target, ct, one)]
        other = primary_fluence_plate(turned[0], CUBE, ZERO, [Beam(25.0 + 90.0 * turns)], ct_hu=turned[1])
        np.testing.assert_allclose(other, turned[2], rtol=1e-4)


def test_silhouette_against_a_plain_loop():
    rng = np.random.default_rng(7)
    grid = Grid((9, 10, 11), (5.0, 4.0, 3.0), (-15.0, -20.0, -18.0))
    voxels = np.argwhere(rng.random(grid.shape_zyx) < 0.02)
    centers = grid.position_xyz_mm(voxels.astype(float))
    frame = beam_frame(ZERO, Beam(30.0))
    silhouette = cast_silhouette(centers, grid.spacing_xyz_mm, frame)
    assert silhouette.pixel_mm == 1.5
    expected = np.zeros(silhouette.raster.shape, bool)
    for center in centers:
        ray = center - frame.source_xyz_mm
        scale = 1000 / (ray @ frame.axis_xyz)
        half_u = scale * (abs(math.cos(math.pi / 6)) * 5.0 + abs(math.sin(math.pi / 6)) * 4.0) / 2
        half_v = scale * 3.0 / 2
        for row in range(expected.shape[0]):
            for column in range(expected.shape[1]):
                u = silhouette.low_uv_mm[0] + 1.5 * column
                v = silhouette.low_uv_mm[1] + 1.5 * row
                near_u = abs(u - scale * (ray @ frame.u_xyz)) <= half_u
                expected[row, column] |= near_u and abs(v - scale * (ray @ frame.v_xyz)) <= half_v
    np.testing.assert_array_equal(silhouette.raster, expected)
    assert not silhouette.raster[[0, -1]].any()
    assert not silhouette.raster[:, [0, -1]].any()


def test_electron_density_lines():
    hu = np.array([[[-1024.0, -1000.0, -250.0, 0.0, 1950.0]]])
    np.testing.assert_allclose(relative_electron_density(hu), [[[0.0, 0.0, 0.75, 1.0, 2.0]]], rtol=1e-6)


def points_of(grid: Grid, isocenter, beam: Beam) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, v, depth = beam_eye_view(grid, isocenter, beam)
    return u.ravel(), v.ravel(), depth.ravel()


def test_depth_in_a_slab_closed_form():
    """Density 1 behind y = 0 mm (ramp of one voxel): depth is the slanted way below the surface."""
    density = np.zeros(CUBE.shape_zyx, np.float32)
    density[:, 20:] = 0.8
    frame = beam_frame(ZERO, Beam(0.0))
    depth = radiological_depth_mm(density, CUBE, frame, points_of(CUBE, ZERO, Beam(0.0))).reshape(CUBE.shape_zyx)
    x, y, z = np.moveaxis(positions(CUBE), -1, 0)
    surface = -2.0  # midway between the last empty and the first full row
    slant = np.sqrt(1 + (x**2 + z**2) / (1000 + y) ** 2)
    expected = 0.8 * np.maximum(y - surface, 0) * slant
    centre = (slice(5, 36), slice(24, 41), slice(5, 36))
    np.testing.assert_allclose(depth[centre], expected[centre], atol=0.1)
    assert np.abs(depth[:, :19]).max() <= 1e-4


@pytest.mark.parametrize("beam", [Beam(0.0), Beam(65.0), Beam(250.0, 30.0)])
def test_depth_against_a_plain_march(beam):
    rng = np.random.default_rng(11)
    grid = Grid((24, 26, 28), (4.0, 4.0, 3.0), (-50.0, -50.0, -36.0))
    density = ndimage.gaussian_filter(rng.uniform(0, 2, grid.shape_zyx), 2).astype(np.float32)
    frame = beam_frame((2.0, 1.0, 0.0), beam)
    u, v, reach = points_of(grid, (2.0, 1.0, 0.0), beam)
    depth = radiological_depth_mm(density, grid, frame, (u, v, reach)).reshape(grid.shape_zyx)
    for index in ((12, 13, 14), (20, 20, 5), (4, 8, 22), (15, 2, 2), (22, 24, 26)):
        end = grid.position_xyz_mm(np.array(index, float))
        way = end - frame.source_xyz_mm
        length = np.linalg.norm(way)
        samples = end[None] - way[None] / length * np.arange(0.05, 200.0, 0.1)[:, None]
        values = ndimage.map_coordinates(density, grid.index_zyx(samples).T, order=1, mode="constant")
        assert depth[index] == pytest.approx(values.sum() * 0.1, rel=0.02, abs=2.0)


def test_attenuation_is_exponential_in_depth_and_body_cuts_the_plate():
    body = ball(CUBE, ZERO, 70.0)
    ct = np.where(body, 0, -1000).astype(np.int16)
    target, beam = ball(CUBE, ZERO, 20.0), Beam(0.0)
    bare = primary_fluence_plate(target, CUBE, ZERO, [beam], body=body)
    whole = primary_fluence_plate(target, CUBE, ZERO, [beam])
    np.testing.assert_array_equal(bare, np.where(body, whole, 0))
    dimmed = primary_fluence_plate(target, CUBE, ZERO, [beam], body=body, ct_hu=ct, mu_per_mm=0.01)
    np.testing.assert_array_equal(dimmed > 0, bare > 0)
    inside = slice(4, 37)
    depth = -np.log(dimmed[20, inside, 20] / bare[20, inside, 20]) / 0.01
    np.testing.assert_allclose(depth, CUBE.axis_mm("y")[inside] + 70.0, atol=2.5)
    np.testing.assert_allclose(np.diff(depth)[1:], 4.0, rtol=1e-3)


def test_beams_add_up():
    target = ball(CUBE, (5.0, 5.0, 5.0), 20.0)
    beams = [Beam(0.0), Beam(120.0), Beam(240.0, 10.0)]
    each = [primary_fluence_plate(target, CUBE, ZERO, [b]) for b in beams]
    np.testing.assert_array_equal(primary_fluence_plate(target, CUBE, ZERO, beams), each[0] + each[1] + each[2])


def test_errors():
    target = ball(CUBE, ZERO, 20.0)
    empty = np.zeros_like(target)
    with pytest.raises(InputError, match=r"beams must hold at least one beam; got \[\]"):
        primary_fluence_plate(target, CUBE, ZERO, [])
    with pytest.raises(InputError, match="target must not be empty"):
        primary_fluence_plate(empty, CUBE, ZERO, [Beam(0.0)])
    with pytest.raises(InputError, match="body must not be empty"):
        primary_fluence_plate(target, CUBE, ZERO, [Beam(0.0)], body=empty)
    with pytest.raises(InputError, match="isocenter_xyz_mm must lie inside the grid"):
        primary_fluence_plate(target, CUBE, (0.0, 500.0, 0.0), [Beam(0.0)])
    with pytest.raises(GridMismatchError, match=r"target must have the grid's shape \(41, 41, 41\)"):
        primary_fluence_plate(target[1:], CUBE, ZERO, [Beam(0.0)])
    with pytest.raises(InputError, match=r"margin_mm must be finite and not negative; got -1\.0"):
        primary_fluence_plate(target, CUBE, ZERO, [Beam(0.0)], margin_mm=-1.0)
    with pytest.raises(InputError, match="mu_per_mm must be finite and not negative"):
        primary_fluence_plate(target, CUBE, ZERO, [Beam(0.0)], mu_per_mm=float("nan"))
    with pytest.raises(InputError, match="sad_mm must exceed the way to the target's farthest voxel"):
        primary_fluence_plate(target, CUBE, ZERO, [Beam(0.0)], sad_mm=10.0)
    with pytest.raises(InputError, match="sad_mm must exceed the way to the grid's farthest voxel"):
        beam_eye_view(CUBE, ZERO, Beam(0.0), sad_mm=50.0)
    with pytest.raises(InputError, match="sad_mm must be a positive length in mm"):
        beam_frame(ZERO, Beam(0.0), sad_mm=0.0)
    with pytest.raises(InputError, match="isocenter_xyz_mm must be finite"):
        beam_frame((0.0, float("inf"), 0.0), Beam(0.0))
    with pytest.raises(InputError, match="step_mm must be a positive length in mm"):
        radiological_depth_mm(
            np.ones(CUBE.shape_zyx, np.float32), CUBE, beam_frame(ZERO, Beam(0.0)), (np.ones(1),) * 3, step_mm=0.0
        )
