import pytest

from dosewright.core import InputError
from dosewright.scorecards.structure_match import StructureMatcher

CASE = ("PTV_High", "SpinalCord", "Parotid_L", "Parotid_R", "Lung_L", "Femora_L", "BrachialPlex_L", "Bone_Mandible")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("SpinalCord", "SpinalCord"),
        ("SPINAL_CORD", "SpinalCord"),
        ("spinal cord", "SpinalCord"),
        ("  Spinal  Cord ", "SpinalCord"),
        ("PAROTID_L", "Parotid_L"),
        ("Parotid R", "Parotid_R"),
        ("bone mandible", "Bone_Mandible"),
        ("Body", "External"),
        ("BODY", "External"),
        ("external", "External"),
        # Nothing is guessed:
        ("PTV", None),
        ("PTV High OPT", None),
        ("Spinal-Cord", None),
        ("Cord", None),
        ("Mandible", None),
        ("Parotid", None),
        ("ParotidL", None),
        ("Parotid_Left", None),
        ("L_Parotid", None),
        ("Lung_R", None),
        ("FEMORAL", None),
        ("Lungs", None),
        ("", None),
        ("   ", None),
    ],
)
def test_names(name: str, found: str | None) -> None:
    assert StructureMatcher(CASE).find(name) == found


def test_sides_are_never_confused() -> None:
    matcher = StructureMatcher(("Parotid_L", "Cochlea_R"))
    for name in ("PAROTID_R", "parotid r", "Parotid  R", "COCHLEA_L", "cochlea_l"):
        assert matcher.find(name) is None


def test_what_the_user_says_comes_first() -> None:
    matcher = StructureMatcher(
        CASE, {"PTV": "PTV_High", "Spinal_Cord": "BrachialPlex_L", "SpinalCord": "BrachialPlex_L"}
    )
    assert matcher.find("PTV") == "PTV_High"
    assert matcher.find("ptv") == "PTV_High"
    assert matcher.find("SpinalCord") == "BrachialPlex_L"
    assert matcher.mapped("Parotid_L") is None


def test_two_that_fit_equally_well_are_refused() -> None:
    matcher = StructureMatcher(("Oral_Cavity", "OralCavity"))
    assert matcher.find("Oral_Cavity") == "Oral_Cavity"
    with pytest.raises(
        InputError, match=r"ORAL CAVITY must fit one structure; say which in `names`; got \['Oral_Cavity'"
    ):
        matcher.find("ORAL CAVITY")


def test_names_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(InputError, match="names must say one thing for 'ptv'"):
        StructureMatcher(CASE, {"PTV": "PTV_High", "ptv": "Lung_L"})
    with pytest.raises(InputError, match="names must say what 'PTV' is in the case; got ' '"):
        StructureMatcher(CASE, {"PTV": " "})
