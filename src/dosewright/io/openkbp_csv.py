"""OpenKBP's sparse CSV files and axis order.

Conventions of the published files (Babier et al. 2021, Medical Physics 48):
  array axes  0 grows toward posterior, 1 toward the patient's left, 2 toward caudal; 128 × 128 × 128
  index       flat, C order, of that array
  header      `,data`, then rows of index,value; masks leave the value empty
Ours is (z, y, x) in LPS, so axis 2 is reversed into z, axis 0 is y and axis 1 is x.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from dosewright.core import CaseError, InputError
from dosewright.core.files import read_at_most
from dosewright.core.types import Shape, Triple

SHAPE: Shape = (128, 128, 128)
HEADER = ",data"
MAX_BYTES = 200_000_000  # a full volume of 128³ rows is about 50 MB


def to_lps(volume: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "c a b"]:
    """Return an OpenKBP-ordered volume as a (z, y, x) LPS view."""
    return volume.transpose(2, 0, 1)[::-1]


def from_lps(volume: Shaped[np.ndarray, "z y x"]) -> Shaped[np.ndarray, "y x z"]:
    """Return a (z, y, x) LPS volume as a view in OpenKBP order."""
    return volume[::-1].transpose(1, 2, 0)


def volume_of(
    indices: Int[np.ndarray, " n"], values: Shaped[np.ndarray, "*n"], dtype: type
) -> Shaped[np.ndarray, "z y x"]:
    """Return the (z, y, x) LPS volume with values at flat indices (OpenKBP order), zero elsewhere."""
    posterior, left, caudal = np.unravel_index(indices, SHAPE)
    volume: np.ndarray = np.zeros((SHAPE[2], SHAPE[0], SHAPE[1]), dtype)
    volume[SHAPE[2] - 1 - caudal, posterior, left] = values
    return volume


def read_values(path: Path) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return flat indices (OpenKBP order) and values of a sparse CSV.

    Raises:
        CaseError: If the file is missing, truncated, not numeric, NaN, has a row of other than two columns, or an index
            is repeated or out of range.
    """
    body = _body(path)
    if body.count(",") != body.count("\n"):  # blank lines, or rows of other than two columns
        _check_rows(body, path, _is_value_row, "must be index,value")
    table = _parse(body, path)
    if table.shape[1] != 2:  # as many blank lines as columns too many
        _check_rows(body, path, _is_value_row, "must be index,value")
    values = table[:, 1]
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise CaseError("must be finite", argument=f"data in row {row + 2}", value=float(values[row]), path=path)
    return _indices(table[:, 0], path), values


def read_mask_indices(path: Path) -> Int[np.ndarray, " n"]:
    """Return the flat indices (OpenKBP order) of a mask file.

    Raises:
        CaseError: As `read_values`, and if the mask is empty or a row holds more than an index and, possibly, a 1.
    """
    body = _body(path)
    rows = body.count("\n")
    if not rows == body.count(",") == body.count(",\n"):
        _check_rows(body, path, _is_mask_row, "must be an index and a comma")
    indices = _indices(_parse(body, path, columns=(0,))[:, 0], path)
    if indices.size == 0:
        raise CaseError("must hold at least one voxel", argument="mask", value="0 rows", path=path)
    return indices


def read_voxel_dimensions(path: Path) -> Triple:
    """Return the voxel edge lengths in mm along OpenKBP's axes 0, 1, 2.

    Raises:
        CaseError: Unless the file holds three lengths between 0.5 and 20 mm.
    """
    text = _text(path)
    try:
        lengths = [float(line) for line in text.split()]
    except ValueError:
        raise CaseError("must be three numbers", argument="voxel dimensions", value=text[:80], path=path) from None
    if len(lengths) != 3 or not all(0.5 <= v <= 20.0 for v in lengths):
        raise CaseError("must be three lengths in [0.5, 20] mm", argument="voxel dimensions", value=lengths, path=path)
    return (lengths[0], lengths[1], lengths[2])


def format_values(volume: Float[np.ndarray, "z y x"]) -> str:
    """Return the sparse CSV text of a (z, y, x) LPS volume: its non-zero voxels in OpenKBP order."""
    flat = np.ascontiguousarray(from_lps(volume)).ravel()
    indices = np.flatnonzero(flat)
    rows = "\n".join(f"{i},{v:.6g}" for i, v in zip(indices.tolist(), flat[indices].tolist(), strict=True))
    return f"{HEADER}\n{rows}\n" if indices.size else f"{HEADER}\n"


def _text(path: Path) -> str:
    try:
        text = read_at_most(path, MAX_BYTES).decode("ascii").replace("\r\n", "\n").replace("\r", "\n")
    except InputError as error:
        raise CaseError.located(error, path) from None
    except FileNotFoundError:
        raise CaseError("must exist", argument=path.name, value="no such file", path=path.parent) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError("must be readable ASCII text", argument="file", value=str(error), path=path) from None
    if not text.endswith("\n"):
        raise CaseError(
            "must end with a newline: the file is truncated", argument="last line", value=text[-40:], path=path
        )
    return text


def _body(path: Path) -> str:
    """Return the rows of a file, without its header."""
    header, _, body = _text(path).partition("\n")
    if header.strip() != HEADER:
        raise CaseError(f"must be {HEADER!r}", argument="header", value=header[:80], path=path)
    return body


def _check_rows(body: str, path: Path, is_row: Callable[[str], bool], rule: str) -> None:
    for number, line in enumerate(body.split("\n"), start=2):
        if line.strip() and not is_row(line):
            raise CaseError(rule, argument=f"row {number}", value=line, path=path)


def _is_value_row(line: str) -> bool:
    return line.count(",") == 1


def _is_mask_row(line: str) -> bool:
    _, comma, value = line.partition(",")
    return bool(comma) and value.strip() in ("", "1", "1.0")


def _parse(body: str, path: Path, columns: tuple[int, ...] | None = None) -> Float[np.ndarray, "n c"]:
    """Return the given columns of all rows, which must have equally many when None are given."""
    if not body.strip():
        return np.empty((0, 2 if columns is None else len(columns)))
    try:
        return np.loadtxt(body.splitlines(), delimiter=",", usecols=columns, ndmin=2, comments=None)
    except ValueError as error:
        raise CaseError("must be rows of index,value", argument="content", value=str(error), path=path) from None


def _indices(column: Float[np.ndarray, " n"], path: Path) -> Int[np.ndarray, " n"]:
    bad = (column != np.floor(column)) | (column < 0) | (column >= np.prod(SHAPE))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise CaseError(
            f"must be a whole number in [0, {int(np.prod(SHAPE))})",
            argument=f"index in row {row + 2}",
            value=float(column[row]),
            path=path,
        )
    indices = column.astype(np.int64)
    if not (np.diff(indices) > 0).all():  # published files are sorted
        repeated = indices.size - np.unique(indices).size
        if repeated:
            raise CaseError("must be unique", argument="index", value=f"{repeated} repeated", path=path)
    return indices
