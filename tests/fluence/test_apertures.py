"""Fluence maps and the fluence that apertures let through."""

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture, aperture_fluence, aperture_matrix, open_share
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.fluence_map import fluence_maps, fluence_vector
from dosewright.fluence.mlc import Mlc


def lattice(rows: int, columns: int, beams: int = 1, size_mm: float = 5.0) -> Beamlets:
    """Beamlets on whole rectangles around the axis."""
    v, u = np.meshgrid(
        (np.arange(rows) - rows // 2) * size_mm, (np.arange(columns) - columns // 2) * size_mm, indexing="ij"
    )
    beam = np.repeat(np.arange(beams), rows * columns)
    return Beamlets(beam, np.tile(u.ravel(), beams), np.tile(v.ravel(), beams), size_mm)


def still(left: list[float], right: list[float], edges: list[float], weight: float = 1.0, beam: int = 0) -> Aperture:
    jaws = (min(left), max(right))
    ends = [np.tile(np.array(side, float), (2, 1)) for side in (left, right)]
    return Aperture(beam, np.array(edges, float), ends[0], ends[1], jaws, weight)


def test_map_and_vector_are_a_round_trip_on_a_ragged_field() -> None:
    rng = np.random.default_rng(0)
    full = lattice(6, 7, beams=2)
    kept = np.sort(rng.permutation(len(full))[:50])
    beamlets = Beamlets(full.beam[kept], full.u_mm[kept], full.v_mm[kept], 5.0)
    fluence = rng.uniform(0, 5, 50)
    maps = fluence_maps(fluence, beamlets)
    assert [one.beam for one in maps] == [0, 1]
    np.testing.assert_array_equal(fluence_vector(maps, 50), fluence)
    for one in maps:
        rows, columns = np.nonzero(one.inside)
        np.testing.assert_allclose(beamlets.u_mm[one.place[rows, columns]], one.u_mm[columns])
        np.testing.assert_allclose(beamlets.v_mm[one.place[rows, columns]], one.v_mm[rows])


def test_bad_fluence_is_refused() -> None:
    two = lattice(1, 2)
    with pytest.raises(InputError, match="fluence must be finite and not negative"):
        fluence_maps(np.array([1.0, -1.0]), two)
    with pytest.raises(InputError, match="must have one entry for each of 2 beamlets"):
        fluence_maps(np.ones(3), two)
    spots = Beamlets(two.beam, two.u_mm, two.v_mm, 5.0, np.array([100.0, 110.0]))
    with pytest.raises(InputError, match="must be photon beamlets"):
        fluence_maps(np.ones(2), spots)
    with pytest.raises(InputError, match=r"u_mm must lie on a lattice of 5.0 mm"):
        fluence_maps(np.ones(2), Beamlets(two.beam, np.array([0.0, 3.0]), two.v_mm, 5.0))
    with pytest.raises(InputError, match="must not hold two beamlets at one place"):
        fluence_maps(np.ones(2), Beamlets(two.beam, np.zeros(2), np.zeros(2), 5.0))


def test_open_share_of_an_opening_that_cuts_cells() -> None:
    # columns -7.5…-2.5…2.5…7.5, one row -2.5…2.5; leaves open -4 to 5, the upper half of the row only
    (one,) = fluence_maps(np.zeros(3), lattice(1, 3))
    share = open_share(still([-4.0], [5.0], [0.0, 2.5]), one)
    np.testing.assert_allclose(share, [[0.3 / 2, 0.5, 0.25]])


def test_moving_leaves_give_the_mean_of_many_still_ones() -> None:
    rng = np.random.default_rng(1)
    (one,) = fluence_maps(np.zeros(42), lattice(6, 7))
    edges = np.linspace(-15.0, 15.0, 6)  # leaves of 6 mm over rows of 5 mm
    left, right = rng.uniform(-20, 0, (2, 5)), rng.uniform(0, 20, (2, 5))
    left[1, 2] = left[0, 2]
    moving = Aperture(0, edges, left, right, (-14.0, 11.0), 1.0)
    total, times = np.zeros((6, 7)), (np.arange(2000) + 0.5) / 2000
    for time in times:
        at = [np.tile(side[0] + time * (side[1] - side[0]), (2, 1)) for side in (left, right)]
        total += open_share(Aperture(0, edges, at[0], at[1], (-14.0, 11.0), 1.0), one)
    np.testing.assert_allclose(open_share(moving, one), total / 2000, atol=1e-5)


def test_open_share_times_cells_is_the_open_area() -> None:
    (one,) = fluence_maps(np.zeros(42), lattice(6, 7))
    aperture = still([-4.0, -11.0, 3.0], [5.0, -2.0, 3.0], [-7.0, -1.0, 4.0, 9.0])
    assert open_share(aperture, one).sum() * 25 == pytest.approx(aperture.area_mm2)
    assert aperture.area_mm2 == pytest.approx(9 * 6 + 9 * 5)


def test_fluence_is_weights_times_shares_of_the_own_beam() -> None:
    beamlets = lattice(1, 2, beams=2)
    first, second = still([-7.5], [2.5], [-2.5, 2.5], 2.0, 0), still([-2.5], [2.5], [-2.5, 2.5], 3.0, 1)
    matrix = aperture_matrix([first, second], beamlets)
    np.testing.assert_allclose(matrix, [[1, 0], [1, 0], [0, 0], [0, 1]])
    np.testing.assert_allclose(aperture_fluence([first, second], beamlets), [2, 2, 0, 3])
    with pytest.raises(InputError, match=r"beam must be one of \[0\]; got 1"):
        aperture_matrix([second], lattice(1, 2))


def test_impossible_apertures_are_refused() -> None:
    with pytest.raises(InputError, match="left_mm must not pass the opposing leaf"):
        still([0.0, 3.0], [1.0, 2.0], [0.0, 5.0, 10.0])
    with pytest.raises(InputError, match=r"left_mm must be of shape \(2, 1\)"):
        Aperture(0, np.array([0.0, 5.0]), np.zeros((2, 2)), np.zeros((2, 2)), (0.0, 1.0), 1.0)
    with pytest.raises(InputError, match="edges_mm must be at least two and ascend"):
        still([0.0], [1.0], [5.0, 5.0])
    with pytest.raises(InputError, match="weight must be finite and not negative"):
        still([0.0], [1.0], [0.0, 5.0], weight=-1.0)
    with pytest.raises(InputError, match="aperture must be finite"):
        Aperture(0, np.array([0.0, 5.0]), np.zeros((2, 1)), np.ones((2, 1)), (0.0, np.inf), 1.0)


def test_leaf_map_averages_rows_that_share_a_leaf() -> None:
    beamlets = lattice(4, 2)  # rows at -10, -5, 0, 5: edges at -12.5 … 7.5
    (one,) = fluence_maps(np.arange(8.0), beamlets)
    edges, values = Mlc(leaf_width_mm=10.0).leaf_map(one)
    np.testing.assert_allclose(edges, [-17.5, -7.5, 2.5, 12.5])
    # the lowest leaf holds one row of beamlets only, the absent ones do not count
    np.testing.assert_allclose(values, [[0, 1], [3, 4], [6, 7]])
    edges, values = Mlc(leaf_width_mm=2.5).leaf_map(one)
    np.testing.assert_allclose(edges, np.linspace(-12.5, 7.5, 9))
    np.testing.assert_allclose(values, np.repeat(np.arange(8.0).reshape(4, 2), 2, axis=0))


def test_fields_beyond_the_leaves_are_refused() -> None:
    (one,) = fluence_maps(np.ones(21), lattice(3, 7))
    with pytest.raises(InputError, match=r"beam 0 must lie within reach_mm = 17.0 of the axis"):
        Mlc(reach_mm=17.0).leaf_map(one)
    with pytest.raises(InputError, match=r"beam 0 must span no more than overtravel_mm = 10.0 either side"):
        Mlc(overtravel_mm=10.0).leaf_map(one)
    with pytest.raises(InputError, match="leaf_width_mm must be finite and positive; got 0"):
        Mlc(leaf_width_mm=0.0)
    with pytest.raises(InputError, match="minimum_gap_mm must be finite and not negative"):
        Mlc(minimum_gap_mm=-1.0)
