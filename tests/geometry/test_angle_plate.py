"""Angle plates against OpenCV's own pixels (digests), a plain-loop capsule, and closed forms."""

import hashlib
import math

import numpy as np
import pytest

from dosewright.core import Grid, InputError
from dosewright.geometry import angle_plate, angle_plate_volume
from dosewright.geometry.thick_line import draw_thick_line

# (shape, isocentre voxel (y, x), gantry angle, pixels set, first 16 digits of sha256 of np.packbits): drawn once by
# OpenCV 4.12 (4.10 agrees) from the published definition, the last four running out of the image.
OPENCV = [
    ((128, 128), (60, 64), 0.0, 263, "dd25e05121d8070a"),
    ((128, 128), (60, 64), 40.0, 238, "862e449320c64628"),
    ((128, 128), (60, 64), 80.0, 254, "571a0bbb2c07fbe9"),
    ((128, 128), (60, 64), 120.0, 262, "4e64c255906f9f6c"),
    ((128, 128), (60, 64), 160.0, 268, "82557817525ed534"),
    ((128, 128), (60, 64), 200.0, 269, "8fc46c6bd4090dde"),
    ((128, 128), (60, 64), 240.0, 266, "659312255aac24a9"),
    ((128, 128), (60, 64), 280.0, 260, "061b6dff13372355"),
    ((128, 128), (60, 64), 320.0, 240, "1589eafcc798fbfe"),
    ((128, 128), (60, 64), 90.0, 263, "b590a8381c30cdd5"),
    ((128, 128), (60, 64), 45.0, 222, "bef527356185c54e"),
    ((100, 120), (20, 30), 351.3, 110, "62c18096d9cfc1f0"),
    ((100, 120), (92, 110), 123.7, 65, "dbcbf6b9cd14fae1"),
    ((40, 60), (3, 57), 13.25, 23, "f0685b5b1e3224ce"),
    ((64, 64), (0, 0), 135.0, 249, "2ee17ce29c4325b7"),
]


def plane(shape_yx: tuple[int, int]) -> Grid:
    return Grid((20, *shape_yx), (2.5, 2.5, 2.0), (-31.0, 12.0, 5.0))


def position(grid: Grid, index_zyx: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = grid.position_xyz_mm(np.array(index_zyx, float))
    return (float(x), float(y), float(z))


@pytest.mark.parametrize(("shape", "isocenter", "angle", "pixels", "digest"), OPENCV)
def test_plate_has_opencv_pixels(shape, isocenter, angle, pixels, digest):
    grid = plane(shape)
    plate = angle_plate(grid, position(grid, (9, *isocenter)), [angle])
    assert set(np.unique(plate)) == {0.0, 1.0}
    assert int(plate.sum()) == pixels
    assert hashlib.sha256(np.packbits(plate.astype(bool)).tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("angle", [3.0, 40.0, 77.7, 133.0, 200.0, 291.5])
def test_plate_is_a_capsule_to_a_pixel(angle):
    """Every pixel well within 2 of the segment is set, none beyond 3."""
    grid = plane((128, 128))
    plate = angle_plate(grid, position(grid, (9, 64, 60)), [angle])
    way = ((angle - 90) * math.pi / 180,)
    tip_x, tip_y = int(60 + 50 * math.cos(*way)), int(64 + 50 * math.sin(*way))
    run_x, run_y = tip_x - 60, tip_y - 64
    for y in range(128):
        for x in range(128):
            t = max(0.0, min(1.0, ((x - 60) * run_x + (y - 64) * run_y) / (run_x**2 + run_y**2)))
            distance = math.hypot(x - 60 - t * run_x, y - 64 - t * run_y)
            if distance < 1.3:
                assert plate[y, x] == 1, (y, x)
            if distance > 3.0:
                assert plate[y, x] == 0, (y, x)


@pytest.mark.parametrize(
    ("angle", "rows", "columns"),
    [
        (0.0, slice(14, 65), slice(58, 63)),
        (90.0, slice(62, 67), slice(60, 111)),
        (180.0, slice(64, 115), slice(58, 63)),
        (270.0, slice(62, 67), slice(10, 61)),
    ],
)
def test_straight_plates_are_a_bar_with_diamond_ends(angle, rows, columns):
    grid = plane((128, 128))
    expected = np.zeros((128, 128), np.float32)
    expected[rows, columns] = 1
    ends = [(64, 60), (round(64 - 50 * math.cos(math.radians(angle))), round(60 + 50 * math.sin(math.radians(angle))))]
    for end_y, end_x in ends:
        for y in range(128):
            for x in range(128):
                if abs(y - end_y) + abs(x - end_x) <= 2:
                    expected[y, x] = 1
    np.testing.assert_array_equal(angle_plate(grid, position(grid, (9, 64, 60)), [angle]), expected)


def test_several_angles_are_a_union():
    grid = plane((90, 100))
    at = position(grid, (9, 40, 55))
    each = [angle_plate(grid, at, [a]) for a in (10.0, 130.0, 250.0)]
    np.testing.assert_array_equal(angle_plate(grid, at, [10.0, 130.0, 250.0]), np.maximum.reduce(each))


@pytest.mark.parametrize(("z", "slices"), [(10, range(5, 15)), (2, range(7)), (18, range(13, 20))])
def test_volume_repeats_the_plate_on_ten_slices(z, slices):
    grid = plane((90, 100))
    at = position(grid, (z, 40, 55))
    plate, volume = angle_plate(grid, at, [35.0]), angle_plate_volume(grid, at, [35.0])
    for k in range(20):
        np.testing.assert_array_equal(volume[k], plate if k in slices else np.zeros_like(plate))


def test_isocenter_index_is_cut_off_not_rounded():
    grid = plane((90, 100))
    np.testing.assert_array_equal(
        angle_plate(grid, position(grid, (9.9, 40.9, 55.9)), [35.0]),
        angle_plate(grid, position(grid, (9, 40, 55)), [35.0]),
    )


def test_line_of_no_length_is_a_diamond():
    image = np.zeros((5, 5), bool)
    draw_thick_line(image, (2, 2), (2, 2))
    assert image.sum(axis=1).tolist() == [1, 3, 5, 3, 1]


def test_errors():
    grid = plane((40, 40))
    with pytest.raises(InputError, match=r"gantry_angles_deg must hold at least one beam; got \[\]"):
        angle_plate(grid, position(grid, (9, 20, 20)), [])
    with pytest.raises(InputError, match="gantry_angles_deg must be finite"):
        angle_plate(grid, position(grid, (9, 20, 20)), [float("nan")])
    with pytest.raises(InputError, match=r"isocenter_xyz_mm must lie inside the grid of shape \(20, 40, 40\)"):
        angle_plate(grid, position(grid, (9, 20, 40)), [0.0])
