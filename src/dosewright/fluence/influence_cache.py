"""Dose influence matrices kept on disk, named by everything that determines them."""

import hashlib
import json
import logging
import warnings
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from scipy import sparse

from dosewright.core import Grid, InputError, PatientCase
from dosewright.core.files import atomic_path
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.compute_influence import INFLUENCE_VERSION, compute_influence, default_beams
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.geometry.isocenter import isocenter_of, targets_mask

_LOGGER = logging.getLogger(__name__)
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def cached_influence(
    case: PatientCase,
    settings: InfluenceSettings | None,
    cache_dir: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> DoseInfluence:
    """Return a case's dose influence from the cache; when it is not there, compute it and keep it.

    A broken file is computed again, with a warning.

    Args:
        case: See `compute_influence`, as the next one and `progress`.
        settings: Resolution and the like; None takes the defaults.
        cache_dir: Folder of the cache; made when absent.
        progress: Told about beams that are computed.

    Raises:
        InputError: See `compute_influence`.
        MissingExtraError: If the matrix must be computed and pyRadPlan is not installed.
        StorageError: If the file cannot be written.
    """
    settings = settings or InfluenceSettings()
    path = influence_path(case, settings, cache_dir)
    if path.exists():
        try:
            return _load(path, case)
        except _BROKEN as error:
            warnings.warn(f"{path}: broken cache file ({error}); the matrix is computed again", stacklevel=2)
    influence = compute_influence(case, settings, progress=progress)
    _save(path, influence)
    return influence


def influence_path(case: PatientCase, settings: InfluenceSettings, cache_dir: str | Path) -> Path:
    """Return the file of a case's matrix; its name ends in a hash of all that determines the matrix."""
    try:
        engine = version("pyradplan")
    except PackageNotFoundError:
        engine = "none"
    parts = {
        "versions": (INFLUENCE_VERSION, engine),
        "settings": settings.determinants,
        "grid": (case.grid.shape_zyx, case.grid.spacing_xyz_mm, case.grid.origin_xyz_mm),
        "isocenter": isocenter_of(case),
        "beams": [(b.gantry_angle_deg, b.couch_angle_deg, b.modality) for b in default_beams(case)],
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for array in (case.ct_hu.astype(np.float32), np.packbits(case.body), np.packbits(targets_mask(case))):
        digest.update(array.tobytes())
    return Path(cache_dir) / f"{case.case_id}-{digest.hexdigest()[:20]}.npz"


def _save(path: Path, influence: DoseInfluence) -> None:
    csc, beamlets, grid = influence.csc, influence.beamlets, influence.grid
    arrays = {
        "values": csc.data,
        "rows": csc.indices,
        "ends": csc.indptr,
        "voxels": influence.voxels,
        "beam": beamlets.beam,
        "u_mm": beamlets.u_mm,
        "v_mm": beamlets.v_mm,
        "size_mm": np.array(beamlets.size_mm),
        "shape_zyx": np.array(grid.shape_zyx),
        "spacing_xyz_mm": np.array(grid.spacing_xyz_mm),
        "origin_xyz_mm": np.array(grid.origin_xyz_mm),
    }
    if beamlets.energy_mev is not None:
        arrays["energy_mev"] = beamlets.energy_mev
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)
    _LOGGER.info("%s: %.2f GB", path, path.stat().st_size / 1e9)


def _load(path: Path, case: PatientCase) -> DoseInfluence:
    """Return a cached matrix.

    Raises:
        InputError: If its numbers do not make a matrix; other errors mean an unreadable file.
    """
    with np.load(path) as arrays:
        beamlets = Beamlets(
            arrays["beam"],
            arrays["u_mm"],
            arrays["v_mm"],
            float(arrays["size_mm"]),
            arrays.get("energy_mev"),
        )
        (nz, ny, nx), (dx, dy, dz), (x, y, z) = (
            arrays[name].tolist() for name in ("shape_zyx", "spacing_xyz_mm", "origin_xyz_mm")
        )
        grid = Grid((nz, ny, nx), (dx, dy, dz), (x, y, z))
        voxels, values, rows, ends = (arrays[name] for name in ("voxels", "values", "rows", "ends"))
    _check(values, rows, ends, len(voxels), len(beamlets))
    matrix = sparse.csc_array((values, rows, ends), shape=(len(voxels), len(beamlets)))
    return DoseInfluence(matrix, default_beams(case), beamlets, grid, voxels)


def _check(values: np.ndarray, rows: np.ndarray, ends: np.ndarray, voxels: int, beamlets: int) -> None:
    if len(ends) != beamlets + 1 or ends[0] != 0 or ends[-1] != len(rows) or (np.diff(ends) < 0).any():
        raise InputError("must divide the entries into columns", argument="ends", value=ends)
    if values.shape != rows.shape or not np.isfinite(values.sum(dtype=np.float64)):
        raise InputError("must be a finite number an entry", argument="values", value=values.shape)
    if len(rows) and (rows.min() < 0 or rows.max() >= voxels):
        raise InputError(f"must be in [0, {voxels})", argument="rows", value=(int(rows.min()), int(rows.max())))
