"""Names in a planning system: the user's own stay, helpers made here are shortened to what it takes."""

import pytest

from dosewright.core import InputError
from dosewright.objectives.formats.names import own_names, shortened

LONG = "A_long_name_of_the_user's"


def test_only_helpers_made_here_are_shortened() -> None:
    structures, made = ("Bone_Mandible-PTV", LONG), ("Bone_Mandible-PTV",)
    assert own_names(structures, None, made, 16) == {"Bone_Mandible-PTV": "BoneMandible-PTV", LONG: LONG}
    assert own_names(structures, {LONG: "B"}, made, 16) == {"Bone_Mandible-PTV": "BoneMandible-PTV", LONG: "B"}
    own = {"Bone_Mandible-PTV": "Mandible minus PTV", LONG: "B"}
    assert own_names(structures, own, made, 16) == own


def test_a_structure_without_a_name_is_told() -> None:
    with pytest.raises(InputError, match=r"names must have an entry for each of \['Larynx'\]"):
        own_names(["Larynx", "Ring"], {"Heart": "Herz"}, ["Ring"])


@pytest.mark.parametrize(
    ("name", "longest", "short"),
    [
        ("Larynx-PTV_High", 16, "Larynx-PTV_High"),
        ("Parotid_L-PTV_High", 16, "ParotidL-PTVHigh"),
        ("Glnd_Submand_L-PTV_High", 16, "GlndSubm-PTVHigh"),
        ("Ring_PTV_Low_Outermost", 16, "RingPTVLowOuterm"),
        ("a-" + "b" * 30, 16, "a-" + "b" * 14),
    ],
)
def test_how_names_are_shortened(name: str, longest: int, short: str) -> None:
    assert shortened(name, longest) == short
