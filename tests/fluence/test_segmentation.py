"""Segments sum to the matrix with the fewest monitor units; few of them."""

from itertools import product

import numpy as np
import pytest

from dosewright.core import InputError
from dosewright.fluence.segmentation import openable, row_complexity, segments


def _sum(found: list, shape: tuple[int, int]) -> np.ndarray:
    total = np.zeros(shape, int)
    for one in found:
        total += one.weight * one.mask(shape[1])
    return total


def _least_time(matrix: np.ndarray, columns: int) -> int:
    """Fewest unit openings of one row that sum to it, by search: peel an opening that starts at the first lit cell."""
    lit = np.flatnonzero(matrix)
    if not len(lit):
        return 0
    first, best = int(lit[0]), 10**6
    for end in range(first + columns, len(matrix) + 1):
        if (matrix[first:end] > 0).all():
            rest = matrix.copy()
            rest[first:end] -= 1
            best = min(best, 1 + _least_time(rest, columns))
    return best


@pytest.mark.parametrize(
    ("rows", "columns", "levels", "least"), [(6, 9, 4, 1), (15, 12, 10, 1), (8, 10, 6, 2), (5, 14, 7, 3)]
)
def test_segments_sum_to_the_matrix_with_least_weight(rows: int, columns: int, levels: int, least: int) -> None:
    rng = np.random.default_rng(rows)
    for _ in range(5):
        matrix = openable(rng.integers(0, levels + 1, (rows, columns)), least)
        found = segments(matrix, least)
        assert (_sum(found, matrix.shape) == matrix).all()
        assert sum(one.weight for one in found) == row_complexity(matrix).max()
        widths = np.concatenate([one.end - one.first for one in found])
        assert widths.min() >= 0
        assert not ((widths > 0) & (widths < least)).any()


def test_complexity_is_the_least_time_of_all_sequences() -> None:
    for row in product(range(4), repeat=4):
        matrix = np.array([row])
        assert row_complexity(matrix)[0] == _least_time(matrix[0], 1)


def test_openable_keeps_the_least_time_with_wider_openings() -> None:
    for row in product(range(3), repeat=5):
        matrix = openable(np.array([row]), 2)
        assert (matrix <= row).all()
        assert row_complexity(matrix)[0] == _least_time(matrix[0], 2)


def test_one_rectangle_is_one_segment() -> None:
    matrix = np.zeros((5, 6), int)
    matrix[1:4, 2:5] = 7
    (only,) = segments(matrix)
    assert only.weight == 7
    assert (only.mask(6) == (matrix > 0)).all()


def test_engel_takes_fewer_segments_than_a_sweep() -> None:
    rng = np.random.default_rng(2)
    matrices = [rng.integers(0, 11, (15, 15)) for _ in range(10)]
    few = np.mean([len(segments(one)) for one in matrices])
    sweep = np.mean([row_complexity(one).max() for one in matrices])
    # about 15 against the 41 monitor units that a sweep of single levels takes
    assert few < 0.45 * sweep


def test_nothing_takes_no_segment() -> None:
    assert segments(np.zeros((3, 3), int)) == []
    assert segments(np.zeros((3, 4), int), 2) == []


def test_bad_matrices_are_refused() -> None:
    with pytest.raises(InputError, match="matrix must not be negative; got -1"):
        segments(np.array([[1, -1]]))
    with pytest.raises(InputError, match="must have peaks of 2 columns or more"):
        segments(np.array([[0, 1, 0]]), 2)
