"""The doses of a case over settings of a net's preference sliders, as dose-volume indices."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dosewright.core import InputError, PatientCase, Role, role_of
from dosewright.core.preference import NEUTRAL, PreferenceSpace
from dosewright.core.types import Mask
from dosewright.dose.case_dose import CaseDose
from dosewright.dose.table import index_table
from dosewright.inference.predictor import Predictor
from dosewright.inference.preference import Preference, Vector

SPARING, HOMOGENEITY = "sparing", "homogeneity"
TARGET_INDICES = ("D98", "D95", "D2", "Dmean", "HI")
OAR_INDICES = ("Dmean", "D0.1cc")
MEAN_OUTSIDE = "Dmean outside targets"

Measures = Mapping[str, Mapping[str, float]]  # structure → index → value
Series = tuple[tuple[float, Vector], ...]  # a slider's values, ascending, each with the vector that sets it
Watch = Callable[[Vector, CaseDose], None]


@dataclass(frozen=True)
class Sweep:
    """Which settings of the sliders are looked at; the neutral one always is.

    Args:
        space: The net's sliders.
        sparing: Values of the sparing sliders, at neutral homogeneity.
        homogeneity: Values of the homogeneity slider, at neutral sparing.
        per_group: Move each group's sparing slider alone, too.
        grid: Combine every sparing of all groups with every homogeneity, too.

    Raises:
        InputError: If an axis has fewer than two different values, or a value lies outside its slider.
    """

    space: PreferenceSpace
    sparing: Sequence[float | int]
    homogeneity: Sequence[float | int]
    per_group: bool = False
    grid: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in ((SPARING, self.space.ranges[0]), (HOMOGENEITY, self.space.ranges[-1])):
            values = tuple(sorted({float(value) for value in getattr(self, name)}))
            if len(values) < 2:
                raise InputError("must hold at least two different values", argument=name, value=values)
            for value in values:
                if not low <= value <= high:
                    raise InputError(f"must be in [{low:g}, {high:g}], the net's slider", argument=name, value=value)
            object.__setattr__(self, name, values)

    @property
    def series(self) -> dict[str, Series]:
        """Settings of each slider while all others are neutral; "sparing" moves all groups together.

        >>> Sweep(PreferenceSpace("global"), [1.0, 0.9], [1.0, 1.5]).series["sparing"]
        ((0.9, (0.9, 1.0)), (1.0, (1.0, 1.0)))
        """
        groups, neutral = self.space.sparing_names, self.space.neutral
        found: dict[str, Series] = {
            SPARING: tuple((float(w), self._together(w, NEUTRAL)) for w in self.sparing),
            HOMOGENEITY: tuple((float(h), self._together(NEUTRAL, h)) for h in self.homogeneity),
        }
        if self.per_group and len(groups) > 1:
            for at, name in enumerate(groups):
                found[name] = tuple((float(w), (*neutral[:at], float(w), *neutral[at + 1 :])) for w in self.sparing)
        return found

    @property
    def vectors(self) -> tuple[Vector, ...]:
        """All settings, each once, the neutral one first."""
        asked = [self.space.neutral, *(vector for series in self.series.values() for _, vector in series)]
        if self.grid:
            asked += [self._together(w, h) for w in self.sparing for h in self.homogeneity]
        return tuple(dict.fromkeys(asked))

    def _together(self, sparing: float | int, homogeneity: float | int) -> Vector:
        return (*(float(sparing) for _ in self.space.sparing_names), float(homogeneity))


@dataclass(frozen=True)
class CaseSweep:
    """What the sliders did to one case.

    Args:
        case_id: The case.
        prescription_gy: Target → prescribed dose in Gy, the highest first.
        outside_percent: Organ at risk → percent of its voxels outside all targets.
        measures: Setting → indices in Gy (HI: none) of every target and organ.
        reference: The same of the case's own dose, or None.
    """

    case_id: str
    prescription_gy: Mapping[str, float]
    outside_percent: Mapping[str, float]
    measures: Mapping[Vector, Measures]
    reference: Measures | None

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can hold; `from_plain` makes the same of it again."""
        settings = [{"preference": list(vector), "measures": found} for vector, found in self.measures.items()]
        return {
            "case_id": self.case_id,
            "prescription_gy": dict(self.prescription_gy),
            "outside_percent": dict(self.outside_percent),
            "settings": settings,
            "reference": self.reference,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "CaseSweep":
        """Return what `to_plain` was made of."""
        measures = {tuple(float(v) for v in item["preference"]): item["measures"] for item in plain["settings"]}
        known = ("case_id", "prescription_gy", "outside_percent", "reference")
        return cls(measures=measures, **{name: plain[name] for name in known})


def sweep_case(predictor: Predictor, case: PatientCase, sweep: Sweep, watch: Watch | None = None) -> CaseSweep:
    """Return the indices of one case for every setting.

    Args:
        predictor: With nets that have the sweep's sliders.
        case: The case.
        sweep: The settings.
        watch: Called with every setting and its dose.

    Raises:
        InputError: If a net lacks the sliders, or a predicted dose is not finite.
    """
    spared = ~_targets(case)
    vectors = sweep.vectors
    measures = {}
    asked = [Preference.of(sweep.space, vector) for vector in vectors]
    for vector, dose_gy in zip(vectors, predictor.predict_many(case, asked), strict=True):
        doses = CaseDose.of(case, dose_gy)
        measures[vector] = measure(doses, spared)
        if watch is not None:
            watch(vector, doses)
    return CaseSweep(
        case_id=case.case_id,
        prescription_gy={name: case.prescription_gy[name] for name in case.targets},
        outside_percent={name: 100.0 * float(spared[case.structures[name]].mean()) for name in case.oars},
        measures=measures,
        reference=None if case.dose_gy is None else measure(CaseDose.of(case), spared),
    )


def measure(doses: CaseDose, spared: Mask) -> dict[str, dict[str, float]]:
    """Return structure → index → value of one dose; an index that is not defined (HI of a cold target) is left out.

    Args:
        doses: The dose and the case it belongs to.
        spared: Voxels outside all targets, where "Dmean outside targets" is taken.
    """
    case = doses.case
    wanted = dict.fromkeys(case.targets, TARGET_INDICES) | dict.fromkeys(case.oars, OAR_INDICES)
    found: dict[str, dict[str, float]] = {name: {} for name in wanted}
    for row in index_table(doses, indices_for=wanted):
        if math.isfinite(row.value):
            found[row.structure][row.name] = row.value
    for name in case.oars:
        own = case.structures[name] & spared
        if own.any():
            found[name][MEAN_OUTSIDE] = float(doses.dose_gy[own].mean(dtype=np.float64))
    return found


def _targets(case: PatientCase) -> Mask:
    """Return the union of all targets, those without a prescription too (unlike `targets_mask`), as L_obj takes it."""
    return np.logical_or.reduce([mask for name, mask in case.structures.items() if role_of(name) is Role.TARGET])
