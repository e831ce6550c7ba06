"""How evenly latents spread over the sphere of directions."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from dosewright.core import InputError

SHORTEST = 1e-3  # shorter latents are not stretched to length 1: their gradient would drown all others


def uniformity(latents: Float[Tensor, "n d"], temperature: float = 2.0) -> Float[Tensor, ""]:
    """Return L_uniform = log mean over i < j of exp(−t ‖z_i − z_j‖²) of the rows' directions, at least in float32.

    Wang and Isola 2020 (arXiv:2005.10242, section 4.1.2, t = 2). 0 where all directions are one, less the more evenly
    they spread, −4t at the least (two opposite rows). Pairs are those of distinct rows, as in the paper's code.

    Args:
        latents: One row per latent; rows are scaled to length 1 first.
        temperature: The t.

    Raises:
        InputError: If there are fewer than two rows, or the temperature is not positive.

    >>> round(float(uniformity(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))), 4)
    -4.0
    """
    if len(latents) < 2:
        raise InputError("must hold at least two rows", argument="latents", value=tuple(latents.shape))
    if not 0.0 < temperature < math.inf:
        raise InputError("must be positive and finite", argument="temperature", value=temperature)
    wide = latents.to(torch.promote_types(latents.dtype, torch.float32))
    squares = torch.pdist(functional.normalize(wide, dim=1, eps=SHORTEST)).square()
    return torch.logsumexp(-temperature * squares, dim=0) - math.log(len(squares))


def drawn_rows(
    latent: Float[Tensor, "b d z y x"],
    mask: Bool[Tensor, "b 1 mz my mx"] | None,
    count: int,
    generator: torch.Generator,
) -> Float[Tensor, "n d"]:
    """Return latents of positions drawn without replacement from all samples, as rows for `uniformity`.

    The paper compares the latents of whole samples. A training batch here holds one or two volumes, so positions inside
    them stand for samples (ours).

    Args:
        latent: Latent volumes.
        mask: Where dose is scored, on the latent's grid or one finer by whole factors; a position counts when at least
            half of its voxels do. None means everywhere.
        count: Rows to draw; fewer come back where there are fewer positions.
        generator: Of the draw; its state moves on.

    Raises:
        InputError: If fewer than two rows are asked for or there are fewer positions, or the mask's sizes do not fit.
    """
    if count < 2:
        raise InputError("must be at least 2", argument="count", value=count)
    rows = latent.movedim(1, -1).flatten(0, 3)
    allowed = torch.arange(len(rows), device=rows.device)
    if mask is not None:
        allowed = allowed[_coarse(mask, latent).flatten()]
    if len(allowed) < 2:
        raise InputError("must leave at least two positions", argument="mask", value=len(allowed))
    order = torch.randperm(len(allowed), generator=generator, device=generator.device)[:count]
    return rows[allowed[order.to(allowed.device)]]


def _coarse(mask: Bool[Tensor, "b 1 mz my mx"], latent: Float[Tensor, "b d z y x"]) -> Bool[Tensor, "b 1 z y x"]:
    """Return the mask on the latent's grid."""
    sizes, fine = latent.shape[2:], mask.shape[2:]
    if mask.shape[0] != latent.shape[0] or any(f % s for f, s in zip(fine, sizes, strict=True)):
        raise InputError(
            f"must have the batch size and multiples of the sizes of the latent {tuple(latent.shape)}",
            argument="mask",
            value=tuple(mask.shape),
        )
    factors = tuple(f // s for f, s in zip(fine, sizes, strict=True))
    return functional.avg_pool3d(mask.float(), factors) >= 0.5
