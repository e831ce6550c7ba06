"""Contours to voxels: closed forms, a naive twin that asks each voxel, and the rules for holes, keyholes and gaps."""

from pathlib import Path

import numpy as np
import pytest

from dicom_files import DicomPhantom, Roi, box, circle, keyhole, save
from dosewright.core import Grid
from dosewright.core.types import Mask
from dosewright.io.dicom.read_contours import RoiContours, read_rois
from dosewright.io.dicom.read_masks import rasterise
from dosewright.io.dicom.read_planes import planes_in, slabs_of
from dosewright.io.dicom.read_polygons import fill_even_odd

GRID = Grid((20, 100, 110), (1.0, 1.2, 3.0), (-54.3, -60.2, -30.0))


def roi_of(*contours: np.ndarray) -> RoiContours:
    return RoiContours(1, "PTV", "PTV", "", contours, ("",) * len(contours))


def mask_of(*contours: np.ndarray, grid: Grid = GRID, slice_mm: float = 3.0) -> Mask:
    return rasterise(roi_of(*contours), grid, slice_mm).mask


def inside_naively(contours: list[np.ndarray], x: float, y: float) -> bool:
    """Whether a ray to the left crosses an odd number of edges, edge by edge."""
    crossings = 0
    for points in contours:
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            if y0 <= y < y1 and x >= x0 + (y - y0) * ((x1 - x0) / (y1 - y0)):
                crossings += 1
    return crossings % 2 == 1


@pytest.mark.parametrize("seed", range(6))
def test_any_polygons_agree_with_asking_each_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    contours = [rng.uniform(-4, 20, (rng.integers(3, 9), 2)) for _ in range(rng.integers(1, 4))]
    if seed % 2:
        contours = [np.round(points) for points in contours]  # corners on pixel centres
    expected = [[inside_naively(contours, x, y) for x in range(17)] for y in range(13)]
    np.testing.assert_array_equal(fill_even_odd([contours], 13, 17)[0], expected)


def test_many_edges_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    contours = [np.random.default_rng(0).uniform(0, 40, (200, 2))]
    whole = fill_even_odd([contours], 40, 40)
    monkeypatch.setattr("dosewright.io.dicom.read_polygons.MAX_CROSSINGS", 37)
    np.testing.assert_array_equal(fill_even_odd([contours], 40, 40), whole)


def test_pixels_side_by_side_belong_to_one_of_two_touching_squares() -> None:
    left, right = (np.array([[x, 1.0], [x + 3, 1.0], [x + 3, 4.0], [x, 4.0]]) for x in (1.0, 4.0))
    first, second = (fill_even_odd([[square]], 6, 8)[0] for square in (left, right))
    assert first.sum() == second.sum() == 9
    assert not (first & second).any()


def test_the_way_round_does_not_matter() -> None:
    np.testing.assert_array_equal(
        mask_of(circle(3.1, -4.2, 0.0, 20.0)), mask_of(circle(3.1, -4.2, 0.0, 20.0, clockwise=True))
    )


@pytest.mark.parametrize("radius", [12.0, 25.0, 40.0])
def test_sphere_and_cylinder_have_their_volumes(radius: float) -> None:
    grid = Grid((90, 100, 100), (1.0, 1.0, 1.0), (-49.6, -49.7, -44.5))
    zs = grid.axis_mm("z")
    sphere = mask_of(*Roi.sphere("PTV", (0.3, 0.4, 0.1), zs, radius).contours, grid=grid, slice_mm=1.0)
    assert sphere.sum() / 1000 == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.02)
    cylinder = mask_of(*Roi.cylinder("Cord", 0.3, 0.4, zs[20:60], radius).contours, grid=grid, slice_mm=1.0)
    assert cylinder.sum() / 1000 == pytest.approx(np.pi * radius**2 * 40 / 1000, rel=0.02)


def test_a_contour_in_another_is_a_hole_and_one_in_the_hole_an_island() -> None:
    rings = [circle(0.0, 0.0, 0.0, r) for r in (40.0, 25.0, 10.0)]
    area = mask_of(*rings).sum() * 1.2
    assert area == pytest.approx(np.pi * (40**2 - 25**2 + 10**2), rel=0.01)
    assert not mask_of(*rings)[10, 50, 54 + 17]


def test_a_keyhole_is_the_same_as_a_hole() -> None:
    outer, inner = circle(0.0, 0.0, 0.0, 40.0), circle(0.0, 0.0, 0.0, 20.0, clockwise=True)
    np.testing.assert_array_equal(mask_of(keyhole(outer, inner)), mask_of(outer, inner))


def test_two_contours_side_by_side_are_both_there() -> None:
    one, other = box(-40, -20, -10, 10, 0.0), box(15, 40, -10, 10, 0.0)
    np.testing.assert_array_equal(mask_of(one, other), mask_of(one) | mask_of(other))


