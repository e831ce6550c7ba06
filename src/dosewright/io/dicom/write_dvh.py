"""Cumulative DVHs inside an RTDOSE, so that an importer can compare its own with them."""

import math
from collections.abc import Mapping

import numpy as np
from pydicom.dataset import Dataset

from dosewright.core import GridMismatchError
from dosewright.core.types import FloatVolume, Mask
from dosewright.io.dicom.write_dataset import decimal

BIN_GY = 0.05


def dvh_items(dose_gy: FloatVolume, masks: Mapping[int, Mask], voxel_volume_cc: float) -> list[Dataset]:
    """Return the items of a DVH sequence: volumes in cm³ at or above 0, 0.05, 0.1, … Gy, by counting voxels.

    Args:
        dose_gy: Total dose in Gy.
        masks: ROI number → mask on the dose's grid.
        voxel_volume_cc: Of one voxel.

    Raises:
        GridMismatchError: If a mask has another shape than the dose.
    """
    found = []
    for number, mask in masks.items():
        if mask.shape != dose_gy.shape:
            raise GridMismatchError(f"must have the dose's shape {dose_gy.shape}", argument="masks", value=mask.shape)
        voxels_gy = np.sort(dose_gy[mask].astype(np.float64))
        bins = math.floor(voxels_gy[-1] / BIN_GY) + 1
        below = np.searchsorted(voxels_gy, BIN_GY * np.arange(bins), side="left")
        volumes_cc = (len(voxels_gy) - below) * voxel_volume_cc
        item = Dataset()
        roi = Dataset()
        roi.ReferencedROINumber, roi.DVHROIContributionType = number, "INCLUDED"
        item.DVHReferencedROISequence = [roi]
        item.DVHType, item.DoseUnits, item.DoseType = "CUMULATIVE", "GY", "PHYSICAL"
        item.DVHDoseScaling, item.DVHVolumeUnits, item.DVHNumberOfBins = decimal(1), "CM3", bins
        item.DVHData = [one for volume in volumes_cc.tolist() for one in (decimal(BIN_GY), decimal(round(volume, 6)))]
        item.DVHMinimumDose, item.DVHMaximumDose = decimal(voxels_gy[0]), decimal(voxels_gy[-1])
        item.DVHMeanDose = decimal(float(voxels_gy.mean()))
        found.append(item)
    return found
