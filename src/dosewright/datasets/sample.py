"""A case as tensors, cropped to where dose is scored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from dosewright.core import Grid, InputError, PatientCase, keys
from dosewright.core.plan_code import plan_code
from dosewright.core.types import FloatVolume, Mask
from dosewright.datasets.channels import Channels, ChannelSet

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Sample:
    """One case before batching; volumes cover `box` of the case's grid.

    `image` is float16 to keep many samples in memory; `fill` is the padding value of each channel, `plan_code` that
    of `core.plan_code`.
    """

    case_id: str
    image: Float[Tensor, "c z y x"]
    structures: Bool[Tensor, "s z y x"]
    dose_mask: Bool[Tensor, "1 z y x"]
    dose_gy: Float[Tensor, "1 z y x"] | None
    prescription_gy: Float[Tensor, " s"]
    spacing_zyx_mm: tuple[float, float, float]
    fill: tuple[float, ...]
    plan_code: tuple[float, ...]
    box: Box

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        tensors = (self.image, self.structures, self.dose_mask, self.dose_gy)
        return sum(t.nbytes for t in tensors if t is not None)


def make_sample(case: PatientCase, channels: ChannelSet, margin: int = 0) -> Sample:
    """Return the sample of a case, cropped to its scored voxels and targets plus `margin` voxels.

    Channels are computed before the crop, on the box of the whole patient, so that plates and distances know what lies
    outside the crop; those defined on the whole image (`whole_grid`) are computed there.
    """
    box = sample_box(case, margin)
    structures = np.stack(
        [case.structures[n][box] if n in case.structures else np.zeros(_shape(box), bool) for n in channels.structures]
    )
    dose = None if case.dose_gy is None else torch.from_numpy(case.dose_gy[box].astype(np.float32)[None])
    return Sample(
        case_id=case.case_id,
        image=torch.from_numpy(_channels_in(case, channels, box, margin)),
        structures=torch.from_numpy(structures),
        dose_mask=torch.from_numpy(case.scored_mask[box].copy()[None]),
        dose_gy=dose,
        prescription_gy=torch.tensor([case.prescription_gy.get(n, 0.0) for n in channels.structures]),
        spacing_zyx_mm=case.grid.spacing_zyx_mm,
        fill=channels.fill,
        plan_code=plan_code(case),
        box=box,
    )


def _channels_in(case: PatientCase, channels: ChannelSet, box: Box, margin: int) -> Channels:
    targets = np.logical_or.reduce([case.structures[name] for name in case.targets])
    outer = bounding_box(case.body | case.scored_mask | targets, margin + 1)  # the rim is outside of every target
    patient = cropped(case, outer)
    inner = tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True))
    parts = [
        group.compute(case)[(slice(None), *box)] if group.whole_grid else group.compute(patient)[(slice(None), *inner)]
        for group in channels.groups
    ]
    return np.concatenate(parts)


def cropped(case: PatientCase, box: Box) -> PatientCase:
    """Return the case inside a box; organs that lie wholly outside are left out.

    Raises:
        CaseError: If a target or the body lies outside.
    """
    masks = {name: mask[box] for name, mask in case.structures.items()}
    return replace(
        case,
        grid=case.grid.crop(box),
        ct_hu=case.ct_hu[box],
        body=case.body[box],
        structures={name: mask for name, mask in masks.items() if mask.any()},
        dose_gy=None if case.dose_gy is None else case.dose_gy[box],
        dose_mask=None if case.dose_mask is None else case.dose_mask[box],
    )


def sample_box(case: PatientCase, margin: int) -> Box:
    """Return the box of the scored voxels and targets, grown by `margin` voxels inside the grid."""
    wanted = case.scored_mask.copy()
    for name in case.targets:
        wanted |= case.structures[name]
    return bounding_box(wanted, margin)


def to_item(sample: Sample, multiple: int) -> dict[str, object]:
    """Return the sample as an unbatched item of the batch keys, padded at the far ends to multiples of `multiple`.

    Tensors are copies, so that nothing done to a batch reaches a sample that is kept.
    """
    size = [n + (-n) % multiple for n in sample.image.shape[1:]]
    fill = torch.tensor(sample.fill)
    item: dict[str, object] = {
        keys.CASE_ID: sample.case_id,
        keys.IMAGE: padded(sample.image, size, fill, torch.float32),
        keys.STRUCTURES: padded(sample.structures, size),
        keys.DOSE_MASK: padded(sample.dose_mask, size),
        keys.PRESCRIPTION: sample.prescription_gy.clone(),
        keys.SPACING: torch.tensor(sample.spacing_zyx_mm),
        keys.FILL: fill,
        keys.PLAN: torch.tensor(sample.plan_code),
    }
    if sample.dose_gy is not None:
        item[keys.DOSE] = padded(sample.dose_gy, size)
    return item


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch of items, each padded at the far ends to the batch's largest size; one alone is not copied."""
    if len(items) == 1:
        return {key: value[None] if isinstance(value, Tensor) else [value] for key, value in items[0].items()}
    size = [max(item[keys.IMAGE].shape[axis] for item in items) for axis in (1, 2, 3)]
    batch: dict[str, Any] = {}
    for key, first in items[0].items():
        values = [item[key] for item in items]
        if not isinstance(first, Tensor):
            batch[key] = values
        elif first.dim() == 4:
            fill = [item[keys.FILL] if key == keys.IMAGE else None for item in items]
            batch[key] = torch.stack([padded(v, size, f) for v, f in zip(values, fill, strict=True)])
        else:
            batch[key] = torch.stack(values)
    return batch


def place_back(dose_gy: Float[np.ndarray, "d h w"], box: Box, grid: Grid) -> FloatVolume:
    """Return a whole-grid volume that holds the (possibly padded) crop in `box`, zero elsewhere.

    Raises:
        InputError: If the crop is smaller than the box.
    """
    shape = _shape(box)
    if any(have < need for have, need in zip(dose_gy.shape, shape, strict=True)):
        raise InputError(f"must cover the box of shape {shape}", argument="dose_gy", value=dose_gy.shape)
    volume = np.zeros(grid.shape_zyx, np.float32)
    volume[box] = dose_gy[: shape[0], : shape[1], : shape[2]]
    return volume


def padded(
    volumes: Shaped[Tensor, "c z y x"],
    size: Sequence[int],
    fill: Float[Tensor, " c"] | None = None,
    dtype: torch.dtype | None = None,
) -> Shaped[Tensor, "c z2 y2 x2"]:
    """Return a copy of volumes grown at the far ends to `size`, with zeros or each channel's `fill`.

    Every voxel is written once: with 17 channels, memory traffic is what making a batch costs.
    """
    z, y, x = volumes.shape[1:]
    out = torch.empty((len(volumes), *size), dtype=dtype or volumes.dtype, device=volumes.device)
    edge = out.new_zeros(1) if fill is None else fill.to(out)[:, None, None, None]
    out[:, :z, :y, :x] = volumes
    out[:, z:] = edge
    out[:, :z, y:] = edge
    out[:, :z, :y, x:] = edge
    return out


def bounding_box(mask: Mask, margin: int) -> Box:
    """Return the box of a mask's voxels, grown by `margin` voxels inside the grid."""
    spans = []
    for axis, size in enumerate(mask.shape):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(max(0, int(hit[0]) - margin), min(size, int(hit[-1]) + 1 + margin)))
    return (spans[0], spans[1], spans[2])


def _shape(box: Box) -> tuple[int, int, int]:
    z, y, x = (span.stop - span.start for span in box)
    return (z, y, x)