def test_contours_that_leave_the_grid_are_cut_off_and_counted() -> None:
    found = rasterise(roi_of(box(-200, 0, -10, 10, 0.0), box(-10, 10, -10, 10, 90.0)), GRID, 3.0)
    assert (found.cut_planes, found.cut_contours) == (1, 1)
    _, y, x = np.nonzero(found.mask)
    assert x.min() == 0
    assert GRID.axis_mm("x")[x.max()] == pytest.approx(-0.3)  # −0.3 < 0 < 0.7
    assert np.unique(y).size == 17  # of 20 mm / 1.2 mm


def test_each_slice_takes_the_plane_drawn_on_it() -> None:
    zs = GRID.axis_mm("z")[5:9]
    widths = (10.0, 20.0, 30.0, 40.0)
    mask = mask_of(*(box(0.2, w, -5.0, 5.0, z) for w, z in zip(widths, zs)))
    assert [int(n) for n in mask.any(axis=1).sum(axis=1)] == [0] * 5 + [10, 20, 30, 40] + [0] * 11


def test_a_missing_plane_stays_a_gap_and_is_counted() -> None:
    zs = np.delete(GRID.axis_mm("z")[4:12], 3)
    found = rasterise(roi_of(*(box(0, 20, -5, 5, z) for z in zs)), GRID, 3.0)
    assert np.flatnonzero(found.mask.any(axis=(1, 2))).tolist() == [4, 5, 6, 8, 9, 10, 11]
    assert found.gaps == 1


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.5, -1.2])
def test_planes_on_every_second_slice_keep_their_volume_wherever_the_grid_lies(shift: float) -> None:
    planes = [box(0, 20, -6, 6, z) for z in np.arange(-15.0, 16.0, 6.0)]  # six slabs of 6 mm
    grid = Grid((40, 30, 30), (1.0, 1.0, 1.5), (-4.5, -14.5, -30.0 + shift))
    assert mask_of(*planes, grid=grid).sum() * 1.5 == pytest.approx(20 * 12 * 36)


def test_planes_far_apart_are_separate_pieces() -> None:
    mask = mask_of(box(0, 20, -5, 5, -30.0), box(0, 20, -5, 5, 0.0))
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [0, 10]


def test_contours_between_slices_go_to_one_slice_each() -> None:
    zs = GRID.axis_mm("z")[4:9] + 1.5
    mask = mask_of(*(box(0, 20, -5, 5, z) for z in zs))
    assert np.count_nonzero(mask.any(axis=(1, 2))) == 5


def test_contours_closer_than_slices_leave_each_slice_its_nearest() -> None:
    zs = np.arange(-9.0, 10.0, 1.0)
    mask = mask_of(*(box(0.2, 10.0 + abs(z), -5, 5, z) for z in zs))
    widths = mask.any(axis=1).sum(axis=1)
    assert widths[7:14].tolist() == [19, 16, 13, 10, 13, 16, 19]
    assert widths.sum() == 106


def test_planes_are_those_within_a_rounding_error() -> None:
    planes, which = planes_in(np.array([0.0, 0.01, 3.0, 2.99, 6.0]))
    np.testing.assert_allclose(planes, [0.005, 2.995, 6.0])
    assert which.tolist() == [0, 0, 1, 1, 2]
    assert slabs_of(planes, 3.0).thickness_mm == pytest.approx(3.0, abs=0.02)


class TestReadingContours:
    def rois(self, tmp_path: Path, *structures: Roi) -> tuple[RoiContours, ...]:
        return read_rois(save(DicomPhantom(rois=structures).structure_set(), tmp_path / "rs.dcm"))

    def test_all_that_is_no_closed_axial_contour_has_its_reason(self, tmp_path: Path) -> None:
        tilted = circle(0, 0, 0, 10.0)
        tilted[3, 2] = 1.0
        point, opened = np.zeros((1, 3)), box(0, 1, 0, 1, 0.0)
        found = self.rois(
            tmp_path,
            Roi("whole", (circle(0, 0, 0, 10.0),)),
            Roi("none"),
            Roi("marker", (point,), geometry="POINT"),
            Roi("line", (opened,), geometry="OPEN_PLANAR"),
            Roi("tilted", (circle(0, 0, 4.0, 10.0), tilted)),
            Roi("dot", (np.zeros((2, 3)),)),
        )
        assert [roi.reason for roi in found] == [
            "",
            "no contours",
            "only contours of type POINT",
            "only contours of type OPEN_PLANAR",
            "a contour is not axial",
            "only contours of fewer than 3 points",
        ]
        assert [len(roi.contours) for roi in found] == [1, 0, 0, 0, 0, 0]

    def test_a_contour_written_twice_counts_once(self, tmp_path: Path) -> None:
        one, other = circle(0, 0, 0, 10.0), circle(30, 0, 0, 5.0)
        (found,) = self.rois(tmp_path, Roi("PTV", (one, other, one)))
        assert len(found.contours) == 2
        assert found.notes == ("1 contours that repeat another one passed over",)

    def test_points_arrive_as_written(self, tmp_path: Path) -> None:
        points = circle(1.5, -2.25, 4.0, 7.0, 17)
        (found,) = self.rois(tmp_path, Roi("PTV", (points,)))
        np.testing.assert_allclose(found.contours[0], points, atol=6e-5)
        assert found.images == (DicomPhantom().slice_uid(8),)
