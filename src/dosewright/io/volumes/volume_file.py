"""A volume in a file of another program: its header is read and judged before any voxel is."""

import gzip
import zlib
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from dosewright.core import CaseError, Grid, GridMismatchError, InputError
from dosewright.core.types import FloatVolume, Shape

MAX_BYTES = 1_100_000_000  # of voxels: 512³ in double precision
OBLIQUE_MM = 1e-3  # how far an axis may lean over the whole volume, as `Grid.is_close` allows between two grids
BROKEN_STREAM = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class Axes:
    """How the axes of a file's array lie in the patient.

    Args:
        order: For z, y and x in turn: which axis (i, j, k as 0, 1, 2) of the file runs along it.
        flipped: For z, y and x: whether the file's axis runs against it.
    """

    order: Shape
    flipped: tuple[bool, bool, bool]

    def to_zyx(self, volume_ijk: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "z y x"]:
        """Return a view with the package's axes."""
        flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flipped)
        return volume_ijk.transpose(self.order)[flips]


def grid_of(
    shape_ijk: Shape, steps_lps_mm: Float[np.ndarray, "3 3"], origin_lps_mm: Float[np.ndarray, " 3"]
) -> tuple[Grid, Axes]:
    """Return the grid of a volume, and how its axes lie on it.

    Args:
        shape_ijk: Voxels along the file's axes.
        steps_lps_mm: Row a: the way from one voxel to the next along axis a, LPS mm.
        origin_lps_mm: Centre of the file's first voxel, LPS mm.

    Raises:
        InputError: If the axes are not parallel to the patient's, or a number is not finite.

    >>> steps = np.diag([2.0, -3.0, 4.0])  # y runs toward anterior
    >>> grid, axes = grid_of((5, 6, 7), steps, np.array([10.0, 20.0, 30.0]))
    >>> grid.origin_xyz_mm, grid.shape_zyx, axes.order, axes.flipped
    ((10.0, 5.0, 30.0), (7, 6, 5), (2, 1, 0), (False, True, False))
    """
    if not (np.isfinite(steps_lps_mm).all() and np.isfinite(origin_lps_mm).all()):
        raise InputError("must be finite", argument="affine", value=(steps_lps_mm.tolist(), origin_lps_mm.tolist()))
    along = np.abs(steps_lps_mm).argmax(axis=1)
    main = np.zeros((3, 3), bool)
    main[np.arange(3), along] = True
    leaning_mm = np.where(main, 0.0, np.abs(steps_lps_mm)) * (np.array(shape_ijk)[:, None] - 1)
    if sorted(along.tolist()) != [0, 1, 2] or leaning_mm.max() > OBLIQUE_MM:
        rule = f"must be parallel to the patient's axes within {OBLIQUE_MM:g} mm"
        raise InputError(rule, argument="axes", value=steps_lps_mm.tolist())
    spacing, origin, shape, flipped = [], [], [], []
    for lps in range(3):
        axis = int(np.flatnonzero(along == lps)[0])
        step, size = float(steps_lps_mm[axis, lps]), shape_ijk[axis]
        spacing.append(abs(step))
        origin.append(float(origin_lps_mm[lps]) + min(step, 0.0) * (size - 1))
        shape.append(size)
        flipped.append(step < 0)
    grid = Grid((shape[2], shape[1], shape[0]), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]))
    order = [int(np.flatnonzero(along == lps)[0]) for lps in (2, 1, 0)]
    return grid, Axes((order[0], order[1], order[2]), (flipped[2], flipped[1], flipped[0]))


@dataclass(frozen=True)
class VolumeFile:
    """A volume that has not been read yet.

    Args:
        path: The file.
        grid: Where its voxels lie.
        axes: How the file's array lies on the grid.
        dtype: Of the stored values.
        offset: Where the values begin, in bytes: in the file, or in what its compressed part unpacks to.
        compressed_from: Where a gzip stream begins in the file; None: nowhere.
        slope: Values are stored × slope + intercept.
        intercept: See `slope`.

    Raises:
        CaseError: If it has more voxels than any volume the package reads.
    """

    path: Path
    grid: Grid
    axes: Axes
    dtype: np.dtype
    offset: int
    compressed_from: int | None = None
    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if self.size_bytes > MAX_BYTES:
            raise CaseError(
                f"must be at most {MAX_BYTES} bytes", argument="volume", value=self.size_bytes, path=self.path
            )

    @property
    def size_bytes(self) -> int:
        """Size of the values."""
        z, y, x = self.grid.shape_zyx
        return z * y * x * self.dtype.itemsize

    @property
    def shape_ijk(self) -> Shape:
        """Voxels along the file's axes."""
        sizes = dict(zip(self.axes.order, self.grid.shape_zyx, strict=True))
        return (sizes[0], sizes[1], sizes[2])

    def require_grid(self, grid: Grid) -> None:
        """Refuse a volume of another grid: it is never resampled.

        Raises:
            GridMismatchError: If shape, spacing or origin differ by more than 0.001 mm at a corner.
        """
        if not self.grid.is_close(grid):
            rule = f"must be on the case's grid {grid}"
            raise GridMismatchError(rule, argument="volume", value=self.grid, path=self.path)

    def values(self) -> FloatVolume:
        """Return the values on the grid as float32.

        Raises:
            CaseError: If the file holds fewer or more values than its header says, or its compressed part is broken.
        """
        try:
            with self.path.open("rb") as stream:
                stored = self._stored(stream)
        except BROKEN_STREAM as error:
            raise CaseError("must be a whole volume", argument="file", value=str(error), path=self.path) from error
        volume = np.frombuffer(stored, self.dtype).reshape(self.shape_ijk, order="F")
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.ascontiguousarray(self.axes.to_zyx(volume), np.float32)
            if (self.slope, self.intercept) != (1.0, 0.0):
                values = values * np.float32(self.slope) + np.float32(self.intercept)
        return values

    def _stored(self, stream: BufferedIOBase) -> bytes:
        if self.compressed_from is not None:
            stream.seek(self.compressed_from)
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return self._exactly(unpacked)
        return self._exactly(stream)

    def _exactly(self, stream: BufferedIOBase) -> bytes:
        stream.seek(self.offset)
        stored = stream.read(self.size_bytes)
        over = stream.read(1)  # at its end, gzip compares the checksum
        if len(stored) != self.size_bytes or over:
            found = f"{len(stored)} bytes{' and more' if over else ''}"
            raise CaseError(
                f"must hold {self.size_bytes} bytes of voxels", argument="file", value=found, path=self.path
            )
        return stored
