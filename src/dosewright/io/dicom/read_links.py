"""Which files belong together: a case is a CT series with the structure sets, plans and doses that refer to it.

Folders, file names and studies play no part, only UIDs: a structure set belongs to the CT whose images or series it
refers to, a plan to the structure set it refers to, a dose to the plan it refers to, or else to the structure set. What
refers to nothing that is here is taken by its frame of reference, as long as one CT alone has that frame.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dosewright.core import CaseError
from dosewright.io.dicom.read_scan import CT, DOSE, PLAN, STRUCTURES, Instance, Scan


@dataclass(frozen=True)
class CaseFiles:
    """The files of one CT series and all that may belong to it.

    Args:
        case_id: See `DicomReader`.
        slices: The CT, by path.
        structure_sets: Structure sets of this CT, one at least.
        plans: Plans that refer to one of them, or to nothing that is here.
        doses: Doses that refer to one of these, or to nothing that is here.
        broken: Files in the same folders that cannot be read, with the reason.
    """

    case_id: str
    slices: tuple[Instance, ...]
    structure_sets: tuple[Instance, ...]
    plans: tuple[Instance, ...]
    doses: tuple[Instance, ...]
    broken: Mapping[Path, str]

    @property
    def frame(self) -> str:
        """The frame of reference of the CT, "" when it has none."""
        return next((slice.frames[0] for slice in self.slices if slice.frames), "")


def unlinked(scan: Scan, cases: Iterable[CaseFiles]) -> tuple[Path, ...]:
    """Return the structure sets, plans and doses that belong to no case."""
    used = {i.path for case in cases for i in (*case.structure_sets, *case.plans, *case.doses)}
    return tuple(i.path for i in scan.instances if i.kind != CT and i.path not in used)


def link_cases(scan: Scan, name: str) -> tuple[CaseFiles, ...]:
    """Return the cases of a scan by case id.

    Args:
        scan: What lies in the folder.
        name: What the folder is to the user, for messages.

    Raises:
        CaseError: If there is no CT series with a structure set; the message says what there is instead.
    """
    groups = defaultdict(list)
    for instance in scan.instances:
        groups[instance.kind].append(instance)
    series: dict[str, list[Instance]] = defaultdict(list)
    for slice in groups[CT]:
        series[slice.series].append(slice)
    owners = Counter(frame for slices in series.values() for frame in {f for s in slices for f in s.frames})
    cases = []
    for slices in series.values():
        frames = {frame for slice in slices for frame in slice.frames}
        alone = {frame for frame in frames if owners[frame] == 1}
        sets = _structure_sets(slices, alone, groups[STRUCTURES], series)
        if sets:
            cases.append(_case(scan, slices, alone, sets, groups[PLAN], groups[DOSE]))
    if not cases:
        raise _nothing(scan, name, series, groups[STRUCTURES])
    return tuple(sorted(cases, key=lambda case: case.case_id))


def _structure_sets(
    slices: list[Instance], alone: set[str], sets: Iterable[Instance], series: Mapping[str, object]
) -> list[Instance]:
    own = {slice.uid for slice in slices}
    known = {slice.uid for group in series.values() for slice in group}  # type: ignore[attr-defined]
    found = []
    for candidate in sets:
        refers = slices[0].series in candidate.image_series or not own.isdisjoint(candidate.images)
        elsewhere = not known.isdisjoint(candidate.images) or not set(series).isdisjoint(candidate.image_series)
        if refers or (not elsewhere and not alone.isdisjoint(candidate.frames)):
            found.append(candidate)
    return found


def _case(
    scan: Scan,
    slices: list[Instance],
    alone: set[str],
    sets: list[Instance],
    all_plans: list[Instance],
    all_doses: list[Instance],
) -> CaseFiles:
    set_uids, known_sets = {s.uid for s in sets}, {i.uid for i in scan.instances if i.kind == STRUCTURES}
    known_plans = {plan.uid for plan in all_plans}
    plans = [p for p in all_plans if _belongs(p.structure_sets, set_uids, known_sets, p.frames, alone)]
    plan_uids = {plan.uid for plan in plans}
    doses = []
    for dose in all_doses:
        if not known_plans.isdisjoint(dose.plans):
            belongs = not plan_uids.isdisjoint(dose.plans)
        else:
            belongs = _belongs(dose.structure_sets, set_uids, known_sets, dose.frames, alone)
        if belongs:
            doses.append(dose)
    folders = {instance.path.parent for instance in (*slices, *sets, *plans, *doses)}
    broken = {path: reason for path, reason in scan.broken.items() if path.parent in folders}
    return CaseFiles(_case_id(scan, slices[0]), tuple(slices), tuple(sets), tuple(plans), tuple(doses), broken)


def _belongs(
    references: Iterable[str], own: set[str], known: set[str], frames: tuple[str, ...], alone: set[str]
) -> bool:
    if not known.isdisjoint(references):
        return not own.isdisjoint(references)
    return not alone.isdisjoint(frames)


def _case_id(scan: Scan, slice: Instance) -> str:
    digest = hashlib.sha256(slice.series.encode()).hexdigest()[:12]
    patient_id = scan.patient_ids.get(slice.patient, "")
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "_" for c in patient_id)
    return f"{safe.lstrip('.+-')}.{digest}".lstrip(".") if safe else f"ct_{digest}"


def _nothing(scan: Scan, name: str, series: Mapping[str, list[Instance]], sets: list[Instance]) -> CaseError:
    if scan.broken:
        reason = next(iter(scan.broken.values()))
        return CaseError(
            f"must hold a CT series with a structure set; {len(scan.broken)} files cannot be read, the first: {reason}",
            argument=name,
            value=_found(series, sets, scan),
            path=scan.root,
        )
    rule = "must hold a CT series and a structure set that refers to it or shares its frame of reference alone"
    return CaseError(rule, argument=name, value=_found(series, sets, scan), path=scan.root)


def _found(series: Mapping[str, object], sets: list[Instance], scan: Scan) -> str:
    others = ", ".join(f"{count} {what}" for what, count in sorted(scan.ignored.items()))
    return f"{len(series)} CT series, {len(sets)} structure sets" + (f", left out: {others}" if others else "")
