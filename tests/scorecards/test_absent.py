from dataclasses import replace

import numpy as np
import pytest

from dosewright.core import InputError, PatientCase
from dosewright.geometry.structure_expression import parse
from dosewright.scorecards.absent import Reduced, reduced_structures, without_absent
from dosewright.scorecards.cards import card_named
from dosewright.scorecards.score_card import Curve, Metric, ScoreCard, ScoreItem, ScorePoint
from dosewright.scorecards.scorer import Scorer

MEAN = Metric("mean_dose", output_unit="Gy")
CURVE = Curve((ScorePoint(0.0, 100.0), ScorePoint(100.0, 0.0)))


def card(*items: tuple[str, str | None]) -> ScoreCard:
    return ScoreCard("card", tuple(ScoreItem(name, MEAN, CURVE, expression) for name, expression in items))


@pytest.mark.parametrize(
    ("text", "left", "absent"),
    [
        ("A", "A", ()),
        ("B", None, ("B",)),
        ("A - B", "A", ("B",)),
        ("A - B - C", "A - C", ("B",)),
        ("B - A", None, ("B",)),
        ("A | B", "A", ("B",)),
        ("B | D", None, ("B", "D")),
        ("A & B", None, ("B",)),
        ("(A + 3mm) - (B + 5mm)", "A + 3mm", ("B",)),
        ("((A | B) + 3mm) - (C - B)", "(A + 3mm) - C", ("B",)),
        ("(A - (B & C)) & C", "A & C", ("B",)),
    ],
)
def test_what_is_left_of_an_expression(text: str, left: str | None, absent: tuple[str, ...]) -> None:
    found, names = without_absent(parse(text), ("A", "C"))
    assert (found if found is None else str(found), names) == (left, absent)


def test_a_built_structure_is_measured_without_what_is_absent(case: PatientCase) -> None:
    wished = card(
        ("Gland-PTV", "{<Parotid_L>} SUB {<PTV_High>} SUB {<PTV_Mid>|3}"),
        ("Whole", "{<Parotid_L>} SUB {<PTV_High>}"),
        ("Larynx-PTV", "{<Larynx>} SUB {<PTV_Mid>}"),
        ("PTV_Mid", None),
    )
    reduced = reduced_structures(wished, case)
    assert reduced == {"Gland-PTV": Reduced("Parotid_L - PTV_High", ("PTV_Mid",))}
    names = {name: left.expression for name, left in reduced.items()}
    assert case.dose_gy is not None
    gland, whole, larynx, target = Scorer(wished, case, names)(case.dose_gy).items
    mean_gy = float(np.mean(case.dose_gy[case.structures["Parotid_L"]], dtype=float))
    assert gland.value == pytest.approx(mean_gy, rel=1e-6)
    assert whole.value == gland.value
    assert (larynx.score, target.score) == (None, None)


def test_without_it_the_scorer_refuses(case: PatientCase) -> None:
    wished = card(("Gland-PTV", "{<Parotid_L>} SUB {<PTV_Mid>}"))
    assert case.dose_gy is not None
    (entry,) = Scorer(wished, case)(case.dose_gy).items
    assert entry.score is None
    assert "the case has no structure PTV_Mid" in entry.reason


def test_what_the_case_or_its_user_has_is_left_alone(case: PatientCase) -> None:
    structures = dict(case.structures) | {"Ring": case.structures["PTV_Low"]}
    ringed = replace(case, structures=structures)
    wished = card(("Ring", "{<PTV_High>} SUB {<PTV_Mid>}"), ("Gland", "{<Parotid_L>} SUB {<PTV_Mid>}"))
    assert reduced_structures(wished, ringed, {"Gland": "Parotid_R"}) == {}
    found = reduced_structures(wished, ringed)
    assert found == {"Gland": Reduced("Parotid_L", ("PTV_Mid",))}


def test_names_are_followed_inside_expressions(case: PatientCase) -> None:
    wished = card(("Gland-PTV", "{<Parotid_L>} SUB {<Targets>} SUB {<Body>|-5}"))
    found = reduced_structures(wished, case, {"Targets": "PTV_High | PTV_Mid"})
    assert found == {"Gland-PTV": Reduced("Parotid_L - PTV_High - (External - 5mm)", ("PTV_Mid",))}


def test_a_comment_that_is_no_expression_is_left_to_the_scorer(case: PatientCase) -> None:
    wished = card(("Gland", "about the {<Parotid_L> SUB"))
    assert reduced_structures(wished, case) == {}
    assert case.dose_gy is not None
    (entry,) = Scorer(wished, case)(case.dose_gy).items
    assert entry.score is None


def test_contradicting_names_are_refused(case: PatientCase) -> None:
    with pytest.raises(InputError, match="names must say one thing for"):
        reduced_structures(card(("A", None)), case, {"PTV": "PTV_High", "ptv": "PTV_Low"})


def test_the_head_and_neck_card_on_a_case_with_two_levels(case: PatientCase) -> None:
    """The helper structures of the card, on what the case has: no middle level and no plexus."""
    reduced = reduced_structures(card_named("head_neck_sib"), case)
    assert {name: left.expression for name, left in reduced.items()} == {
        "PTV_High_OPT": "PTV_High",
        "PTV_Low-PTV_Mid": "PTV_Low - PTV_High",
        "Ring_PTV_Low": "((PTV_Low + 30mm) - (PTV_Low + 2mm) - (PTV_High + 9mm)) & External",
        "Parotids-PTV": "(Parotid_L | Parotid_R) - PTV_High - PTV_Low",
    }
