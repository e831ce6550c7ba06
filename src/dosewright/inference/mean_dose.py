"""The floor every net must beat: the voxelwise mean of the training doses."""

from dataclasses import dataclass

import numpy as np

from dosewright.core import CaseError, GridMismatchError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.io.reader import AbstractReader


@dataclass(frozen=True)
class MeanDosePredictor:
    """Predicts the same volume for everyone, zeroed outside the voxels where dose is allowed.

    Args:
        mean_gy: Voxelwise mean dose in Gy; voxels are matched by index, whatever their size.
    """

    mean_gy: FloatVolume

    @classmethod
    def fit(cls, reader: AbstractReader) -> "MeanDosePredictor":
        """Return the predictor of a reader's doses, one case in memory at a time.

        Raises:
            CaseError: If no case has a dose.
            GridMismatchError: If shapes differ.
        """
        total, count = np.zeros(0), 0
        for case in reader:
            if case.dose_gy is None:
                continue
            if count and case.dose_gy.shape != total.shape:
                raise GridMismatchError(
                    f"must have the others' shape {total.shape}", argument=case.case_id, value=case.dose_gy.shape
                )
            total = case.dose_gy.astype(float) if count == 0 else total + case.dose_gy
            count += 1
        if count == 0:
            raise CaseError("must hold a dose", argument="training cases", value=f"{len(reader)} without")
        return cls((total / count).astype(np.float32))

    def predict(self, case: PatientCase) -> FloatVolume:
        """Return the mean dose in Gy where dose is allowed.

        Raises:
            GridMismatchError: If the case has another shape.
        """
        if case.grid.shape_zyx != self.mean_gy.shape:
            raise GridMismatchError(
                f"must have the training cases' shape {self.mean_gy.shape}",
                argument=case.case_id,
                value=case.grid.shape_zyx,
            )
        return self.mean_gy * case.scored_mask
