"""A structure's voxels: gathered once, sorted once, read many times.

Sorted voxels are ascending and in Gy; every dose-volume quantity except a conformity index can be read off them.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.dose.checks import check_shape

Dose = Float[Tensor, "..."]
DoseMask = Bool[Tensor, "..."]
Voxels = Float[Tensor, " n"]
Scalar = Float[Tensor, ""]


def structure_voxels(dose_gy: Dose, mask: DoseMask) -> Voxels:
    """Return the dose of a structure's voxels in Gy, in array order.

    Raises:
        GridMismatchError: If dose and mask differ in shape.
        InputError: If the mask is empty.
    """
    check_shape("mask", mask.shape, dose_gy.shape)
    voxels = dose_gy[mask]
    if voxels.numel() == 0:
        raise InputError("must not be empty: an absent structure has no dose-volume index", argument="mask", value=0)
    return voxels


def sorted_voxels(dose_gy: Dose, mask: DoseMask) -> Voxels:
    """Return the dose of a structure's voxels in Gy, ascending; gradients flow to `dose_gy`.

    Raises:
        GridMismatchError: If dose and mask differ in shape.
        InputError: If the mask is empty.

    >>> sorted_voxels(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, True, False]))
    tensor([1., 3.])
    """
    return torch.sort(structure_voxels(dose_gy, mask)).values


def percentile(ascending_gy: Voxels, percent: float) -> Scalar:
    """Return the linearly interpolated percentile of sorted voxels, as numpy's default method defines it.

    Voxel i of n sits at percentile 100 i / (n − 1) (Hyndman and Fan 1996, type 7).

    Args:
        ascending_gy: Sorted doses in Gy.
        percent: In [0, 100].

    Raises:
        InputError: If the percent is out of range.

    >>> percentile(torch.tensor([0.0, 10.0]), 5.0)
    tensor(0.5000)
    """
    if not 0.0 <= percent <= 100.0:
        raise InputError("must be in [0, 100]", argument="percent", value=percent)
    return at_position(ascending_gy, percent / 100.0 * (ascending_gy.numel() - 1))


def at_position(ascending_gy: Voxels, position: float) -> Scalar:
    """Return the dose at a position among sorted voxels, linearly interpolated between neighbours.

    Args:
        ascending_gy: Sorted doses in Gy.
        position: In [0, n − 1]; 0 is the least dose.

    >>> at_position(torch.tensor([0.0, 10.0, 40.0]), 1.5)
    tensor(25.)
    """
    below = math.floor(position)
    above = min(below + 1, ascending_gy.numel() - 1)
    weight = position - below
    low, high = ascending_gy[below], ascending_gy[above]
    # Interpolating from the nearer end is exact at both, the way numpy rounds.
    return low + (high - low) * weight if weight < 0.5 else high - (high - low) * (1.0 - weight)


def percent_at_or_above(ascending_gy: Voxels, thresholds_gy: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return the percent of sorted voxels with at least each threshold in Gy; carries no gradient.

    >>> percent_at_or_above(torch.tensor([1.0, 2.0, 2.0, 4.0]), torch.tensor([0.0, 2.0, 5.0]))
    tensor([100.,  75.,   0.])
    """
    count = ascending_gy.numel()
    below = torch.searchsorted(ascending_gy.detach(), thresholds_gy.to(ascending_gy.dtype).contiguous())
    return (count - below).to(ascending_gy.dtype) * (100.0 / count)
