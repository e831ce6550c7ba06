"""How hard a plan is to deliver: complexity of fluence maps and of apertures.

Fluence: sum of positive gradients (Craft, Süss & Bortfeld, IJROBP 67:1596, 2007; limited to 65 by OpenKBP-Opt, Babier
et al., Phys Med Biol 67:185012, 2022), total variation (Zhu, Lee, Ma & Xing, Phys Med Biol 53:6653, 2008), modulation
index (Webb, Phys Med Biol 48:2051, 2003). Apertures: modulation complexity score (McNiven, Sharpe & Purdie, Med Phys
37:505, 2010), edge metric (Younge et al., Med Phys 39:7160, 2012), small aperture score (Crowe et al., Australas Phys
Eng Sci Med 37:475, 2014).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Float

from dosewright.core import InputError
from dosewright.fluence.apertures import Aperture
from dosewright.fluence.fluence_map import FluenceMap
from dosewright.fluence.segmentation import row_complexity

SMALL_MM = 10.0
_OPEN_MM = 1e-3  # less is closed
_WEBB_END = 0.5  # of the standard deviation


@dataclass(frozen=True)
class Complexity:
    """Complexity of a delivered plan.

    Args:
        segments: Number of apertures.
        monitor_units: Of one fraction.
        mu_per_gy: Monitor units per Gy of prescribed dose.
        sum_of_positive_gradients: In units of the fluence it was computed from.
        total_variation: The same.
        modulation_index: Webb's; 0 for flat fields, at most 0.5.
        modulation_complexity_score: 1 for one open rectangle, towards 0 for small and ragged apertures.
        edge_metric_per_mm: Sides of leaves per open area; less is simpler.
        small_aperture_score: Share of open leaf pairs open by less than 10 mm.
        mean_area_cm2: Open area, mean over monitor units.
    """

    segments: int
    monitor_units: float
    mu_per_gy: float
    sum_of_positive_gradients: float
    total_variation: float
    modulation_index: float
    modulation_complexity_score: float
    edge_metric_per_mm: float
    small_aperture_score: float
    mean_area_cm2: float

    def to_dict(self) -> dict[str, float | int]:
        """Return the numbers by name."""
        return asdict(self)


def complexity(
    apertures: Sequence[Aperture], maps: Sequence[FluenceMap], *, mu_per_fluence: float, dose_per_fraction_gy: float
) -> Complexity:
    """Return all measures of a sequenced plan.

    Args:
        apertures: Of all beams, beam by beam.
        maps: Fluence they deliver, or the one that was sequenced.
        mu_per_fluence: Monitor units of one fraction per unit of fluence.
        dose_per_fraction_gy: Prescribed to the highest target.

    Raises:
        InputError: If there is no aperture with a weight, or the dose is not positive.
    """
    if not dose_per_fraction_gy > 0:
        raise InputError("must be positive", argument="dose_per_fraction_gy", value=dose_per_fraction_gy)
    units = sum(aperture.weight for aperture in apertures) * mu_per_fluence
    return Complexity(
        segments=len(apertures),
        monitor_units=units,
        mu_per_gy=units / dose_per_fraction_gy,
        sum_of_positive_gradients=sum_of_positive_gradients(maps),
        total_variation=total_variation(maps),
        modulation_index=modulation_index(maps),
        modulation_complexity_score=modulation_complexity_score(apertures),
        edge_metric_per_mm=edge_metric_per_mm(apertures),
        small_aperture_score=small_aperture_score(apertures),
        mean_area_cm2=_mean(apertures, lambda one: one.area_mm2 / 100),
    )


def sum_of_positive_gradients(maps: Sequence[FluenceMap]) -> float:
    """Return Σ over beams of the largest Σ over a row of (xᵢ − xᵢ₊₁)₊, as OpenKBP-Opt constrains it.

    Zero lies outside the map; a row's rises equal its falls. It is the least beam-on fluence of a plan with leaves that
    move along the rows, and has the unit of fluence: OpenKBP-Opt's limit of 65 is one in the unit of its own matrices.
    """
    return float(sum(row_complexity(one.values).max() for one in maps))


def total_variation(maps: Sequence[FluenceMap]) -> float:
    """Return Σ |xᵢ − xⱼ| over neighbouring beamlets of a beam, along and across the leaves."""
    return float(sum(steps.sum() for one in maps for steps in _steps(one)))


def modulation_index(maps: Sequence[FluenceMap], end: float = _WEBB_END) -> float:
    """Return Webb's modulation index, ∫ z(f) df from 0 to 0.5, of the mean over beams (weighted by beamlets).

    z(f) is the share of neighbours that differ by more than f standard deviations of the beam's fluence, the mean of
    both directions; the integral is the mean of min(difference / σ, 0.5). Flat beams count as 0.
    """
    total = sum(int(one.inside.sum()) for one in maps)
    return float(sum(one.inside.sum() * _webb(one, end) for one in maps) / total) if total else 0.0


def modulation_complexity_score(apertures: Sequence[Aperture]) -> float:
    """Return McNiven's modulation complexity score, the mean over monitor units of LSV · AAV.

    LSV, the leaf sequence variability of an aperture: for each bank the mean over neighbouring open pairs of
    1 − |difference| / (largest − smallest position), multiplied. AAV, its area variability: the sum of openings over
    that of the largest extent of each pair in the beam.

    Raises:
        InputError: If no aperture has a weight.
    """
    extents = {beam: _extent_mm(list(group)) for beam, group in groupby(apertures, key=lambda one: one.beam)}
    return _mean(apertures, lambda one: _leaf_sequence_variability(one) * one.opening_mm.sum() / extents[one.beam])


def edge_metric_per_mm(apertures: Sequence[Aperture]) -> float:
    """Return Younge's edge metric: length of leaf sides that border the opening over its area, in 1/mm.

    With the constants C₁ = 0 and C₂ = 1 of the paper; the mean over monitor units. Apertures that are closed count 0.

    Raises:
        InputError: If no aperture has a weight.
    """
    return _mean(apertures, lambda one: _sides_length_mm(one) / one.area_mm2 if one.area_mm2 > 0 else 0.0)


def small_aperture_score(apertures: Sequence[Aperture], below_mm: float = SMALL_MM) -> float:
    """Return Crowe's small aperture score: the share of open pairs that are open by less than `below_mm`.

    The mean over monitor units; closed apertures count 0.

    Raises:
        InputError: If no aperture has a weight.
    """

    def share(aperture: Aperture) -> float:
        is_open = aperture.opening_mm[aperture.opening_mm > _OPEN_MM]
        return float((is_open < below_mm - _OPEN_MM).mean()) if len(is_open) else 0.0

    return _mean(apertures, share)


def _mean(apertures: Sequence[Aperture], measure: Callable[[Aperture], float]) -> float:
    """Return the mean of a measure of apertures by weight."""
    total = sum(aperture.weight for aperture in apertures)
    if not total > 0:
        raise InputError("must have a weight", argument="apertures", value=f"{len(apertures)} of weight 0")
    return float(sum(one.weight * measure(one) for one in apertures if one.weight > 0) / total)


def _leaf_sequence_variability(aperture: Aperture) -> float:
    is_open = aperture.opening_mm > _OPEN_MM
    left, right = (side[is_open] for side in aperture.sides_mm)
    return _bank_variability(left) * _bank_variability(right)


def _bank_variability(position_mm: Float[np.ndarray, " pairs"]) -> float:
    if len(position_mm) < 2:
        return 1.0
    spread = float(np.ptp(position_mm))
    return 1.0 if spread < _OPEN_MM else float((1 - np.abs(np.diff(position_mm)) / spread).mean())


def _extent_mm(apertures: Sequence[Aperture]) -> float:
    """Return Σ over leaf pairs of the distance between their outermost positions in the apertures of a beam."""
    ends: dict[float, list[float]] = {}
    for aperture in apertures:
        for edge, left, right in zip(aperture.edges_mm.round(3).tolist(), *(s.tolist() for s in aperture.sides_mm)):
            if right - left > _OPEN_MM:
                low, high = ends.get(edge, (left, right))
                ends[edge] = [min(low, left), max(high, right)]
    return sum(high - low for low, high in ends.values()) or 1.0


def _sides_length_mm(aperture: Aperture) -> float:
    """Return the length of leaf sides that border the opening: where only one of two neighbouring pairs is open."""
    left, right = (np.pad(side, 1) for side in aperture.sides_mm)
    common = np.maximum(np.minimum(right[1:], right[:-1]) - np.maximum(left[1:], left[:-1]), 0.0)
    opening = right - left
    return float((opening[1:] + opening[:-1] - 2 * common).sum())


def _steps(one: FluenceMap) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, " w"]]:
    """Return |differences| of neighbouring beamlets along and across the leaves."""
    along = one.inside[:, 1:] & one.inside[:, :-1]
    across = one.inside[1:] & one.inside[:-1]
    return np.abs(np.diff(one.values, axis=1))[along], np.abs(np.diff(one.values, axis=0))[across]


def _webb(one: FluenceMap, end: float) -> float:
    deviation = float(one.values[one.inside].std())
    if deviation <= 1e-12 * max(float(one.values.max()), 1e-300):
        return 0.0
    means = [np.minimum(steps / deviation, end).mean() for steps in _steps(one) if len(steps)]
    return float(np.mean(means)) if means else 0.0
