"""How a codebook is used, counted over an epoch and over all processes."""

from collections.abc import Sequence
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from dosewright.core import InputError


@final
class CodeStatistic(Metric):
    """One number about how often the codes of a quantiser were used.

    Args:
        sizes: Codes of each codebook.
        statistic: "usage" for the share of codes used at all, "perplexity" for exp(H) of how often each was used: the
            number of codes that evenly used ones would make.
        level: The codebook meant; None for the least of all.

    Raises:
        InputError: If there is no codebook, or none of that number.
    """

    full_state_update = False
    higher_is_better = True
    counts: Tensor

    def __init__(
        self, sizes: Sequence[int], statistic: Literal["usage", "perplexity"] = "usage", level: int | None = None
    ) -> None:
        super().__init__()
        if not sizes:
            raise InputError("must name at least one codebook", argument="sizes", value=tuple(sizes))
        if level is not None and not 0 <= level < len(sizes):
            raise InputError(f"must be one of {len(sizes)} codebooks", argument="level", value=level)
        self.sizes, self.statistic, self.level = tuple(sizes), statistic, level
        empty = torch.zeros(len(sizes), max(sizes), dtype=torch.long)
        self.add_state("counts", empty, dist_reduce_fx="sum")

    def update(self, indices: Int[Tensor, "b q z y x"], cells: Bool[Tensor, "b 1 z y x"]) -> None:
        """Count the codes at the positions of `cells`."""
        planes, longest = self.counts.shape
        first = torch.arange(planes, device=indices.device).mul(longest)[:, None, None, None]
        flat = (indices + first).flatten()
        counted = cells.expand_as(indices).flatten().long()
        self.counts = self.counts.flatten().scatter_add(0, flat, counted).unflatten(0, (planes, longest))

    def compute(self) -> Float[Tensor, ""]:
        """Return the statistic."""
        if self.statistic == "usage":
            values = (self.counts > 0).sum(dim=1) / torch.tensor(self.sizes, device=self.counts.device)
        else:
            shares = self.counts / self.counts.sum(dim=1, keepdim=True).clamp(min=1)
            values = torch.special.entr(shares).sum(dim=1).exp()
        return values.min() if self.level is None else values[self.level]
