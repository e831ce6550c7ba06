"""What a GDP-HMM dictionary holds, checked key by key.

As published: arrays (z, y, x); `img` in HU; dose in Gy is `dose` × `dose_scale`; a uint8 mask per structure, named in
`all_mask`; `isVMAT`; `isocenter`, the voxel (z, y, x) after the crop; `angle_list` in degrees; `angle_plate` (y, x);
`beam_plate` (z, y, x); `origin`, `spacing` and `direction` as SimpleITK has them, (x, y, z) in mm; `size`.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dosewright.core import CaseError, GridMismatchError
from dosewright.core.types import FloatVolume, Mask, Volume

MAX_VOXELS = 40_000_000
MAX_ANGLES = 5000
PLATES = ("angle_plate", "beam_plate")
KEYS = ("all_mask", "img", "dose", "dose_scale", "isVMAT", "isocenter", "angle_list", *PLATES)
GEOMETRY = ("origin", "spacing", "direction", "size")


@dataclass
class PlanContent:
    """One file's content.

    Args:
        ct_hu: As stored, integers or floating point.
        masks: Their name → voxels, empty ones left out.
        dose_gy: Total dose, None where the file has none (validation and test).
        is_vmat: None where the file does not say.
        angles_deg: Gantry angles in the file's order, which fixes the plates of arcs.
        isocenter_zyx: Fractional voxel index, None where the file has none.
        geometry: `origin`, `spacing`, `direction` and `size`, those there are.
        plates: `angle_plate` and `beam_plate`, those there are.
        notes: What had to be assumed or left out.
    """

    ct_hu: Volume
    masks: dict[str, Mask]
    dose_gy: FloatVolume | None
    is_vmat: bool | None
    angles_deg: tuple[float, ...]
    isocenter_zyx: tuple[float, ...] | None
    geometry: dict[str, tuple[float, ...]]
    plates: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def content_of(raw: dict[str, Any]) -> PlanContent:
    """Return the checked content; `raw` is emptied on the way, so that no array is held twice.

    Raises:
        CaseError: If a key is missing that has no sane default, or has the wrong type or values.
        GridMismatchError: If a volume has another shape than the CT.
    """
    notes: list[str] = []
    ct = _volume(raw, "img")
    if ct is None:
        raise CaseError("must be there", argument="img", value=sorted(raw)[:8])
    dose_gy = _dose(raw, ct.shape)
    geometry = {key: _numbers(raw, key, sizes) for key, sizes in zip(GEOMETRY, ((3,), (3,), (9,), (3,)), strict=True)}
    named = _all_mask(raw)
    plates = {key: raw.pop(key) for key in PLATES if isinstance(raw.get(key), np.ndarray)}
    content = PlanContent(
        ct_hu=ct,
        masks={},
        dose_gy=dose_gy,
        is_vmat=_truth(raw, "isVMAT"),
        angles_deg=_numbers(raw, "angle_list", range(1, MAX_ANGLES + 1)) or (),
        isocenter_zyx=_numbers(raw, "isocenter", (3,)),
        geometry={key: values for key, values in geometry.items() if values is not None},
        plates=plates,
        notes=notes,
    )
    _take_masks(raw, content)
    unused = sorted(key for key in raw if key not in KEYS)
    if unused:
        notes.append(f"keys of no known meaning, not used: {', '.join(unused[:8])}")
    absent = [name for name in named if name not in content.masks and name not in raw]
    if absent:
        notes.append(f"named in all_mask, but without a mask or empty: {', '.join(absent)}")
    return content


def _take_masks(raw: dict[str, Any], content: PlanContent) -> None:
    for name in [key for key, value in raw.items() if isinstance(value, np.ndarray) and value.ndim == 3]:
        stored = raw.pop(name)
        _check_shape(name, stored, content.ct_hu.shape)
        if stored.dtype.kind not in "biuf":
            raise CaseError("must be a mask of numbers", argument=name, value=str(stored.dtype))
        most = stored.max()
        if stored.dtype.kind == "f" and not (np.isfinite(most) and np.isfinite(stored.min())):
            raise CaseError("must be finite", argument=name, value=float(most))
        if most not in (0, 1):
            content.notes.append(f"mask {name} has values up to {most}: more than a half of that counts as inside")
        mask = stored > most / 2 if most not in (0, 1) or stored.dtype.kind == "f" else stored != 0
        if mask.any():
            content.masks[name] = mask
        del stored


def _volume(raw: dict[str, Any], key: str) -> Volume | None:
    found = raw.pop(key, None)
    if found is None:
        return None
    if not isinstance(found, np.ndarray) or found.ndim != 3 or found.dtype.kind not in "iuf" or not found.size:
        told = (found.shape, str(found.dtype)) if isinstance(found, np.ndarray) else type(found).__name__
        raise CaseError("must be a volume of numbers (z, y, x)", argument=key, value=told)
    if found.size > MAX_VOXELS:
        raise CaseError(f"must have at most {MAX_VOXELS} voxels", argument=key, value=found.shape)
    return found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))


def _dose(raw: dict[str, Any], shape: tuple[int, ...]) -> FloatVolume | None:
    scale = raw.pop("dose_scale", None)
    stored = _volume(raw, "dose")
    if stored is None:
        return None
    _check_shape("dose", stored, shape)
    scale = scale.item() if isinstance(scale, np.ndarray) and scale.size == 1 else scale
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not (math.isfinite(scale) and scale > 0):
        raise CaseError("must be a positive number, Gy = dose × dose_scale", argument="dose_scale", value=scale)
    return (stored * np.float64(scale)).astype(np.float32)


def _numbers(raw: dict[str, Any], key: str, sizes: Any) -> tuple[float, ...] | None:
    """Return a row of finite numbers; None where the key is missing."""
    found = raw.pop(key, None)
    if found is None:
        return None
    row = found.ravel().tolist() if isinstance(found, np.ndarray) and found.ndim <= 2 else found
    if not isinstance(row, list | tuple) or len(row) not in sizes:
        told = len(row) if isinstance(row, list | tuple) else type(row).__name__
        raise CaseError(f"must be {sizes[0] if len(sizes) == 1 else 'some'} numbers", argument=key, value=told)
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in row)
    if not good:
        raise CaseError("must be finite numbers", argument=key, value=[type(v).__name__ for v in row[:9]])
    return tuple(float(v) for v in row)


def _truth(raw: dict[str, Any], key: str) -> bool | None:
    found = raw.pop(key, None)
    found = found.item() if isinstance(found, np.ndarray) and found.size == 1 else found
    if found is None or isinstance(found, bool):
        return found
    if found not in (0, 1):
        raise CaseError("must be true or false", argument=key, value=type(found).__name__)
    return bool(found)


def _all_mask(raw: dict[str, Any]) -> list[str]:
    found = raw.pop("all_mask", [])
    found = found.ravel().tolist() if isinstance(found, np.ndarray) else found
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise CaseError("must be a list of names", argument="all_mask", value=type(found).__name__)
    return list(found)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise GridMismatchError(f"must have the shape of img, {shape}", argument=name, value=array.shape)
