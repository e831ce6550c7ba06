"""What structures are to an optimisation, and what became of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from dosewright.core import PatientCase
from dosewright.core.types import Mask


class Part(StrEnum):
    """What a structure is to an optimisation.

    A core is a target away from those of higher prescription, a cropped organ one without the targets, a prv a planning
    risk volume.
    """

    TARGET = "target"
    CORE = "core"
    ORGAN = "organ"
    CROPPED = "cropped"
    PRV = "prv"
    RING = "ring"
    TISSUE = "tissue"


class Status(StrEnum):
    """What became of a structure.

    Dropped ones would take part if they were larger, or less covered; unneeded ones, such as the crop of an organ that
    meets no target, would say nothing that others do not.
    """

    USED = "used"
    REPLACED = "replaced"
    DROPPED = "dropped"
    ABSENT = "absent"
    UNNEEDED = "unneeded"


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


def note_of(
    case: PatientCase, targets: Mask, name: str, part: Part | None, status: Status, reason: str, mask: Mask | None
) -> StructureNote:
    """Return the note of a structure, measured.

    Args:
        case: The case.
        targets: All its targets together.
        name: See `StructureNote`, as the next three.
        part: See above.
        status: See above.
        reason: See above.
        mask: Of the structure; None where there is none.
    """
    if mask is None:
        return StructureNote(name, part, status, reason)
    inside = mask & case.body
    return StructureNote(
        name=name,
        part=part,
        status=status,
        reason=reason,
        voxels=int(np.count_nonzero(inside)),
        volume_cc=volume_cc(inside, case),
        in_targets_percent=percent_of(inside & targets, inside) if inside.any() else None,
        outside_body_percent=percent_of(mask & ~case.body, mask),
    )


def volume_cc(mask: Mask, case: PatientCase) -> float:
    """Return the volume of a mask on a case's grid."""
    return float(np.count_nonzero(mask)) * case.grid.voxel_volume_cc


def percent_of(part: Mask, whole: Mask) -> float:
    """Return how much of a mask a part of it is; 0 where there is none."""
    return 100.0 * float(np.count_nonzero(part)) / max(int(np.count_nonzero(whole)), 1)


def left_out(notes: Iterable[StructureNote]) -> Iterator[str]:
    """Yield, in at most two sentences, what an optimisation does without, and why.

    >>> list(left_out([StructureNote("Larynx", Part.ORGAN, Status.DROPPED, "less than 0.1 cc of it")]))
    ['structures left out: Larynx (less than 0.1 cc of it)']
    """
    listed = [note for note in notes if note.part is not None]
    for status, text in ((Status.DROPPED, "structures left out"), (Status.ABSENT, "structures that could not be made")):
        names = [f"{note.name} ({note.reason})" for note in listed if note.status is status]
        if names:
            yield f"{text}: {', '.join(names)}"
