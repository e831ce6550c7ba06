"""What prepared files are made of: a zip of a JSON header and Blosc2 frames."""

import stat
import zipfile
import zlib
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from dosewright.core import CaseError, PatientCase
from dosewright.core.types import Mask

FORMAT = 1
_CPARAMS = {"codec": blosc2.Codec.ZSTD, "clevel": 5, "nthreads": 1}
# What a file that is not whole, or was not written here, makes zipfile, json, blosc2 and `_build` raise.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, LookupError, ValueError, TypeError, AttributeError, RuntimeError),
    *(OSError, EOFError, ArithmeticError, MemoryError),
)
MAX_BYTES = 2_000_000_000  # of one volume or entry, unpacked
DTYPES = {"ct": ("int16",), "masks": ("uint16", "uint32", "uint64"), "dose": ("uint16",)}


def header_of(case: PatientCase) -> dict[str, Any]:
    """Return what the header says of a case."""
    return {
        "format": FORMAT,
        "case_id": case.case_id,
        "shape_zyx": case.grid.shape_zyx,
        "spacing_xyz_mm": case.grid.spacing_xyz_mm,
        "origin_xyz_mm": case.grid.origin_xyz_mm,
        "prescription_gy": dict(case.prescription_gy),
        "beams": [(b.gantry_angle_deg, b.couch_angle_deg, b.modality) for b in case.beams],
        "isocenter_xyz_mm": case.isocenter_xyz_mm,
        "technique": case.technique,
        "site": case.site,
        "fractions": case.fractions,
    }


def checked_header(header: Any, path: Path) -> dict[str, Any]:
    """Return a header of this format version.

    Raises:
        CaseError: If it is none.
    """
    if not isinstance(header, dict):
        raise CaseError("must be an object", argument="case.json", value=header, path=path)
    if header.get("format") != FORMAT:
        raise CaseError(f"must be {FORMAT}; prepare again", argument="format", value=header.get("format"), path=path)
    return header


def pack_masks(masks: dict[str, Mask], shape: tuple[int, int, int]) -> tuple[np.ndarray, dict[str, list[list[int]]]]:
    """Return masks as bits of one integer volume, and the bounding box of each: [first, last + 1] per axis."""
    dtype = next(t for t in (np.uint16, np.uint32, np.uint64) if np.iinfo(t).bits >= len(masks))
    bits = np.zeros(shape, dtype)
    boxes: dict[str, list[list[int]]] = {}
    for bit, (name, mask) in enumerate(masks.items()):
        box = []
        for axis in range(3):
            hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
            box.append([int(hit[0]), int(hit[-1]) + 1])
        boxes[name] = box
        inside = tuple(slice(*span) for span in box)
        bits[inside] |= mask[inside] * dtype(1 << bit)
    return bits, boxes


def unpack_mask(bits: np.ndarray, bit: int, box: list[list[int]]) -> Mask:
    """Return one mask of `pack_masks`."""
    mask = np.zeros(bits.shape, bool)
    inside = tuple(slice(*span) for span in box)
    mask[inside] = (bits[inside] & bits.dtype.type(1 << bit)) != 0
    return mask


def frame_of(array: np.ndarray) -> bytes:
    """Return an array as a Blosc2 frame."""
    frame = blosc2.asarray(np.ascontiguousarray(array), cparams=_CPARAMS).to_cframe()
    return bytes(frame)


def open_archive(path: Path) -> zipfile.ZipFile:
    """Return a zip opened for reading; a device or pipe, which may never end, is not touched.

    Raises:
        CaseError: If it is no regular file.
        OSError: If it is missing or unreadable.
        zipfile.BadZipFile: If it is no zip.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise CaseError("must be a regular file", argument="file", value=path.name, path=path)
    return zipfile.ZipFile(path)


def entry_of(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return an entry of an archive.

    Raises:
        CaseError: If it is larger than any case.
    """
    size = archive.getinfo(name).file_size
    if size > MAX_BYTES:
        raise CaseError(f"must be at most {MAX_BYTES} bytes", argument=name, value=size)
    return archive.read(name)


def unframe(data: bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the volume of a frame, which is unpacked only when its shape and type are right."""
    frame = blosc2.ndarray_from_cframe(data)
    found = (tuple(frame.shape), str(frame.dtype))
    if found[0] != shape or found[1] not in DTYPES[name]:
        raise CaseError(f"must have shape {shape} and type {' or '.join(DTYPES[name])}", argument=name, value=found)
    if frame.nbytes > MAX_BYTES:
        raise CaseError(f"must unpack to at most {MAX_BYTES} bytes", argument=name, value=frame.nbytes)
    return np.asarray(frame[...])
