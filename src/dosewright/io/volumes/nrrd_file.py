"""NRRD files of one volume (`.nrrd`), header and voxels in one file, through pynrrd.

Conventions of NRRD (https://teem.sourceforge.net/nrrd/format.html): the first axis is the fastest; `space directions`
has a vector per axis; `space` names the frame. What is written has x, y, z as axes in `left-posterior-superior`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from jaxtyping import Shaped

from dosewright.core import CaseError, Grid, GridMismatchError, InputError
from dosewright.core.files import atomic_path
from dosewright.io.volumes.volume_file import VolumeFile, grid_of

_MAX_HEADER_BYTES = 1_000_000
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    "float": "f4",
    "double": "f8",
}
#: Name of a space → signs that turn its positions into LPS.
_SPACES = {
    **dict.fromkeys(("left-posterior-superior", "LPS"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "RAS"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "LAS"), (1.0, -1.0, 1.0)),
}
_NEEDED = ("type", "dimension", "sizes", "space", "space directions", "space origin", "encoding")
_REFUSED = ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip")
# What pynrrd raises on a header that is none.
_BROKEN = (nrrd.NRRDError, ValueError, LookupError, TypeError, ArithmeticError, StopIteration)
_COMPRESSION = 4


def write_nrrd(
    path: Path, volume: Shaped[np.ndarray, "z y x *layers"], grid: Grid, fields: Mapping[str, str] | None = None
) -> Path:
    """Write a volume in one step, compressed.

    Args:
        path: Ends in `.nrrd`.
        volume: Integers, floats or a mask (stored as 0 and 1 in a byte); layers of one grid are the last axis.
        grid: Where it lies.
        fields: More `key:=value` lines, as 3D Slicer reads them.

    Raises:
        GridMismatchError: If the volume has another shape than the grid.
        StorageError: If it cannot be written.
    """
    if volume.shape[:3] != grid.shape_zyx:
        rule = f"must have the grid's shape {grid.shape_zyx}"
        raise GridMismatchError(rule, argument="volume", value=volume.shape, path=path)
    layered = volume.ndim == 4
    directions = np.diag(grid.spacing_xyz_mm)
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": np.vstack([np.full((1, 3), np.nan), directions]) if layered else directions,
        "space origin": np.array(grid.origin_xyz_mm),
        "space units": ["mm", "mm", "mm"],
        "kinds": [*(["list"] if layered else []), "domain", "domain", "domain"],
        "encoding": "gzip",
        **(fields or {}),
    }
    plain = volume.astype(np.uint8) if volume.dtype == bool else volume
    with atomic_path(path) as temporary:
        nrrd.write(str(temporary), plain, header, compression_level=_COMPRESSION, index_order="C")
    return path


def open_nrrd(path: Path) -> VolumeFile:
    """Return what an NRRD file holds, by its header.

    Raises:
        CaseError: If the file is missing, no NRRD, names another file for its voxels, is not one 3-D volume of real
            numbers in an anatomical space, or has axes that are not the patient's.
    """
    head = _head(path)
    try:
        with np.errstate(invalid="ignore"):  # sizes that are no numbers come out negative
            header = nrrd.read_header(head.decode("ascii").splitlines(keepends=True))
        return _volume_of(header, path, len(head))
    except InputError as error:
        raise CaseError.located(error, path) from error
    except _BROKEN as error:
        raise CaseError("must be an NRRD header", argument="file", value=str(error), path=path) from error


def _head(path: Path) -> bytes:
    """Return a file up to the blank line that ends its header."""
    lines: list[bytes] = []
    size = 0
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"NRRD":
                raise CaseError("must begin with NRRD", argument="file", value="another beginning", path=path)
            stream.seek(0)
            while line := stream.readline(_MAX_HEADER_BYTES - size):
                lines.append(line)
                size += len(line)
                if not line.strip():
                    return b"".join(lines)
    except FileNotFoundError:
        raise CaseError("must exist", argument="file", value="no such file", path=path) from None
    except OSError as error:
        raise CaseError("must be readable", argument="file", value=str(error), path=path) from error
    rule = f"must end with a blank line within {_MAX_HEADER_BYTES} bytes"
    raise CaseError(rule, argument="header", value=f"{size} bytes without", path=path)


def _volume_of(header: Mapping[str, Any], path: Path, header_bytes: int) -> VolumeFile:
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise CaseError(f"must have {', '.join(_NEEDED)}", argument="header", value=f"without {missing}")
    elsewhere = [name for name in _REFUSED if name in header]
    if elsewhere:
        raise CaseError("must not say that the voxels are elsewhere", argument="header", value=elsewhere)
    shape = tuple(int(size) for size in header["sizes"])
    if header["dimension"] != 3 or len(shape) != 3 or min(shape) < 1:
        raise CaseError("must be one 3-D volume", argument="sizes", value=shape)
    if header["space"] not in _SPACES:
        raise CaseError(f"must be one of {tuple(_SPACES)}", argument="space", value=header["space"])
    units = set(header.get("space units", ["mm"]))
    if units != {"mm"}:
        raise CaseError("must be mm", argument="space units", value=sorted(units))
    directions, origin = header["space directions"], header["space origin"]
    if directions.shape != (3, 3) or origin.shape != (3,):
        raise CaseError("must have three numbers per axis", argument="space directions", value=directions.tolist())
    signs = np.array(_SPACES[header["space"]])
    grid, axes = grid_of((shape[0], shape[1], shape[2]), directions * signs, origin * signs)
    compressed = _is_compressed(header["encoding"])
    return VolumeFile(
        path=path,
        grid=grid,
        axes=axes,
        dtype=_dtype(header),
        offset=0 if compressed else header_bytes,
        compressed_from=header_bytes if compressed else None,
    )


def _is_compressed(encoding: str) -> bool:
    if encoding not in ("raw", "gzip", "gz"):
        raise CaseError("must be raw or gzip", argument="encoding", value=encoding)
    return encoding != "raw"


def _dtype(header: Mapping[str, Any]) -> np.dtype:
    if header["type"] not in _TYPES:
        raise CaseError("must be an integer or floating-point type", argument="type", value=header["type"])
    dtype = np.dtype(_TYPES[header["type"]])
    if dtype.itemsize == 1:
        return dtype
    if header.get("endian") not in ("little", "big"):
        raise CaseError("must be little or big", argument="endian", value=header.get("endian"))
    return dtype.newbyteorder("<" if header["endian"] == "little" else ">")
