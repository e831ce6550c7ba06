"""Which voxels bend a penalty near a dose: the others add a constant and a slope, or nothing at all."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.objectives.terms.mean_term import MeanTerm
from dosewright.objectives.terms.quadratic import QuadraticTerm
from dosewright.objectives.terms.term import AbstractTerm


def bent_rows(terms: Sequence[AbstractTerm], dose_gy: Float[Tensor, "k n"], margin_gy: float) -> Bool[Tensor, " n"]:
    """Return the voxels where a term's Hessian may differ from zero for one plan at least.

    Of one-sided quadratic terms those are the voxels past their level, or short of it by less than the margin; of
    linear terms none; of all other terms, whose voxels hang together, every one.

    Args:
        terms: The terms.
        dose_gy: Dose of each plan.
        margin_gy: By how much doses may change.
    """
    found = torch.zeros(dose_gy.shape[1], dtype=torch.bool, device=dose_gy.device)
    for term in terms:
        rows = term.rows.to(dose_gy.device)
        if isinstance(term, QuadraticTerm) and not (term.over and term.under):
            past = dose_gy[:, rows] - term.level_gy.to(dose_gy)
            past = past if term.over else -past
            found[rows] |= (past > -margin_gy).any(0)
        elif not isinstance(term, MeanTerm):
            found[rows] = True
    return found


def terms_of_rows(terms: Sequence[AbstractTerm], rows: Int[Tensor, " m"], voxels: int) -> tuple[AbstractTerm, ...]:
    """Return the terms on some voxels, numbered anew.

    Quadratic terms keep their voxels among the rows at the weight they had; linear terms and terms with no voxel there
    are left out.

    Args:
        terms: The terms.
        rows: Voxels, each once.
        voxels: n, the number of voxels the terms are among.

    Raises:
        InputError: If a term that is neither quadratic nor linear has a voxel that is not among the rows.
    """
    place = torch.full((voxels,), -1, dtype=torch.int64, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    bent = [(i, term) for i, term in enumerate(terms) if not isinstance(term, MeanTerm)]
    parts = [_on(term, place[term.rows.to(rows.device)], i) for i, term in bent]
    return tuple(part for part in parts if part is not None)


def _on(term: AbstractTerm, at: Int[Tensor, " m"], index: int) -> AbstractTerm | None:
    """Return a term whose voxels are now at some places, -1 for none."""
    inside = at >= 0
    if not isinstance(term, QuadraticTerm):
        if not bool(inside.all()):
            raise InputError("must hold all voxels of such a term", argument="rows", value=f"terms[{index}]")
        return replace(term, rows=at)  # type: ignore[type-var]
    if not bool(inside.any()):
        return None
    share = float(inside.double().mean())
    reference = None if term.reference_gy is None else term.reference_gy[:, inside.to(term.reference_gy.device)]
    return replace(term, rows=at[inside], priority=term.priority * share, reference_gy=reference)
