"""The one structure set, plan and dose that a case is read from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dosewright.core import CaseError, InputError
from dosewright.io.dicom.read_links import CaseFiles
from dosewright.io.dicom.read_scan import Instance

KINDS = ("structure_set", "plan", "dose")
SUMMED = ("BEAM", "FRACTION")  # doses that together make up a plan's
USE = ("auto", "require", "ignore")


@dataclass(frozen=True)
class Chain:
    """What one case is read from, besides its CT.

    Args:
        structure_set: The structures.
        plan: The plan, or None.
        doses: The plan's dose; or those of its beams or fraction groups, to be summed; or none.
        notes: What was taken without a reference, or left out.
    """

    structure_set: Instance
    plan: Instance | None
    doses: tuple[Instance, ...]
    notes: tuple[str, ...] = ()


def checked_choices(choose: Mapping[str, str] | None) -> dict[str, str]:
    """Return the user's choices.

    Raises:
        InputError: If one is of an unknown kind, or empty.
    """
    choices = {str(kind): str(wanted) for kind, wanted in (choose or {}).items()}
    for kind, wanted in choices.items():
        if kind not in KINDS or not wanted:
            raise InputError(
                f"must name one of {', '.join(KINDS)}, each by label, file or UID",
                argument="data.choose",
                value={kind: wanted},
            )
    return choices


def choose_chain(
    files: CaseFiles, choices: Mapping[str, str], root: Path, plan: str = "auto", dose: str = "auto"
) -> Chain:
    """Return the only chain of references that fits the choices.

    Args:
        files: All that may belong to the CT.
        choices: "structure_set", "plan" or "dose" → its label, SOP instance UID, or file relative to `root` (a
            pattern such as `*/boost/*` will do).
        root: The scanned folder.
        plan: "auto" takes a plan that is there, "require" refuses a case without, "ignore" leaves it out.
        dose: The same for the dose.

    Raises:
        CaseError: If files beside these are broken, none fits, or several do; the message lists them.
    """
    if files.broken:
        path, reason = next(iter(files.broken.items()))
        rule = f"must be readable, as all files beside a case's own ({len(files.broken)} are not): {reason}"
        raise CaseError(rule, argument="file", path=path)
    chains = list(_chains(files, choices, root, plan, dose))
    if len(chains) == 1:
        chosen = chains[0]
        _check_patient(files, chosen)
        for use, kind, found in ((plan, "plan", chosen.plan), (dose, "dose", chosen.doses)):
            if use == "require" and not found:
                rule = f"must have a {kind}, as data.{kind}=require asks for"
                raise CaseError(rule, argument=f"case {files.case_id}", value="none", path=root)
        return chosen
    if not chains:
        raise CaseError(
            f"must fit a file of case {files.case_id}", argument="data.choose", value=dict(choices), path=root
        )
    raise CaseError(
        "fits several: choose by data.choose={structure_set: …, plan: …, dose: …}, each by label, UID or file. There "
        f"are {_listed(chains, root)}",
        argument=f"case {files.case_id}",
        value=f"{len(chains)} combinations",
        path=root,
    )


def _check_patient(files: CaseFiles, chain: Chain) -> None:
    patients = {slice.patient for slice in files.slices} - {""}
    for instance in (chain.structure_set, *([] if chain.plan is None else [chain.plan]), *chain.doses):
        if patients and instance.patient and instance.patient not in patients:
            rule = "must be that of the CT: the file belongs to another patient"
            raise CaseError(rule, argument="PatientID (0010,0020)", path=instance.path)


def _chains(files: CaseFiles, choices: Mapping[str, str], root: Path, plan_use: str, dose_use: str) -> Iterable[Chain]:
    for structures in _fitting(files.structure_sets, choices.get("structure_set"), root):
        plans: list[Instance | None] = [*_fitting(_plans_of(files, structures), choices.get("plan"), root)]
        if plan_use == "ignore" or (not plans and "plan" not in choices):
            plans = [None]
        for plan in plans:
            doses = _doses_of(files, structures, plan)
            for group, notes in _dose_groups(doses, choices.get("dose"), root, dose_use):
                yield Chain(structures, plan, group, (*_weak(structures, plan, group), *notes))


def _plans_of(files: CaseFiles, structures: Instance) -> list[Instance]:
    """Return the plans that refer to a structure set; where there are none, those that refer to none that is here."""
    own = [plan for plan in files.plans if structures.uid in plan.structure_sets]
    sets = {s.uid for s in files.structure_sets}
    return own or [plan for plan in files.plans if sets.isdisjoint(plan.structure_sets)]


def _doses_of(files: CaseFiles, structures: Instance, plan: Instance | None) -> list[Instance]:
    plans, sets = {p.uid for p in files.plans}, {s.uid for s in files.structure_sets}
    if plan is not None:
        own = [dose for dose in files.doses if plan.uid in dose.plans]
        if own:
            return own
    loose = [dose for dose in files.doses if plans.isdisjoint(dose.plans) or plan is None]
    own = [dose for dose in loose if structures.uid in dose.structure_sets]
    return own or [dose for dose in loose if sets.isdisjoint(dose.structure_sets)]


def _dose_groups(
    doses: list[Instance], wanted: str | None, root: Path, use: str
) -> Iterable[tuple[tuple[Instance, ...], tuple[str, ...]]]:
    if use == "ignore":
        yield (), ()
        return
    if wanted is not None:
        for dose in _fitting(doses, wanted, root):
            yield (dose,), ()
        return
    whole = [dose for dose in doses if dose.summation not in SUMMED]
    parts = [dose for dose in doses if dose.summation in SUMMED]
    for dose in whole:
        notes = (f"left out {len(parts)} doses of beams or fraction groups: there is one of the plan",) if parts else ()
        yield (dose,), notes
    if not whole:
        kinds = sorted({dose.summation for dose in parts})
        for kind in kinds:
            yield tuple(dose for dose in parts if dose.summation == kind), ()
        if not kinds:
            yield (), ()


def _weak(structures: Instance, plan: Instance | None, doses: tuple[Instance, ...]) -> list[str]:
    notes = []
    if plan is not None and structures.uid not in plan.structure_sets:
        notes.append("the plan refers to a structure set that is not here; taken by its frame of reference")
    if any(structures.uid not in d.structure_sets and (plan is None or plan.uid not in d.plans) for d in doses):
        notes.append("the dose refers to no plan or structure set that is here; taken by its frame of reference")
    return notes


def _fitting(instances: Iterable[Instance], wanted: str | None, root: Path) -> list[Instance]:
    if wanted is None:
        return list(instances)
    return [i for i in instances if wanted in (i.uid, i.label) or i.path.relative_to(root).match(wanted)]


def _listed(chains: list[Chain], root: Path) -> str:
    lines = []
    for chain in chains[:6]:
        parts = [chain.structure_set, *([] if chain.plan is None else [chain.plan]), *chain.doses]
        lines.append(" + ".join(str(part.path.relative_to(root)) for part in parts))
    return "; ".join(lines) + (" …" if len(chains) > 6 else "")
