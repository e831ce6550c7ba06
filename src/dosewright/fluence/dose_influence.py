"""The dose influence matrix (dij) as a linear operator: fluence of the beamlets to dose in the voxels, and back."""

import warnings
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import sparse
from torch import Tensor

from dosewright.core import Beam, Grid, InputError, PatientCase
from dosewright.core.types import FloatVolume, Mask, Volume
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_grid import dose_on_case_grid, mask_on_grid, volume_on_grid

_COLUMNS_AT_ONCE = 512  # when norms are taken; bounds the memory of their squares
_VECTOR = 8  # a product with as many columns takes less time than one with two to seven


@final
class DoseInfluence:
    """Total dose in Gy per unit fluence, n voxels × b beamlets.

    The matrix is kept by columns and by rows, so that both products run at the speed of memory; the second orientation
    is made when a product first needs it.

    Args:
        matrix: Voxels × beamlets, Gy per unit fluence, any scipy format. CSC and CSR in float32 with 32-bit indices are
            not copied.
        beams: The beams.
        beamlets: Where the columns stand.
        grid: The dose grid.
        voxels: Which voxels of it the rows are, as flat (z, y, x) indices, ascending.
        device: Where the products run.
        dtype: In which precision.

    Raises:
        InputError: If sizes do not fit each other, or an index is out of range.
    """

    def __init__(
        self,
        matrix: sparse.sparray,
        beams: Sequence[Beam],
        beamlets: Beamlets,
        grid: Grid,
        voxels: Int[np.ndarray, " n"],
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _check(matrix, beams, beamlets, grid, voxels)
        self.beams, self.beamlets, self.grid, self.voxels = tuple(beams), beamlets, grid, voxels
        self.device, self.dtype = torch.device(device), dtype
        self.shape: tuple[int, int] = (int(matrix.shape[0]), int(matrix.shape[1]))
        rows = isinstance(matrix, sparse.csr_array)
        self._given = lean(sparse.csr_array(matrix) if rows else sparse.csc_array(matrix))
        self._operators: dict[str, Tensor] = {}

    @cached_property
    def csc(self) -> sparse.csc_array:
        """The matrix by columns, float32 with 32-bit indices; not to be changed."""
        return self._given.tocsc()

    @cached_property
    def csr(self) -> sparse.csr_array:
        """The matrix by rows, float32 with 32-bit indices; not to be changed."""
        return self._given.tocsr()

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self._given.nnz)

    def forward(self, fluence: Float[Tensor, "*k b"]) -> Float[Tensor, "*k n"]:
        """Return the dose D x in Gy; differentiable with respect to the fluence."""
        if torch.is_grad_enabled() and fluence.requires_grad:
            return _Product.apply(fluence, self, True)
        return self._product("forward", fluence)

    def adjoint(self, slope: Float[Tensor, "*k n"]) -> Float[Tensor, "*k b"]:
        """Return Dᵀ y, the gradient with respect to fluence of one with respect to dose; differentiable."""
        if torch.is_grad_enabled() and slope.requires_grad:
            return _Product.apply(slope, self, False)
        return self._product("adjoint", slope)

    @cached_property
    def column_norms(self) -> Float[Tensor, " b"]:
        """Euclidean norm of each column."""
        csc = self.csc
        norms = np.zeros(self.shape[1])
        for first in range(0, self.shape[1], _COLUMNS_AT_ONCE):
            ends = csc.indptr[first : first + _COLUMNS_AT_ONCE + 1]
            squares = np.append(csc.data[ends[0] : ends[-1]].astype(np.float64) ** 2, 0.0)
            sums = np.add.reduceat(squares, ends[:-1] - ends[0])
            norms[first : first + len(sums)] = np.sqrt(np.where(np.diff(ends) > 0, sums, 0.0))
        return torch.from_numpy(norms).to(self.device, self.dtype)

    def of_beams(self, indices: Sequence[int]) -> "DoseInfluence":
        """Return the influence of some of the beams, in that order.

        Raises:
            InputError: If there is none, or one is out of range or named twice.
        """
        beams = [int(i) for i in indices]
        if not beams or len(set(beams)) < len(beams) or not all(0 <= i < len(self.beams) for i in beams):
            raise InputError(
                f"must be distinct indices of the {len(self.beams)} beams, at least one", argument="beams", value=beams
            )
        ends = np.searchsorted(self.beamlets.beam, range(len(self.beams) + 1))
        parts = [_columns(self.csc, int(ends[i]), int(ends[i + 1])) for i in beams]
        matrix = parts[0] if len(parts) == 1 else sparse.hstack(parts, format="csc")
        kept, beamlets = [self.beams[i] for i in beams], self.beamlets.of_beams(beams)
        return self._with(matrix, kept, beamlets, self.voxels)

    def of_rows(self, rows: Bool[Tensor, " n"] | Int[Tensor, " m"]) -> "DoseInfluence":
        """Return the influence on some of the rows: a mask of them, as `masks` gives, or ascending indices.

        Raises:
            InputError: If the mask has another length, or the indices do not ascend.
        """
        chosen = rows.cpu().numpy()
        if chosen.dtype == bool and len(chosen) != self.shape[0]:
            raise InputError(
                f"must have one entry for each of {self.shape[0]} rows", argument="rows", value=chosen.shape
            )
        return self._with(self.csr[chosen], self.beams, self.beamlets, self.voxels[chosen])

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> "DoseInfluence":
        """Return the same influence with products on another device or in another precision."""
        found = copy(self)
        found._operators = {}
        found.__dict__.pop("column_norms", None)
        found.device, found.dtype = torch.device(device or self.device), dtype or self.dtype
        return found

    def masks(self, case: PatientCase, share: float = 0.5) -> dict[str, Bool[Tensor, " n"]]:
        """Return the rows in each structure of a case; none where a structure falls between the voxels.

        Args:
            case: The patient.
            share: A voxel belongs to a structure when the mask interpolated there exceeds this.
        """
        return {name: self.mask(mask, case.grid, share) for name, mask in case.structures.items()}

    def mask(self, mask: Mask, grid: Grid, share: float = 0.5) -> Bool[Tensor, " n"]:
        """Return the rows in a mask of another grid; see `masks`."""
        rows = mask_on_grid(mask, grid, self.grid, share=share).ravel()[self.voxels]
        return torch.from_numpy(rows).to(self.device)

    def sample(
        self, volume: Volume, grid: Grid, inside: Bool[np.ndarray, "zi yi xi"] | None = None
    ) -> Float[Tensor, " n"]:
        """Return a dose of another grid, or a volume as smooth, at the rows' voxels, by cubic splines.

        Args:
            volume: On `grid`.
            grid: Grid of the volume, the case's as a rule.
            inside: Voxels that take part in the interpolation, the body for a dose that is zero outside; None: all.

        Raises:
            GridMismatchError: If an array has another shape than `grid`.
        """
        values = volume_on_grid(volume, grid, self.grid, inside=inside, cubic=True).ravel()[self.voxels]
        return torch.from_numpy(values).to(self.device, self.dtype)

    def volume(self, dose_gy: Float[Tensor, " n"]) -> Float[np.ndarray, "k j i"]:
        """Return a dose of the rows on the dose grid, zero elsewhere."""
        volume = np.zeros(self.grid.shape_zyx)
        volume.flat[self.voxels] = dose_gy.detach().cpu().double().numpy()
        return volume

    def on_case_grid(self, dose_gy: Float[Tensor, " n"], case: PatientCase) -> FloatVolume:
        """Return a dose of the rows on the case's grid: cubic splines through the rows only, zero outside the body."""
        inside = np.zeros(self.grid.shape_zyx, bool)
        inside.flat[self.voxels] = True
        return dose_on_case_grid(self.volume(dose_gy), inside, self.grid, case, cubic=True)

    def _with(
        self, matrix: sparse.sparray, beams: Sequence[Beam], beamlets: Beamlets, voxels: Int[np.ndarray, " n"]
    ) -> "DoseInfluence":
        return DoseInfluence(matrix, beams, beamlets, self.grid, voxels, device=self.device, dtype=self.dtype)

    def _product(self, way: str, vectors: Float[Tensor, "*k m"]) -> Float[Tensor, "*k l"]:
        operator = self._operators.get(way)
        if operator is None:
            transposed = self.csr if way == "forward" else self.csc.T
            operator = self._operators[way] = torch_csr(transposed, self.device, self.dtype)
        flat = vectors.detach().reshape(-1, vectors.shape[-1]).to(self.device, self.dtype)
        if len(flat) == 1:  # the product with one column is three times as slow as that with a vector
            return (operator @ flat[0]).reshape(*vectors.shape[:-1], -1)
        wide = torch.nn.functional.pad(flat, (0, 0, 0, max(_VECTOR - len(flat), 0)))
        return (operator @ wide.T).T[: len(flat)].reshape(*vectors.shape[:-1], operator.shape[0])


