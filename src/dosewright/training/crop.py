"""Random sub-volumes of a batch: more and cheaper steps where a whole volume is not needed at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dosewright.core import keys

Slices = tuple[slice, slice, slice]


def random_crop(batch: Mapping[str, Any], size_zyx: Sequence[int]) -> dict[str, Any]:
    """Return a batch whose volumes are cut down to a box of each sample's own, which meets its dose mask.

    The box holds a voxel drawn from the mask, at a place in the box that is drawn too. Draws come from torch's own
    generator. Along an axis shorter than the box, all of it is kept.

    Args:
        batch: With the dose mask; every tensor of five dimensions is cut.
        size_zyx: Voxels of the box.
    """
    boxes = [_box(mask[0], size_zyx) for mask in batch[keys.DOSE_MASK]]
    return {
        key: torch.stack([sample[(slice(None), *box)] for sample, box in zip(value, boxes, strict=True)])
        if isinstance(value, Tensor) and value.dim() == 5
        else value
        for key, value in batch.items()
    }


def _box(mask: Tensor, size_zyx: Sequence[int]) -> Slices:
    inside = mask.nonzero()
    if len(inside) == 0:
        inside = torch.ones_like(mask).nonzero()
    voxel = inside[int(torch.randint(len(inside), ()))].tolist()
    spans = []
    for length, wanted, position in zip(mask.shape, size_zyx, voxel, strict=True):
        size = min(length, wanted)
        start = min(max(0, position - int(torch.randint(size, ()))), length - size)
        spans.append(slice(start, start + size))
    return (spans[0], spans[1], spans[2])
