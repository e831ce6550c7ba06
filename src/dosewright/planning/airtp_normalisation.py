"""A plan's dose scaled so that its highest target is covered as prescribed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dosewright.core import InputError, PatientCase
from dosewright.core.types import FloatVolume
from dosewright.dose.voxels import percentile


@dataclass(frozen=True)
class Normalisation:
    """What share of the highest target gets its prescription.

    The plans of AIRTP's Tables 7 and 8 (arXiv:2501.11803) have V70Gy = 97.00 %, the first and the last alike.

    Args:
        volume_percent: That share, of the voxels in the body where dose is scored.
        most_factor: A dose is multiplied by this at most and divided by this at most.
        trials: Go only so far towards that factor as the score rises: the best of this many doses between the one
            given and the one covered, both included; None goes all the way.

    Raises:
        InputError: If a number is out of range.
    """

    volume_percent: float | int = 97.0
    most_factor: float | int = 1.15
    trials: int | None = 12

    def __post_init__(self) -> None:
        if not 0 < self.volume_percent < 100:
            raise InputError("must be in (0, 100)", argument="normalise.volume_percent", value=self.volume_percent)
        if not 1 <= self.most_factor <= 10:
            raise InputError("must be in [1, 10]", argument="normalise.most_factor", value=self.most_factor)
        if self.trials is not None and self.trials < 2:
            raise InputError("must be at least 2, or null", argument="normalise.trials", value=self.trials)

    def factor(self, case: PatientCase, dose_gy: FloatVolume, score: Callable[[FloatVolume], float]) -> float:
        """Return what to multiply a dose by; 1 where the target has none.

        Args:
            case: The patient.
            dose_gy: Total dose in Gy on the case's grid.
            score: Dose → what it is worth.
        """
        covering = self._covering(case, dose_gy)
        if self.trials is None or covering == 1.0:
            return covering
        factors = np.linspace(covering, 1.0, self.trials).tolist()
        return max(factors, key=lambda factor: score(np.float32(factor) * dose_gy))

    def _covering(self, case: PatientCase, dose_gy: FloatVolume) -> float:
        target = max(case.targets, key=lambda name: case.prescription_gy[name])
        inside = dose_gy[case.structures[target] & case.body & case.scored_mask]
        if not inside.size:
            return 1.0
        ascending = torch.from_numpy(np.sort(inside).astype(np.float64))
        reached_gy = float(percentile(ascending, 100.0 - float(self.volume_percent)))
        if not reached_gy > 0:
            return 1.0
        most = float(self.most_factor)
        return min(max(float(case.prescription_gy[target]) / reached_gy, 1.0 / most), most)
