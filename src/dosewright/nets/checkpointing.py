"""Gradient checkpointing: keep the inputs of blocks only, and compute their insides again in the backward pass."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_blocks(
    blocks: Iterable[nn.Module], features: Float[Tensor, "b c_in z y x"], *, checkpointing: bool
) -> Float[Tensor, "b c_out z_out y_out x_out"]:
    """Return `features` sent through `blocks` one after the other.

    With `checkpointing`, and where gradients are wanted, each block keeps its input alone (Chen et al. 2016,
    arXiv:1604.06174): about one more forward pass of time for the memory of the widest block instead of all of them.
    Values and gradients are the same; names in the state dict do not change.

    Args:
        blocks: Modules of one input and one output.
        features: Input of the first block.
        checkpointing: Whether to trade time for memory.
    """
    for block in blocks:
        if checkpointing and torch.is_grad_enabled():
            features = checkpoint(block, features, use_reentrant=False)
        else:
            features = block(features)
    return features
