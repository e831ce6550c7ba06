"""Predicted doses on disk: our own `<case_id>.npz`, NIfTI and NRRD, and OpenKBP's `pt_N.csv` in a folder or a zip.

A prediction is total dose in Gy on the grid of its case. One on another grid is refused, never resampled.
"""

import tempfile
import tokenize
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from dosewright.core import CaseError, Grid, GridMismatchError, InputError, PatientCase
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.files import atomic_path
from dosewright.core.types import FloatVolume
from dosewright.io import openkbp_csv
from dosewright.io.volumes import read

_PLAIN = (".npz", ".csv")
SUFFIXES = (*_PLAIN, *read.SUFFIXES)
EXPORTED = tuple(f"dose{suffix}" for suffix in read.SUFFIXES)  # in a folder named by the case, see `dosewright export`
MAX_NPZ_BYTES = 2_000_000_000  # unpacked; 512³ voxels in double precision are half of it
_BROKEN = (
    *(OSError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError),
)
_KEYS = ("dose_gy", "spacing_xyz_mm", "origin_xyz_mm", "case_id")


def write_prediction(folder: str | Path, case_id: str, grid: Grid, dose_gy: FloatVolume) -> Path:
    """Write `<folder>/<case_id>.npz` in one step and return its path.

    The file holds dose_gy (float32, z y x, total Gy), spacing_xyz_mm, origin_xyz_mm and case_id.

    Raises:
        GridMismatchError: If the dose has another shape than the grid.
        CaseError: If the dose is not finite, negative or above 250 Gy.
        StorageError: If it cannot be written.
    """
    path = Path(folder) / f"{case_id}.npz"
    _check(dose_gy, grid, path)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            dose_gy=np.ascontiguousarray(dose_gy, np.float32),
            spacing_xyz_mm=np.array(grid.spacing_xyz_mm),
            origin_xyz_mm=np.array(grid.origin_xyz_mm),
            case_id=np.array(case_id),
        )
    return path


def list_predictions(source: str | Path) -> tuple[str, ...]:
    """Return the case ids that `source`, a folder or a zip of `pt_N.csv`, holds predictions for.

    Raises:
        CaseError: If the source is missing, not a readable zip, or holds two predictions for a case.
    """
    source = Path(source)
    stems = sorted(filter(None, (_case_of(PurePosixPath(name)) for name in _names(source))))
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise CaseError("must be unique per case", argument="prediction", value=twice, path=source)
    return tuple(stems)


def read_prediction(source: str | Path, case: PatientCase) -> FloatVolume:
    """Return the dose in Gy predicted for `case`.

    Args:
        source: A folder of predictions, one file, or a zip of `pt_N.csv`. A folder holds `<case_id>` with one of
            `SUFFIXES`, or `<case_id>/dose.nii.gz` and the like as `dosewright export` writes them. CSV doses are in
            OpenKBP's axis order and come without geometry: only their shape can be checked.
        case: The case the prediction is for.

    Raises:
        CaseError: If the file is missing, truncated, for another patient, not finite, negative or above 250 Gy.
        GridMismatchError: If the prediction lives on another grid.
    """
    source = Path(source)
    path = _in_folder(source, case.case_id) if source.is_dir() else source
    if path.suffix == ".zip":
        dose_gy, shown = _from_zip(path, case), path / f"{case.case_id}.csv"
    elif not path.is_file():
        raise CaseError("must exist", argument="prediction", value="no such file", path=path)
    elif path.suffix == ".csv":
        dose_gy, shown = _from_csv(path, case), path
    elif path.name.endswith(read.SUFFIXES):
        dose_gy, shown = read.read_volume(path, case.grid), path
    else:
        dose_gy, shown = _from_npz(path, case), path
    _check(dose_gy, case.grid, shown)
    return dose_gy


def prediction_files(folder: Path, case_id: str) -> tuple[Path, ...]:
    """Return the files of a folder that are predictions for a case."""
    names = (*(f"{case_id}{suffix}" for suffix in SUFFIXES), *(f"{case_id}/{name}" for name in EXPORTED))
    return tuple(folder / name for name in names if (folder / name).is_file())


def _case_of(name: PurePosixPath) -> str | None:
    """Return the case that a file of a folder or zip is a prediction for; None if it is none."""
    if name.name.startswith(".") or len(name.parts) > 2:
        return None
    if len(name.parts) == 2:
        return name.parts[0] if name.name in EXPORTED else None
    return next((name.name.removesuffix(suffix) for suffix in SUFFIXES if name.name.endswith(suffix)), None)


def _names(source: Path) -> list[str]:
    if source.is_dir():
        inside = (path for folder in source.iterdir() if folder.is_dir() for path in map(folder.joinpath, EXPORTED))
        files = [path for path in (*source.iterdir(), *inside) if path.is_file()]
        return [path.relative_to(source).as_posix() for path in files]
    if not source.exists():
        raise CaseError("must be a folder or a zip", argument="predictions", value="no such file", path=source)
    try:
        with zipfile.ZipFile(source) as archive:
            return [name for name in archive.namelist() if "/" not in name and name.endswith(_PLAIN)]
    except (OSError, zipfile.BadZipFile) as error:
        raise CaseError(
            "must be a folder or a readable zip", argument="predictions", value=str(error), path=source
        ) from (error)


