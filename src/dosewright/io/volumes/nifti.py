"""NIfTI-1 files of one volume (`.nii`, `.nii.gz`), through nibabel.

Conventions of NIfTI (https://nifti.nimh.nih.gov/nifti-1): positions are RAS+ mm, so x and y have the other sign than in
LPS; the array is (i, j, k), i fastest. What is written has i along patient x, j along y and k along z, each growing as
in the package's arrays; no voxel is moved. qform and sform say the same.
"""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float

from dosewright.core import CaseError, Grid, GridMismatchError, InputError
from dosewright.core.files import atomic_write
from dosewright.core.types import Mask, Volume
from dosewright.io.volumes.volume_file import BROKEN_STREAM, VolumeFile, grid_of

_HEADER_BYTES, _SINGLE_FILE, _SCANNER = 348, b"n+1", 1
_MAX_OFFSET = 1_000_000  # bytes of header and extensions
_MM, _UNKNOWN_UNIT = 2, 0
_TO_RAS = np.array([-1.0, -1.0, 1.0])
# What nibabel and numpy raise on a header that is none.
_BROKEN = (nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError, ValueError, KeyError, TypeError)
_COMPRESSION = 4  # of gzip: half the time of 6 for 2 % more bytes


def affine_ras_mm(grid: Grid) -> Float[np.ndarray, "4 4"]:
    """Return the affine from voxel indices (i, j, k) = (x, y, z) to RAS mm.

    >>> affine_ras_mm(Grid((4, 5, 6), (1.0, 2.0, 3.0), (-10.0, 20.0, 30.0))).tolist()[1]
    [0.0, -2.0, 0.0, -20.0]
    """
    affine = np.eye(4)
    affine[:3, :3] = np.diag(_TO_RAS * grid.spacing_xyz_mm)
    affine[:3, 3] = _TO_RAS * grid.origin_xyz_mm
    return affine


def write_nifti(path: Path, volume: Volume | Mask, grid: Grid, description: str = "") -> Path:
    """Write a volume as `.nii.gz` in one step; the same volume gives the same bytes.

    Args:
        path: Ends in `.nii.gz`.
        volume: Integers, floats or a mask (stored as 0 and 1 in a byte).
        grid: Where it lies.
        description: Up to 79 ASCII letters for the header.

    Raises:
        GridMismatchError: If the volume has another shape than the grid.
        StorageError: If it cannot be written.
    """
    if volume.shape != grid.shape_zyx:
        rule = f"must have the grid's shape {grid.shape_zyx}"
        raise GridMismatchError(rule, argument="volume", value=volume.shape, path=path)
    plain = volume.astype(np.uint8) if volume.dtype == bool else volume
    image = nib.Nifti1Image(plain.transpose(2, 1, 0), affine_ras_mm(grid), dtype=plain.dtype)
    image.header.set_xyzt_units("mm")
    image.set_qform(image.affine, _SCANNER)
    image.set_sform(image.affine, _SCANNER)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    return atomic_write(path, gzip.compress(image.to_bytes(), _COMPRESSION, mtime=0))


def open_nifti(path: Path) -> VolumeFile:
    """Return what a NIfTI-1 file holds, by its header.

    Raises:
        CaseError: If the file is missing, no single-file NIfTI-1, not of one 3-D volume of real numbers, has no affine,
            or one with axes that are not the patient's.
    """
    block, compressed = _header_block(path)
    try:
        header = nib.Nifti1Header(block)
        if bytes(header["magic"])[:3] != _SINGLE_FILE:
            raise CaseError("must be a single-file NIfTI-1", argument="magic", value=bytes(header["magic"]))
        return _volume_of(header, path, compressed)
    except InputError as error:
        raise CaseError.located(error, path) from error
    except _BROKEN as error:
        raise CaseError("must be a NIfTI-1 header", argument="file", value=str(error), path=path) from error


def _header_block(path: Path) -> tuple[bytes, bool]:
    """Return the header's bytes, and whether the file is compressed."""
    try:
        with path.open("rb") as stream:
            compressed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as stream:
            block = stream.read(_HEADER_BYTES)
    except FileNotFoundError:
        raise CaseError("must exist", argument="file", value="no such file", path=path) from None
    except BROKEN_STREAM as error:
        raise CaseError("must be readable", argument="file", value=str(error), path=path) from error
    if len(block) < _HEADER_BYTES:
        rule = f"must begin with a header of {_HEADER_BYTES} bytes"
        raise CaseError(rule, argument="file", value=f"{len(block)} bytes", path=path)
    return block, compressed


def _volume_of(header: nib.Nifti1Header, path: Path, compressed: bool) -> VolumeFile:
    shape = tuple(int(size) for size in header.get_data_shape())
    if len(shape) < 3 or min(shape) < 1 or any(size != 1 for size in shape[3:]):
        raise CaseError("must be one 3-D volume", argument="dim", value=shape)
    dtype = header.get_data_dtype()
    if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)) or dtype.itemsize > 8:
        raise CaseError("must be real numbers of at most 8 bytes", argument="datatype", value=str(dtype))
    unit = int(header["xyzt_units"]) & 7
    if unit not in (_MM, _UNKNOWN_UNIT):
        raise CaseError("must be mm (2)", argument="xyzt_units", value=unit)
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise CaseError("must be given: a volume without an affine lies nowhere", argument="sform and qform", value=0)
    offset = float(header["vox_offset"])
    if not (_HEADER_BYTES <= offset <= _MAX_OFFSET and offset == int(offset)):
        raise CaseError(f"must be in [{_HEADER_BYTES}, {_MAX_OFFSET}]", argument="vox_offset", value=offset)
    affine = header.get_best_affine().astype(float)
    grid, axes = grid_of((shape[0], shape[1], shape[2]), (_TO_RAS[:, None] * affine[:3, :3]).T, _TO_RAS * affine[:3, 3])
    if np.isinf(header["scl_slope"]):  # NaN and 0 say that values are not scaled
        raise CaseError("must be finite", argument="scl_slope", value=float(header["scl_slope"]))
    slope, intercept = header.get_slope_inter()
    return VolumeFile(
        path=path,
        grid=grid,
        axes=axes,
        dtype=dtype,
        offset=int(offset),
        compressed_from=0 if compressed else None,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )
