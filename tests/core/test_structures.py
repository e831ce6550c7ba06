"""Structure names: roles and mirror images."""

import pytest

from dosewright.core import EXTERNAL, KNOWN, InputError, Role, mirrored, role_of


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("PTV_High", Role.TARGET),
        ("PTVHighOPT", Role.TARGET),
        ("CTV_7000", Role.TARGET),
        ("GTVp", Role.TARGET),
        ("ITV", Role.TARGET),
        ("Parotid_L", Role.OAR),
        ("SpinalCord", Role.OAR),
        ("Bowel_Small", Role.OAR),
        ("SpinalCord-PTV", Role.OAR),
        ("zRing", Role.HELPER),
        ("RingPTVHigh", Role.HELPER),
        ("External", Role.EXTERNAL),
    ],
)
def test_role(name: str, role: Role) -> None:
    assert role_of(name) is role


@pytest.mark.parametrize(
    "name", ["", "1PTV", "_PTV", "PTV High", "PTV/High", "../PTV", "PTV\n", "PTV,High", "Größe", "P" * 65], ids=repr
)
def test_illegal_names_are_refused_with_the_name(name: str) -> None:
    with pytest.raises(InputError, match="name must be a structure name") as raised:
        role_of(name)
    assert raised.value.value == name


def test_the_longest_legal_name() -> None:
    assert role_of("P" * 64) is Role.OAR


@pytest.mark.parametrize(
    ("name", "other"),
    [("Parotid_L", "Parotid_R"), ("Lens_R", "Lens_L"), ("Larynx", "Larynx"), ("PTV_Low", "PTV_Low"), ("Lung", "Lung")],
)
def test_mirror_image(name: str, other: str) -> None:
    assert mirrored(name) == other
    assert mirrored(other) == name


def test_every_sided_name_the_package_knows_has_its_twin_of_the_same_kind() -> None:
    sided = [name for name in KNOWN if mirrored(name) != name]
    assert "Parotid_L" in sided
    for name in sided:
        twin = KNOWN[mirrored(name)]
        assert (twin.role, twin.group) == (KNOWN[name].role, KNOWN[name].group)


def test_known_names_are_legal_and_carry_their_own_name() -> None:
    assert all(role_of(name) is known.role and known.name == name for name, known in KNOWN.items())
    assert [name for name, known in KNOWN.items() if known.role is Role.EXTERNAL] == [EXTERNAL]
