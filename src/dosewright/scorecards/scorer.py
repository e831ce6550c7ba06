"""Scoring doses of one case with one card."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from dosewright.core import InputError, PatientCase
from dosewright.scorecards.binding import Binder, BoundItem
from dosewright.scorecards.measure import NEEDS_BODY, AnyDose, checked_dose, measure_voxels
from dosewright.scorecards.report import ItemScore, ScoreReport
from dosewright.scorecards.score_card import ScoreCard
from dosewright.scorecards.structure_dose import StructureDose

Voxels = Int[np.ndarray, " n"]


class Scorer:
    """Scores doses of one case: `scorer(dose_gy)` gives a report in milliseconds.

    Structures are matched and built once, here. An item that cannot be scored has its reason in the report; it counts
    in `card_maximum`, not in `total` and `maximum`.

    Args:
        card: The card; % of a dose refers to its dose per fraction × fractions.
        case: The case.
        names: Card's structure name → name of the case's structure, or structure expression of such
            (`{"PTV": "PTV_High | PTV_Low"}`); see `structure_match` for what is found without it.
        dose_scale: What every dose is multiplied by before it is measured; see `scaling` for usual ones.

    Raises:
        InputError: If `names` contradicts itself, or the scale is not positive and finite.
    """

    def __init__(
        self, card: ScoreCard, case: PatientCase, names: Mapping[str, str] | None = None, dose_scale: float = 1.0
    ) -> None:
        if not (math.isfinite(dose_scale) and dose_scale > 0):
            raise InputError("must be positive and finite", argument="dose_scale", value=dose_scale)
        self.card, self.case, self.dose_scale = card, case, float(dose_scale)
        binder = Binder(case, names)
        self.bound = tuple(binder.bind(item) for item in card.items)
        self._voxels: dict[str, Voxels] = {}
        self._outside: dict[str, Voxels] = {}
        for bound in self.bound:
            if bound.structure is None or bound.mask is None:
                continue
            if bound.structure not in self._voxels:
                self._voxels[bound.structure] = np.flatnonzero(bound.mask)
            if bound.item.metric.kind in NEEDS_BODY and bound.structure not in self._outside:
                self._outside[bound.structure] = np.flatnonzero(case.body & ~bound.mask)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names, as the card writes them, of structures the case does not have, each once."""
        return tuple(
            dict.fromkeys(
                bound.item.name for bound in self.bound if bound.structure is None and bound.item.name.strip()
            )
        )

    def __call__(self, dose_gy: AnyDose) -> ScoreReport:
        """Return what the card says of a dose (total Gy, on the case's grid, before scaling).

        Raises:
            GridMismatchError: If the dose has another shape than the case's grid.
            InputError: If the dose is not of floats, or has NaN or infinities.
        """
        flat = checked_dose(dose_gy, self.case.grid)
        volume_cc = self.case.grid.voxel_volume_cc
        doses = {name: StructureDose(self._scaled(flat[v]), volume_cc) for name, v in self._voxels.items()}
        outside = {name: self._scaled(flat[v]) for name, v in self._outside.items()}
        return ScoreReport(tuple(self._score(bound, doses, outside) for bound in self.bound))

    def _scaled(self, dose_gy: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return dose_gy if self.dose_scale == 1.0 else dose_gy * dose_gy.dtype.type(self.dose_scale)

    def _score(
        self,
        bound: BoundItem,
        doses: Mapping[str, StructureDose],
        outside: Mapping[str, Float[np.ndarray, " n"]],
    ) -> ItemScore:
        item = bound.item
        if bound.mask is None or bound.structure is None:
            return ItemScore(item, bound.structure, None, None, bound.reason)
        try:
            value = measure_voxels(
                item.metric, doses[bound.structure], outside.get(bound.structure), self.card.prescription_gy
            )
        except InputError as error:
            return ItemScore(item, bound.structure, None, None, str(error))
        if not item.curve.points:
            return ItemScore(item, bound.structure, value, None, "the card has no score points")
        return ItemScore(item, bound.structure, value, item.curve.score(value))
