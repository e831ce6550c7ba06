"""Batches by hand for the tests of losses."""

import torch
from torch import Tensor

from dosewright.core import keys

SHAPE = (4, 5, 6)


def make_batch(seed: int = 0, samples: int = 2, dtype: torch.dtype = torch.float64) -> dict:
    """Random doses; three structures that overlap, leave the dose mask, and one of them absent in the last sample."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand((samples, 1, *SHAPE), generator=generator) < 0.7
    structures = torch.rand((samples, 3, *SHAPE), generator=generator) < 0.3
    structures[-1, 1] = False
    return {
        keys.CASE_ID: [f"case_{i}" for i in range(samples)],
        keys.DOSE: 70 * torch.rand((samples, 1, *SHAPE), generator=generator, dtype=dtype),
        keys.DOSE_MASK: mask,
        keys.STRUCTURES: structures,
        keys.PRESCRIPTION: torch.tensor([[70.0, 0.0, 0.0]] * samples),
        keys.SPACING: torch.tensor([[3.0, 2.0, 2.5]] * samples),
    }


def predicted(batch: dict, seed: int = 1) -> Tensor:
    """A dose that misses the reference by up to 8 Gy, and is positive."""
    noise = torch.rand(
        batch[keys.DOSE].shape, generator=torch.Generator().manual_seed(seed), dtype=batch[keys.DOSE].dtype
    )
    return (batch[keys.DOSE] + 8 * (2 * noise - 1)).clamp(min=0.5)


def filled(value_gy: float, like: Tensor) -> Tensor:
    return torch.full_like(like, value_gy)
