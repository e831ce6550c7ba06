"""What every penalty term can do."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dosewright.core import InputError


class AbstractTerm(ABC):
    """A function of the doses (k, m) of k plans in the m voxels of one structure.

    Final classes are frozen dataclasses of plain tensors. Parameters hold one number per plan, or one for all plans
    (length 1); gradients pass through them by autograd in every method.

    Attributes:
        rows: The structure's voxels among the n voxels of the dose.
        priority: Factor of the term within a penalty; not part of `value`.
        dose_gy: Total Gy the term compares with, or None.
    """

    rows: Int[Tensor, " m"]
    priority: Float[Tensor, " p"]
    dose_gy: Float[Tensor, " p"] | None

    @abstractmethod
    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """Return the unweighted values, summed in float64, and their gradients with respect to the dose."""

    @abstractmethod
    def hessian_product(self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """Return the (generalised) Hessian of the unweighted value times a direction."""

    def value(self, dose_gy: Float[Tensor, "k m"]) -> Float[Tensor, " k"]:
        """Return the unweighted values in float64."""
        return self.value_and_gradient(dose_gy)[0]

    def gradient(self, dose_gy: Float[Tensor, "k m"]) -> Float[Tensor, "k m"]:
        """Return the gradients of the unweighted values with respect to the dose."""
        return self.value_and_gradient(dose_gy)[1]

    def moved(self, dtype: torch.dtype, device: torch.device) -> "AbstractTerm":
        """Return the term with parameters of another type on another device."""
        return self._mapped(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))

    def of_plans(self, plans: Int[Tensor, " j"]) -> "AbstractTerm":
        """Return the term of some plans of the batch; parameters shared by all plans stay so."""

        def pick(tensor: Tensor) -> Tensor:
            return tensor[plans] if tensor.is_floating_point() and len(tensor) > 1 else tensor

        return self._mapped(pick)

    def with_parameters(
        self, *, dose_gy: Float[Tensor, " p"] | None = None, priority: Float[Tensor, " q"] | None = None
    ) -> "AbstractTerm":
        """Return the term with other parameters; None keeps what is there.

        Raises:
            InputError: If a dose is given to a term that has none.
        """
        changes: dict[str, Any] = {} if priority is None else {"priority": priority}
        if dose_gy is not None:
            if self.dose_gy is None:
                raise InputError("must not be given for a term that compares with no dose", argument="dose_gy")
            changes["dose_gy"] = dose_gy
        return replace(self, **changes)  # type: ignore[type-var]

    @property
    def plans(self) -> int:
        """Plans the parameters are for; 1 fits any number."""
        return max(len(tensor) for tensor in self.parameters)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors gradients may be asked of."""
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return tuple(value for value in values if isinstance(value, Tensor) and value.is_floating_point())

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "AbstractTerm":
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return replace(self, **{n: change(v) for n, v in values.items() if isinstance(v, Tensor)})  # type: ignore[type-var]
