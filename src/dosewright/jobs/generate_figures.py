"""Distributions of what the plan factory made, beside those of the patients' own doses."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 16
_PLANS, _OWN = "#2b6cb0", "#dd6b20"
_ORDER = (" D95", " HI", "score", " mean", " D0.1cc")


def draw_distributions(plans: Mapping[str, Sequence[float]], own: Mapping[str, Sequence[float]]) -> "Figure":
    """Return histograms of each index, as shares: kept plans filled, the patients' own doses as a line.

    Args:
        plans: Index → values of the plans.
        own: Index → values of the patients' own doses; may lack some.
    """
    from matplotlib.figure import Figure

    names = sorted(plans, key=lambda name: (_rank(name), name))[:MOST_PANELS]
    columns = 4
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.5 * rows), layout="constrained")
    for place, name in enumerate(names):
        _draw(figure.add_subplot(rows, columns, place + 1), name, plans[name], own.get(name, ()))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _rank(name: str) -> int:
    return next((rank for rank, end in enumerate(_ORDER) if name.endswith(end)), len(_ORDER))


def _draw(axes: "Axes", name: str, plans: Sequence[float], own: Sequence[float]) -> None:
    everything = np.concatenate([np.asarray(plans, float), np.asarray(own, float)])
    low, high = np.percentile(everything, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1.0, 31)
    looks: tuple[tuple[str, Sequence[float], dict[str, Any]], ...] = (
        ("plans", plans, {"color": _PLANS, "alpha": 0.6}),
        ("own doses", own, {"color": _OWN, "histtype": "step", "lw": 1.8}),
    )
    for label, values, look in looks:
        if len(values):
            inside = np.clip(values, edges[0], edges[-1]).tolist()
            shares = np.full(len(values), 1 / len(values))
            axes.hist(inside, edges.tolist(), weights=shares, label=f"{label} ({len(values)})", **look)
    axes.set_title(name, fontsize=10)
    axes.set_xlabel(_unit(name), fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_yticks([])


def _unit(name: str) -> str:
    if name == "score":
        return "points"
    return "share of the prescription" if name.endswith((" D95", " HI")) else "Gy"
