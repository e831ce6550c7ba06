"""The fluence problem: least penalty of the dose D x over fluences x ≥ 0, for one plan or a batch of them at once."""

from copy import copy
from dataclasses import dataclass, field
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import InputError
from dosewright.fluence.smoothness import Smoothness, neighbour_pairs


@runtime_checkable
class LinearOperator(Protocol):
    """Dose as a linear map of fluence; `shape` is (voxels n, beamlets b).

    An operator may also have `column_norms` (b,), the Euclidean norm of the dose of each beamlet in Gy, and `beamlets`.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Return (n, b)."""

    def forward(self, x: Float[Tensor, "*k b"]) -> Float[Tensor, "*k n"]:
        """Return the dose D x in Gy."""

    def adjoint(self, y: Float[Tensor, "*k n"]) -> Float[Tensor, "*k b"]:
        """Return Dᵀ y."""


@runtime_checkable
class Penalty(Protocol):
    """What a dose costs: a differentiable function of the dose alone, for every plan of a batch."""

    def value_and_gradient(self, dose: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
        """Return the penalty of each plan and its gradient with respect to dose."""


@dataclass(frozen=True)
class Point:
    """A batch of fluences in scaled units with everything known there; `value` in double precision."""

    scaled: Float[Tensor, "k b"]
    dose: Float[Tensor, "k n"]
    value: Float[Tensor, " k"]
    gradient: Float[Tensor, "k b"]
    dose_gradient: Float[Tensor, "k n"]


@final
@dataclass(frozen=True)
class TiltedPenalty:
    """A penalty less its linear part at a dose: φ(d) − φ'·(d − d₀); see `FluenceProblem.corrected`."""

    penalty: Penalty
    origin: Float[Tensor, "k n"]
    slope: Float[Tensor, "k n"]

    def value_and_gradient(self, dose: Float[Tensor, "k n"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k n"]]:
        """Return the penalty of each plan and its gradient with respect to dose."""
        value, gradient = self.penalty.value_and_gradient(dose)
        return value.double() - _dot(self.slope, dose - self.origin), gradient - self.slope


@dataclass(frozen=True)
class Tilt:
    """A linear cost of fluence, slope · (z − origin) in scaled units; `corrected` makes problems with one."""

    origin: Float[Tensor, "k b"]
    slope: Float[Tensor, "k b"]


@dataclass(frozen=True)
class FluenceProblem:
    """Least penalty(D x) + smoothness · Σ (xᵢ − xⱼ)² over x ≥ 0.

    Solvers work on scaled fluences z = x · ‖column‖, in which every beamlet gives a dose of norm 1 Gy: beamlets that
    see little of the patient move as fast as the others.

    Args:
        influence: D, Gy per unit fluence.
        penalty: Of the dose in Gy.
        smoothness: Weight of the squared differences of neighbouring beamlets; needs `influence.beamlets` when
            positive.
        scaling: Whether to scale by the columns' norms, where the operator knows them.
        plans: k, the number of plans in the batch.
        open_beamlets: Which beamlets each plan may use, (k, b) or (1, b); None means all.

    Raises:
        InputError: If a number is out of range, or smoothness is asked for without known beamlets.
    """

    influence: LinearOperator
    penalty: Penalty
    smoothness: float = 0.0
    scaling: bool = True
    plans: int = 1
    open_beamlets: Bool[Tensor, "k b"] | None = None
    unit: Float[Tensor, "_ b"] = field(init=False, repr=False)  # fluence per scaled fluence; 0 for closed beamlets
    roughness: Smoothness | None = field(init=False, repr=False)
    tilt: Tilt | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.plans < 1:
            raise InputError("must be at least 1", argument="plans", value=self.plans)
        shape = None if self.open_beamlets is None else tuple(self.open_beamlets.shape)
        if shape is not None and (shape[0] not in (1, self.plans) or shape[1] != self.influence.shape[1]):
            raise InputError(
                f"must be ({self.plans} or 1, {self.influence.shape[1]})", argument="open_beamlets.shape", value=shape
            )
        object.__setattr__(self, "unit", self._unit())
        object.__setattr__(self, "roughness", self._roughness())

    def _unit(self) -> Float[Tensor, "_ b"]:
        norms = getattr(self.influence, "column_norms", None) if self.scaling else None
        if norms is None:
            unit = torch.ones(1, self.influence.shape[1], dtype=getattr(self.influence, "dtype", torch.float32))
        else:
            unit = torch.where(norms > 0, 1 / norms.clamp(min=torch.finfo(norms.dtype).tiny), 0)[None]
        if self.open_beamlets is None:
            return unit
        return torch.where(self.open_beamlets.to(unit.device), unit, 0)

    def _roughness(self) -> Smoothness | None:
        if self.smoothness == 0:
            return None
        beamlets = getattr(self.influence, "beamlets", None)
        if beamlets is None:
            raise InputError(
                "must be 0 for an influence without beamlet positions", argument="smoothness", value=self.smoothness
            )
        return Smoothness(neighbour_pairs(beamlets), self.influence.shape[1], self.smoothness)

    def dose(self, fluence: Float[Tensor, "k b"]) -> Float[Tensor, "k n"]:
        """Return the dose in Gy of each plan."""
        return self.influence.forward(fluence)

    def value_and_gradient(self, fluence: Float[Tensor, "k b"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k b"]]:
        """Return what each plan costs and the gradient with respect to (unscaled) fluence."""
        value, slope = self.penalty.value_and_gradient(self.dose(fluence))
        gradient = self.influence.adjoint(slope)
        if self.roughness is None:
            return value, gradient
        return value + self.roughness.value(fluence), gradient + self.roughness.gradient(fluence)

    def value(self, fluence: Float[Tensor, "k b"], dose: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
        """Return in double precision what each plan costs, its dose being known: no products."""
        scaled = self.to_scaled(fluence)
        return self.penalty.value_and_gradient(dose)[0].double() + self.along(scaled, torch.zeros_like(scaled))[0]

    def along(
        self, scaled: Float[Tensor, "k b"], direction: Float[Tensor, "k b"]
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Return what the fluence costs beside its dose at z + t p: the factors of 1, t and t², in double precision."""
        rough = slope = bend = torch.zeros(len(scaled), dtype=torch.float64, device=scaled.device)
        if self.roughness is not None:
            gradient = self.roughness.gradient(scaled * self.unit) * self.unit
            rough, slope = _dot(gradient, scaled) / 2, _dot(gradient, direction)
            bend = self.roughness.value(direction * self.unit).double()
        if self.tilt is not None:
            rough = rough + _dot(self.tilt.slope, scaled - self.tilt.origin)
            slope = slope + _dot(self.tilt.slope, direction)
        return rough, slope, bend

    def to_scaled(self, fluence: Float[Tensor, "k b"]) -> Float[Tensor, "k b"]:
        """Return z of a fluence x; beamlets a plan may not use become 0."""
        return torch.where(self.unit > 0, fluence / self.unit.clamp(min=torch.finfo(self.unit.dtype).tiny), 0)

    def to_fluence(self, scaled: Float[Tensor, "k b"]) -> Float[Tensor, "k b"]:
        """Return x of a scaled fluence z."""
        return scaled * self.unit

    def scaled_dose(self, scaled: Float[Tensor, "k b"]) -> Float[Tensor, "k n"]:
        """Return the dose of scaled fluences."""
        return self.influence.forward(scaled * self.unit)

    def point(self, scaled: Float[Tensor, "k b"], dose: Float[Tensor, "k n"] | None = None) -> Point:
        """Return everything at a scaled fluence: one product with D, unless its dose is known, and one with Dᵀ."""
        dose = self.scaled_dose(scaled) if dose is None else dose
        value, slope = self.penalty.value_and_gradient(dose)
        return self.finished(scaled, dose, value.double(), slope)

    def finished(
        self,
        scaled: Float[Tensor, "k b"],
        dose: Float[Tensor, "k n"],
        value: Float[Tensor, " k"],
        slope: Float[Tensor, "k n"],
    ) -> Point:
        """Return the point whose dose, penalty and dose gradient are known: one product with Dᵀ."""
        gradient = self.influence.adjoint(slope)
        if self.roughness is not None:
            gradient = gradient + self.roughness.gradient(scaled * self.unit)
        gradient = gradient * self.unit
        if self.tilt is not None:
            gradient = gradient + self.tilt.slope
        rest = self.along(scaled, torch.zeros_like(scaled))[0]
        return Point(scaled, dose, value + rest, gradient, slope)

    def corrected(self, surrogate: LinearOperator, point: Point, penalty: Penalty | None = None) -> "FluenceProblem":
        """Return the problem with a cheaper operator instead of D whose value and gradient at a point are exact.

        It costs φ(d) − φ'·(d − d₀) + g·(z − z₀) with d = d₀ + S (x − x₀) and the penalty φ, its dose gradient φ' and
        its gradient g at the point (Alexandrov et al. 1998, first-order consistent models). Only changes go through
        S and Sᵀ, so that their errors shrink with the steps.

        Args:
            surrogate: S; it may have some of D's rows only, and the point's doses must then have those.
            point: Where the problem is known.
            penalty: φ on the rows of S; None takes the problem's.
        """
        gradient = point.gradient
        if self.roughness is not None:
            gradient = gradient - self.roughness.gradient(point.scaled * self.unit) * self.unit
        tilted = TiltedPenalty(penalty or self.penalty, point.dose, point.dose_gradient)
        return self._changed(influence=surrogate, penalty=tilted, tilt=Tilt(point.scaled, gradient))

    def with_penalty(self, penalty: Penalty, plans: int | None = None) -> "FluenceProblem":
        """Return the same problem with another penalty, of another number of plans where that is given."""
        return self._changed(penalty=penalty, plans=self.plans if plans is None else plans)

    @property
    def can_split(self) -> bool:
        """Return whether some of the batch's plans can be solved without the others."""
        return hasattr(self.penalty, "of_plans")

    def of_plans(self, chosen: Int[Tensor, " j"]) -> "FluenceProblem":
        """Return the problem of some of the batch's plans; needs a penalty with `of_plans`."""
        shared = len(self.unit) == 1
        return self._changed(
            penalty=self.penalty.of_plans(chosen),  # type: ignore[attr-defined]
            plans=len(chosen),
            unit=self.unit if shared else self.unit[chosen],
            open_beamlets=self.open_beamlets if shared or self.open_beamlets is None else self.open_beamlets[chosen],
        )

    def _changed(self, **fields: object) -> "FluenceProblem":
        """Return a copy with other fields; unlike `dataclasses.replace` without taking norms of columns again."""
        found = copy(self)
        for name, value in fields.items():
            object.__setattr__(found, name, value)
        return found


def _dot(one: Float[Tensor, "k m"], other: Float[Tensor, "k m"]) -> Float[Tensor, " k"]:
    return torch.linalg.vecdot(one, other).double()
