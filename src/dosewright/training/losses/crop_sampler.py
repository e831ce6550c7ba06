"""From a batch's crop of a case to the voxels of its dose influence, differentiably."""

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dosewright.core import Grid, InputError, PatientCase, keys
from dosewright.datasets.sample import sample_box

_LEAST_SHARE = 0.5  # of a dose voxel's interpolation weight on scored voxels, below which it is left out
_HOW = "this loss wants augmentation=none or flips, whole volumes (no random crops) and a net's full-size output"


@final
class CropSampler:
    """Trilinear interpolation of a volume on the crop `datasets` makes of a case at voxels of a dose grid.

    Only scored voxels take part, their weights rescaled to sum to 1, so that the zero dose outside the patient is not
    mixed in; dose voxels with less than half of their weight on scored voxels are left out.

    A flipped sample is recognised by its masks and flipped back, which is exact: the crop's voxels reversed along x.
    Whether masks are the case's own is checked voxel by voxel; a turned, shifted or randomly cut sample is refused.

    Args:
        case: The patient, on its own grid.
        grid: The dose grid.
        voxels: Flat (z, y, x) indices of the dose grid's voxels that are asked for.
    """

    def __init__(self, case: PatientCase, grid: Grid, voxels: Int[np.ndarray, " n"]) -> None:
        box = sample_box(case, 0)
        crop = case.grid.crop(box)
        self.case_id, self.shape_zyx = case.case_id, crop.shape_zyx
        scored = np.ascontiguousarray(case.scored_mask[box])
        self._scored = torch.from_numpy(scored)
        self._targets = [
            (float(dose), torch.from_numpy(case.structures[name][box].copy()))
            for name, dose in case.prescription_gy.items()
        ]
        index, weight = _trilinear(crop, grid, voxels)
        weight = weight * scored.ravel()[index]
        share = weight.sum(1)
        kept = share >= _LEAST_SHARE
        self.rows = torch.from_numpy(kept)  # (n,), the dose voxels that are kept, m of them
        self._index = torch.from_numpy(index[kept])
        self._weight = torch.from_numpy(weight[kept] / share[kept, None]).float()

    def to(self, device: torch.device) -> "CropSampler":
        """Move everything to a device; return self."""
        self._scored, self._index, self._weight = (
            tensor.to(device) for tensor in (self._scored, self._index, self._weight)
        )
        self._targets = [(dose, mask.to(device)) for dose, mask in self._targets]
        self.rows = self.rows.to(device)
        return self

    def sample(self, volume: Float[Tensor, "z y x"], flipped: bool = False) -> Float[Tensor, " m"]:
        """Return a volume of the (padded) crop at the kept dose voxels; differentiable.

        Args:
            volume: On the crop, possibly padded at the far ends.
            flipped: Whether the sample is mirrored left to right.
        """
        values = self._cut(volume, flipped).flatten()[self._index]
        return (values * self._weight.to(values.dtype)).sum(1)

    def is_flipped(self, batch: Mapping[str, Any], sample: int) -> bool:
        """Return whether a batch's sample is this case mirrored left to right.

        Args:
            batch: With the dose mask, the structures and the prescriptions.
            sample: Position in the batch.

        Raises:
            InputError: If it is neither the case nor its mirror image.
        """
        scored = batch[keys.DOSE_MASK][sample, 0]
        short = any(have < need for have, need in zip(scored.shape, self.shape_zyx, strict=True))
        if short or int(scored.sum()) != int(self._scored.sum()):
            raise self._foreign(scored)
        given = [
            (float(dose), mask)
            for dose, mask in zip(batch[keys.PRESCRIPTION][sample], batch[keys.STRUCTURES][sample], strict=True)
            if dose > 0
        ]
        for flipped in (False, True):
            if torch.equal(self._cut(scored, flipped), self._scored) and all(
                self._has_target(dose, self._cut(mask, flipped)) for dose, mask in given
            ):
                return flipped
        raise self._foreign(scored)

    def _has_target(self, dose_gy: float, mask: Bool[Tensor, "z y x"]) -> bool:
        return any(abs(dose_gy - own) < 1e-3 and torch.equal(mask, target) for own, target in self._targets)

    def _cut(self, volume: Tensor, flipped: bool) -> Tensor:
        z, y, x = self.shape_zyx
        cut = volume[:z, :y, :x]
        return cut.flip(-1) if flipped else cut

    def _foreign(self, scored: Tensor) -> InputError:
        return InputError(
            f"must be case {self.case_id} as its reader gives it, or its mirror image: {_HOW}",
            argument=keys.DOSE_MASK,
            value=f"{int(scored.sum())} voxels in {tuple(scored.shape)}, not the case's {int(self._scored.sum())} "
            f"in {self.shape_zyx}, or others",
        )


def _trilinear(
    source: Grid, grid: Grid, voxels: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, "n 8"], Float[np.ndarray, "n 8"]]:
    """Return flat indices on `source` of the eight voxels around each of `voxels`, and weights; 0 outside."""
    centres = np.stack(np.unravel_index(voxels, grid.shape_zyx), 1).astype(np.float64)
    at = source.index_zyx(grid.position_xyz_mm(centres))
    at = np.round(at, 6)  # voxel centres that coincide do so exactly
    low = np.floor(at).astype(np.int64)
    size = np.array(source.shape_zyx)
    indices, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        place = low + corner
        weight = np.where(np.array(corner) == 1, at - low, 1 - (at - low)).prod(1)
        inside = ((place >= 0) & (place < size)).all(1)
        indices.append(np.ravel_multi_index(tuple(np.clip(place, 0, size - 1).T), source.shape_zyx))
        weights.append(np.where(inside, weight, 0.0))
    return np.stack(indices, 1), np.stack(weights, 1)
