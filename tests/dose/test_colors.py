import itertools

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from dosewright.core import KNOWN
from dosewright.dose.colors import color_of

OPENKBP = (
    *("PTV_High", "PTV_Mid", "PTV_Low", "Brainstem", "SpinalCord"),
    *("Parotid_L", "Parotid_R", "Esophagus", "Larynx", "Bone_Mandible"),
)
# Machado, Oliveira & Fernandes 2009, severity 1.0, on linear RGB
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def linear_rgb(name: str) -> np.ndarray:
    code = color_of(name)
    value = np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def seen(name: str, sight: str) -> np.ndarray:
    value = np.clip(SIGHT[sight] @ linear_rgb(name), 0, 1)
    return rgb2lab(np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("sight", SIGHT)
def test_structures_can_be_told_apart(sight: str) -> None:
    distances = {
        (a, b): deltaE_ciede2000(seen(a, sight), seen(b, sight)) for a, b in itertools.combinations(OPENKBP, 2)
    }
    closest = min(distances, key=distances.__getitem__)
    assert distances[closest] >= 15, closest


@pytest.mark.parametrize("name", OPENKBP)
def test_colors_show_on_white_and_on_black(name: str) -> None:
    luminance = linear_rgb(name) @ [0.2126, 0.7152, 0.0722]
    assert 0.025 <= luminance <= 0.55


def test_every_name_has_one_color() -> None:
    for name in [*KNOWN, "zRing", "OAR_of_nobody"]:
        assert color_of(name) == color_of(name)
        assert len(color_of(name)) == 7
        int(color_of(name)[1:], 16)
