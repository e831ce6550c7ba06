import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scorecard_samples import BODY, GRID, MASKS

from dosewright.geometry.expression_error import ExpressionError
from dosewright.geometry.structure_algebra import structure_mask
from dosewright.geometry.structure_expression import parse
from dosewright.scorecards.comment_expression import comment_expression


@pytest.mark.parametrize(
    ("comment", "text"),
    [
        ("{<PTV>}", "PTV"),
        ("<PTV>", "PTV"),
        ("{<PTV>} SUB {<CTV>}", "PTV - CTV"),
        ("{<PTV>|20} SUB {<PTV>|5}", "(PTV + 20mm) - (PTV + 5mm)"),
        ("{<Body>} SUB {<Body>|-35}", "Body - (Body - 35mm)"),
        ("{<PTV>|0} AND {<Total Lung>|2.5}", 'PTV & ("Total Lung" + 2.5mm)'),
        ("{<A> OR <B> OR <C>}|7", "(A | B | C) + 7mm"),
        ("{{<A> SUB <B>|3} AND {<C>}} OR {<D>}", "((A - (B + 3mm)) & C) | D"),
        ("{<A>} SUB {<B>} AND {<C>} SUB {<D>}", "((A - B) & C) - D"),
        ("{<A>} XOR {<B>}", "(A | B) - (A & B)"),
        ("{<A>|5^5^8^8^3^3}", "A + (x 5mm, y 3mm, z 8mm)"),
        ("{<A>|-5^-5^-5^-5^-5^-5}", "A - 5mm"),
        ("  { < A > }   sub { <B>| 4 } ", "A - (B + 4mm)"),
        ("{<PTV+Urethra>} SUB {<PTV-CTV>}", '"PTV+Urethra" - PTV-CTV'),
    ],
)
def test_translations(comment: str, text: str) -> None:
    expression = comment_expression(comment)
    assert str(expression) == text
    assert parse(text) == expression


def naive_ball(mask: np.ndarray, margin_mm: float) -> np.ndarray:
    centers = np.argwhere(np.ones_like(mask)) * GRID.spacing_zyx_mm
    inside = np.argwhere(mask) * GRID.spacing_zyx_mm
    near = np.array([np.linalg.norm(inside - center, axis=1).min() <= margin_mm + 1e-6 for center in centers])
    return near.reshape(mask.shape)


def test_masks_against_brute_force_on_anisotropic_voxels() -> None:
    def mask_of(comment: str) -> np.ndarray:
        return structure_mask(comment_expression(comment), MASKS, GRID, BODY)

    ring = naive_ball(MASKS["CTV"], 6.0) & ~naive_ball(MASKS["CTV"], 3.0)
    assert 0 < ring.sum() < ring.size
    assert np.array_equal(mask_of("{<CTV>|6} SUB {<CTV>|3}"), ring)
    rind = BODY & naive_ball(~BODY, 4.0)
    assert 0 < rind.sum() < BODY.sum()
    assert np.array_equal(mask_of("{<Body>} SUB {<Body>|-4}"), rind)
    one_of_two = MASKS["PTV"] ^ naive_ball(MASKS["CTV"], 6.0)
    assert np.array_equal(mask_of("{<PTV>} XOR {<CTV>|6}"), one_of_two)


@pytest.mark.parametrize(
    ("comment", "rule"),
    [
        ("", r"must have a structure in <> or a group in \{\} here"),
        ("PTV", r"must have a structure in <> or a group in \{\} here"),
        ("{<PTV>} NOT {<CTV>}", "must have AND, OR, SUB or XOR here"),
        ("{<PTV>} {<CTV>}", "must go on with AND, OR, SUB or XOR"),
        ("{<PTV>} SUB", r"must have a structure in <> or a group in \{\} here"),
        ("{<PTV> SUB {<CTV>}", "must close this group"),
        ("{<PTV>}}", "must go on with AND, OR, SUB or XOR"),
        ("{<>}", "must name a structure between < and >"),
        ("{<PTV", "must not hold '<' here"),
        ("{<PTV>|}", "must not hold '|' here"),
        ("{<PTV>|1-2}", r"must have a margin in mm behind \|"),
        ("{<PTV>|1^2}", "must have one margin, or six joined by"),
        ("{<PTV>|5^4^3^3^2^2}", "must have the same margin on opposite sides"),
        ("{<PTV>|5^5^-3^-3^2^2}", "must not grow and shrink at once"),
        ("{<PTV>|9999}", r"must be three lengths in \[0, 500\] mm"),
        ("{" * 30 + "<A>" + "}" * 30, "must be nested deeper|must not be nested deeper than 20 groups"),
        (" XOR ".join(["{<A>}"] * 9), "must have at most 4 XOR"),
        ("{<A>}" + " " * 20_000, "must have at most 10000 characters"),
        ('{<A"B>}', "must be 1 to 200 characters without double quotes"),
    ],
)
def test_what_is_no_expression_is_refused(comment: str, rule: str) -> None:
    with pytest.raises(ExpressionError, match=rule):
        comment_expression(comment)


def test_the_message_points_at_the_place() -> None:
    with pytest.raises(ExpressionError) as refused:
        comment_expression("{<PTV>} NOT {<CTV>}")
    assert str(refused.value).splitlines()[-1] == "          ^^^"


def test_long_chains_stay_flat() -> None:
    assert len(comment_expression(" OR ".join(f"{{<A{i}>}}" for i in range(300))).names) == 300
    with pytest.raises(ExpressionError, match="must not be nested deeper than 50 levels"):
        comment_expression("{<A>}" + " SUB {<B>} AND {<C>}" * 40)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}<>|^-+. 019ANDORSUBXptv", max_size=40))
def test_any_text_gives_an_expression_or_a_clear_error(comment: str) -> None:
    try:
        expression = comment_expression(comment)
    except ExpressionError:
        return
    assert parse(str(expression)) == expression
