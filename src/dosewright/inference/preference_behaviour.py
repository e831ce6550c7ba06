"""How dose-volume indices follow the preference sliders: monotonicity, range, and what else moves.

A response is one index of one structure of one case along one slider, all other sliders neutral. Expected of a good
net: organ means fall with their sparing slider, and the target's homogeneity index rises with the homogeneity slider,
and a little as sparing gets stronger, as sparing has its price.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dosewright.core import Role, role_of
from dosewright.core.preference import PreferenceSpace
from dosewright.inference.preference_sweep import HOMOGENEITY, SPARING, CaseSweep, Sweep

STILL_GY, STILL_HI = 1e-3, 1e-5  # an index that moves less along a slider counts as constant
MONOTONIC = 0.9  # least rank correlation that counts as following the slider


@dataclass(frozen=True)
class Response:
    """One index of one structure of one case along one slider.

    Args:
        case_id: The case.
        slider: "sparing", "homogeneity" or a group.
        structure: The structure.
        index: "Dmean", "HI"…
        settings: Values of the slider, ascending.
        values: The index at each, in Gy (HI: none).
    """

    case_id: str
    slider: str
    structure: str
    index: str
    settings: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def change(self) -> float:
        """The index at the slider's largest value minus that at its least."""
        return self.values[-1] - self.values[0]

    @property
    def span(self) -> float:
        """How far apart the largest and the least value of the index are."""
        return max(self.values) - min(self.values)

    @cached_property
    def spearman(self) -> float:
        """Rank correlation of index and slider; 0 where the index is constant."""
        return spearman(self.settings, self.values, STILL_HI if self.index == "HI" else STILL_GY)

    @property
    def expected(self) -> int:
        """Sign of the rank correlation a good net has: 0 where none is expected."""
        if self.index == "HI":
            return 1 if self.slider == HOMOGENEITY else -1
        return 1 if role_of(self.structure) is Role.OAR and self.slider != HOMOGENEITY else 0

    @property
    def follows(self) -> bool:
        """Whether the rank correlation is at least 0.9 in the expected direction."""
        return self.expected * self.spearman >= MONOTONIC


def spearman(settings: Sequence[float], values: Sequence[float], still: float = 0.0) -> float:
    """Return Spearman's rank correlation, in [-1, 1]; 0 if `values` span no more than `still`.

    >>> spearman([0.8, 0.9, 1.0, 1.1], [5.0, 6.0, 8.0, 7.0]), spearman([0.8, 1.0], [3.0, 3.0])
    (0.8, 0.0)
    """
    if max(values) - min(values) <= still or len(set(settings)) < 2:
        return 0.0
    from scipy.stats import spearmanr

    return round(float(spearmanr(settings, values).statistic), 12)  # else 0.9 may come out below 0.9


def responses(sweep: Sweep, cases: Iterable[CaseSweep]) -> list[Response]:
    """Return every response of the cases; an index that a setting lacks has none."""
    found = []
    for case in cases:
        neutral = case.measures[sweep.space.neutral]
        for slider, series in sweep.series.items():
            settings = tuple(value for value, _ in series)
            along = [case.measures[vector] for _, vector in series]
            for structure, indices in neutral.items():
                for index in indices:
                    values = [measures[structure].get(index) for measures in along]
                    there = tuple(value for value in values if value is not None)
                    if len(there) == len(settings):
                        found.append(Response(case.case_id, slider, structure, index, settings, there))
    return found


@dataclass(frozen=True)
class Coverage:
    """How far the D95 of one target of one case is off, at worst, in percent.

    Args:
        case_id: The case.
        structure: The target.
        sweep: Largest |D95 − prescription| over all settings, in percent of the prescription.
        neutral: |D95 − prescription| of the neutral setting.
        from_neutral: Largest |D95 − neutral D95| over all settings, in percent of the neutral D95; None if that is 0.
        reference: |D95 − prescription| of the case's own dose, or None.
    """

    case_id: str
    structure: str
    sweep: float
    neutral: float
    from_neutral: float | None
    reference: float | None


