"""Rules that inputs of this layer share."""

import math

import numpy as np
from jaxtyping import Float

from dosewright.core import GridMismatchError, InputError


def check_positive(name: str, value: float) -> None:
    """Check that a number is positive and finite.

    Raises:
        InputError: If it is not.
    """
    if not (math.isfinite(value) and value > 0):
        raise InputError("must be positive and finite", argument=name, value=value)


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Check that an array has the dose's shape.

    Raises:
        GridMismatchError: If it has not.
    """
    if tuple(shape) != tuple(expected):
        raise GridMismatchError(f"must have the dose's shape {tuple(expected)}", argument=name, value=tuple(shape))


def finite_float64(name: str, dose_gy: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "*s"]:
    """Return a dose as float64.

    Raises:
        InputError: If a voxel is NaN or infinite.
    """
    dose = np.asarray(dose_gy, np.float64)
    bad = np.count_nonzero(~np.isfinite(dose))
    if bad:
        raise InputError("must be finite", argument=name, value=f"{bad} voxels NaN or infinite")
    return dose
