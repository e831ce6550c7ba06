"""A net with preference sliders whose dose is a known function of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cases import make_case
from dosewright.core import PatientCase
from dosewright.core.preference import PreferenceSpace
from dosewright.datasets.channels import ChannelSet, Masks
from dosewright.inference.weights import Model

CHANNELS = ChannelSet(
    [Masks(["PTV_High", "PTV_Low", "Parotid_L", "Parotid_R", "SpinalCord"])],
    ["PTV_High", "PTV_Low", "Parotid_L", "Parotid_R", "SpinalCord"],
)
WIDER = 2.0  # Gy that half of a target gets more, and half less, than prescribed, at homogeneity 1
PRICE = 3.0  # Gy by which this grows per unit of mean sparing
PAROTID_GY, CORD_GY = 30.0, 20.0
CORD_LEAK, PAROTID_LEAK = 4.0, 2.0  # Gy per unit of homogeneity, and of the cord's sparing


class SliderNet(nn.Module):
    """Targets get 70 and 56 Gy ± a, a = 2 h − 3 (mean w − 1), each sign in every other row; organs as written below."""

    stride = 4

    def __init__(self, groups: str = "per_group") -> None:
        super().__init__()
        self.preference = PreferenceSpace(groups)  # type: ignore[arg-type]
        self.calls: list[dict[str, Any]] = []

    def forward(self, image: Tensor, preference: Tensor | None = None, plan: Tensor | None = None) -> Tensor:
        self.calls.append({"image": image, "preference": preference, "plan": plan})
        values = [1.0] * len(self.preference) if preference is None else preference[0].tolist()
        salivary, neural, h = values[0], values[min(1, len(values) - 2)], values[-1]
        a = WIDER * h - PRICE * (sum(values[:-1]) / (len(values) - 1) - 1.0)
        sign = 1.0 - 2.0 * (torch.arange(image.shape[-2]) % 2)[:, None]
        high, low, left, right, cord = image[0]
        dose = high * (70.0 + a * sign) + low * (56.0 + a * sign)
        dose = dose + (left + right) * (PAROTID_GY * salivary + PAROTID_LEAK * (neural - 1.0))
        return (dose + cord * (CORD_GY * neural + CORD_LEAK * (h - 1.0)))[None, None]


def slider_model(net: nn.Module, path: Path = Path("slider.safetensors")) -> Model:
    return Model(net.eval(), CHANNELS, 1.0, path)


def slider_case(case_id: str = "case_1") -> PatientCase:
    """Two parotids and the cord outside the targets, and a larynx inside PTV_High."""
    case = make_case(case_id)
    larynx = np.zeros_like(case.body)
    larynx[6:8, 9:11, 10:12] = True
    return replace(case, structures=dict(case.structures) | {"Larynx": larynx})
