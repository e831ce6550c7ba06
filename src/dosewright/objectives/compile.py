"""From objectives as data to a penalty over the voxels of a dose."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.core.structures import EXTERNAL, Role, role_of
from dosewright.objectives.constraint import DoseConstraint
from dosewright.objectives.objective import Objective
from dosewright.objectives.penalty import DosePenalty
from dosewright.objectives.terms.cvar_index import CvarIndex
from dosewright.objectives.terms.dvh_term import DvhTerm
from dosewright.objectives.terms.geud_index import GeudIndex
from dosewright.objectives.terms.index import AbstractIndex
from dosewright.objectives.terms.index_term import IndexTerm
from dosewright.objectives.terms.mean_index import MeanIndex
from dosewright.objectives.terms.mean_term import MeanTerm
from dosewright.objectives.terms.quadratic import QuadraticTerm
from dosewright.objectives.terms.term import AbstractTerm

_SIDES = {
    "squared_overdose": (True, False),
    "squared_underdose": (False, True),
    "squared_deviation": (True, True),
    "max_dvh": (True, False),  # at 0 % or 100 %, where the point is about every voxel
    "min_dvh": (False, True),
}
_UPPER = ("max_dvh", "mean_upper", "geud_upper", "cvar_upper")


def compile_objectives(
    objectives: Sequence[Objective],
    masks: Mapping[str, Bool[Tensor, " _"]],
    roles: Mapping[str, Role] | None = None,
    reference_gy: Float[Tensor, " _"] | None = None,
    *,
    missing: Literal["raise", "skip"] = "raise",
) -> DosePenalty:
    """Return the penalty that the objectives make; hard ones become its constraints.

    Args:
        objectives: The objectives.
        masks: Structure → voxels among the n of the dose. `External` is all of them unless given.
        roles: What structures are, for mimicking: doses of targets count above and below the reference, of others
            only above. Those not given go by their name.
        reference_gy: Dose to mimic in all n voxels.
        missing: What to do with an objective whose structure has no voxel: raise, or leave it out and list it in
            the penalty's `skipped`.

    Raises:
        InputError: If the masks do not have one length, a structure is absent or empty and that is not to be skipped,
            or something is to be mimicked without a reference.
    """
    voxels = _voxel_count(masks, reference_gy)
    terms: list[AbstractTerm] = []
    soft: list[Objective] = []
    skipped: list[Objective] = []
    constraints: list[DoseConstraint] = []
    for objective in objectives:
        rows = _rows(objective, masks, voxels, missing)
        if rows is None:
            skipped.append(objective)
        elif objective.constraint:
            constraints.append(_constraint(objective, rows))
        else:
            role = (roles or {}).get(objective.structure) or role_of(objective.structure)
            terms.append(_term(objective, rows, role, reference_gy))
            soft.append(objective)
    return DosePenalty(tuple(terms), voxels, tuple(soft), tuple(constraints), tuple(skipped))


def _voxel_count(masks: Mapping[str, Tensor], reference_gy: Tensor | None) -> int:
    lengths = {name: len(mask) for name, mask in masks.items()}
    if reference_gy is not None:
        lengths["reference_gy"] = len(reference_gy)
    if len(set(lengths.values())) != 1:
        raise InputError("must have one number of voxels", argument="masks", value=lengths)
    return next(iter(lengths.values()))


def _rows(
    objective: Objective, masks: Mapping[str, Tensor], voxels: int, missing: Literal["raise", "skip"]
) -> Int[Tensor, " m"] | None:
    name = objective.structure
    if name == EXTERNAL and name not in masks:
        return torch.arange(voxels, device=next((mask.device for mask in masks.values()), None))
    rows = masks[name].nonzero()[:, 0] if name in masks else torch.arange(0)
    if len(rows) > 0:
        return rows
    if missing == "skip":
        return None
    rule = "must have a voxel in the dose grid" if name in masks else f"must be among {sorted(masks)}"
    raise InputError(rule, argument=f"structure of the objective '{objective.describe()}'", value=name)


def _constraint(objective: Objective, rows: Int[Tensor, " m"]) -> DoseConstraint:
    return DoseConstraint(
        name=objective.describe(),
        rows=rows,
        dose_gy=_parameter(objective.dose_gy),
        upper=objective.kind in ("max_dose", "mean_upper"),
        mean=objective.kind in ("mean_upper", "mean_lower"),
    )


def _term(
    objective: Objective, rows: Int[Tensor, " m"], role: Role, reference_gy: Float[Tensor, " n"] | None
) -> AbstractTerm:
    priority = _parameter(objective.priority)
    if objective.kind == "mean":
        return MeanTerm(rows, priority)
    if objective.kind == "mimic":
        if reference_gy is None:
            raise InputError("must be given to mimic", argument="reference_gy", value=objective.describe())
        return QuadraticTerm(rows, priority, reference_gy=reference_gy[None, rows], under=role is Role.TARGET)
    dose_gy, upper = _parameter(objective.dose_gy), objective.kind in _UPPER
    if objective.kind in _SIDES and objective.convex:
        over, under = _SIDES[objective.kind]
        return QuadraticTerm(rows, priority, dose_gy, over=over, under=under)
    if objective.kind in ("max_dvh", "min_dvh"):
        return DvhTerm(rows, priority, dose_gy, _number(objective.volume_percent), upper)
    return IndexTerm(rows, priority, dose_gy, _index(objective), upper)


def _index(objective: Objective) -> AbstractIndex:
    if objective.kind in ("geud_upper", "geud_lower"):
        return GeudIndex(_number(objective.exponent))
    if objective.kind in ("cvar_upper", "cvar_lower"):
        return CvarIndex(_number(objective.volume_percent), upper=objective.kind == "cvar_upper")
    return MeanIndex()


def _number(value: float | int | None) -> float:
    """A field that the objective's own check guarantees."""
    return float("nan") if value is None else float(value)


def _parameter(value: float | int | None) -> Float[Tensor, " 1"]:
    return torch.tensor([_number(value)], dtype=torch.float64)
