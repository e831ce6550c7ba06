"""What the sliders ask for, against what the predicted dose gives."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dosewright.core import InputError, Role, keys, role_of
from dosewright.core.preference import PreferenceSpace
from dosewright.dose.voxels import percentile, sorted_voxels
from dosewright.training.losses.reference import reference_of, structures_of

PARTS = ("homogeneity", "targets", "organs", "coverage")


class ObjectiveLoss(nn.Module):
    """L_obj = |h̃·h − ĥ| + |p − p̂| + |w̃·u − û| of the flexible dose proposer (arXiv:2512.08996), each term in Gy.

    - homogeneity: h is D2 − D98 of the present target with the highest prescription, ICRU 83's homogeneity index times
      D50, so that all terms share a unit; of equals the first listed. It is multiplied by
      `PreferenceSpace.spread_factor`: the homogeneity slider and the price of sparing.
    - targets: p is the mean dose of each target.
    - organs: u is the mean dose of each organ at risk over its voxels outside all targets, planners' OAR-PTV (what lies
      in a target cannot be spared), and w̃ the slider of its group. An organ inside the targets is left out.
    - coverage (ours): |ΔD95| of each target, so that a wider spread grows upwards.

    A part is the mean over what is present, then over samples. Voxels outside the dose mask do not count, helper
    structures neither. Batches without `keys.PREFERENCE` ask for the neutral plan.

    `last_parts` holds the unweighted parts of the latest call, detached, for logging.

    Args:
        structures: Names of the structures of a batch, in its order.
        preference: Arguments of the net's `PreferenceSpace`; None for a net without sliders.
        homogeneity_weight: Weight of each part; 0 still computes it, so that it can be watched.
        target_weight: See above.
        organ_weight: See above.
        coverage_weight: See above.
        band_percent: D_v is the mean over the volumes v ± band instead of the dose of one or two voxels, whose gradient
            is a hundred times that of all others and drowns it; 0 for D_v itself. At most 2, as D2 and D98 have no more
            room.

    Raises:
        InputError: If a name is illegal or listed twice, a weight is negative or not finite, or the band is not in
            [0, 2].
    """

    def __init__(
        self,
        structures: Sequence[str],
        preference: Mapping[str, Any] | None = None,
        homogeneity_weight: float | int = 1.0,
        target_weight: float | int = 1.0,
        organ_weight: float | int = 1.0,
        coverage_weight: float | int = 1.0,
        band_percent: float | int = 0.0,
    ) -> None:
        super().__init__()
        self.structures = tuple(structures)
        if not self.structures or len(set(self.structures)) != len(self.structures):
            raise InputError("must be different names, at least one", argument="structures", value=self.structures)
        weights = (homogeneity_weight, target_weight, organ_weight, coverage_weight)
        for part, weight in zip(PARTS, weights, strict=True):
            if not 0.0 <= weight < math.inf:
                raise InputError("must be finite, zero or more", argument=f"weight of {part}", value=weight)
        if not 0.0 <= band_percent <= 2.0:
            raise InputError("must be in [0, 2]", argument="band_percent", value=band_percent)
        self.band_percent = float(band_percent)
        self.weights = tuple(float(weight) for weight in weights)
        self.has_sliders = preference is not None
        self.space = PreferenceSpace(**(preference or {}))
        roles = [role_of(name) for name in self.structures]
        self._targets = [i for i, role in enumerate(roles) if role is Role.TARGET]
        self._sliders = {
            i: self.space.index_of(self.structures[i]) for i, role in enumerate(roles) if role is Role.OAR
        }  # position among the structures → position among the sliders
        self.last_parts: dict[str, Tensor] = {}

    def forward(self, outputs: Float[Tensor, "b 1 z y x"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the weighted sum of the parts in Gy.

        Args:
            outputs: Predicted dose in Gy.
            batch: With the dose, the dose mask, the structures, the prescriptions and, where sliders moved, the
                preference.

        Raises:
            InputError: If one of them is missing or of another shape, a preference is not positive, or one is given to
                a loss without sliders.
        """
        volumes = (outputs, *reference_of(outputs, batch), self._masks(outputs, batch))
        settings = (self._prescriptions(batch, len(outputs)), self._vectors(batch, len(outputs)))
        parts = torch.stack([self._of_sample(*sample) for sample in zip(*volumes, *settings, strict=True)]).mean(dim=0)
        self.last_parts = dict(zip(PARTS, parts.detach(), strict=True))
        return torch.stack([weight * part for weight, part in zip(self.weights, parts, strict=True)]).sum()

    def _of_sample(
        self,
        outputs: Float[Tensor, "1 z y x"],
        reference_gy: Float[Tensor, "1 z y x"],
        dose_mask: Bool[Tensor, "1 z y x"],
        masks: Bool[Tensor, "s z y x"],
        prescriptions_gy: list[float],
        vector: list[float],
    ) -> Float[Tensor, " parts"]:
        """Return a sample's parts in Gy, in the order of `PARTS`, at least in float32."""
        inside = dose_mask.flatten().nonzero().squeeze(1)
        wide = torch.promote_types(outputs.dtype, torch.float32)
        predicted, reference = (dose.flatten()[inside].to(wide) for dose in (outputs, reference_gy))
        rows = masks.flatten(1)[:, inside]
        present = [i for i in self._targets if bool(rows[i].any())]
        sorted_gy = [(sorted_voxels(predicted, rows[i]), sorted_voxels(reference, rows[i])) for i in present]
        nothing = predicted[:0].sum()  # exactly zero, and part of the graph
        homogeneity = nothing
        if present:
            highest = max(range(len(present)), key=lambda k: prescriptions_gy[present[k]])
            spread, reference_spread = map(self._spread, sorted_gy[highest])
            homogeneity = (self.space.spread_factor(vector) * reference_spread - spread).abs()
        targets = [(theirs.mean() - ours.mean()).abs() for ours, theirs in sorted_gy]
        coverage = [(self._around(theirs, 5.0) - self._around(ours, 5.0)).abs() for ours, theirs in sorted_gy]
        organs = self._organs(predicted, reference, rows, vector)
        means = [torch.stack(terms).mean() if terms else nothing for terms in (targets, organs, coverage)]
        return torch.stack([homogeneity, *means])

    def _organs(
        self,
        predicted_gy: Float[Tensor, " n"],
        reference_gy: Float[Tensor, " n"],
        rows: Bool[Tensor, "s n"],
        vector: list[float],
    ) -> list[Tensor]:
        """Return |w̃·u − û| in Gy of the organs at risk that have voxels outside all targets."""
        spared = torch.ones_like(rows[0])
        for i in self._targets:
            spared &= ~rows[i]
        gaps = []
        for i, slider in self._sliders.items():
            own = (rows[i] & spared).nonzero().squeeze(1)
            if len(own):
                gaps.append((vector[slider] * reference_gy[own].mean() - predicted_gy[own].mean()).abs())
        return gaps

    def _spread(self, ascending_gy: Float[Tensor, " n"]) -> Float[Tensor, ""]:
        """Return D2 − D98 in Gy."""
        return self._around(ascending_gy, 98.0) - self._around(ascending_gy, 2.0)

    def _around(self, ascending_gy: Float[Tensor, " n"], percent: float) -> Float[Tensor, ""]:
        """Return the dose in Gy that `percent` of the volume stays below, as a mean over the band around it."""
        if not self.band_percent:
            return percentile(ascending_gy, percent)
        count = len(ascending_gy)
        first = min(count - 1, int((percent - self.band_percent) / 100.0 * count))
        last = max(first + 1, math.ceil((percent + self.band_percent) / 100.0 * count))
        return ascending_gy[first:last].mean()

    def _masks(self, outputs: Tensor, batch: Mapping[str, Any]) -> Bool[Tensor, "b s z y x"]:
        masks = structures_of(outputs, batch)
        if masks.shape[1] != len(self.structures):
            raise InputError(
                f"must hold the {len(self.structures)} structures of the loss",
                argument=keys.STRUCTURES,
                value=tuple(masks.shape),
            )
        return masks

    def _prescriptions(self, batch: Mapping[str, Any], samples: int) -> list[list[float]]:
        """Return each sample's prescriptions in Gy, in the order of the structures."""
        if keys.PRESCRIPTION not in batch:
            raise InputError("must be in the batch", argument=keys.PRESCRIPTION, value=sorted(batch))
        return _rows(keys.PRESCRIPTION, batch[keys.PRESCRIPTION], samples, len(self.structures))

    def _vectors(self, batch: Mapping[str, Any], samples: int) -> list[list[float]]:
        """Return each sample's slider values."""
        if keys.PREFERENCE not in batch:
            return [list(self.space.neutral)] * samples
        given = batch[keys.PREFERENCE]
        if not self.has_sliders:
            raise InputError(
                "must not be in the batch: the loss has no sliders", argument=keys.PREFERENCE, value=tuple(given.shape)
            )
        vectors = _rows(keys.PREFERENCE, given, samples, len(self.space))
        if not all(0.0 < value < math.inf for vector in vectors for value in vector):
            raise InputError("must be positive and finite", argument=keys.PREFERENCE, value=vectors)
        return vectors


def _rows(key: str, values: Tensor, samples: int, columns: int) -> list[list[float]]:
    if values.shape != (samples, columns):
        raise InputError(f"must have shape {(samples, columns)}", argument=key, value=tuple(values.shape))
    return [[float(value) for value in row] for row in values.tolist()]
