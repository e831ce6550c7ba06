"""Objectives for the items of a scorecard, in the structures that the items are about."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dosewright.core import EXTERNAL, InputError, PatientCase, role_of
from dosewright.core.types import Mask
from dosewright.geometry import targets_mask
from dosewright.objectives.extraction import DECIMALS
from dosewright.objectives.objective import Objective
from dosewright.planning.airtp_margin import Asked, falls
from dosewright.scorecards.metric import Metric
from dosewright.scorecards.scorer import Scorer

STEERED = ("max_dose", "mean_dose", "dose_at_volume", "volume_at_dose")


@dataclass(frozen=True)
class Steered:
    """An item that an objective can be made for.

    Args:
        place: Of the item in its card.
        structure: Name of the structure in the case.
        volume_cc: Of that.
        least_gy: An objective may not ask for less dose than this: the structure's own prescription, where it lies in
            targets; else 0.
    """

    place: int
    structure: str
    volume_cc: float
    least_gy: float


class ScoredItems:
    """The items of a scorecard as a planner sees them.

    Items where more is better, of targets all, follow the prescription and get no objective; neither do those of other
    metrics than `STEERED`.

    Args:
        scorer: Bound to the case.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.case, self._names = _with_scored(scorer)
        self.steered = tuple(self._steered())

    def objectives(self, asked: Callable[[int], Asked | None]) -> Iterator[Objective]:
        """Yield the objectives of the items.

        Args:
            asked: Place of an item in its card → what to ask of it; None asks nothing.
        """
        for item in self.steered:
            wish = asked(item.place)
            objective = None if wish is None else self._objective(item, wish)
            if objective is not None:
                yield objective

    def _steered(self) -> Iterator[Steered]:
        targets = targets_mask(self.case)
        for place, (bound, name) in enumerate(zip(self.scorer.bound, self._names, strict=True)):
            if name is None or bound.mask is None or not falls(bound.item.curve):
                continue
            if bound.item.metric.kind in STEERED:
                volume_cc = float(np.count_nonzero(bound.mask)) * self.case.grid.voxel_volume_cc
                least_gy = 0.0 if (bound.mask & ~targets).any() else self._prescribed_gy(bound.mask)
                yield Steered(place, name, volume_cc, least_gy)

    def _prescribed_gy(self, mask: Mask) -> float:
        doses = self.case.prescription_gy.items()
        return max(float(dose_gy) for name, dose_gy in doses if (self.case.structures[name] & mask).any())

    def _objective(self, item: Steered, wish: Asked) -> Objective | None:
        metric = self.scorer.card.items[item.place].metric
        if metric.kind == "volume_at_dose":
            dose_gy = self._gy(metric.input_value, metric.input_unit)
            volume = wish.value if metric.output_unit == "%" else 100.0 * wish.value / item.volume_cc
        else:
            dose_gy = self._gy(wish.value, metric.output_unit)
            volume = _volume_percent(metric, item.volume_cc)
        if dose_gy is None or dose_gy < item.least_gy or volume >= 100.0:
            return None
        dose_gy, priority = round(dose_gy, DECIMALS), round(wish.priority, DECIMALS)
        if metric.kind == "mean_dose":
            return Objective(item.structure, "mean_upper", dose_gy, priority=priority)
        if volume * item.volume_cc <= 100.0 * self.case.grid.voxel_volume_cc:
            return Objective(item.structure, "squared_overdose", dose_gy, priority=priority)
        return Objective(item.structure, "max_dvh", dose_gy, volume, priority)

    def _gy(self, dose: float | int | None, unit: str | None) -> float | None:
        """Return a dose of the card as one of the plan; None where it is a share of a prescription it does not give."""
        whole_gy = self.scorer.card.prescription_gy
        factors = {"Gy": 1.0, "cGy": 0.01, "%": None if whole_gy is None else whole_gy / 100.0}
        factor = factors.get(unit or "Gy")
        return None if dose is None or factor is None else float(dose) * factor / self.scorer.dose_scale


def _volume_percent(metric: Metric, volume_cc: float) -> float:
    """Return the share of a structure that may have more than the dose asked for."""
    if metric.kind != "dose_at_volume" or metric.input_value is None:
        return 0.0
    return float(metric.input_value) * (100.0 / volume_cc if metric.input_unit == "CC" else 1.0)


def _with_scored(scorer: Scorer) -> tuple[PatientCase, tuple[str | None, ...]]:
    """Return the case with all structures that items are about, and the name of each item's; None without voxels."""
    found: dict[str, Mask] = dict(scorer.case.structures)
    by_expression: dict[str, str] = {}
    names: list[str | None] = []
    for bound in scorer.bound:
        if bound.mask is None or bound.structure is None:
            names.append(None)
            continue
        if bound.structure == EXTERNAL:
            names.append(EXTERNAL)
            continue
        if bound.structure not in by_expression:
            by_expression[bound.structure] = _name(bound.structure, bound.item.name, bound.mask, found)
            found[by_expression[bound.structure]] = bound.mask
        names.append(by_expression[bound.structure])
    return replace(scorer.case, structures=found), tuple(names)


def _name(expression: str, item_name: str, mask: Mask, taken: Mapping[str, Mask]) -> str:
    """Return a legal name: that of an equal structure, the item's own, or one made of it."""
    if expression in taken and taken[expression] is mask:
        return expression
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in item_name)
    options: Sequence[str] = (item_name, f"z{plain}"[:60], *(f"z{plain}"[:60] + f"_{n}" for n in range(2, 100)))
    for name in options:
        if _legal(name) and (name not in taken or np.array_equal(taken[name], mask)):
            return name
    raise InputError("must leave a name for one more structure", argument=item_name, value=expression)


def _legal(name: str) -> bool:
    try:
        role_of(name)
    except InputError:
        return False
    return True
