"""Dose-volume quantities of one structure: D_v, V_d, mean, extremes, gEUD and the cumulative DVH.

Doses are total Gy, any shape; `mask` has the dose's shape. Voxels count whole: no partial volumes. Everything is
differentiable in the dose except hard volumes (`softness_gy=0`), which are step functions.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError
from dosewright.dose.checks import check_positive
from dosewright.dose.voxels import (
    Dose,
    DoseMask,
    Scalar,
    Voxels,
    at_position,
    percent_at_or_above,
    percentile,
    sorted_voxels,
    structure_voxels,
)

GEUD_FLOOR_GY = 1e-6  # below it a voxel counts as this when a < 0, where 0 Gy would have no gradient


def dose_at_volume(dose_gy: Dose, mask: DoseMask, volume_percent: float) -> Scalar:
    """Return D_v in Gy, the least dose received by the hottest `volume_percent` of a structure.

    It is the (100 − v)-th percentile of the voxels with linear interpolation, so D95 is numpy's 5th percentile.

    Args:
        dose_gy: Dose in Gy.
        mask: Voxels of the structure.
        volume_percent: In [0, 100]; 95 gives D95, 0 the maximum, 100 the minimum.

    Raises:
        InputError: If the structure is empty or the percent is out of range.
        GridMismatchError: If dose and mask differ in shape.

    >>> ramp = torch.arange(101.0)
    >>> dose_at_volume(ramp, torch.ones(101, dtype=torch.bool), 95.0)
    tensor(5.)
    """
    _check_percent(volume_percent)
    return percentile(sorted_voxels(dose_gy, mask), 100.0 - volume_percent)


def dose_at_cc(dose_gy: Dose, mask: DoseMask, volume_cc: float, voxel_volume_cc: float) -> Scalar:
    """Return D_cc in Gy, the least dose received by the hottest `volume_cc` of a structure.

    Where the volume is k voxels it is the dose of the k-th hottest, linearly interpolated for k between whole numbers;
    a volume below one voxel gives the maximum, a structure smaller than the volume its minimum. (OpenKBP's D_0.1_cc is
    a percentile instead: see `dose.openkbp`.)

    Args:
        dose_gy: Dose in Gy.
        mask: Voxels of the structure.
        volume_cc: Positive, in cm³.
        voxel_volume_cc: Volume of one voxel in cm³.

    Raises:
        InputError: If the structure is empty or a volume is not positive and finite.
        GridMismatchError: If dose and mask differ in shape.

    >>> dose_at_cc(torch.tensor([10.0, 20.0, 30.0, 40.0]), torch.ones(4, dtype=torch.bool), 0.5, 0.25)
    tensor(30.)
    """
    return sorted_dose_at_cc(sorted_voxels(dose_gy, mask), volume_cc, voxel_volume_cc)


def sorted_dose_at_cc(ascending_gy: Voxels, volume_cc: float, voxel_volume_cc: float) -> Scalar:
    """Return D_cc in Gy of sorted voxels; see `dose_at_cc`.

    Raises:
        InputError: If a volume is not positive and finite.
    """
    check_positive("volume_cc", volume_cc)
    check_positive("voxel_volume_cc", voxel_volume_cc)
    last = float(ascending_gy.numel() - 1)
    from_top = min(max(volume_cc / voxel_volume_cc - 1.0, 0.0), last)
    return at_position(ascending_gy, last - from_top)


def volume_at_dose(dose_gy: Dose, mask: DoseMask, threshold_gy: float, softness_gy: float = 0.0) -> Scalar:
    """Return V_d, the percent of a structure that receives `threshold_gy` or more.

    Args:
        dose_gy: Dose in Gy.
        mask: Voxels of the structure.
        threshold_gy: Dose threshold in Gy.
        softness_gy: Width in Gy of the sigmoid that replaces the step; 0 counts voxels and has no gradient.

    Raises:
        InputError: If the structure is empty or the softness is negative.
        GridMismatchError: If dose and mask differ in shape.

    >>> volume_at_dose(torch.tensor([10.0, 20.0, 30.0, 40.0]), torch.ones(4, dtype=torch.bool), 20.0)
    tensor(75.)
    """
    return 100.0 * soft_count(structure_voxels(dose_gy, mask), threshold_gy, softness_gy) / mask.sum()


def soft_count(voxels_gy: Voxels, threshold_gy: float, softness_gy: float = 0.0) -> Scalar:
    """Return how many voxels have `threshold_gy` or more; a sum of sigmoids when `softness_gy` is positive.

    Raises:
        InputError: If the softness is negative.
    """
    if not softness_gy >= 0.0:
        raise InputError("must be zero or more", argument="softness_gy", value=softness_gy)
    if softness_gy == 0.0:
        return torch.count_nonzero(voxels_gy >= threshold_gy).to(voxels_gy.dtype)
    return torch.sigmoid((voxels_gy - threshold_gy) / softness_gy).sum()


def mean_dose(dose_gy: Dose, mask: DoseMask) -> Scalar:
    """Return a structure's mean dose in Gy.

    Raises:
        InputError: If the structure is empty.
        GridMismatchError: If dose and mask differ in shape.
    """
    return structure_voxels(dose_gy, mask).mean()


def max_dose(dose_gy: Dose, mask: DoseMask) -> Scalar:
    """Return a structure's greatest voxel dose in Gy.

    Raises:
        InputError: If the structure is empty.
        GridMismatchError: If dose and mask differ in shape.
    """
    return structure_voxels(dose_gy, mask).max()


def min_dose(dose_gy: Dose, mask: DoseMask) -> Scalar:
    """Return a structure's least voxel dose in Gy.

    Raises:
        InputError: If the structure is empty.
        GridMismatchError: If dose and mask differ in shape.
    """
    return structure_voxels(dose_gy, mask).min()


def generalized_eud(dose_gy: Dose, mask: DoseMask, a: float) -> Scalar:
    """Return gEUD = (mean d^a)^(1/a) in Gy (Niemierko 1997).

    Negative doses count as 0; with a < 0, doses under 1e-6 Gy count as 1e-6 Gy.

    Args:
        dose_gy: Dose in Gy.
        mask: Voxels of the structure.
        a: Volume effect: 1 is the mean, large tends to the maximum, negative suits targets; not 0.

    Raises:
        InputError: If the structure is empty, or `a` is 0 or not finite.
        GridMismatchError: If dose and mask differ in shape.

    >>> round(generalized_eud(torch.tensor([30.0, 40.0]), torch.ones(2, dtype=torch.bool), 2.0).item(), 4)
    35.3553
    """
    if a == 0 or not math.isfinite(a):
        raise InputError("must be finite and not 0", argument="a", value=a)
    voxels = structure_voxels(dose_gy, mask).clamp_min(0.0 if a > 0 else GEUD_FLOOR_GY)
    # The largest term of the mean is scaled to 1, so that d^a neither overflows nor vanishes.
    scale = (voxels.max() if a > 0 else voxels.min()).detach()
    if scale == 0:
        return voxels.mean()  # all zero: 0 Gy, and the mean's gradient is a subgradient for a >= 1
    return scale * ((voxels / scale) ** a).mean() ** (1.0 / a)


def dvh_curve(
    dose_gy: Dose, mask: DoseMask, bins_gy: Float[Tensor, " b"], softness_gy: float = 0.0
) -> Float[Tensor, " b"]:
    """Return the cumulative DVH: the percent of a structure at or above each dose of `bins_gy`.

    Args:
        dose_gy: Dose in Gy.
        mask: Voxels of the structure.
        bins_gy: Doses in Gy, in any order.
        softness_gy: As in `volume_at_dose`; a positive one takes memory voxels × bins.

    Raises:
        InputError: If the structure is empty or the softness is negative.
        GridMismatchError: If dose and mask differ in shape.

    >>> dvh_curve(torch.tensor([10.0, 30.0]), torch.ones(2, dtype=torch.bool), torch.tensor([0.0, 20.0, 40.0]))
    tensor([100.,  50.,   0.])
    """
    if not softness_gy >= 0.0:
        raise InputError("must be zero or more", argument="softness_gy", value=softness_gy)
    if softness_gy == 0.0:
        return percent_at_or_above(sorted_voxels(dose_gy, mask), bins_gy)
    voxels = structure_voxels(dose_gy, mask)
    return 100.0 * torch.sigmoid((voxels[:, None] - bins_gy.to(voxels.dtype)) / softness_gy).mean(dim=0)


def _check_percent(volume_percent: float) -> None:
    if not 0.0 <= volume_percent <= 100.0:
        raise InputError("must be in [0, 100]", argument="volume_percent", value=volume_percent)
