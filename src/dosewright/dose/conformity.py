"""How well a dose fits its target: homogeneity, conformity and gradient indices (dimensionless)."""

import torch
from jaxtyping import Float
from torch import Tensor

from dosewright.dose.checks import check_positive, check_shape
from dosewright.dose.dvh import soft_count
from dosewright.dose.voxels import Dose, DoseMask, Scalar, Voxels, percentile, sorted_voxels, structure_voxels


def homogeneity_index(dose_gy: Dose, mask: DoseMask) -> Scalar:
    """Return HI = (D2 − D98) / D50 (ICRU Report 83, eq. 3.8); 0 is perfectly homogeneous.

    NaN where D50 is 0, as the ratio then means nothing.

    Raises:
        InputError: If the target is empty.
        GridMismatchError: If dose and mask differ in shape.

    >>> homogeneity_index(torch.arange(101.0), torch.ones(101, dtype=torch.bool))
    tensor(1.9200)
    """
    return homogeneity_of_voxels(sorted_voxels(dose_gy, mask))


def homogeneity_of_voxels(ascending_gy: Voxels) -> Scalar:
    """Return HI of sorted target voxels in Gy; see `homogeneity_index`."""
    median = percentile(ascending_gy, 50.0)
    spread = percentile(ascending_gy, 98.0) - percentile(ascending_gy, 2.0)
    return torch.where(median == 0, torch.nan, spread / median)


def paddick_ci(
    dose_gy: Dose, mask: DoseMask, isodose_gy: float, body: DoseMask | None = None, softness_gy: float = 0.0
) -> Scalar:
    """Return Paddick's conformity index TV_PIV² / (TV · PIV); 1 is perfect (Paddick 2000).

    TV is the target's volume, PIV the volume that `isodose_gy` encloses, TV_PIV their overlap. 0 where no voxel
    reaches the isodose. With several dose levels, PIV of a lower one contains the higher targets.

    Args:
        dose_gy: Dose in Gy.
        mask: Voxels of the target.
        isodose_gy: The reference isodose, usually the prescription.
        body: Where PIV is counted (the target always is); None means every voxel.
        softness_gy: As in `volume_at_dose`; positive makes the index differentiable.

    Raises:
        InputError: If the target is empty, the isodose is not positive or the softness negative.
        GridMismatchError: If shapes differ.

    >>> dose, target = torch.tensor([60.0, 60.0, 50.0, 0.0]), torch.tensor([True, False, True, False])
    >>> paddick_ci(dose, target, 60.0)
    tensor(0.2500)
    """
    return paddick_of_voxels(
        structure_voxels(dose_gy, mask), _region(dose_gy, mask, body), isodose_gy, softness_gy=softness_gy
    )


def paddick_of_voxels(
    target_gy: Voxels, region_gy: Float[Tensor, " m"], isodose_gy: float, *, softness_gy: float = 0.0
) -> Scalar:
    """Return Paddick's index from the target's voxels and those of target and body together, in Gy.

    Raises:
        InputError: If the isodose is not positive or the softness negative.
    """
    check_positive("isodose_gy", isodose_gy)
    covered = soft_count(target_gy, isodose_gy, softness_gy)
    enclosed = soft_count(region_gy, isodose_gy, softness_gy)
    return covered / target_gy.numel() * covered / enclosed.clamp_min(torch.finfo(enclosed.dtype).tiny)


def rtog_ci(dose_gy: Dose, mask: DoseMask, isodose_gy: float, body: DoseMask | None = None) -> Scalar:
    """Return the RTOG conformity index PIV / TV (Shaw et al. 1993); 1 is ideal, though it ignores location.

    Args:
        dose_gy: Dose in Gy.
        mask: Voxels of the target.
        isodose_gy: The reference isodose, usually the prescription.
        body: Where PIV is counted (the target always is); None means every voxel.

    Raises:
        InputError: If the target is empty or the isodose is not positive.
        GridMismatchError: If shapes differ.
    """
    check_positive("isodose_gy", isodose_gy)
    target = structure_voxels(dose_gy, mask)
    return soft_count(_region(dose_gy, mask, body), isodose_gy) / target.numel()


def gradient_index(dose_gy: Dose, prescription_gy: float, body: DoseMask | None = None) -> Scalar:
    """Return the gradient index, volume at half the prescription over volume at it (Paddick and Lippitz 2006).

    NaN where no voxel reaches the prescription.

    Args:
        dose_gy: Dose in Gy.
        prescription_gy: The reference isodose in Gy.
        body: Where volumes are counted; None means every voxel.

    Raises:
        InputError: If the body is empty or the prescription is not positive.
        GridMismatchError: If shapes differ.
    """
    check_positive("prescription_gy", prescription_gy)
    voxels = dose_gy.reshape(-1) if body is None else structure_voxels(dose_gy, body)
    full = soft_count(voxels, prescription_gy)
    return torch.where(full == 0, torch.nan, soft_count(voxels, 0.5 * prescription_gy) / full)


def _region(dose_gy: Dose, mask: DoseMask, body: DoseMask | None) -> Float[Tensor, " m"]:
    if body is None:
        return dose_gy.reshape(-1)
    check_shape("body", body.shape, dose_gy.shape)
    return dose_gy[body | mask]
