import pytest
from export_samples import content, line

from dosewright.core import InputError
from dosewright.objectives import Objective
from dosewright.objectives.formats.content import ExportContent, ExportItem, as_items
from dosewright.objectives.formats.names import own_names

POINT = Objective("Larynx", "max_dvh", 30, 20)


def test_structures_come_in_order_of_their_first_objective() -> None:
    plan = content([Objective("PTV", "squared_overdose", 60), POINT, Objective("PTV", "squared_underdose", 55)])
    assert plan.structures == ("PTV", "Larynx")
    assert plan.highest_prescription_gy == 70.0


def test_a_plan_needs_fractions_and_names() -> None:
    with pytest.raises(InputError, match="fractions must be at least 1; got 0"):
        content([], fractions=0)
    with pytest.raises(InputError, match=r"names must have an entry for \['Larynx'\]"):
        ExportContent("pt_1", as_items([POINT]), {}, 35, {})


def test_only_points_can_be_on_a_line() -> None:
    with pytest.raises(InputError, match="line must be from 1, or none; got 0"):
        ExportItem(POINT, 0)
    with pytest.raises(InputError, match=r"kind on a line must be of .*; got 'mean_upper'"):
        ExportItem(Objective("Larynx", "mean_upper", 30), 1)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Objective("PTV", "max_dvh", 5, 70, 40.0), "must be of one structure, kind and priority"),
        (Objective("Larynx", "min_dvh", 5, 70, 40.0), "must be of one structure, kind and priority"),
        (Objective("Larynx", "max_dvh", 5, 70, 41.0), "must be of one structure, kind and priority"),
        (Objective("Larynx", "max_dvh", 5, 50, 40.0), "must have each volume once"),
        (Objective("Larynx", "max_dvh", 31, 30, 40.0), "must have doses that do not rise with volume"),
    ],
)
def test_a_line_is_monotone_and_of_one_kind(other: Objective, told: str) -> None:
    with pytest.raises(InputError, match=f"line 1 of Larynx {told}"):
        content([*line("Larynx"), ExportItem(other, 1)])


def test_names_are_the_users_own_but_for_helpers_made_here() -> None:
    assert own_names(["PTV", "zTissue"]) == {"PTV": "PTV", "zTissue": "zTissue"}
    own = {"PTV": "Zielvolumen", "Heart": "Herz"}
    assert own_names(["PTV", "zTissue"], own, ["zTissue"]) == {"PTV": "Zielvolumen", "zTissue": "zTissue"}
    assert own_names(["zTissue"], {"zTissue": "Rest"}, ["zTissue"]) == {"zTissue": "Rest"}
    with pytest.raises(InputError, match=r"names must have an entry for each of \['Larynx', 'Brain'\]; got \['Heart'"):
        own_names(["Larynx", "PTV", "Brain"], own)
