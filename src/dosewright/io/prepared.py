"""The prepared cache: one compact file per case, read in milliseconds.

A file is a zip (stored, not deflated) of `case.json` and Blosc2 frames: CT as int16, dose as uint16 with a scale (at
most 1 mGy from the source below 131 Gy), and all masks as the bits of one unsigned integer volume with a bounding box
each, so that unpacking touches only the voxels of a structure's box. Format chosen by measurement:
benchmarks/cache_formats.py.
"""

import json
import logging
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from dosewright.core import Beam, CaseError, Grid, PatientCase
from dosewright.core.files import atomic_path
from dosewright.core.types import Mask, Volume
from dosewright.io.reader import AbstractReader

log = logging.getLogger(__name__)

FORMAT = 1
SUFFIX = ".case"
MAX_STRUCTURES = 62  # of 64 bits, two hold the body and the dose mask
_BODY, _DOSE_MASK = "#body", "#dose_mask"
_CPARAMS = {"codec": blosc2.Codec.ZSTD, "clevel": 5, "nthreads": 1}
# What a file that is not whole, or was not written here, makes zipfile, json, blosc2 and `_build` raise.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, LookupError, ValueError, TypeError, AttributeError, RuntimeError),
    *(OSError, EOFError, ArithmeticError, MemoryError),
)
MAX_BYTES = 2_000_000_000  # of one volume or entry, unpacked
_DTYPES = {"ct": ("int16",), "masks": ("uint16", "uint32", "uint64"), "dose": ("uint16",)}


class PreparedReader(AbstractReader):
    """Cases of one folder of prepared files.

    Args:
        folder: Folder written by `dosewright prepare`.
        split: Subfolder of it, or None for the folder itself.

    Raises:
        CaseError: If the folder is missing.
    """

    def __init__(self, folder: str | Path, split: str | None = None) -> None:
        self.folder = Path(folder).expanduser() / (split or "")
        if not self.folder.is_dir():
            raise CaseError("must be a folder of prepared cases", argument="folder", value="none", path=self.folder)
        self._case_ids = sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))

    @property
    def case_ids(self) -> Sequence[str]:
        """Identifiers in alphabetical order."""
        return self._case_ids

    def read(self, case_id: str) -> PatientCase:
        """Return one case; see `AbstractReader.read`."""
        path = self.folder / f"{case_id}{SUFFIX}"
        case = read_case(path)
        if case.case_id != case_id:
            raise CaseError("must be the name of its file", argument="case_id", value=case.case_id, path=path)
        return case

    def fingerprint(self, case_id: str) -> str:
        """Return the source's fingerprint as stored with the case."""
        return stored_fingerprint(self.folder / f"{case_id}{SUFFIX}") or ""


class CachedReader(AbstractReader):
    """A reader whose cases are prepared on first use and read from the cache from then on.

    An entry that its source has outdated is prepared again, and so is a broken one, with a warning.

    Args:
        source: The reader behind it.
        folder: Folder of prepared files.
    """

    def __init__(self, source: AbstractReader, folder: str | Path) -> None:
        self.source, self.folder = source, Path(folder).expanduser()

    @property
    def case_ids(self) -> Sequence[str]:
        """The source's identifiers."""
        return self.source.case_ids

    def fingerprint(self, case_id: str) -> str:
        """Return the source's fingerprint."""
        return self.source.fingerprint(case_id)

    def is_fresh(self, case_id: str, every_byte: bool = False) -> bool:
        """Whether the cache holds the case as its source is now; `every_byte` compares the file with its checksums."""
        path = self.path(case_id)
        fresh = stored_fingerprint(path) == self.source.fingerprint(case_id)
        return fresh and (not every_byte or _is_whole(path))

    def read(self, case_id: str) -> PatientCase:
        """Return one case, preparing it when the cache has none, an outdated or a broken one."""
        if self.is_fresh(case_id):
            try:
                return read_case(self.path(case_id))
            except CaseError as error:
                log.warning("%s; it is prepared again", error)
        self.prepare(case_id)
        return read_case(self.path(case_id))

    def prepare(self, case_id: str) -> None:
        """Read one case from the source and write it to the cache."""
        fingerprint = self.source.fingerprint(case_id)  # before reading: a change meanwhile makes the entry outdated
        write_case(self.path(case_id), self.source.read(case_id), fingerprint)

    def path(self, case_id: str) -> Path:
        """Return the file of a case."""
        return self.folder / f"{case_id}{SUFFIX}"


