"""Pictures of scores: one case's items as bars, and a cohort's as a map of items by cases.

Built without pyplot, as in `dose.figures`; matplotlib is imported when the first one is drawn.
"""

from typing import TYPE_CHECKING

import numpy as np

from dosewright.jobs.score_cohort import CohortScores
from dosewright.jobs.score_record import CaseScore, ItemRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of a score's share of its maximum: dark where nothing is left to gain. Below zero has its own.
SHARE_MAP, BELOW_ZERO, NOT_SCORED = "YlGnBu", "#B2182B", "#E6E6E6"
_ROW_INCH, _CASE_INCH = 0.21, 0.2


def draw_case(case: CaseScore, title: str) -> "Figure":
    """Return one case's items as bars of points, each over an outline of the most it could get.

    Items without a score have a dashed outline and their reason beside it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 1.1 + _ROW_INCH * len(case.items)), layout="constrained")
    axes = figure.subplots()
    for at, row in enumerate(case.items):
        _draw_bar(axes, at, row)
    axes.set_yticks(range(len(case.items)), [row.label for row in case.items], fontsize=7.5)
    axes.set_ylim(len(case.items) - 0.4, -0.6)
    low = min((row.score or 0.0 for row in case.items), default=0.0)
    high = max((row.maximum for row in case.items), default=1.0)
    axes.set_xlim(min(low * 1.1, 0.0), max(high * 1.3, 1.0))
    axes.axvline(0.0, color="black", lw=0.8)
    axes.set_xlabel("Points (outline: the most the item gives)")
    axes.grid(axis="x", alpha=0.3)
    total = f"{case.total:.2f} of {case.maximum:g} points that could be scored, {case.card_maximum:g} on the card"
    axes.set_title(f"{title}\n{total}", fontsize=10)
    return figure


def draw_cohort(cohort: CohortScores) -> "Figure | None":
    """Return a map of the items that some case has, by cases from the lowest to the highest total on common items.

    Colour is the share of the item's maximum; None where nothing was scored.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    cases = sorted(cohort.cases, key=cohort.common_total)
    items = cohort.items
    places = [at for at, item in enumerate(items) if item.scores]
    if not places:
        return None
    shares = np.array([[_number(case.items[at].share) for case in cases] for at in places])
    size = (max(7.0, 4.5 + _CASE_INCH * len(cases)), 1.9 + _ROW_INCH * len(places))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(NOT_SCORED)
    colors = colormaps[SHARE_MAP].with_extremes(under=BELOW_ZERO)
    image = axes.imshow(np.ma.masked_invalid(shares), cmap=colors, vmin=0.0, vmax=1.0, aspect="auto")
    labels = [f"{items[at].structure} {items[at].metric} ({items[at].maximum:g})" for at in places]
    axes.set_yticks(range(len(places)), labels, fontsize=7.5)
    axes.set_xticks(range(len(cases)), [case.case_id for case in cases], rotation=90, fontsize=7.5)
    axes.set_xticks(np.arange(-0.5, len(cases)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(places)), minor=True)
    axes.grid(which="minor", color="white", lw=0.6)
    axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(image, ax=axes, extend="min", shrink=0.6, pad=0.02)
    bar.set_label("Share of the item's points (red: below 0; grey: not scored)", fontsize=8)
    figure.suptitle(f"{cohort.card}, {len(cases)} cases\nlowest total on the items of all cases first", fontsize=10)
    return figure


def _draw_bar(axes: "Axes", at: int, row: ItemRow) -> None:
    from matplotlib import colormaps

    style = {"fill": False, "ec": "#777777", "lw": 0.8, "ls": "-" if row.score is not None else ":"}
    axes.barh(at, row.maximum, height=0.72, **style)  # type: ignore[arg-type]
    if row.score is None:
        axes.text(max(row.maximum, 0.0), at, f"  {_cut(row.reason)}", va="center", fontsize=6.5, color="#777777")
        return
    share = max(row.share or 0.0, 0.0)
    color = BELOW_ZERO if row.score < 0 else colormaps[SHARE_MAP](0.3 + 0.6 * share)
    axes.barh(at, row.score, height=0.72, color=color)
    unit = row.metric.rpartition("[")[2].rstrip("]") if "[" in row.metric else ""
    text = f"  {row.score:.2f} at {row.value:.2f} {unit}".rstrip()
    axes.text(max(row.maximum, row.score, 0.0), at, text, va="center", fontsize=7)


def _number(share: float | None) -> float:
    return float("nan") if share is None else share


def _cut(text: str, longest: int = 70) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
