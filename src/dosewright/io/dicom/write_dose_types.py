"""A dose to be written as RTDOSE."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dosewright.core import Grid, GridMismatchError, InputError
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.types import FloatVolume

DoseKind = Literal["predicted", "planned", "reference"]
KINDS: tuple[DoseKind, ...] = ("predicted", "planned", "reference")


@dataclass(frozen=True, eq=False)
class RtDose:
    """A dose and where it comes from.

    Args:
        dose_gy: Total dose of all fractions in Gy.
        kind: "predicted" by a net, "planned" by an optimiser, or "reference": that of the data set.
        grid: The dose's own grid, parallel to the CT's axes; None stands for the case's.
        comment: Short remark for the reader of the file; nothing of the patient.

    Raises:
        InputError: If a dose is not finite, negative or above 250 Gy, or the kind unknown.
        GridMismatchError: If the dose has another shape than its grid.
    """

    dose_gy: FloatVolume
    kind: DoseKind
    grid: Grid | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"must be one of {KINDS}", argument="kind", value=self.kind)
        if self.grid is not None:
            self.check_shape(self.grid)
        least, most = float(self.dose_gy.min()), float(self.dose_gy.max())
        if not np.isfinite((least, most)).all():
            bad = f"{np.count_nonzero(~np.isfinite(self.dose_gy))} voxels NaN or infinite"
            raise InputError("must be finite", argument="dose_gy", value=bad)
        if least < 0 or most > DOSE_MAX_GY:
            raise InputError(f"must be in [0, {DOSE_MAX_GY:g}] Gy total", argument="dose_gy", value=(least, most))

    def check_shape(self, grid: Grid) -> None:
        """Check that the dose fits its own grid, or `grid` where it has none.

        Raises:
            GridMismatchError: If it has another shape.
        """
        shape = (self.grid or grid).shape_zyx
        if self.dose_gy.shape != shape:
            raise GridMismatchError(f"must have the grid's shape {shape}", argument="dose_gy", value=self.dose_gy.shape)