class _Product(torch.autograd.Function):
    """The product that autograd sees: the derivative of D x is Dᵀ, and the other way round."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, influence: DoseInfluence, ahead: bool) -> Tensor:
        ctx.influence, ctx.ahead, ctx.like = influence, ahead, vectors
        return influence._product("forward" if ahead else "adjoint", vectors)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        back = ctx.influence.adjoint if ctx.ahead else ctx.influence.forward
        return back(slopes[0]).to(ctx.like.device, ctx.like.dtype), None, None


def _check(
    matrix: sparse.sparray, beams: Sequence[Beam], beamlets: Beamlets, grid: Grid, voxels: Int[np.ndarray, " n"]
) -> None:
    if matrix.shape != (len(voxels), len(beamlets)):
        rule = f"must have a row for each of {len(voxels)} voxels and a column for each of {len(beamlets)} beamlets"
        raise InputError(rule, argument="matrix", value=matrix.shape)
    size = int(np.prod(grid.shape_zyx))
    if len(voxels) and (voxels[0] < 0 or voxels[-1] >= size or (np.diff(voxels) <= 0).any()):
        raise InputError(f"must ascend within the dose grid's {size} voxels", argument="voxels", value=voxels)
    if len(beamlets) and beamlets.beam[-1] >= len(beams):
        raise InputError(
            f"must be of one of {len(beams)} beams", argument="beamlets", value=f"beam {beamlets.beam[-1]}"
        )


def lean(matrix: Any) -> Any:
    """Return a compressed matrix in float32 with 32-bit indices, its arrays shared where they are that already."""
    if matrix.nnz > np.iinfo(np.int32).max:
        raise InputError("must have fewer than 2³¹ entries: take a coarser grid", argument="matrix", value=matrix.nnz)
    parts = matrix.data, matrix.indices, matrix.indptr
    lean = [part.astype(kind, copy=False) for part, kind in zip(parts, (np.float32, np.int32, np.int32))]
    return type(matrix)(tuple(lean), shape=matrix.shape)


def _columns(csc: sparse.csc_array, first: int, end: int) -> sparse.csc_array:
    """Return neighbouring columns."""
    ends = csc.indptr[first : end + 1]
    part = slice(int(ends[0]), int(ends[-1]))
    return sparse.csc_array((csc.data[part], csc.indices[part], ends - ends[0]), shape=(csc.shape[0], end - first))


def torch_csr(matrix: sparse.csr_array, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix for torch, its arrays shared on the CPU in float32; 32-bit indices are five times as fast."""
    parts = (matrix.indptr, matrix.indices, matrix.data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        starts, columns, values = (torch.from_numpy(part) for part in parts)
        return torch.sparse_csr_tensor(
            starts.to(device), columns.to(device), values.to(device, dtype), size=matrix.shape, check_invariants=False
        )
