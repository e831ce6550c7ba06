"""Objectives that make a plan repeat a dose: a predicted one, or one that was delivered.

Organs and helpers follow the dose: D_v at some volumes, the mean and, for serial organs, the hottest volume, each with
a margin that makes the optimiser pull (AIRTP, arXiv:2501.11803, Algorithm 1 and Fig. 3). Targets and the ceilings of
their rings follow the prescription. Only voxels in the body count, as only they get dose in an optimisation, and of
these the ones where dose is scored: elsewhere a zero says that dose was not calculated.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.core.case import DOSE_MAX_GY
from dosewright.core.types import FloatVolume, Mask
from dosewright.dose.dvh import sorted_dose_at_cc
from dosewright.dose.voxels import Voxels, percentile
from dosewright.objectives.anatomy_goals import with_anatomy
from dosewright.objectives.derived import Derived, Extraction
from dosewright.objectives.extraction_rules import ExtractionSettings, Origin
from dosewright.objectives.helpers import PlanningStructures, planning_structures
from dosewright.objectives.objective import Kind, Objective
from dosewright.objectives.parts import Part, Status, StructureNote

DECIMALS = 2  # of an objective's dose, in Gy; as AIRTP rounds


def extract_objectives(
    case: PatientCase, dose_gy: FloatVolume | None = None, settings: ExtractionSettings | None = None
) -> Extraction:
    """Return the objectives that make a plan of `case` repeat a dose.

    Args:
        case: The case.
        dose_gy: Total dose in Gy on the case's grid; None means the case's own.
        settings: None means the defaults, AIRTP's rules.

    Raises:
        GridMismatchError: If the dose has another shape than the grid.
        InputError: If there is no dose, it is not finite, negative or above 250 Gy, it is zero in a target, or an
            expected structure is absent and may not be.
    """
    settings = settings or ExtractionSettings()
    dose = _checked(case, case.dose_gy if dose_gy is None else dose_gy)
    planned = planning_structures(case, settings.helpers, settings.expected)
    absent = [name for name in settings.expected if name not in case.structures]
    if absent and settings.absent == "raise":
        raise InputError(f"must hold {absent}", argument=f"structures of {case.case_id}", value=tuple(case.structures))
    found = derive_objectives(planned, dose, settings)
    return found if settings.anatomy is None else with_anatomy(found, dose, settings.anatomy, planned.organs_of)


def derive_objectives(planned: PlanningStructures, dose_gy: FloatVolume, settings: ExtractionSettings) -> Extraction:
    """Return the objectives that a dose leads to in structures that were made before, as `planning_structures` does.

    Args:
        planned: The structures.
        dose_gy: Total dose in Gy on their case's grid, finite and not negative.
        settings: `helpers`, `expected` and `absent` no longer count.

    Raises:
        InputError: If the dose is zero in a target.
    """
    reader = _Reader(planned, dose_gy, settings)
    seen = {name: part for name, part in planned.parts.items() if part is Part.TARGET or reader.sees(name)}
    derived = [item for name, part in seen.items() for item in reader.derive(name, part)]
    notes = (_unseen(note) if note.name in planned.parts.keys() - seen else note for note in planned.notes)
    return Extraction(planned.case, tuple(derived), tuple(notes))


class _Reader:
    """Reads objectives off the dose of one case."""

    def __init__(self, planned: PlanningStructures, dose_gy: FloatVolume, settings: ExtractionSettings) -> None:
        self.planned, self.case, self.dose_gy, self.settings = planned, planned.case, dose_gy, settings
        self.counted = planned.case.body & planned.case.scored_mask

    def sees(self, name: str) -> bool:
        """Whether dose is scored anywhere in a structure."""
        return bool((self.case.structures[name] & self.counted).any())

    def derive(self, name: str, part: Part) -> Iterator[Derived]:
        """Yield the objectives of one structure."""
        ascending = self._ascending(self.case.structures[name])
        if part in (Part.TARGET, Part.CORE):
            yield from self._of_target(name, part, ascending)
            return
        if part is Part.RING and name in self.planned.target_of:
            rule = self.settings.targets
            yield self._ceiling(name, part, float(rule.ring_factor), float(rule.ring_priority), ascending)
        yield from self._points(name, part, ascending)
        yield from self._line(name, part, ascending)
        if self.settings.means:
            yield self._follow(name, part, "mean_upper", None, "Dmean", float(ascending.mean()), Origin.MEAN)
        cc = self.settings.maximum_cc
        if cc is not None and (part is Part.PRV or name in self.settings.helpers.keep):
            yield self._maximum(name, part, ascending, float(cc))

    def _of_target(self, name: str, part: Part, ascending_gy: Voxels) -> Iterator[Derived]:
        rule, target = self.settings.targets, self.planned.target_of.get(name, name)
        prescription_gy = self.case.prescription_gy[target]
        if part is Part.TARGET:
            _check_target(name, ascending_gy)
            least_gy = float(rule.lower_factor) * prescription_gy
            objective = self._objective(name, "squared_underdose", least_gy, None, float(rule.priority))
            label = f"prescription × {rule.lower_factor:g}"
            yield Derived(objective, part, Origin.TARGET, "D98", float(percentile(ascending_gy, 2.0)), label)
        if part is Part.CORE or prescription_gy == max(self.case.prescription_gy.values()):
            yield self._ceiling(name, part, float(rule.upper_factor), float(rule.priority), ascending_gy)

    def _ceiling(self, name: str, part: Part, factor: float, priority: float, ascending_gy: Voxels) -> Derived:
        target, hottest_gy = self.planned.target_of.get(name, name), float(percentile(ascending_gy, 98.0))
        most_gy, label = factor * self.case.prescription_gy[target], f"prescription × {factor:g}"
        if self.settings.targets.ceilings_follow and hottest_gy > most_gy:
            most_gy, label = hottest_gy, f"as it is, above {label}"
        objective = self._objective(name, "squared_overdose", most_gy, None, priority)
        return Derived(objective, part, Origin.TARGET, "D2", hottest_gy, label)

    def _points(self, name: str, part: Part, ascending_gy: Voxels) -> Iterator[Derived]:
        """Yield D_v as objectives, without those that a point at a smaller volume implies."""
        least_gy = math.inf
        for volume in self.settings.point_volumes_percent(part):
            dose_gy = float(percentile(ascending_gy, 100.0 - volume))
            item = self._follow(name, part, "max_dvh", volume, f"D{volume:g}", dose_gy, Origin.POINT)
            if item.wanted_gy < least_gy:
                least_gy = item.wanted_gy
                yield item

    def _line(self, name: str, part: Part, ascending_gy: Voxels) -> Iterator[Derived]:
        """Yield the points of a line: one priority, and doses that fall with volume whatever the margins."""
        least_gy, priority = math.inf, float(self.settings.line_priority)
        for volume in self.settings.line_volumes_percent:
            dose_gy = float(percentile(ascending_gy, 100.0 - volume))
            item = self._follow(name, part, "max_dvh", volume, f"D{volume:g}", dose_gy, Origin.LINE)
            if item.wanted_gy < least_gy:
                least_gy = item.wanted_gy
                yield replace(item, objective=replace(item.objective, priority=priority))

    def _maximum(self, name: str, part: Part, ascending_gy: Voxels, volume_cc: float) -> Derived:
        """Return the limit on the hottest volume; of a smaller structure, whose D_cc is its least dose, on all."""
        voxel_cc, measure = self.case.grid.voxel_volume_cc, f"D{volume_cc:g}cc"
        if ascending_gy.numel() * voxel_cc < volume_cc:
            volume_cc, measure = voxel_cc, "Dmax"
        hottest_gy = float(sorted_dose_at_cc(ascending_gy, volume_cc, voxel_cc))
        return self._follow(name, part, "squared_overdose", None, measure, hottest_gy, Origin.MAXIMUM)

    def _follow(
        self,
        name: str,
        part: Part,
        kind: Kind,
        volume_percent: float | None,
        measure: str,
        dose_gy: float,
        origin: Origin,
    ) -> Derived:
        rule = self.settings.rule_for(part, dose_gy, volume_percent)
        wanted_gy = rule.objective_gy(dose_gy)
        label = rule.name if wanted_gy >= self._floor_gy else f"{rule.name}, no less than {self._floor_gy:g} Gy"
        objective = self._objective(name, kind, max(wanted_gy, self._floor_gy), volume_percent, float(rule.priority))
        return Derived(objective, part, origin, measure, dose_gy, label)

    @staticmethod
    def _objective(name: str, kind: Kind, dose_gy: float, volume_percent: float | None, priority: float) -> Objective:
        return Objective(name, kind, round(dose_gy, DECIMALS), volume_percent, priority)

    @property
    def _floor_gy(self) -> float:
        return float(self.settings.floor_gy)

    def _ascending(self, mask: Mask) -> Voxels:
        inside: Float[np.ndarray, " n"] = self.dose_gy[mask & self.counted]
        return torch.from_numpy(np.sort(inside).astype(np.float64))


def _unseen(note: StructureNote) -> StructureNote:
    return replace(note, status=Status.DROPPED, reason="no voxel of it in the body has a dose")


def _check_target(name: str, ascending_gy: Voxels) -> None:
    if ascending_gy.numel() == 0:
        raise InputError("must have voxels with a dose in the body", argument=name, value="0 voxels in common")
    if not ascending_gy[-1] > 0:
        raise InputError("must not be zero in a target", argument="dose_gy", value=f"0 Gy in all of {name}")


def _checked(case: PatientCase, dose_gy: FloatVolume | None) -> FloatVolume:
    if dose_gy is None:
        raise InputError(f"must be given: case {case.case_id} has none of its own", argument="dose_gy", value=None)
    if dose_gy.shape != case.grid.shape_zyx:
        raise GridMismatchError(
            f"must have the grid's shape {case.grid.shape_zyx}", argument="dose_gy", value=tuple(dose_gy.shape)
        )
    least, most = float(dose_gy.min()), float(dose_gy.max())
    if not np.isfinite((least, most)).all():
        bad = f"{np.count_nonzero(~np.isfinite(dose_gy))} voxels NaN or infinite"
        raise InputError("must be finite", argument="dose_gy", value=bad)
    if least < 0.0 or most > DOSE_MAX_GY:
        raise InputError(f"must be in [0, {DOSE_MAX_GY:g}] Gy total", argument="dose_gy", value=(least, most))
    return dose_gy
