"""Random but repeatable spatial augmentation, applied by TorchIO.

Parameters are drawn first (`sample`), then applied (`apply`), so that a run can be repeated and a draw inspected.
TorchIO speaks RAS+ and (c, x, y, z); the conversion is at the bottom of this file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dosewright.core import InputError
from dosewright.datasets.channels import ChannelSet
from dosewright.datasets.sample import Sample


@dataclass(frozen=True)
class Draw:
    """One augmentation: flip left-right, then rotate about the crop's centre, then shift.

    Angles turn the patient right-handed about the LPS axes (+90° about z takes its left to posterior), about y first,
    then x, then z; shifts move it along them.
    """

    flip: bool = False
    rotation_zyx_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation_zyx_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_affine(self) -> bool:
        """Whether voxels have to be resampled."""
        return any(self.rotation_zyx_deg) or any(self.translation_zyx_mm)


@dataclass(frozen=True)
class Augmentation:
    """Ranges to draw from.

    Args:
        flip_probability: Of a left-right flip; paired organs swap names with it.
        affine_probability: Of a rotation with a translation.
        rotation_zyx_deg: Largest rotation about z, y, x (about z is in the axial plane).
        translation_zyx_mm: Largest shift.

    Raises:
        InputError: If a probability is outside [0, 1] or a range is negative.
    """

    flip_probability: float = 0.5
    affine_probability: float = 0.0
    rotation_zyx_deg: Sequence[float] = (20.0, 5.0, 5.0)
    translation_zyx_mm: Sequence[float] = (10.0, 10.0, 10.0)

    def __post_init__(self) -> None:
        for name in ("flip_probability", "affine_probability"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError("must be in [0, 1]", argument=name, value=getattr(self, name))
        for name in ("rotation_zyx_deg", "translation_zyx_mm"):
            if len(getattr(self, name)) != 3 or min(getattr(self, name)) < 0:
                raise InputError("must be three values ≥ 0", argument=name, value=tuple(getattr(self, name)))

    def sample(self, rng: np.random.Generator) -> Draw:
        """Return one draw; always uses the same count of random numbers."""
        chance = rng.random(2)
        rotation = rng.uniform(-1, 1, 3) * self.rotation_zyx_deg
        translation = rng.uniform(-1, 1, 3) * self.translation_zyx_mm
        if chance[1] >= self.affine_probability:
            return Draw(flip=bool(chance[0] < self.flip_probability))
        return Draw(
            bool(chance[0] < self.flip_probability),
            (float(rotation[0]), float(rotation[1]), float(rotation[2])),
            (float(translation[0]), float(translation[1]), float(translation[2])),
        )


def apply(sample: Sample, draw: Draw, channels: ChannelSet) -> Sample:
    """Return the augmented sample: volumes linearly, masks by nearest neighbour, sides swapped by a flip."""
    if draw.flip:
        sample = _flipped(sample, channels)
    return _moved(sample, draw) if draw.is_affine else sample


def _flipped(sample: Sample, channels: ChannelSet) -> Sample:
    order, structure_order = list(channels.mirror), list(channels.structure_mirror)
    return replace(
        sample,
        image=sample.image[order].flip(-1),
        structures=sample.structures[structure_order].flip(-1),
        prescription_gy=sample.prescription_gy[structure_order],
        dose_mask=sample.dose_mask.flip(-1),
        dose_gy=None if sample.dose_gy is None else sample.dose_gy.flip(-1),
    )


def _moved(sample: Sample, draw: Draw) -> Sample:
    import torchio

    affine = _ras_affine(sample.spacing_zyx_mm)
    offset = torch.tensor(sample.fill)[:, None, None, None]  # so that TorchIO's zero padding means each channel's fill
    images: dict[str, Any] = {
        "image": torchio.ScalarImage(tensor=_to_xyz(sample.image.float() - offset), affine=affine)
    }
    if sample.dose_gy is not None:
        images["dose"] = torchio.ScalarImage(tensor=_to_xyz(sample.dose_gy), affine=affine)
    masks = torch.cat([sample.structures, sample.dose_mask])
    images["masks"] = torchio.LabelMap(tensor=_to_xyz(masks.to(torch.uint8)), affine=affine)
    rz, ry, rx = draw.rotation_zyx_deg
    tz, ty, tx = draw.translation_zyx_mm
    transform = torchio.Affine(
        scales=(1, 1, 1),
        degrees=(-rx, -ry, rz),
        translation=(-tx, -ty, tz),
        default_pad_value=0,
        default_pad_label=0,
    )
    moved: Any = transform(torchio.Subject(images))
    moved_masks = _to_zyx(moved["masks"].data) > 0
    dose = None if sample.dose_gy is None else _to_zyx(moved["dose"].data).clamp_min(0.0) * moved_masks[-1:]
    return replace(
        sample,
        image=(_to_zyx(moved["image"].data) + offset).half(),
        structures=moved_masks[:-1],
        dose_mask=moved_masks[-1:],
        dose_gy=dose,
    )


def _ras_affine(spacing_zyx_mm: tuple[float, float, float]) -> np.ndarray:
    z, y, x = spacing_zyx_mm
    return np.diag([-x, -y, z, 1.0])


def _to_xyz(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 2, 1)  # a view: TorchIO turns it back before it resamples


def _to_zyx(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 2, 1).contiguous()
