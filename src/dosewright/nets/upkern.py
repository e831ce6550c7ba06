"""UpKern: start a net of large kernels from the trained weights of its small-kernel twin.

Roy et al., MICCAI 2023, arXiv:2303.09975, section 2.3.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dosewright.core.errors import CheckpointError


def grow_kernel(kernel: Float[Tensor, "out in z y x"], size: int) -> Float[Tensor, "out in k k k"]:
    """Return a kernel resampled trilinearly to an edge of `size` taps (cell-centred, edges held).

    Values are not divided by the growth in taps: the norm after each depthwise convolution takes the scale out.

    >>> float(grow_kernel(torch.full((1, 1, 3, 3, 3), 0.5), 5).sum())
    62.5
    """
    return interpolate(kernel, size=(size, size, size), mode="trilinear", align_corners=False)


def grow_weights(net: nn.Module, trained: Mapping[str, Tensor]) -> None:
    """Load `trained` into `net`, growing the kernels that are smaller than the net's; all else is copied.

    Args:
        net: Net of larger kernels, changed in place.
        trained: State dict of the same net with smaller kernels.

    Raises:
        CheckpointError: If names differ, or shapes differ by more than the edge of a kernel.
    """
    own = net.state_dict()
    odd = sorted(own.keys() ^ trained.keys())
    if odd:
        raise CheckpointError(f"must have the names of the net; {len(odd)} differ", argument="trained", value=odd[:3])
    grown = {name: _fitted(name, weight, own[name]) for name, weight in trained.items()}
    net.load_state_dict(grown)


def _fitted(name: str, weight: Tensor, like: Tensor) -> Tensor:
    if weight.shape == like.shape:
        return weight
    cubes = all(t.ndim == 5 and len(set(t.shape[2:])) == 1 for t in (weight, like))
    if not cubes or weight.shape[:2] != like.shape[:2] or weight.shape[2] > like.shape[2]:
        raise CheckpointError(
            f"cannot grow into shape {tuple(like.shape)}", argument=f"trained[{name}]", value=tuple(weight.shape)
        )
    with torch.no_grad():
        return grow_kernel(weight, like.shape[2])
