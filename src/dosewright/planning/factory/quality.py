"""What no planner would accept, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dosewright.core import InputError, PatientCase
from dosewright.dose.case_dose import CaseDose
from dosewright.dose.dvh import sorted_dose_at_cc
from dosewright.dose.voxels import percentile
from dosewright.geometry.distance import distance_to_mm

HOT_CC = 0.1
SERIAL_LIMITS_GY = {"SpinalCord": 50.0, "SpinalCanal": 52.0, "Brainstem": 60.0, "OpticChiasm": 60.0}


@dataclass(frozen=True)
class QualityRules:
    """Limits beyond which a plan is rejected; the values are ours, except where sources are named.

    Args:
        least_d95: Of every target, as a share of its prescription.
        most_hot: D0.1cc over the highest prescription.
        most_spill: D0.1cc of tissue further than `spill_mm` from all targets, over the highest prescription.
        spill_mm: See there.
        most_mean_excess: Mean of the highest target over its prescription.
        serial_limits_gy: Organ → D0.1cc in total Gy; `None` takes 50 for the cord, 60 for brainstem and chiasm
            (QUANTEC), and 52 for the canal. Where a target with more dose overlaps the organ, the limit does not apply.
        factors: Least and largest factor that scales a plan to its coverage.

    Raises:
        InputError: If a limit is not positive and finite, or the factors do not hold 1.
    """

    least_d95: float | int = 0.90
    most_hot: float | int = 1.20
    most_spill: float | int = 1.05
    spill_mm: float | int = 10.0
    most_mean_excess: float | int = 1.12
    serial_limits_gy: Mapping[str, float | int] | None = None
    factors: Sequence[float | int] = (0.8, 1.25)

    def __post_init__(self) -> None:
        for name in ("least_d95", "most_hot", "most_spill", "spill_mm", "most_mean_excess"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError("must be positive and finite", argument=f"quality.{name}", value=getattr(self, name))

        if len(self.factors) != 2 or not 0 < self.factors[0] <= 1 <= self.factors[1]:
            raise InputError("must be two numbers with 1 between them", argument="quality.factors", value=self.factors)

    @property
    def limits_gy(self) -> dict[str, float]:
        """Organ → most D0.1cc."""
        return {k: float(v) for k, v in (self.serial_limits_gy or SERIAL_LIMITS_GY).items()}


class QualityControl:
    """Judges plans of one patient.

    Args:
        case: The patient.
        rules: Limits.
    """

    def __init__(self, case: PatientCase, rules: QualityRules) -> None:
        self.case, self.rules = case, rules
        self._cc = case.grid.voxel_volume_cc
        self._prescribed = max(case.prescription_gy.values())
        targets = np.logical_or.reduce([case.structures[name] for name in case.targets])
        scored = case.scored_mask & case.body
        self._scored = np.flatnonzero(scored)
        near = distance_to_mm(targets, case.grid.spacing_zyx_mm, limit_mm=float(rules.spill_mm) + 1.0)
        self._far = np.flatnonzero(scored & (near > rules.spill_mm))
        self._limits = {
            name: limit
            for name, limit in rules.limits_gy.items()
            if name in case.structures and not self._forced(name, limit)
        }

    def reasons(self, dose: CaseDose, factor: float) -> tuple[str, ...]:
        """Return why a plan is rejected; empty for one that is accepted.

        Args:
            dose: Total Gy on the case's grid, scaled.
            factor: That it was scaled by.
        """
        rules, found = self.rules, []
        if not rules.factors[0] <= factor <= rules.factors[1]:
            found.append(f"scaled by {factor:.2f} to its coverage, outside {rules.factors[0]} to {rules.factors[1]}")
        for name in self.case.targets:
            share = float(percentile(dose.ascending_gy[name], 5.0)) / self.case.prescription_gy[name]
            if share < rules.least_d95:
                found.append(f"D95 of {name} is {share:.1%} of its prescription, less than {rules.least_d95:.0%}")
        found += self._too_hot(dose)
        for name, limit in self._limits.items():
            peak = float(sorted_dose_at_cc(dose.ascending_gy[name], HOT_CC, self._cc))
            if peak > limit:
                found.append(f"D0.1cc of {name} is {peak:.1f} Gy, more than {limit:g}")
        return tuple(found)

    def _too_hot(self, dose: CaseDose) -> list[str]:
        rules, highest = self.rules, self.case.targets[0]
        far = f"D0.1cc further than {rules.spill_mm:g} mm from targets"
        values = (
            ("D0.1cc", self._hottest(dose, self._scored), rules.most_hot),
            (far, self._hottest(dose, self._far), rules.most_spill),
            (f"mean of {highest}", float(dose.ascending_gy[highest].mean()), rules.most_mean_excess),
        )
        return [
            f"{what} is {value / self._prescribed:.1%} of the highest prescription, more than {limit:.0%}"
            for what, value, limit in values
            if value > limit * self._prescribed
        ]

    def _hottest(self, dose: CaseDose, flat: np.ndarray) -> float:
        if not len(flat):
            return 0.0
        ascending = torch.from_numpy(np.sort(dose.dose_gy.reshape(-1)[flat]))
        return float(sorted_dose_at_cc(ascending, HOT_CC, self._cc))

    def _forced(self, name: str, limit_gy: float) -> bool:
        """Whether a target of more than the limit overlaps an organ by more than 0.1 cc."""
        return any(
            prescribed > limit_gy
            and np.count_nonzero(self.case.structures[target] & self.case.structures[name]) * self._cc > HOT_CC
            for target, prescribed in self.case.prescription_gy.items()
        )
