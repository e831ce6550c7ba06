"""A total dose as RTDOSE."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTDoseStorage, RTPlanStorage, RTStructureSetStorage

from dosewright.core import Grid
from dosewright.core.types import FloatVolume, Mask
from dosewright.io.dicom.write_ct import describe_pixels, place_image
from dosewright.io.dicom.write_dataset import (
    WARNING,
    StudyHeader,
    decimal,
    decimals,
    identify,
    new_object,
    reference,
    save,
    text,
)
from dosewright.io.dicom.write_dose_types import KINDS, RtDose
from dosewright.io.dicom.write_dvh import dvh_items

MOST = 65535  # of an unsigned 16-bit pixel; validators refuse 32 bits


def write_rtdose(
    path: Path,
    dose: RtDose,
    grid: Grid,
    header: StudyHeader,
    plan_uid: str,
    structures_uid: str | None = None,
    masks: Mapping[int, Mask] | None = None,
) -> str:
    """Write one RTDOSE of a whole plan and return its instance UID.

    The dose is stored in 65535 equal steps up to its maximum and read back within half a step: 0.54 mGy at 70 Gy.

    Args:
        path: The file.
        dose: Total dose in Gy.
        grid: The dose's grid where it brings none of its own, in the frame of reference of `header`.
        header: Patient, study and frame of reference.
        plan_uid: The RTPLAN that the dose is of; the sum of a plan must name one.
        structures_uid: The RTSTRUCT it belongs to; referenced where there are masks, as DICOM has it beside DVHs only.
            Without, the way to the structures goes through the plan.
        masks: ROI number → mask, on the dose's grid, of the structures whose DVHs are written along.

    Raises:
        GridMismatchError: If the dose, or a mask, has another shape than the grid.
        StorageError: If it cannot be written.
    """
    dose.check_shape(grid)
    grid = dose.grid or grid
    one = new_object(header, RTDoseStorage, "RTDOSE", f"Dosewright {dose.kind} dose", 4 + KINDS.index(dose.kind))
    _place(one, grid)
    scaling = scaling_of(float(dose.dose_gy.max()))
    describe_pixels(one, quantised(dose.dose_gy, float(scaling)))
    one.DoseGridScaling = scaling
    one.DoseUnits, one.DoseType, one.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    one.DoseComment = text(f"{dose.kind} dose, {WARNING}")
    if dose.comment:
        one.ImageComments = text(dose.comment, 10_240, "comment")
    one.ReferencedRTPlanSequence = [reference(RTPlanStorage, plan_uid)]
    if structures_uid is not None and masks:
        one.DVHSequence = dvh_items(dose.dose_gy, masks, grid.voxel_volume_cc)
        one.ReferencedStructureSetSequence = [reference(RTStructureSetStorage, structures_uid)]
    uid = identify(one)
    save(one, path)
    return uid


def scaling_of(most_gy: float) -> str:
    """Return Gy per unit of a pixel as it is written: the least number of 10 digits with which the maximum fits.

    >>> scaling_of(65.535)
    '0.001'
    """
    if most_gy <= 0:
        return "0.001"
    exponent = math.floor(math.log10(most_gy / MOST))
    digits = math.ceil(most_gy / MOST / 10.0 ** (exponent - 9) * (1 - 1e-12))
    return decimal(float(f"{digits}e{exponent - 9}"))


def quantised(dose_gy: FloatVolume, scaling_gy: float) -> np.ndarray:
    """Return a dose in whole steps of `scaling_gy`, to the nearest."""
    return np.minimum(np.rint(dose_gy.astype(np.float64) / scaling_gy), MOST).astype(np.uint16)


def _place(one: Dataset, grid: Grid) -> None:
    one.InstanceNumber = 1
    place_image(one, grid, 0)
    frames = grid.shape_zyx[0]
    one.NumberOfFrames = frames
    one.FrameIncrementPointer = 0x3004000C
    one.GridFrameOffsetVector = decimals(*(grid.axis_mm("z") - grid.origin_xyz_mm[2]).tolist())
