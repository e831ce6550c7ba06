"""Goals that follow a patient's anatomy in place of objectives that follow a dose."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from dosewright.core.types import FloatVolume, Mask
from dosewright.dose.voxels import Voxels, percentile
from dosewright.objectives.anatomy.engine import anatomy_goals
from dosewright.objectives.anatomy.outcome import AnatomyOutcome, OrganGoal
from dosewright.objectives.anatomy.settings import AnatomySettings
from dosewright.objectives.derived import Derived, Extraction
from dosewright.objectives.extraction_rules import Origin
from dosewright.objectives.parts import Part, Status, StructureNote

log = logging.getLogger(__name__)


def with_anatomy(
    found: Extraction, dose_gy: FloatVolume, settings: AnatomySettings, organs_of: Mapping[str, frozenset[str]]
) -> Extraction:
    """Return an extraction in which organs with a goal follow their anatomy instead of the dose.

    What a person must look at is logged as a warning, whatever else is made of the extraction.

    Args:
        found: Objectives that follow the dose, with the helper structures in its case.
        dose_gy: That dose, total Gy on the case's grid; of it the goals' own values are told.
        settings: Goals and rules.
        organs_of: Structure that takes part as an organ or a planning risk volume → the organs it is made of.

    Raises:
        InputError: If a file of the settings cannot be read.
        GridMismatchError: If a prior dose lies on another grid than the case.
    """
    outcome = anatomy_goals(found.case, settings)
    for review in outcome.reviews:
        log.warning("%s: %s", found.case.case_id, review.explain())
    replaced = _followers(outcome, organs_of)
    kept = (item for item in found.derived if item.objective.structure not in replaced)
    case = replace(found.case, structures=dict(found.case.structures) | dict(outcome.parts))
    goals = tuple(_derived(case.structures, case.body & case.scored_mask, dose_gy, outcome))
    used = {item.objective.structure for item in goals}
    notes = tuple(_noted(note, used, replaced) for note in found.structures)
    return Extraction(case, (*kept, *goals), notes, outcome)


def _followers(outcome: AnatomyOutcome, organs_of: Mapping[str, frozenset[str]]) -> set[str]:
    """Return organs with a goal and what is made of them alone: crops and planning risk volumes."""
    with_goal = {measures.organ for measures in outcome.measures}
    return with_goal | {name for name, organs in organs_of.items() if organs and organs <= with_goal}


def _derived(structures: object, counted: Mask, dose_gy: FloatVolume, outcome: AnatomyOutcome) -> Iterator[Derived]:
    masks: dict[str, Mask] = dict(structures)  # type: ignore[call-overload]
    for goal in outcome.goals:
        name = goal.objective.structure
        inside = dose_gy[masks[name] & counted] if name in masks else np.zeros(0, np.float32)
        if inside.size == 0:
            log.warning("%s: no voxel of it has a dose, so its goal is left out: %s", name, goal.objective.describe())
            continue
        measure, value_gy = _value(goal, torch.from_numpy(np.sort(inside).astype(np.float64)))
        part = Part.ORGAN if name == goal.organ else Part.PRV
        label = " + ".join(goal.rules) if goal.rules else "baseline"
        yield Derived(goal.objective, part, Origin.GOAL, measure, value_gy, label)


def _value(goal: OrganGoal, ascending_gy: Voxels) -> tuple[str, float]:
    """Return the dose's own value of what a goal is about."""
    objective = goal.objective
    if objective.kind in ("max_dvh", "min_dvh") and objective.volume_percent is not None:
        volume = float(objective.volume_percent)
        return f"D{volume:g}", float(percentile(ascending_gy, 100.0 - volume))
    if objective.kind in ("squared_overdose", "max_dose"):
        return "Dmax", float(ascending_gy[-1])
    return "Dmean", float(ascending_gy.mean())


def _noted(note: StructureNote, used: set[str], replaced: set[str]) -> StructureNote:
    """Return what became of a structure, now that goals stand in for objectives that follow the dose."""
    if note.name in used:
        return replace(note, status=Status.USED, reason="its goal follows the anatomy")
    if note.name in replaced and note.status is not Status.ABSENT:
        return replace(note, status=Status.REPLACED, reason="the organ's goal follows the anatomy")
    return note
