"""D_v as a mean over a band of volumes."""

import numpy as np
import pytest
import torch

from dosewright.core import InputError, keys
from dosewright.training.losses import ObjectiveLoss

SHAPE = (1, 1, 5, 10, 20)


def batch_of(dose_gy: torch.Tensor) -> dict:
    return {
        keys.DOSE: dose_gy,
        keys.DOSE_MASK: torch.ones(SHAPE, dtype=torch.bool),
        keys.STRUCTURES: torch.ones(SHAPE, dtype=torch.bool),
        keys.PRESCRIPTION: torch.tensor([[70.0]]),
    }


def doses() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    one, other = (60 + 10 * torch.rand(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    return one, other


def test_a_band_is_the_mean_of_its_voxels():
    predicted, reference = doses()
    loss = ObjectiveLoss(["PTV"], band_percent=1.5)
    loss(predicted, batch_of(reference))
    ours, theirs = (np.sort(dose.numpy().ravel()) for dose in (predicted, reference))
    spread = [d[965:995].mean() - d[5:35].mean() for d in (ours, theirs)]  # 1000 voxels: v ± 1.5 % are thirty
    assert float(loss.last_parts["homogeneity"]) == pytest.approx(abs(spread[1] - spread[0]), rel=1e-12)
    coverage = abs(theirs[35:65].mean() - ours[35:65].mean())
    assert float(loss.last_parts["coverage"]) == pytest.approx(coverage, rel=1e-12)


def test_a_band_shares_its_gradient_among_its_voxels():
    predicted, reference = doses()
    predicted.requires_grad_(True)
    weights = {"homogeneity_weight": 0, "target_weight": 0, "organ_weight": 0}
    ObjectiveLoss(["PTV"], band_percent=2.0, **weights)(predicted, batch_of(reference)).backward()
    assert predicted.grad is not None
    size = predicted.grad.abs().flatten()
    assert int((size > 0).sum()) == 40
    assert size[size > 0].tolist() == pytest.approx([1 / 40] * 40)


def test_a_structure_of_one_voxel_has_a_band():
    predicted, reference = doses()
    batch = batch_of(reference)
    batch[keys.STRUCTURES] = torch.zeros(SHAPE, dtype=torch.bool)
    batch[keys.STRUCTURES].view(-1)[7] = True
    loss = ObjectiveLoss(["PTV"], band_percent=2.0)
    loss(predicted, batch)
    gap = abs(float((predicted - reference).flatten()[7]))
    assert {name: float(value) for name, value in loss.last_parts.items()} == pytest.approx(
        {"homogeneity": 0.0, "targets": gap, "organs": 0.0, "coverage": gap}
    )


@pytest.mark.parametrize("band", [-0.1, 2.1])
def test_a_band_has_to_fit(band: float):
    with pytest.raises(InputError, match=r"band_percent must be in \[0, 2\]"):
        ObjectiveLoss(["PTV"], band_percent=band)
