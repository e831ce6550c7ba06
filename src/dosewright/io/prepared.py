"""The prepared cache: one compact file per case, read in milliseconds.

A file is a zip (stored, not deflated) of `case.json` and Blosc2 frames: CT as int16, dose as uint16 with a scale (at
most 1 mGy from the source below 131 Gy), and all masks as the bits of one unsigned integer volume with a bounding box
each, so that unpacking touches only the voxels of a structure's box. Format chosen by measurement:
benchmarks/cache_formats.py.
"""

import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dosewright.core import Beam, CaseError, Grid, PatientCase
from dosewright.core.files import atomic_path
from dosewright.io.case_archive import (
    BROKEN,
    DTYPES,
    checked_header,
    entry_of,
    frame_of,
    header_of,
    open_archive,
    pack_masks,
    unframe,
    unpack_mask,
)
from dosewright.io.reader import AbstractReader

log = logging.getLogger(__name__)

SUFFIX = ".case"
ANATOMY, ANATOMY_SUFFIX = "anatomy", ".anatomy"  # what the plans of one patient share, see `io.prepared_plan`
_PLACE = ("shape_zyx", "spacing_xyz_mm", "origin_xyz_mm")
MAX_STRUCTURES = 62  # of 64 bits, two hold the body and the dose mask
_BODY, _DOSE_MASK = "#body", "#dose_mask"


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

    def source_files(self, case_id: str) -> tuple[Path, ...]:
        """Return the source's files of a case."""
        return self.source.source_files(case_id)

    def notes(self, case_id: str) -> tuple[str, ...]:
        """Return what the source says of a case it has just read."""
        return self.source.notes(case_id)

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
    bits, boxes = pack_masks(masks, case.grid.shape_zyx)
    frames: dict[str, bytes] = {"ct": frame_of(np.clip(np.round(case.ct_hu), -32768, 32767).astype(np.int16))}
    frames["masks"] = frame_of(bits)
    scale = 0.0
    if case.dose_gy is not None:
        scale = float(case.dose_gy.max()) / 65535 or 1.0
        frames["dose"] = frame_of(np.round(case.dose_gy / scale).astype(np.uint16))
    header = header_of(case) | {"fingerprint": fingerprint, "boxes": boxes, "dose_scale_gy": scale}
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
        with open_archive(path) as archive:
            header = checked_header(json.loads(entry_of(archive, "case.json")), path)
            frames = _frames(archive, header)
        if ANATOMY in header:
            anatomy, frames = _with_anatomy(path, header[ANATOMY], frames)
            header = header | {name: anatomy[name] for name in ("boxes", *_PLACE)}
        return _build(header, frames)
    except FileNotFoundError:
        raise CaseError("must exist", argument="prepared case", value="no such file", path=path) from None
    except BROKEN as error:
        if isinstance(error, CaseError) and error.path is not None:
            raise
        raise CaseError("must be a whole prepared case", argument="file", value=str(error), path=path) from error


def _frames(archive: zipfile.ZipFile, header: dict[str, Any]) -> dict[str, np.ndarray]:
    shape, stored = tuple(header["shape_zyx"]), archive.namelist()
    return {name: unframe(entry_of(archive, name), name, shape) for name in DTYPES if name in stored}


def _with_anatomy(path: Path, name: Any, frames: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header that CT and masks belong to, and all frames; see `io.prepared_plan`."""
    if not (isinstance(name, str) and name == Path(name).name and name.endswith(ANATOMY_SUFFIX)):
        raise CaseError(f"must be a *{ANATOMY_SUFFIX} file beside it", argument=ANATOMY, value=name, path=path)
    try:
        archive = open_archive(path.parent / name)
    except FileNotFoundError:
        raise CaseError(
            "must stand beside the plan", argument=ANATOMY, value="no such file", path=path.parent / name
        ) from None
    with archive:
        header = checked_header(json.loads(entry_of(archive, "case.json")), path.parent / name)
        return header, _frames(archive, header) | frames


def stored_fingerprint(path: Path) -> str | None:
    """Return the fingerprint a prepared file was written with, or None when there is no readable file."""
    try:
        with open_archive(path) as archive:
            return checked_header(json.loads(entry_of(archive, "case.json")), path).get("fingerprint")
    except BROKEN:
        return None


def _is_whole(path: Path) -> bool:
    try:
        with open_archive(path) as archive:
            return archive.testzip() is None
    except BROKEN:
        return False


def _build(header: dict[str, Any], frames: dict[str, np.ndarray]) -> PatientCase:
    masks = {name: unpack_mask(frames["masks"], bit, box) for bit, (name, box) in enumerate(header["boxes"].items())}
    dose = frames.get("dose")
    if dose is None and header["dose_scale_gy"] != 0:
        raise CaseError("must be there, as the header has its scale", argument="dose", value="no entry")
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
