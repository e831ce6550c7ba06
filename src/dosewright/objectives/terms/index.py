"""What every index (one number of a structure's dose, in Gy) can do."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor


class AbstractIndex(ABC):
    """One number in Gy made of the doses (k, m) in a structure, one per plan."""

    @abstractmethod
    def value_and_gradient(self, dose_gy: Float[Tensor, "k m"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k m"]]:
        """Return the index in float64, and its gradient with respect to the dose."""

    @abstractmethod
    def hessian_product(
        self, dose_gy: Float[Tensor, "k m"], direction: Float[Tensor, "k m"]
    ) -> Float[Tensor, "k m"] | None:
        """Return the index' Hessian times a direction; None where it is zero."""
