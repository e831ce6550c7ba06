"""Pictures of a preference sweep: families of DVHs, and indices over the sliders. Built without pyplot."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dosewright.core import PatientCase, Role, role_of
from dosewright.core.preference import NEUTRAL
from dosewright.dose.colors import color_of
from dosewright.dose.table import DvhCurves
from dosewright.inference.preference_behaviour import Response
from dosewright.inference.preference_sweep import HOMOGENEITY, SPARING
from dosewright.jobs.sweep_tables import rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = {
    SPARING: "sparing w̃ of all organs (below 1 spares more)",
    HOMOGENEITY: "homogeneity h̃ (below 1 is more even)",
}
_COLUMNS = 4
_PANEL_INCH = (3.4, 2.7)
_SHOWN_PERCENT = (0.5, 99.5)  # a target's panel shows the doses where its volume is between these
_MARGIN_GY = 1.0


def draw_families(case: PatientCase, slider: str, curves: Mapping[float, DvhCurves], neutral: DvhCurves) -> "Figure":
    """Return one panel per target and organ with its DVH for each value of a slider, coloured by it.

    The neutral DVH is dashed in black. A target's panel is cut to the doses where its curves fall.

    Args:
        case: The case.
        slider: Which slider moved.
        curves: Value of the slider → DVHs, all with the same bins.
        neutral: DVHs of the neutral setting.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    names = [*case.targets, *sorted(case.oars)]
    figure, panels = _panels(len(names))
    visible = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.88, 256)))  # its end is too bright on white
    scale = ScalarMappable(Normalize(min(curves), max(curves)), visible)
    for axes, name in zip(panels, names, strict=True):
        for value, dvh in sorted(curves.items()):
            color = scale.to_rgba(np.asarray(value))
            axes.plot(dvh.bins_gy, dvh.volume_percent[name], color=color, lw=1.5, label=f"{value:g}")
        axes.plot(neutral.bins_gy, neutral.volume_percent[name], "--", color="black", lw=1.0, label="neutral")
        axes.set_title(name, color=color_of(name), fontsize=10, fontweight="bold")
        axes.set(xlim=_span_gy(name, [*curves.values(), neutral]), ylim=(0.0, 102.0))
        axes.grid(alpha=0.3)
    figure.colorbar(scale, ax=panels, label=LABELS.get(slider, slider), ticks=sorted(curves), fraction=0.03, pad=0.02)
    figure.supxlabel("Dose [Gy]", fontsize=10)
    figure.supylabel("Volume [%]", fontsize=10)
    figure.suptitle(f"{case.case_id}: DVHs over the {slider} slider, neutral dashed", fontsize=11)
    return figure


def draw_responses(responses: Sequence[Response], slider: str) -> "Figure":
    """Return one panel per structure with its index over a slider: a thin line per case, the median thick.

    Organs show their mean dose, targets their homogeneity index.
    """
    groups: dict[tuple[str, str], list[Response]] = {}
    for r in responses:
        if r.slider == slider and r.index == ("Dmean" if role_of(r.structure) is Role.OAR else "HI"):
            groups.setdefault((r.structure, r.index), []).append(r)
    ordered = sorted(groups.items(), key=lambda item: rank(item[0][0]))
    figure, panels = _panels(len(ordered))
    for axes, ((structure, index), some) in zip(panels, ordered, strict=True):
        for r in some:
            axes.plot(r.settings, r.values, "-o", color=color_of(structure), lw=0.8, ms=2.5, alpha=0.4)
        median = np.median([r.values for r in some], axis=0)
        axes.plot(some[0].settings, median, color="black", lw=2.0)
        axes.axvline(NEUTRAL, color="grey", lw=0.8, ls=":")
        axes.set_title(f"{structure} ({len(some)})", color=color_of(structure), fontsize=10, fontweight="bold")
        axes.set_ylabel("HI" if index == "HI" else "mean dose [Gy]", fontsize=8)
        axes.grid(alpha=0.3)
    figure.supxlabel(LABELS.get(slider, slider), fontsize=10)
    figure.suptitle("One line per case (their number in brackets), the median thick", fontsize=11)
    return figure


def _panels(count: int) -> tuple["Figure", list["Axes"]]:
    """Return a figure with `count` panels in rows."""
    from matplotlib.figure import Figure

    columns = max(1, min(_COLUMNS, count))
    rows = max(1, math.ceil(count / columns))
    figure = Figure(figsize=(columns * _PANEL_INCH[0] + 1.0, rows * _PANEL_INCH[1] + 0.6), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, at + 1) for at in range(count)]


def _span_gy(name: str, dvhs: Sequence[DvhCurves]) -> tuple[float, float]:
    """Return the doses a panel shows, in Gy."""
    low, high = _SHOWN_PERCENT
    starts, ends = [], []
    for dvh in dvhs:
        volume = dvh.volume_percent[name]
        starts.append(float(dvh.bins_gy[max(0, int(np.count_nonzero(volume > high)) - 1)]))
        ends.append(float(dvh.bins_gy[min(len(volume) - 1, int(np.count_nonzero(volume > low)))]))
    start = max(0.0, min(starts) - _MARGIN_GY) if role_of(name) is Role.TARGET else 0.0
    return start, max(ends) + _MARGIN_GY
