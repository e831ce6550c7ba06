"""Grid against closed-form positions and arrays cropped by numpy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from dosewright.core import Grid, InputError

GRID = Grid((4, 5, 6), (1.5, 2.0, 3.0), (-10.0, 20.0, 30.0))

sizes = st.integers(1, 200)
spacings_mm = st.floats(0.1, 20.0)
offsets_mm = st.floats(-2000.0, 2000.0)
grids = st.builds(
    Grid,
    st.tuples(sizes, sizes, sizes),
    st.tuples(spacings_mm, spacings_mm, spacings_mm),
    st.tuples(offsets_mm, offsets_mm, offsets_mm),
)
indices = st.tuples(*[st.floats(-300.0, 300.0)] * 3)


def test_first_and_last_voxel_lie_where_the_origin_and_the_spacing_say() -> None:
    assert GRID.position_xyz_mm(np.array([0.0, 0.0, 0.0])).tolist() == [-10.0, 20.0, 30.0]
    # index (k, j, i) = (3, 4, 5): x = -10 + 5 · 1.5, y = 20 + 4 · 2, z = 30 + 3 · 3
    assert GRID.position_xyz_mm(np.array([3.0, 4.0, 5.0])).tolist() == [-2.5, 28.0, 39.0]


def test_each_array_axis_moves_its_own_patient_axis() -> None:
    steps = GRID.position_xyz_mm(np.eye(3)) - GRID.position_xyz_mm(np.zeros((1, 3)))
    assert steps.tolist() == [[0.0, 0.0, 3.0], [0.0, 2.0, 0.0], [1.5, 0.0, 0.0]]


def test_position_is_halfway_between_neighbours_at_half_an_index() -> None:
    assert GRID.position_xyz_mm(np.array([0.5, 0.5, 0.5])).tolist() == [-9.25, 21.0, 31.5]


def test_index_of_a_known_position() -> None:
    assert GRID.index_zyx(np.array([-2.5, 28.0, 39.0])).tolist() == [3.0, 4.0, 5.0]


@given(grids, indices)
@settings(max_examples=100, deadline=None)
def test_index_to_position_and_back(grid: Grid, index: tuple[float, float, float]) -> None:
    there = grid.position_xyz_mm(np.array(index))
    np.testing.assert_allclose(grid.index_zyx(there), index, rtol=1e-9, atol=1e-8)


@given(grids, indices)
@settings(max_examples=100, deadline=None)
def test_position_matches_the_formula_axis_by_axis(grid: Grid, index: tuple[float, float, float]) -> None:
    position = grid.position_xyz_mm(np.array(index))
    for i in range(3):
        expected = grid.origin_xyz_mm[i] + grid.spacing_xyz_mm[i] * index[2 - i]
        assert position[i] == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_positions_keep_leading_dimensions() -> None:
    many = GRID.position_xyz_mm(np.zeros((2, 7, 3)))
    assert many.shape == (2, 7, 3)
    assert np.unique(many.reshape(-1, 3), axis=0).tolist() == [[-10.0, 20.0, 30.0]]


def test_volume_spacing_and_center() -> None:
    assert GRID.voxel_volume_mm3 == 9.0
    assert GRID.voxel_volume_cc == 0.009
    assert GRID.spacing_zyx_mm == (3.0, 2.0, 1.5)
    assert GRID.center_xyz_mm == (-10.0 + 2.5 * 1.5, 20.0 + 2.0 * 2.0, 30.0 + 1.5 * 3.0)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("x", [-10.0, -8.5, -7.0, -5.5, -4.0, -2.5]),
        ("y", [20.0, 22.0, 24.0, 26.0, 28.0]),
        ("z", [30.0, 33.0, 36.0, 39.0]),
    ],
)
def test_axis_positions(axis: str, expected: list[float]) -> None:
    assert GRID.axis_mm(axis).tolist() == expected


def test_unknown_axis_is_refused() -> None:
    with pytest.raises(InputError, match=r"axis must be \"x\", \"y\" or \"z\"; got 'w'"):
        GRID.axis_mm("w")


def test_crop_keeps_every_voxel_where_it_was() -> None:
    box = (slice(1, 3), slice(2, None), slice(None, 4))
    z, y, x = np.meshgrid(*[np.arange(n) for n in GRID.shape_zyx], indexing="ij")
    positions = GRID.position_xyz_mm(np.stack([z, y, x], -1).astype(float))
    cropped = GRID.crop(box)
    assert cropped.shape_zyx == z[box].shape == (2, 3, 4)
    assert cropped.spacing_xyz_mm == GRID.spacing_xyz_mm
    np.testing.assert_allclose(cropped.position_xyz_mm(np.zeros(3)), positions[box][0, 0, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(cropped.position_xyz_mm(np.array([1.0, 2, 3])), positions[box][1, 2, 3], atol=1e-12)


def test_crop_of_everything_is_the_grid_itself() -> None:
    assert GRID.crop((slice(None), slice(None), slice(None))) == GRID


@pytest.mark.parametrize(
    "piece",
    [slice(2, 2), slice(3, 1), slice(0, 5), slice(-1, 4), slice(0, 4, 2), slice(4, None)],
    ids=str,
)
def test_boxes_that_are_empty_stepped_or_outside_are_refused(piece: slice) -> None:
    with pytest.raises(InputError, match=r"box_zyx must be a box inside \(4, 5, 6\); got"):
        GRID.crop((piece, slice(None), slice(None)))


@pytest.mark.usefixtures("types_unchecked")
def test_a_box_needs_three_slices() -> None:
    with pytest.raises(InputError, match="box_zyx must be three slices"):
        GRID.crop((slice(0, 2), slice(0, 2)))  # type: ignore[arg-type]


def test_is_close_allows_the_tolerance_at_the_far_corner_and_no_more() -> None:
    def stretched(far_mm: float) -> Grid:
        # The last of 6 voxels along x is off by far_mm, the first not at all.
        return Grid(GRID.shape_zyx, (1.5 + far_mm / 5, 2.0, 3.0), GRID.origin_xyz_mm)

    assert GRID.is_close(stretched(0.0009))
    assert not GRID.is_close(stretched(0.0011))
    assert GRID.is_close(stretched(0.09), tolerance_mm=0.1)


def test_is_close_sees_a_shift_and_another_shape() -> None:
    assert not GRID.is_close(Grid(GRID.shape_zyx, GRID.spacing_xyz_mm, (-10.0, 20.0, 30.01)))
    assert not GRID.is_close(Grid((4, 5, 7), GRID.spacing_xyz_mm, GRID.origin_xyz_mm))
    assert GRID.is_close(Grid(GRID.shape_zyx, GRID.spacing_xyz_mm, GRID.origin_xyz_mm))


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("shape", [(0, 2, 3), (-1, 2, 3), (2, 3), (2, 3, 4, 5), (1.5, 2, 3), (math.nan, 2, 3)], ids=str)
def test_impossible_shapes_are_refused(shape: tuple) -> None:
    with pytest.raises(InputError, match="shape_zyx must be three positive integers; got"):
        Grid(shape, (1.0, 1.0, 1.0))


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    "spacing", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (1.0, 1.0), (1.0, math.nan, 1.0), (1.0, 1.0, math.inf)], ids=str
)
def test_impossible_spacings_are_refused(spacing: tuple) -> None:
    with pytest.raises(InputError, match="spacing_xyz_mm must be three positive lengths in mm; got"):
        Grid((2, 3, 4), spacing)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("origin", [(0.0, 0.0), (math.nan, 0.0, 0.0), (0.0, -math.inf, 0.0)], ids=str)
def test_impossible_origins_are_refused(origin: tuple) -> None:
    with pytest.raises(InputError, match="origin_xyz_mm must be three finite positions in mm; got"):
        Grid((2, 3, 4), (1.0, 1.0, 1.0), origin)


@pytest.mark.usefixtures("types_unchecked")
def test_numbers_of_any_kind_become_plain_ones() -> None:
    grid = Grid((np.int64(2), 3, 4), np.array([1, 2, 3]), [0, 0, np.float32(0.5)])  # type: ignore[arg-type]
    assert grid == Grid((2, 3, 4), (1.0, 2.0, 3.0), (0.0, 0.0, 0.5))
    assert [type(v) for v in (*grid.shape_zyx, *grid.spacing_xyz_mm, *grid.origin_xyz_mm)] == [int] * 3 + [float] * 6


def test_a_grid_is_a_value() -> None:
    twin = Grid((4, 5, 6), (1.5, 2.0, 3.0), (-10.0, 20.0, 30.0))
    assert twin == GRID
    assert hash(twin) == hash(GRID)
    with pytest.raises(AttributeError, match="cannot assign to field"):
        GRID.shape_zyx = (1, 1, 1)  # type: ignore[misc]


def test_the_type_checker_is_on_under_pytest() -> None:
    with pytest.raises(TypeCheckError, match="position_xyz_mm"):
        GRID.position_xyz_mm(np.zeros((4, 2)))
