import numpy as np
import pytest
from matplotlib.patches import Rectangle

from dosewright.jobs.score_cohort import CohortScores
from dosewright.jobs.score_figures import BELOW_ZERO, draw_case, draw_cohort
from dosewright.jobs.score_record import CaseScore, ItemRow


def row(structure: str, score: float | None, maximum: float = 10.0) -> ItemRow:
    there = score is not None
    reason = "" if there else f"the case has no structure {structure}"
    return ItemRow(
        structure, "Dmean [Gy]", structure if there else "", (), 1.0 if there else None, score, maximum, reason
    )


def case(case_id: str, *scores: float | None) -> CaseScore:
    return CaseScore(case_id, tuple(row(f"S{number}", score) for number, score in enumerate(scores)))


def test_bars_are_as_long_as_the_scores() -> None:
    figure = draw_case(case("one", 5.0, -2.0, None), "one")
    (axes,) = figure.axes
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [bar.get_width() for bar in bars if not bar.get_fill()] == [10.0, 10.0, 10.0]
    assert [bar.get_width() for bar in bars if bar.get_fill()] == [5.0, -2.0]
    assert [text.get_text().strip() for text in axes.texts] == [
        *("5.00 at 1.00 Gy", "-2.00 at 1.00 Gy", "the case has no structure S2")
    ]
    assert axes.get_title() == "one\n3.00 of 20 points that could be scored, 30 on the card"
    assert axes.get_xlim()[0] < -2.0


def test_the_map_shows_shares_by_case_from_the_lowest_total() -> None:
    figure = draw_cohort(CohortScores("Mine", "", (case("a", 5.0, 10.0, None, None), case("b", 2.5, -5.0, 1.0, None))))
    assert figure is not None
    image = figure.axes[0].images[0]
    shares = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
    assert shares == pytest.approx(np.array([[0.25, 0.5], [-0.5, 1.0], [0.1, np.nan]]), nan_ok=True)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["b", "a"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        f"S{n} Dmean [Gy] (10)" for n in range(3)
    ]
    red = tuple(int(BELOW_ZERO[at : at + 2], 16) for at in (1, 3, 5))
    assert tuple(image.to_rgba(np.array([-0.5]), bytes=True)[0][:3]) == red


def test_nothing_scored_draws_nothing() -> None:
    assert draw_cohort(CohortScores("Mine", "", (case("a", None), case("b", None)))) is None


def test_records_survive_json() -> None:
    made = case("one", 5.0, None)
    assert CaseScore.from_plain(made.to_plain()) == made
    assert (made.percent, case("none", None).percent) == (50.0, None)
