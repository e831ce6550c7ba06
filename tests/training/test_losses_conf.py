"""Every loss and net of conf/ composes and instantiates as it is written."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from losses_cases import make_batch, predicted

from dosewright.training.losses import DeepSupervisionLoss, DVHLoss, MaskedL1, MaskedSmoothL1, MomentLoss, WeightedSum

CONF = Path(__file__).resolve().parents[2] / "conf"
LOSSES = {
    "masked_l1": MaskedL1,
    "smooth_l1": MaskedSmoothL1,
    "dvh": DVHLoss,
    "moment": MomentLoss,
    "l1_dvh": WeightedSum,
    "l1_moment": WeightedSum,
    "c3d": DeepSupervisionLoss,
    "deep_supervision": DeepSupervisionLoss,
}
# Millions of parameters for nine channels, measured once; layers are counted by hand in the tests of the nets.
NETS = {"mednext_s": 5.551, "mednext_b": 10.511, "mednext_m": 17.534, "mednext_l": 61.727, "c3d": 32.349}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_instantiate(name: str):
    with initialize_config_dir(str(CONF), version_base=None):
        node = compose(overrides=[f"+loss={name}"]).loss
    loss = instantiate(node)
    assert type(loss) is LOSSES[name]
    batch = make_batch()
    dose = predicted(batch)
    assert 0.1 < float(loss(dose, batch)) < 10.0  # Gy; the dose misses by up to 8
    if name in ("l1_dvh", "l1_moment"):
        other = DVHLoss() if name == "l1_dvh" else MomentLoss()
        expected = MaskedL1()(dose, batch) + node.weights[name.removeprefix("l1_")] * other(dose, batch)
        torch.testing.assert_close(loss(dose, batch), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", NETS)
def test_nets_instantiate(name: str):
    with initialize_config_dir(str(CONF), version_base=None):
        node = compose(overrides=[f"+model={name}"]).model
    with torch.device("meta"):
        net = instantiate(node, in_channels=9)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(NETS[name], abs=1e-3)
    assert net.stride == 16