def write_case(path: Path, case: PatientCase, fingerprint: str = "") -> None:
    """Write a case in one step.

    Raises:
        CaseError: If the case has more structures than the format holds.
        StorageError: If the disk is full; an older file stays as it was.
    """
    masks = {_BODY: case.body, **({} if case.dose_mask is None else {_DOSE_MASK: case.dose_mask}), **case.structures}
    if len(case.structures) > MAX_STRUCTURES:
        raise CaseError(
            f"must be at most {MAX_STRUCTURES}", argument="structures", value=len(case.structures), path=path
        )
    bits, boxes = _pack_masks(masks, case.grid.shape_zyx)
    frames: dict[str, bytes] = {"ct": _frame(np.clip(np.round(case.ct_hu), -32768, 32767).astype(np.int16))}
    frames["masks"] = _frame(bits)
    scale = 0.0
    if case.dose_gy is not None:
        scale = float(case.dose_gy.max()) / 65535 or 1.0
        frames["dose"] = _frame(np.round(case.dose_gy / scale).astype(np.uint16))
    header = _header(case) | {"fingerprint": fingerprint, "boxes": boxes, "dose_scale_gy": scale}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("case.json", json.dumps(header))
        for name, data in frames.items():
            archive.writestr(name, data)


def read_case(path: Path) -> PatientCase:
    """Return the case of a prepared file.

    Raises:
        CaseError: If the file is missing, broken or of another format version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header = _checked_header(json.loads(_entry(archive, "case.json")), path)
            shape, stored = tuple(header["shape_zyx"]), archive.namelist()
            frames = {name: _unframe(_entry(archive, name), name, shape) for name in _DTYPES if name in stored}
        return _build(header, frames)
    except FileNotFoundError:
        raise CaseError("must exist", argument="prepared case", value="no such file", path=path) from None
    except _BROKEN as error:
        if isinstance(error, CaseError) and error.path is not None:
            raise
        raise CaseError("must be a whole prepared case", argument="file", value=str(error), path=path) from error


def stored_fingerprint(path: Path) -> str | None:
    """Return the fingerprint a prepared file was written with, or None when there is no readable file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _checked_header(json.loads(_entry(archive, "case.json")), path).get("fingerprint")
    except _BROKEN:
        return None


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except _BROKEN:
        return False


def _build(header: dict[str, Any], frames: dict[str, np.ndarray]) -> PatientCase:
    masks = {name: _unpack_mask(frames["masks"], bit, box) for bit, (name, box) in enumerate(header["boxes"].items())}
    dose = frames.get("dose")
    return PatientCase(
        case_id=header["case_id"],
        grid=Grid(tuple(header["shape_zyx"]), tuple(header["spacing_xyz_mm"]), tuple(header["origin_xyz_mm"])),
        ct_hu=frames["ct"],
        body=masks.pop(_BODY),
        dose_mask=masks.pop(_DOSE_MASK, None),
        structures=masks,
        prescription_gy=header["prescription_gy"],
        beams=tuple(Beam(*beam) for beam in header["beams"]),
        dose_gy=None if dose is None else dose.astype(np.float32) * np.float32(header["dose_scale_gy"]),
        isocenter_xyz_mm=None if header["isocenter_xyz_mm"] is None else tuple(header["isocenter_xyz_mm"]),
        technique=header["technique"],
        site=header["site"],
        fractions=header["fractions"],
    )


def _header(case: PatientCase) -> dict[str, Any]:
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


def _checked_header(header: Any, path: Path) -> dict[str, Any]:
    if not isinstance(header, dict):
        raise CaseError("must be an object", argument="case.json", value=header, path=path)
    if header.get("format") != FORMAT:
        raise CaseError(f"must be {FORMAT}; prepare again", argument="format", value=header.get("format"), path=path)
    return header


def _pack_masks(masks: dict[str, Mask], shape: tuple[int, int, int]) -> tuple[np.ndarray, dict[str, list[list[int]]]]:
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


def _unpack_mask(bits: np.ndarray, bit: int, box: list[list[int]]) -> Mask:
    mask = np.zeros(bits.shape, bool)
    inside = tuple(slice(*span) for span in box)
    mask[inside] = (bits[inside] & bits.dtype.type(1 << bit)) != 0
    return mask


def _frame(array: Volume) -> bytes:
    frame = blosc2.asarray(np.ascontiguousarray(array), cparams=_CPARAMS).to_cframe()
    return bytes(frame)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > MAX_BYTES:
        raise CaseError(f"must be at most {MAX_BYTES} bytes", argument=name, value=size)
    return archive.read(name)


def _unframe(data: bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the volume of a frame, which is unpacked only when its shape and type are right."""
    frame = blosc2.ndarray_from_cframe(data)
    found = (tuple(frame.shape), str(frame.dtype))
    if found[0] != shape or found[1] not in _DTYPES[name]:
        raise CaseError(f"must have shape {shape} and type {' or '.join(_DTYPES[name])}", argument=name, value=found)
    if frame.nbytes > MAX_BYTES:
        raise CaseError(f"must unpack to at most {MAX_BYTES} bytes", argument=name, value=frame.nbytes)
    return np.asarray(frame[...])
