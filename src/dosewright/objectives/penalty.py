"""What a dose costs: the sum of all terms, for a batch of plans at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.objectives.constraint import DoseConstraint
from dosewright.objectives.curvature import Curvature
from dosewright.objectives.layers import VoxelLayers
from dosewright.objectives.objective import Objective
from dosewright.objectives.screening import bent_rows, terms_of_rows
from dosewright.objectives.terms.quadratic import QuadraticTerm
from dosewright.objectives.terms.term import AbstractTerm


@final
@dataclass(frozen=True, eq=False)
class DosePenalty:
    """Σ priority · term over the terms, in doses (k, n) of k plans in n voxels.

    A dose without gradients, terms without gradients: voxel-wise quadratic terms are evaluated together
    (`layers.VoxelLayers`). Otherwise everything is made of differentiable operations, term by term: the values and
    gradients can be differentiated by autograd with respect to the terms' parameters and the dose.

    Args:
        terms: The terms; parameters of length 1 are shared by all plans, else of one common length k.
        voxels: n.
        objectives: What each term was compiled from; empty when made by hand.
        constraints: Limits that must hold; they are not part of the penalty.
        skipped: Objectives left out, their structure being absent or empty.

    Raises:
        InputError: If a term has no voxel or one outside the dose, or parameters of different lengths.
    """

    terms: tuple[AbstractTerm, ...]
    voxels: int
    objectives: tuple[Objective, ...] = ()
    constraints: tuple[DoseConstraint, ...] = ()
    skipped: tuple[Objective, ...] = ()
    _prepared: dict = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for index, term in enumerate(self.terms):
            _check_term(index, term, self.voxels)
        lengths = {len(tensor) for tensor in self._parameters()} - {1}
        if len(lengths) > 1:
            raise InputError("must be 1 or one common number of plans", argument="parameters", value=sorted(lengths))
        if self.objectives and len(self.objectives) != len(self.terms):
            raise InputError(
                f"must be {len(self.terms)}, one a term", argument="objectives", value=len(self.objectives)
            )

    @property
    def plans(self) -> int:
        """Plans the parameters are for; 1 fits any number."""
        return max((term.plans for term in self.terms), default=1)

    @property
    def dose_gy(self) -> Float[Tensor, "p t"]:
        """Dose of each term in Gy; NaN where a term has none."""
        missing = torch.full((1,), torch.nan, dtype=torch.float64)
        return _table([missing if term.dose_gy is None else term.dose_gy for term in self.terms], self.plans)

    @property
    def priority(self) -> Float[Tensor, "p t"]:
        """Priority of each term."""
        return _table([term.priority for term in self.terms], self.plans)

    def value_and_gradient(self, dose_gy: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
        """Return each plan's penalty in float64, and its gradient with respect to the dose.

        Raises:
            InputError: If the dose has another number of voxels or plans.
        """
        self._check_dose(dose_gy)
        if self._differentiable(dose_gy):
            return self._term_by_term(dose_gy)
        with torch.no_grad():
            layers, others = self._prepare(dose_gy)
            columns = dose_gy.T.contiguous()
            value, gradient = layers.value_and_gradient(columns)
            for term in others:
                term_value, term_gradient = term.value_and_gradient(columns.index_select(0, term.rows).T)
                value += term.priority * term_value
                gradient.index_add_(0, term.rows, term_gradient.T * term.priority)
            return value, gradient.T

    def value(self, dose_gy: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
        """Return each plan's penalty in float64."""
        return self.value_and_gradient(dose_gy)[0]

    def gradient(self, dose_gy: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
        """Return the gradient of each plan's penalty with respect to its dose."""
        return self.value_and_gradient(dose_gy)[1]

    def values(self, dose_gy: Float[Tensor, "k n"]) -> Float[Tensor, "k t"]:
        """Return the value of each term without its priority, in float64."""
        self._check_dose(dose_gy)
        if not self.terms:
            return dose_gy.new_zeros((len(dose_gy), 0), dtype=torch.float64)
        return torch.stack([term.value(_inside(dose_gy, term.rows)) for term in self.terms], dim=1)

    def curvature(self, dose_gy: Float[Tensor, "k n"]) -> Curvature:
        """Return the (generalised) Hessian at a dose, for repeated products."""
        self._check_dose(dose_gy)
        with torch.no_grad():
            layers, others = self._prepare(dose_gy)
            return Curvature(dose_gy, layers.curvature(dose_gy.T).T, others)

    def hessian_product(self, dose_gy: Float[Tensor, "k n"], direction: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
        """Return the (generalised) Hessian at a dose times a direction."""
        return self.curvature(dose_gy).product(direction)

    def with_parameters(
        self,
        *,
        dose_gy: Float[Tensor, "p t"] | None = None,
        priority: Float[Tensor, "q t"] | None = None,
        reference_gy: Float[Tensor, "r n"] | None = None,
    ) -> "DosePenalty":
        """Return the penalty with other parameters, each for all plans (1, …) or per plan (k, …).

        Args:
            dose_gy: One column a term; those of terms without a dose are not read.
            priority: One column a term.
            reference_gy: Dose to mimic in all n voxels, for the terms that do.

        Raises:
            InputError: If the number of columns is wrong.
        """
        for name, given in (("dose_gy", dose_gy), ("priority", priority)):
            if given is not None and given.shape[1] != len(self.terms):
                raise InputError(f"must have {len(self.terms)} columns, one a term", argument=name, value=given.shape)
        if reference_gy is not None and reference_gy.shape[1] != self.voxels:
            raise InputError(f"must have {self.voxels} voxels", argument="reference_gy", value=reference_gy.shape)
        changed = []
        for index, term in enumerate(self.terms):
            new = term.with_parameters(
                dose_gy=None if dose_gy is None or term.dose_gy is None else dose_gy[:, index],
                priority=None if priority is None else priority[:, index],
            )
            if reference_gy is not None and isinstance(new, QuadraticTerm) and new.reference_gy is not None:
                new = replace(new, reference_gy=reference_gy[:, new.rows])
            changed.append(new)
        return replace(self, terms=tuple(changed))

    def of_plans(self, plans: Int[Tensor, " j"]) -> "DosePenalty":
        """Return the penalty of some plans of the batch."""
        return replace(
            self,
            terms=tuple(term.of_plans(plans) for term in self.terms),
            constraints=tuple(constraint.of_plans(plans) for constraint in self.constraints),
        )

    def bent_rows(self, dose_gy: Float[Tensor, "k n"], margin_gy: float) -> Bool[Tensor, " n"]:
        """Return the voxels where the Hessian may differ from zero, for doses that change by less than the margin."""
        self._check_dose(dose_gy)
        return bent_rows(self.terms, dose_gy, margin_gy)

    def of_rows(self, rows: Int[Tensor, " m"]) -> "DosePenalty":
        """Return what the doses of some voxels cost by terms that bend there: without linear terms and constraints.

        Args:
            rows: Voxels, each once; all of those that terms other than quadratic and linear ones have.

        Raises:
            InputError: If such a term has a voxel that is not among the rows.
        """
        return DosePenalty(terms_of_rows(self.terms, rows, self.voxels), len(rows))

    def with_terms(self, *terms: AbstractTerm) -> "DosePenalty":
        """Return the penalty with more terms, which belong to no objective."""
        return replace(self, terms=(*self.terms, *terms), objectives=())

    def _check_dose(self, dose_gy: Tensor) -> None:
        if dose_gy.shape[1] != self.voxels:
            raise InputError(f"must have {self.voxels} voxels", argument="dose_gy", value=tuple(dose_gy.shape))
        if self.plans not in (1, len(dose_gy)):
            raise InputError(f"must have {self.plans} plans", argument="dose_gy", value=tuple(dose_gy.shape))

    def _differentiable(self, dose_gy: Tensor) -> bool:
        needed = (tensor.requires_grad for tensor in (dose_gy, *self._parameters()))
        return torch.is_grad_enabled() and any(needed)

    def _parameters(self) -> list[Tensor]:
        return [tensor for term in self.terms for tensor in term.parameters]

    def _prepare(self, dose_gy: Tensor) -> tuple[VoxelLayers, tuple[AbstractTerm, ...]]:
        """Layers of the quadratic terms, and the other terms, for doses like this one."""
        key = (dose_gy.dtype, dose_gy.device, len(dose_gy))
        versions = [0 if tensor.is_inference() else tensor._version for tensor in self._parameters()]
        if self._prepared.get("versions") != versions:  # an optimiser has changed parameters in place
            self._prepared.clear()
            self._prepared["versions"] = versions
        if key not in self._prepared:
            terms = [term.moved(dose_gy.dtype, dose_gy.device) for term in self.terms]
            quadratic = [term for term in terms if isinstance(term, QuadraticTerm)]
            layers = VoxelLayers(quadratic, self.voxels, len(dose_gy), dose_gy.device)
            self._prepared[key] = layers, tuple(term for term in terms if not isinstance(term, QuadraticTerm))
        return self._prepared[key]

    def _term_by_term(self, dose_gy: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
        """Value and gradient of operations that autograd can follow."""
        value = torch.zeros(len(dose_gy), dtype=torch.float64, device=dose_gy.device)
        gradient = torch.zeros_like(dose_gy)
        for term in self.terms:
            term_value, term_gradient = term.value_and_gradient(_inside(dose_gy, term.rows))
            value = value + term.priority.to(value) * term_value
            weighted = term.priority.to(dose_gy)[:, None] * term_gradient
            gradient = gradient.index_add(1, term.rows, weighted)
        return value, gradient


def _inside(dose_gy: Float[Tensor, "k n"], rows: Int[Tensor, " m"]) -> Float[Tensor, "k m"]:
    return dose_gy.index_select(1, rows)


def _table(columns: Sequence[Tensor], plans: int) -> Tensor:
    if not columns:
        return torch.zeros(plans, 0, dtype=torch.float64)
    return torch.stack([column.expand(plans) for column in columns], dim=1)


def _check_term(index: int, term: AbstractTerm, voxels: int) -> None:
    if len(term.rows) == 0:
        raise InputError("must have a voxel", argument=f"terms[{index}].rows", value=0)
    least, most = int(term.rows.min()), int(term.rows.max())
    if least < 0 or most >= voxels:
        raise InputError(f"must be in [0, {voxels})", argument=f"terms[{index}].rows", value=(least, most))
