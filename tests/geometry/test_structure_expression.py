"""The structure language: what it means, its round trip through text, and where its errors point."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosewright.core import InputError
from dosewright.geometry.expression_error import ExpressionError
from dosewright.geometry.reduced_expression import reduced
from dosewright.geometry.structure_expression import Combined, Expression, Margin, Named, parse

A, B, C = Named("A"), Named("B"), Named("C")


def all_round(operand: Expression, margin_mm: float, inward: bool = False) -> Margin:
    return Margin(operand, (margin_mm,) * 3, inward)


READINGS = {
    "A": A,
    " ( ( A ) ) ": A,
    "A | B | C": Combined("|", (A, B, C)),
    "A | (B | C)": Combined("|", (A, Combined("|", (B, C)))),
    "A - B & C": Combined("&", (Combined("-", (A, B)), C)),
    "A | B & C": Combined("|", (A, Combined("&", (B, C)))),
    "A & B | C": Combined("|", (Combined("&", (A, B)), C)),
    "A + 3mm": all_round(A, 3.0),
    "A+3mm": all_round(A, 3.0),
    "A - 3 mm": all_round(A, 3.0, inward=True),
    "A-.5mm": all_round(A, 0.5, inward=True),
    "A + 3mm - B": Combined("-", (all_round(A, 3.0), B)),
    "A + 3mm-B": Combined("-", (all_round(A, 3.0), B)),
    "A - (B + 3mm)": Combined("-", (A, all_round(B, 3.0))),
    "(A - B) + 3mm": all_round(Combined("-", (A, B)), 3.0),
    "A | B + 3mm": Combined("|", (A, all_round(B, 3.0))),
    "A + 5mm - 3mm": all_round(all_round(A, 5.0), 3.0, inward=True),
    "A + (z 8mm, x 5.5mm)": Margin(A, (5.5, 0.0, 8.0)),
    "A - (y 5mm)": Margin(A, (0.0, 5.0, 0.0), inward=True),
    "A - (x | B)": Combined("-", (A, Combined("|", (Named("x"), B)))),
    "A - (x)": Combined("-", (A, Named("x"))),
    "Larynx-PTV": Named("Larynx-PTV"),
    "Larynx - PTV": Combined("-", (Named("Larynx"), Named("PTV"))),
    "Larynx -PTV": Combined("-", (Named("Larynx"), Named("PTV"))),
    "Larynx-(PTV)": Combined("-", (Named("Larynx"), Named("PTV"))),
    '"PTV 70-CTV"-"2 cm"': Combined("-", (Named("PTV 70-CTV"), Named("2 cm"))),
    "Bone.1^x~": Named("Bone.1^x~"),
    "A\n|\tB": Combined("|", (A, B)),
}


@pytest.mark.parametrize("text", READINGS)
def test_texts_read_as_python_would_take_them(text):
    assert parse(text) == READINGS[text]


CANONICAL = {
    "PTV_Low-(PTV_Mid+3.0mm)-(PTV_High+6mm)&Body": "(PTV_Low - (PTV_Mid + 3mm) - (PTV_High + 6mm)) & Body",
    '"A" | ("B-1")': 'A | "B-1"',
    "A - (z 0.25mm)": "A - (x 0mm, y 0mm, z 0.25mm)",
    "A + (x 2mm, y 2mm, z 2mm)": "A + 2mm",
    "A + .00001mm": "A + 0.00001mm",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_text(text):
    assert str(parse(text)) == CANONICAL[text]


def test_names_come_once_and_in_order():
    assert parse('B - (A + 3mm) | "the cord" & B').names == ("B", "A", "the cord")


names = st.one_of(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_.^~]{0,6}(-[A-Za-z0-9]{1,4})?", fullmatch=True),
    st.text(st.characters(exclude_characters='"', exclude_categories=("Cc", "Cs")), min_size=1, max_size=6),
)
lengths = st.one_of(st.floats(0.0, 500.0), st.integers(0, 500).map(float))
trees = st.recursive(
    names.map(Named),
    lambda inner: st.one_of(
        st.builds(Combined, st.sampled_from("|&-"), st.lists(inner, min_size=2, max_size=4).map(tuple)),
        st.builds(Margin, inner, st.tuples(lengths, lengths, lengths), st.booleans()),
        st.builds(all_round, inner, lengths, st.booleans()),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, database=None)
@given(trees)
def test_every_tree_survives_its_text(tree):
    text = str(tree)
    assert parse(text) == tree
    assert str(parse(text)) == text


@settings(max_examples=60, deadline=None, database=None)
@given(st.text(st.sampled_from('AB_.^~-+|&(),"x3.5 m\n§∪'), max_size=30))
def test_any_text_parses_or_is_refused_at_a_place_within(text):
    try:
        tree, place = parse(text), (0, 0)
    except ExpressionError as error:
        tree, place = A, (error.start, error.end)
    assert parse(str(tree)) == tree
    assert 0 <= place[0] <= place[1] <= len(text)


WRONG = {  # text → (rule, what the carets stand under, "" for the end)
    "A |": ("must have a structure here, not the end", ""),
    "A | & B": ("must have a structure here, not `&`", "&"),
    "A B": ("must go on with an operator, not with `B`", "B"),
    "(A | B": ("must close this parenthesis before the end", "("),
    "A | B)": (r"must go on with an operator, not with `\)`", ")"),
    "A + B": (r"must have a margin such as `3mm` here, not `B`; a union is written `\|`", "B"),
    "A + 3": ("must have a unit behind this number: `3mm`", "3"),
    "A - 3 | B": ("must have a unit behind this number: `3mm`", "3"),
    "A + 3cm": ("must have its margins in mm, not in `cm`", "cm"),
    "A + 3e2mm": ("must have its margins in mm, not in `e2mm`", "e2mm"),
    "A + -3mm": ("must have a margin such as `3mm` here, not `-`", "-"),
    "A + NaNmm": ("must have a margin such as `3mm` here, not `NaNmm`", "NaNmm"),
    "A + 500.5mm": ("must not have margins above 500 mm", "500.5mm"),
    "A + " + "9" * 400 + "mm": ("must not have margins above 500 mm", "9" * 400 + "mm"),
    "A + (x 3mm, x 4mm)": ("must have x, y or z here, each once", "x"),
    "A + (w 3mm)": ("must have x, y or z here, each once", "w"),
    "A + (x 3mm y 4mm)": ("must go on with `,` or `\\)`, not with `y`", "y"),
    "A + (x 3)": ("must have a unit behind this number", "3"),
    "A - B + 3mm": ("must say in parentheses what this margin is of", "+"),
    "A - (B | C) - 3mm": ("must say in parentheses what this margin is of", "-"),
    "A ∪ B": ("must not hold '∪' outside double quotes; is it `\\|`", "∪"),
    "A @ B": ("must not hold '@' outside double quotes", "@"),
    'A | "B': ("must close its double quotes in the same line", '"'),
    'A | "B\nC"': ("must close its double quotes in the same line", '"'),
    'A | ""': ("must have 1 to 200 characters between double quotes", '""'),
    "PTV-70": ("must have a unit behind this number: `70mm`", "70"),
    "(" * 51 + "A" + ")" * 51: ("must not be nested deeper than 50 levels", "("),
    "A" + " + 1mm" * 50: ("must not be nested deeper than 50 levels", "+"),
}


@pytest.mark.parametrize("text", WRONG)
def test_errors_point_at_the_token(text):
    rule, token = WRONG[text]
    with pytest.raises(ExpressionError, match=rule) as caught:
        parse(text)
    error = caught.value
    assert isinstance(error, InputError)
    assert text[error.start : error.end] == token
    shown, carets = str(error).splitlines()[-2:]
    assert set(carets.strip()) == {"^"}
    assert shown[carets.index("^") :].startswith(token[:50].replace("\n", " "))


def test_of_two_equal_tokens_the_wrong_one_is_pointed_at():
    with pytest.raises(ExpressionError, match="each once") as caught:
        parse("A + (x 3mm, x 4mm)")
    assert caught.value.start == 12
    assert str(caught.value).splitlines()[-1].index("^") == 2 + 12


def test_a_long_text_is_shown_around_the_place():
    with pytest.raises(ExpressionError, match="must not hold '§'") as caught:
        parse("A | " * 300 + "§" + " | B" * 300)
    lines = str(caught.value).splitlines()
    assert max(map(len, lines)) < 140
    assert lines[-2][lines[-1].index("^")] == "§"


def test_texts_that_are_none_are_refused():
    with pytest.raises(ExpressionError, match="must not be empty"):
        parse(" \n")
    with pytest.raises(ExpressionError, match="at most 10000 characters; got '1000000 characters'"):
        parse("A" * 1_000_000)


def test_the_longest_texts_are_read():
    assert len(parse(" | ".join(f"A{i}" for i in range(1000))).names) == 1000
    assert parse("(" * 50 + "A" + ")" * 50) == A
    assert parse("A" + " + 1mm" * 49).depth == 50


@pytest.mark.parametrize("margin", [(math.nan, 1.0, 1.0), (-1.0, 1.0, 1.0), (1.0, math.inf, 1.0), (501.0,) * 3])
def test_margins_out_of_range_are_refused(margin):
    with pytest.raises(ExpressionError, match=r"must be three lengths in \[0, 500\] mm"):
        Margin(A, margin)


def test_trees_that_have_no_text_are_refused():
    with pytest.raises(ExpressionError, match="without double quotes"):
        Named('A"B')
    with pytest.raises(ExpressionError, match=r'must be "\|", "&" or "-"'):
        Combined("+", (A, B))
    with pytest.raises(ExpressionError, match="must be two or more"):
        Combined("|", (A,))
    deep = A
    for _ in range(49):
        deep = all_round(deep, 1.0)
    with pytest.raises(ExpressionError, match="must not be nested deeper than 50 levels; got '51 levels'"):
        all_round(deep, 1.0)


def test_an_error_can_be_located_in_a_file():
    with pytest.raises(ExpressionError) as caught:
        parse("A + 3")
    located = ExpressionError.located(caught.value, "card.json")
    assert str(located) == f"card.json: {caught.value}"


REDUCTIONS = {  # with A and B there
    "A | C": "A",
    "C | D": None,
    "A - C - B": "A - B",
    "C - A": None,
    "A & C": None,
    "A | (B & C)": "A",
    "(A | C) + 3mm": "A + 3mm",
    "A - (C + 3mm)": "A",
    "C - 3mm": None,
    "(A - B) & (B | C)": "(A - B) & B",
}


@pytest.mark.parametrize("text", REDUCTIONS)
def test_absent_structures_are_taken_out(text):
    left = reduced(parse(text), {"A", "B"})
    assert (None if left is None else str(left)) == REDUCTIONS[text]