def _in_folder(folder: Path, case_id: str) -> Path:
    found = prediction_files(folder, case_id)
    if len(found) > 1:
        names = tuple(path.relative_to(folder).as_posix() for path in found)
        raise CaseError("must be unique per case", argument="prediction", value=names, path=folder)
    return found[0] if found else folder / f"{case_id}.npz"


def _from_npz(path: Path, case: PatientCase) -> FloatVolume:
    try:
        _check_unpacked_size(path)
        with np.load(path, allow_pickle=False) as stored:
            missing = [key for key in _KEYS if key not in stored]
            if missing:
                raise CaseError(f"must hold {_KEYS}", argument="prediction", value=f"without {missing}", path=path)
            dose_gy, spacing, origin, case_id = (np.asarray(stored[key]) for key in _KEYS)  # bytes if no array
    except CaseError:
        raise
    except _BROKEN as error:
        raise CaseError(
            "must be a complete .npz file: write the prediction again",
            argument="prediction",
            value=str(error),
            path=path,
        ) from error
    if str(case_id) != case.case_id:
        raise CaseError(f"must be {case.case_id!r}", argument="case_id", value=str(case_id), path=path)
    if dose_gy.ndim != 3 or not np.issubdtype(dose_gy.dtype, np.floating):
        got = (dose_gy.shape, str(dose_gy.dtype))
        raise CaseError("must be a 3-D array of floating-point numbers", argument="dose_gy", value=got, path=path)
    _check_same_grid(dose_gy, spacing, origin, case.grid, path)
    return dose_gy


def _check_unpacked_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_NPZ_BYTES:
        raise CaseError(f"must unpack to at most {MAX_NPZ_BYTES} bytes", argument="prediction", value=size, path=path)


def _check_same_grid(
    dose_gy: np.ndarray, spacing_xyz_mm: np.ndarray, origin_xyz_mm: np.ndarray, grid: Grid, path: Path
) -> None:
    lengths = {"spacing_xyz_mm": spacing_xyz_mm, "origin_xyz_mm": origin_xyz_mm}
    for name, triple in lengths.items():
        if triple.shape != (3,) or not np.issubdtype(triple.dtype, np.floating):
            raise CaseError("must be three lengths in mm", argument=name, value=triple, path=path)
    try:
        stored = Grid(dose_gy.shape, tuple(spacing_xyz_mm.tolist()), tuple(origin_xyz_mm.tolist()))
    except InputError as error:
        raise CaseError.located(error, path) from error
    if not stored.is_close(grid):
        raise GridMismatchError(f"must be on the case's grid {grid}", argument="prediction", value=stored, path=path)


def _from_csv(path: Path, case: PatientCase) -> FloatVolume:
    if case.grid.shape_zyx != openkbp_csv.SHAPE:
        raise GridMismatchError(
            f"cannot be read from a CSV, which holds {openkbp_csv.SHAPE} voxels",
            argument="prediction",
            value=case.grid.shape_zyx,
            path=path,
        )
    indices, values = openkbp_csv.read_values(path)
    flat = np.zeros(np.prod(openkbp_csv.SHAPE), np.float32)
    flat[indices] = values
    return np.ascontiguousarray(openkbp_csv.to_lps(flat.reshape(openkbp_csv.SHAPE)))


def _from_zip(path: Path, case: PatientCase) -> FloatVolume:
    name = f"{case.case_id}.csv"
    if name not in _names(path):
        raise CaseError(f"must hold {name}", argument="zip", value="no such entry", path=path)
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / name
        try:
            with zipfile.ZipFile(path) as archive:
                size = archive.getinfo(name).file_size
                if size > openkbp_csv.MAX_BYTES:
                    raise CaseError(
                        f"must unpack to at most {openkbp_csv.MAX_BYTES} bytes", argument=name, value=size, path=path
                    )
                unpacked.write_bytes(archive.read(name))
        except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CaseError("must be a complete entry", argument=name, value=str(error), path=path) from error
        try:
            return _from_csv(unpacked, case)
        except CaseError as error:
            raise CaseError.located(error, path / name) from error


def _check(dose_gy: FloatVolume, grid: Grid, path: Path) -> None:
    if dose_gy.shape != grid.shape_zyx:
        raise GridMismatchError(
            f"must have the grid's shape {grid.shape_zyx}", argument="dose_gy", value=dose_gy.shape, path=path
        )
    least, most = float(dose_gy.min()), float(dose_gy.max())
    if not np.isfinite((least, most)).all():
        bad = f"{np.count_nonzero(~np.isfinite(dose_gy))} voxels NaN or infinite"
        raise CaseError("must be finite", argument="dose_gy", value=bad, path=path)
    if least < 0 or most > DOSE_MAX_GY:
        raise CaseError(f"must be in [0, {DOSE_MAX_GY:g}] Gy total", argument="dose_gy", value=(least, most), path=path)