def coverages(sweep: Sweep, cases: Iterable[CaseSweep]) -> list[Coverage]:
    """Return the deviations of every target."""
    found = []
    for case in cases:
        for name, prescription_gy in case.prescription_gy.items():
            d95_gy = {vector: measures[name]["D95"] for vector, measures in case.measures.items()}
            at_neutral = d95_gy[sweep.space.neutral]
            found.append(
                Coverage(
                    case_id=case.case_id,
                    structure=name,
                    sweep=max(_percent(value, prescription_gy) for value in d95_gy.values()),
                    neutral=_percent(at_neutral, prescription_gy),
                    from_neutral=max(_percent(value, at_neutral) for value in d95_gy.values()) if at_neutral else None,
                    reference=_percent(case.reference[name]["D95"], prescription_gy) if case.reference else None,
                )
            )
    return found


def _percent(value: float, of: float) -> float:
    """Return |value − of| in percent of `of`."""
    return 100.0 * abs(value / of - 1.0)


@dataclass(frozen=True)
class Leakage:
    """What moves that should not when one slider moves alone; each number the median over cases, None without any.

    Spans are in Gy, ratios relative to the span the same index has along the slider that is meant to move it.

    Args:
        slider: The slider that moved.
        own_span_gy: Means of the organs that follow it (none for homogeneity).
        other_span_gy: Means of the organs that do not.
        other_ratio: The same relative to their spans along "sparing".
        hi_ratio: HI of the highest target relative to its span along "homogeneity".
        target_mean_span_gy: Mean dose of the targets.
        target_mean_ratio: The same relative to its span along "homogeneity".
        d95_span_gy: D95 of the targets.
        d95_ratio: The same relative to its span along "homogeneity".
    """

    slider: str
    own_span_gy: float | None
    other_span_gy: float | None
    other_ratio: float | None
    hi_ratio: float | None
    target_mean_span_gy: float | None
    target_mean_ratio: float | None
    d95_span_gy: float | None
    d95_ratio: float | None


def leakages(space: PreferenceSpace, all_responses: Sequence[Response], highest: Mapping[str, str]) -> list[Leakage]:
    """Return the leakage of every slider.

    Args:
        space: The net's sliders.
        all_responses: Of all cases.
        highest: Case → its target with the highest prescription.
    """
    spans = {(r.case_id, r.slider, r.structure, r.index): r.span for r in all_responses}
    found = []
    for slider in dict.fromkeys(r.slider for r in all_responses):
        along = [r for r in all_responses if r.slider == slider]
        organs = [r for r in along if role_of(r.structure) is Role.OAR and r.index == "Dmean"]
        own = [r for r in organs if _moves(space, slider, r.structure)]
        others = [r for r in organs if not _moves(space, slider, r.structure)]
        means, d95s = (
            [r for r in along if role_of(r.structure) is Role.TARGET and r.index == index] for index in ("Dmean", "D95")
        )
        his = [r for r in along if r.index == "HI" and highest[r.case_id] == r.structure]
        found.append(
            Leakage(
                slider,
                own_span_gy=_median(r.span for r in own),
                other_span_gy=_median(r.span for r in others),
                other_ratio=_median(_ratios(others, spans, SPARING)),
                hi_ratio=_median(_ratios(his, spans, HOMOGENEITY)),
                target_mean_span_gy=_median(r.span for r in means),
                target_mean_ratio=_median(_ratios(means, spans, HOMOGENEITY)),
                d95_span_gy=_median(r.span for r in d95s),
                d95_ratio=_median(_ratios(d95s, spans, HOMOGENEITY)),
            )
        )
    return found


def _moves(space: PreferenceSpace, slider: str, organ: str) -> bool:
    """Whether a slider is meant to move the mean of an organ."""
    return slider == SPARING or (slider != HOMOGENEITY and space.sparing_names[space.index_of(organ)] == slider)


def _ratios(some: Iterable[Response], spans: Mapping[tuple[str, str, str, str], float], to: str) -> list[float]:
    """Return each span relative to that of the same index along another slider; none where that one does not move."""
    pairs = [(r.span, spans.get((r.case_id, to, r.structure, r.index), 0.0), r.index) for r in some]
    return [span / own for span, own, index in pairs if own > (STILL_HI if index == "HI" else STILL_GY)]


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.median(listed)) if listed else None
