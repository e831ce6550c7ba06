"""What losses read from a batch, checked once for all of them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dosewright.core import keys
from dosewright.core.errors import InputError

StructureDoses = list[
    tuple[Tensor, Tensor]
]  # of one sample: predicted and reference dose (Gy) of each structure present


def reference_of(
    outputs: object, batch: Mapping[str, Any]
) -> tuple[Float[Tensor, "b 1 z y x"], Bool[Tensor, "b 1 z y x"]]:
    """Return the reference dose in Gy and the voxels where it counts, of the shape of `outputs`.

    Raises:
        InputError: If `outputs` is not one tensor, or a volume is missing or of another shape.
    """
    if not isinstance(outputs, Tensor):
        raise InputError(
            "must be one tensor; wrap the loss in DeepSupervisionLoss for nets with several outputs",
            argument="outputs",
            value=type(outputs).__name__,
        )
    volumes = []
    for key in (keys.DOSE, keys.DOSE_MASK):
        if key not in batch:
            raise InputError("must be in the batch", argument=key, value=sorted(batch))
        if batch[key].shape != outputs.shape:
            raise InputError(f"must have shape {tuple(outputs.shape)}", argument=key, value=tuple(batch[key].shape))
        volumes.append(batch[key])
    return volumes[0], volumes[1]


def structures_of(outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Bool[Tensor, "b s z y x"]:
    """Return the masks of a batch's structures, on the grid of `outputs`.

    Raises:
        InputError: If they are missing or of another shape.
    """
    if keys.STRUCTURES not in batch:
        raise InputError("must be in the batch", argument=keys.STRUCTURES, value=sorted(batch))
    structures: Tensor = batch[keys.STRUCTURES]
    if structures.shape[0] != outputs.shape[0] or structures.shape[2:] != outputs.shape[2:]:
        raise InputError(
            f"must be masks on the grid of outputs {tuple(outputs.shape)}",
            argument=keys.STRUCTURES,
            value=tuple(structures.shape),
        )
    return structures


def masked_mean(values: Float[Tensor, "b 1 z y x"], mask: Bool[Tensor, "b 1 z y x"]) -> Float[Tensor, ""]:
    """Return the mean over samples of each sample's mean inside its mask; 0 for an empty mask."""
    inside = torch.where(mask, values, values.new_zeros(())).flatten(1).sum(dim=1)
    return (inside / mask.flatten(1).sum(dim=1).clamp(min=1)).mean()


def structure_doses(outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> list[StructureDoses]:
    """Return, per sample, the predicted and reference doses (at least float32) of its structures inside the dose mask.

    Structures without voxels there are left out. Voxels are gathered twice, mask first, so that a structure's test runs
    over the dose mask only.

    Raises:
        InputError: If something is missing from the batch or of another shape.
    """
    reference_gy, mask = reference_of(outputs, batch)
    structures = structures_of(outputs, batch)
    wide = torch.promote_types(outputs.dtype, torch.float32)
    samples = []
    for predicted, reference, allowed, masks in zip(outputs, reference_gy, mask, structures, strict=True):
        inside = allowed.flatten().nonzero().squeeze(1)
        dose_gy = predicted.flatten()[inside].to(wide)
        truth_gy = reference.flatten()[inside].to(wide)
        indices = [row.nonzero().squeeze(1) for row in masks.flatten(1)[:, inside]]
        samples.append([(dose_gy[i], truth_gy[i]) for i in indices if len(i)])
    return samples


def mean_over_structures(
    outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any], distance_gy: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, ""]:
    """Return the mean over samples of the mean over present structures of `distance_gy(predicted, reference)`.

    Raises:
        InputError: See `structure_doses`.
    """
    total = 0.0 * outputs.sum()  # keeps the graph when no structure is present
    for doses in structure_doses(outputs, batch):
        if doses:
            total = total + torch.stack([distance_gy(*pair) for pair in doses]).mean()
    return total / len(outputs)
