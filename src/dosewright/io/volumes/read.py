"""Reading a volume of a case from a NIfTI or NRRD file."""

from collections.abc import Callable, Mapping
from pathlib import Path

from dosewright.core import CaseError, Grid
from dosewright.core.types import FloatVolume
from dosewright.io.volumes.nifti import open_nifti
from dosewright.io.volumes.nrrd_file import open_nrrd
from dosewright.io.volumes.volume_file import VolumeFile

#: Ending of a file → how its header is read; the longest ending that fits counts.
OPENERS: Mapping[str, Callable[[Path], VolumeFile]] = {".nii.gz": open_nifti, ".nii": open_nifti, ".nrrd": open_nrrd}
SUFFIXES = tuple(OPENERS)


def open_volume(path: str | Path) -> VolumeFile:
    """Return what a file holds, by its header.

    Raises:
        CaseError: If its ending is none of `SUFFIXES`, or it is broken; see `open_nifti` and `open_nrrd`.
    """
    path = Path(path)
    opener = next((OPENERS[suffix] for suffix in SUFFIXES if path.name.endswith(suffix)), None)
    if opener is None:
        raise CaseError(f"must end in one of {SUFFIXES}", argument="file", value=path.name, path=path.parent)
    return opener(path)


def read_volume(path: str | Path, grid: Grid) -> FloatVolume:
    """Return the values of a file that lies on a case's grid, float32.

    Axes in another order or direction are turned, which moves no voxel in the patient. A file on another grid is
    refused before its voxels are read.

    Raises:
        CaseError: If the file is missing or broken.
        GridMismatchError: If it lies on another grid.
    """
    stored = open_volume(path)
    stored.require_grid(grid)
    return stored.values()
