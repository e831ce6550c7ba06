"""A case's CT as a series of axial slices."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt16
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from dosewright.core import Grid, PatientCase
from dosewright.core.case import HU_MIN
from dosewright.io.dicom.write_dataset import StudyHeader, content_uid, decimal, decimals, identify, new_object, save
from dosewright.io.dicom.write_images import ImageSeries

AXIAL = (1, 0, 0, 0, 1, 0)  # rows to the patient's left, columns posterior: the package's own axes
_INTERCEPT = int(HU_MIN)


def write_ct(case: PatientCase, folder: Path, header: StudyHeader) -> tuple[ImageSeries, tuple[Path, ...]]:
    """Write `CT_0001.dcm`, … from the lowest slice to the highest; return the series and the files.

    HU are stored as whole numbers, 16 bits with intercept -1024 and slope 1; fractions of a HU are rounded.

    Args:
        case: The patient.
        folder: Where to.
        header: Patient, study and frame of reference.

    Raises:
        StorageError: If a file cannot be written.
    """
    series_uid = content_uid("ct", header.study_uid, header.frame_uid, content_of(case))
    instances, paths = [], []
    for k, z_mm in enumerate(case.grid.axis_mm("z").tolist()):
        one = _slice(_stored(case.ct_hu[k]), k, case.grid, header)
        uid = identify(one, series_uid)
        path = folder / f"CT_{k + 1:04d}.dcm"
        save(one, path)
        instances.append((uid, z_mm))
        paths.append(path)
    return ImageSeries(series_uid, tuple(instances)), tuple(paths)


def content_of(case: PatientCase) -> str:
    """Return a hash of a case's grid and CT, as it is stored."""
    digest = hashlib.sha256(repr(case.grid).encode())
    for plane in case.ct_hu:
        digest.update(_stored(plane).tobytes())
    return digest.hexdigest()


def _stored(plane_hu: Num[np.ndarray, "y x"]) -> UInt16[np.ndarray, "y x"]:
    return (np.rint(plane_hu).astype(np.int32) - _INTERCEPT).astype("<u2")


def _slice(stored: UInt16[np.ndarray, "y x"], k: int, grid: Grid, header: StudyHeader) -> Dataset:
    one = new_object(header, CTImageStorage, "CT", "Dosewright CT", 1)
    one.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    one.AcquisitionNumber, one.KVP = None, None
    one.InstanceNumber = k + 1
    one.PatientPosition, one.Laterality = "HFS", ""
    place_image(one, grid, k)
    one.SpacingBetweenSlices = decimal(grid.spacing_xyz_mm[2])
    one.SliceLocation = one.ImagePositionPatient[2]
    describe_pixels(one, stored)
    one.RescaleIntercept, one.RescaleSlope, one.RescaleType = decimal(_INTERCEPT), decimal(1), "HU"
    one.ImageComments = "Derived by Dosewright from the CT of a data set"
    return one


def place_image(one: Dataset, grid: Grid, k: int) -> None:
    """Set position, orientation and spacing of slice `k` of a grid."""
    x, y, _ = grid.origin_xyz_mm
    column, row, thickness = grid.spacing_xyz_mm
    one.ImagePositionPatient = decimals(x, y, float(grid.axis_mm("z")[k]))
    one.ImageOrientationPatient = decimals(*AXIAL)
    one.PixelSpacing = decimals(row, column)  # DICOM: between rows first, that is along y
    one.SliceThickness = decimal(thickness)


def describe_pixels(one: Dataset, stored: UInt16[np.ndarray, "*frames y x"]) -> None:
    """Set the pixels, unsigned 16 bits, and what describes them."""
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = stored.shape[-2:]
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.add_new("PixelData", "OW", np.ascontiguousarray(stored, "<u2").tobytes())
