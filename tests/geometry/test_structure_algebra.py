"""Masks of structure expressions against distances tried voxel by voxel, on a small phantom of oblong voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosewright.core import Grid, GridMismatchError, InputError
from dosewright.geometry import distance_to_mm
from dosewright.geometry.margins import grown, shrunk
from dosewright.geometry.structure_algebra import MissingStructureError, StructureAlgebra, structure_mask

SHAPE, SPACING_ZYX = (8, 11, 12), (3.0, 1.5, 2.0)
GRID = Grid(SHAPE, (2.0, 1.5, 3.0))
PLACES = np.indices(SHAPE).reshape(3, -1).T * np.array(SPACING_ZYX)


def phantom() -> dict[str, np.ndarray]:
    z, y, x = np.indices(SHAPE)
    ball = ((z - 3.2) * 3.0) ** 2 + ((y - 5.1) * 1.5) ** 2 + ((x - 4.7) * 2.0) ** 2 <= 6.0**2
    box = (z >= 3) & (z < 6) & (y >= 2) & (y < 8) & (x >= 6)  # up to the array's border
    dots = np.random.default_rng(3).random(SHAPE) < 0.02
    body = (x > 0) & (y > 0) & (y < 10)
    return {"Ball": ball, "Box": box, "Dots": dots, "Body": body}


def brute_grown(mask: np.ndarray, margin_zyx: tuple[float, float, float]) -> np.ndarray:
    """Try every pair of voxels: is one in the ellipsoid around the other?"""
    out = mask.ravel().copy()
    for at in PLACES[mask.ravel()]:
        offsets = np.abs(PLACES - at)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(offsets == 0, 0.0, (offsets / np.array(margin_zyx)) ** 2)
        out |= parts.sum(axis=1) <= 1 + 1e-9
    return out.reshape(mask.shape)


def brute_shrunk(mask: np.ndarray, margin_zyx: tuple[float, float, float]) -> np.ndarray:
    return ~brute_grown(~mask, margin_zyx)


MARGINS = [0.0, 1.4, 1.5, 2.9, 3.0, 3.61, 6.0, 40.0]


@pytest.mark.parametrize("name", ["Ball", "Box", "Dots"])
@pytest.mark.parametrize("margin", MARGINS)
def test_margins_are_brute_force(name, margin):
    masks = phantom()
    three = (margin,) * 3
    np.testing.assert_array_equal(structure_mask(f"{name} + {margin}mm", masks, GRID), brute_grown(masks[name], three))
    np.testing.assert_array_equal(structure_mask(f"{name} - {margin}mm", masks, GRID), brute_shrunk(masks[name], three))


@pytest.mark.parametrize(
    "margin_zyx", [(8.0, 5.0, 5.0), (0.0, 3.0, 4.0), (3.0, 0.0, 0.0), (6.0, 1.0, 0.0), (3.0, 1.5, 2.0)]
)
def test_margins_per_axis_are_brute_force(margin_zyx):
    mask = phantom()["Ball"]
    z, y, x = margin_zyx
    text = f"(x {x}mm, y {y}mm, z {z}mm)"
    expected = brute_grown(mask, margin_zyx)
    np.testing.assert_array_equal(structure_mask(f"Ball + {text}", {"Ball": mask}, GRID), expected)
    expected = brute_shrunk(mask, margin_zyx)
    np.testing.assert_array_equal(structure_mask(f"Ball - {text}", {"Ball": mask}, GRID), expected)


def test_growing_is_the_distance_of_geometry_distance():
    mask = phantom()["Dots"]
    near = distance_to_mm(mask, SPACING_ZYX) <= 5.0
    np.testing.assert_array_equal(grown(mask, SPACING_ZYX, (5.0, 5.0, 5.0)), near)


def test_a_ring_is_brute_force():
    masks = phantom()
    expected = brute_grown(masks["Ball"], (6.0,) * 3) & ~brute_grown(masks["Ball"], (2.0,) * 3)
    expected &= ~brute_grown(masks["Box"], (3.0,) * 3) & masks["Body"]
    text = "(Ball + 6mm) - (Ball + 2mm) - (Box + 3mm) & Body"
    np.testing.assert_array_equal(structure_mask(text, masks, GRID), expected)


def test_operators_are_those_of_sets():
    masks = phantom()
    sets = {name: set(map(tuple, np.argwhere(mask))) for name, mask in masks.items()}
    ball, box, dots, body = (sets[name] for name in masks)
    for text, expected in {
        "Ball | Dots | Box": ball | dots | box,
        "Box & Body & Dots": box & body & dots,
        "Box - Ball - Dots": box - ball - dots,
        "Box - Ball & Body | Dots": box - ball & body | dots,  # Python's own precedence
        "Box - (Ball - Dots)": box - (ball - dots),
    }.items():
        assert set(map(tuple, np.argwhere(structure_mask(text, masks, GRID)))) == expected


@settings(max_examples=10, deadline=None, database=None)
@given(st.floats(0.0, 9.0), st.floats(0.0, 9.0), st.sampled_from(["Ball", "Box", "Dots"]))
def test_margins_are_ordered_and_dual(one, two, name):
    mask, (low, high) = phantom()[name], sorted((one, two))
    small, large = (grown(mask, SPACING_ZYX, (m, m, m)) for m in (low, high))
    assert not (small & ~large).any()
    assert not (mask & ~small).any()
    closed = shrunk(large, SPACING_ZYX, (high, high, high))
    assert not (mask & ~closed).any()  # closing never loses a voxel
    opened = grown(shrunk(mask, SPACING_ZYX, (high, high, high)), SPACING_ZYX, (high, high, high))
    assert not (opened & ~mask).any()  # opening never adds one


def test_empty_and_full_structures():
    empty, full = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    masks = {"E": empty, "F": full}
    assert not structure_mask("E + 30mm", masks, GRID).any()
    assert not structure_mask("E - 30mm", masks, GRID).any()
    assert structure_mask("F + 30mm", masks, GRID).all()
    assert structure_mask("F - 30mm", masks, GRID).all()  # beyond the array is neither inside nor outside


def test_the_outline_has_three_names_and_comes_first():
    masks = phantom()
    own = np.ones(SHAPE, bool)
    for name in ("Body", "BODY", "External"):
        np.testing.assert_array_equal(structure_mask(name, masks, GRID, own), own)
    np.testing.assert_array_equal(structure_mask("Body", masks, GRID), masks["Body"])


def test_results_are_copies():
    masks = phantom()
    before = masks["Ball"].copy()
    algebra = StructureAlgebra(masks, GRID)
    for text in ("Ball", "Ball + 0mm", "Ball | Box", "Ball + 3mm"):
        algebra.mask(text)[:] = True
    np.testing.assert_array_equal(masks["Ball"], before)
    np.testing.assert_array_equal(algebra.mask("Ball + 3mm"), brute_grown(before, (3.0,) * 3))


def test_a_structure_may_be_added_in_between():
    masks = phantom()
    algebra = StructureAlgebra(masks, GRID)
    algebra.mask("Ball + 3mm")
    algebra.add("Ball", masks["Dots"])
    np.testing.assert_array_equal(algebra.mask("Ball + 3mm"), brute_grown(masks["Dots"], (3.0,) * 3))


def test_missing_structures_are_all_listed():
    masks = phantom()
    with pytest.raises(
        MissingStructureError, match=r"none called Bell \(is it Ball\?\); Cord; got '\(Ball - Bell\)"
    ) as caught:
        structure_mask("Ball - Bell | Cord", masks, GRID)
    assert isinstance(caught.value, InputError)
    with pytest.raises(MissingStructureError, match="a difference has blanks around its minus: Ball - Box"):
        structure_mask("Ball-Box", masks, GRID)
    with pytest.raises(MissingStructureError, match="Body"):
        structure_mask("Body", {"Ball": masks["Ball"]}, GRID)
    np.testing.assert_array_equal(structure_mask("Ball - Cord", masks, GRID, absent="empty"), masks["Ball"])
    assert not structure_mask("Ball & Cord", masks, GRID, absent="empty").any()
    assert StructureAlgebra(masks, GRID).missing("Cord | Ball | Lens") == ("Cord", "Lens")


def test_masks_that_do_not_fit_are_refused():
    masks = phantom()
    with pytest.raises(GridMismatchError, match=r"A must have the grid's shape \(8, 11, 12\); got \(2, 2, 2\)"):
        StructureAlgebra({"A": np.zeros((2, 2, 2), bool)}, GRID).mask("A")
    with pytest.raises(InputError, match='absent must be "raise" or "empty"; got \'skip\''):
        StructureAlgebra(masks, GRID).mask("Ball", "skip")
    with pytest.raises(InputError, match="spacing_zyx_mm must be positive and finite"):
        grown(masks["Ball"], (0.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="margin_zyx_mm must be finite, zero or more"):
        shrunk(masks["Ball"], SPACING_ZYX, (1.0, -1.0, 1.0))


def test_other_expressions_are_refused():
    from dosewright.geometry.structure_expression import Expression

    class Odd(Expression):
        depth = 1
        names = ()

        def __str__(self) -> str:
            return "odd"

    with pytest.raises(InputError, match="must be of the kinds that `parse` returns"):
        structure_mask(Odd(), phantom(), GRID)
