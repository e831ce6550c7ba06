"""Structures an optimisation works with: those of a case, cropped where they meet a target, and helpers around targets.

Helpers follow AIRTP (arXiv:2501.11803, Table 3), named as TG-263 does: `Parotid_L-PTV` is an organ without the targets,
`SpinalCord_PRV05` an organ with 5 mm around it, `zPTV_Low_Opt` a target away from targets of higher prescription,
`Ring_PTV_High` the tissue around a target, `zTissue` the body beyond the rings. Distances run between voxel centres
(see `geometry.distance`). All helpers lie in the body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from dosewright.core import PatientCase, Role, role_of
from dosewright.core.types import FloatVolume, Mask
from dosewright.geometry import distance_to_mm, targets_mask
from dosewright.objectives.helper_settings import HelperSettings, Part, Status

_TOLERANCE_MM = 1e-3
CROPPED_SUFFIX, TISSUE = "-PTV", "zTissue"

_NO_PART = {Role.TARGET: "a target without prescription", Role.HELPER: "a helper structure of the case"}


@dataclass(frozen=True)
class StructureNote:
    """What became of a structure, and why.

    Args:
        name: TG-263 name.
        part: What it is to the optimisation; None for a structure that has no part in it.
        status: See `Status`.
        reason: In words; empty where there is nothing to say.
        voxels: In the body; 0 when absent.
        volume_cc: Of these.
        in_targets_percent: Share of these that lies in targets; None when there are none.
        outside_body_percent: Share of all its voxels outside the body, which no objective can see.
    """

    name: str
    part: Part | None
    status: Status
    reason: str = ""
    voxels: int = 0
    volume_cc: float = 0.0
    in_targets_percent: float | None = None
    outside_body_percent: float | None = None


@dataclass(frozen=True, eq=False)
class PlanningStructures:
    """A case with its helpers, and what became of every structure.

    Args:
        case: The case; helpers that are used are among its structures.
        parts: Structure that takes part → what it is; targets first, highest prescription first.
        target_of: Target core or ring → its target.
        notes: One for each structure of the case, each helper and each expected structure that is absent.
    """

    case: PatientCase
    parts: Mapping[str, Part]
    target_of: Mapping[str, str]
    notes: tuple[StructureNote, ...]


def planning_structures(
    case: PatientCase, settings: HelperSettings | None = None, expected: Sequence[str] = ()
) -> PlanningStructures:
    """Return the structures to plan a case with.

    Where the case has a structure of a helper's name, that one is used.

    Args:
        case: The case.
        settings: None means the defaults.
        expected: Structures to note as absent where the case has not got them.
    """
    return _Builder(case, settings or HelperSettings()).build(expected)


class _Builder:
    """Collects helpers, parts and notes of one case."""

    def __init__(self, case: PatientCase, settings: HelperSettings) -> None:
        self.case, self.settings = case, settings
        self.targets = targets_mask(case)
        self.helpers: dict[str, Mask] = {}
        self.parts: dict[str, Part] = {}
        self.target_of: dict[str, str] = {}
        self.notes: list[StructureNote] = []
        self._distances: dict[str, FloatVolume] = {}

    def build(self, expected: Sequence[str]) -> PlanningStructures:
        for name in self.case.targets:
            self._use(name, Part.TARGET)
            self._add_target_core(name)
        margins = {f"{name}_PRV{margin:02.0f}": (name, margin) for name, margin in self.settings.prv_mm.items()}
        for name in self.case.structures:
            if role_of(name) is Role.OAR and name not in margins:
                self._take_organ(name)
        for prv, (name, margin) in margins.items():
            self._add_prv(prv, name, float(margin))
        if self.settings.ring_outer_mm is not None:
            for name in self.case.targets:
                self._add_ring(name, float(self.settings.ring_outer_mm))
        if self.settings.tissue:
            self._add_tissue()
        self._note_the_rest(expected)
        extended = replace(self.case, structures=dict(self.case.structures) | self.helpers)
        return PlanningStructures(
            extended, MappingProxyType(self.parts), MappingProxyType(self.target_of), tuple(self.notes)
        )

    def _note_the_rest(self, expected: Sequence[str]) -> None:
        noted = {note.name for note in self.notes}
        for name in self.case.structures:
            if name not in noted:
                self._note(name, None, Status.DROPPED, _NO_PART[role_of(name)])
        for name in expected:
            if name not in self.case.structures:
                self._note(name, None, Status.ABSENT, "the case does not have it")

    def _take_organ(self, name: str) -> None:
        settings, own = self.settings, self.case.structures[name]
        inside = own & self.case.body
        volume_cc, in_targets = self._cc(inside), _percent(inside & self.targets, inside)
        cropped = name + CROPPED_SUFFIX
        if not inside.any():
            return self._note(name, Part.ORGAN, Status.DROPPED, "no voxel of it is in the body")
        if name in settings.whole:
            return self._use(name, Part.ORGAN, f"{in_targets:.0f} % of it in targets, kept whole" if in_targets else "")
        if name.endswith(CROPPED_SUFFIX):
            return self._use(name, Part.CROPPED, "the case's own")
        if volume_cc < settings.smallest_cc:
            return self._note(name, Part.ORGAN, Status.DROPPED, f"smaller than {settings.smallest_cc:g} cc")
        if cropped in self.case.structures:
            return self._note(name, Part.ORGAN, Status.REPLACED, f"by {cropped}")
        if not in_targets:
            return self._use(name, Part.ORGAN)
        limit = settings.largest_overlap_percent
        if in_targets > limit:
            reason = f"{in_targets:.0f} % of it in targets, more than {limit:g} %"
            return self._note(name, Part.ORGAN, Status.DROPPED, reason)
        remainder = inside & ~self._near_targets(float(settings.crop_gap_mm))
        if self._cc(remainder) < settings.smallest_cc or not remainder.any():
            reason = f"less than {settings.smallest_cc:g} cc of it outside the targets"
            return self._note(name, Part.ORGAN, Status.DROPPED, reason)
        self._note(name, Part.ORGAN, Status.REPLACED, f"by {cropped}")
        return self._make(cropped, Part.CROPPED, remainder)

    def _add_target_core(self, name: str) -> None:
        higher = self._higher(name)
        if not higher:
            return
        core = self.case.structures[name] & self.case.body
        for other, step_mm in higher.items():
            core &= self._farther(other, step_mm)
        self._make(f"z{name}_Opt", Part.CORE, core, of_target=name)

    def _add_prv(self, prv: str, name: str, margin_mm: float) -> None:
        if prv in self.case.structures:
            return self._make(prv, Part.PRV, self.case.structures[prv])
        if name not in self.case.structures:
            return None
        if self.parts.get(name) is not Part.ORGAN:
            return self._note(prv, Part.PRV, Status.DROPPED, f"{name} takes no part as a whole")
        own = self.case.structures[name] & self.case.body
        near = distance_to_mm(own, self.case.grid.spacing_zyx_mm, margin_mm + 1.0) <= margin_mm + _TOLERANCE_MM
        grown = own | (near & self.case.body & ~self.targets)
        if grown.sum() == own.sum():
            return self._note(prv, Part.PRV, Status.DROPPED, f"{margin_mm:g} mm adds no voxel on this grid")
        return self._make(prv, Part.PRV, grown)

    def _add_ring(self, name: str, outer_mm: float) -> None:
        settings = self.settings
        ring = self.case.body & ~self.targets & self._farther(name, float(settings.ring_inner_mm))
        ring &= ~self._farther(name, outer_mm)
        for other, step_mm in self._higher(name).items():
            ring &= self._farther(other, step_mm + float(settings.ring_gap_mm))
        self._make(f"Ring_{name}", Part.RING, ring, of_target=name)

    def _add_tissue(self) -> None:
        beyond_mm = self.settings.ring_outer_mm
        near = self._near_targets(float(self.settings.ring_inner_mm if beyond_mm is None else beyond_mm))
        self._make(TISSUE, Part.TISSUE, self.case.body & ~near)

    def _higher(self, name: str) -> dict[str, float]:
        """Return the targets of higher prescription and the space in mm each step needs."""
        own_gy = self.case.prescription_gy[name]
        doses = {other: gy for other, gy in self.case.prescription_gy.items() if gy > own_gy}
        return {other: self.settings.step_mm(gy, own_gy) for other, gy in doses.items()}

    def _near_targets(self, gap_mm: float) -> Mask:
        near = self.targets.copy()
        for name in self.case.targets if gap_mm > 0 else ():
            near |= ~self._farther(name, gap_mm)
        return near

    def _farther(self, target: str, gap_mm: float) -> Mask:
        """Return the voxels farther than `gap_mm` from a target."""
        if target not in self._distances:
            settings, doses = self.settings, self.case.prescription_gy.values()
            steps = settings.step_mm(max(doses), min(doses)) + float(settings.ring_gap_mm)
            rings = float(settings.ring_outer_mm or settings.ring_inner_mm)
            reach_mm = max(rings, float(settings.crop_gap_mm), steps) + 1.0
            spacing = self.case.grid.spacing_zyx_mm
            self._distances[target] = distance_to_mm(self.case.structures[target], spacing, reach_mm)
        return self._distances[target] > gap_mm + _TOLERANCE_MM

    def _make(self, name: str, part: Part, mask: Mask, of_target: str | None = None) -> None:
        """Use a helper: the case's own of that name, else this one."""
        if of_target is not None:
            self.target_of[name] = of_target
        own = self.case.structures.get(name)
        if own is not None and (own & self.case.body).any():
            self._use(name, part, "the case's own")
        elif own is None and mask.any():
            self.helpers[name] = mask
            self._use(name, part)
        else:
            self._note(name, part, Status.DROPPED, "no voxel is left of it")

    def _use(self, name: str, part: Part, reason: str = "") -> None:
        self.parts[name] = part
        self._note(name, part, Status.USED, reason)

    def _note(self, name: str, part: Part | None, status: Status, reason: str = "") -> None:
        mask = self.helpers.get(name, self.case.structures.get(name))
        if mask is None:
            self.notes.append(StructureNote(name, part, status, reason))
            return
        inside = mask & self.case.body
        in_targets = _percent(inside & self.targets, inside) if inside.any() else None
        note = StructureNote(
            name=name,
            part=part,
            status=status,
            reason=reason,
            voxels=int(inside.sum()),
            volume_cc=self._cc(inside),
            in_targets_percent=in_targets,
            outside_body_percent=_percent(mask & ~self.case.body, mask),
        )
        self.notes.append(note)

    def _cc(self, mask: Mask) -> float:
        return float(mask.sum()) * self.case.grid.voxel_volume_cc


def _percent(part: Mask, whole: Mask) -> float:
    return 100.0 * float(np.count_nonzero(part)) / max(int(np.count_nonzero(whole)), 1)
