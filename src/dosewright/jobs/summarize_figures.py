"""Figures of a summary of trainings: scores per variant with seeds as dots, and learning curves.

Built without pyplot, as in `dose.figures`; matplotlib is imported when the first one is.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dosewright.jobs.summarize_records import SCORES, Summary, scored
from dosewright.jobs.summarize_run import TrainedRun, Validation
from dosewright.jobs.summarize_variants import Variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Tol's bright scheme, made for colour-blind sight too, with a darker grey and an orange; then again with other lines.
COLORS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#777777", "#EE7733")
LINE_STYLES = ("-", "--", ":", "-.")
_LONGEST = 34
_TICKS_GY = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)  # of each decade


def draw_scores(summary: Summary) -> "Figure | None":
    """Return dose and DVH score of each variant, the best on top: a line at the mean, a dot per seed.

    None where no finished run has a score.
    """
    from matplotlib.figure import Figure

    shown = [v for v in summary.variants if any(math.isfinite(scored(run, summary.ranked_by)[0]) for run in v.runs)]
    if not shown:
        return None
    figure = Figure(figsize=(10.0, 1.5 + 0.34 * len(shown)), layout="constrained")
    source = "of dosewright evaluate" if summary.ranked_by == SCORES else "of the last validation in training"
    for place, (axes, kind) in enumerate(zip(figure.subplots(1, 2, sharey=True), ("Dose score", "DVH score"))):
        for row, variant in enumerate(shown):
            _draw_row(axes, row, [scored(run, summary.ranked_by)[place] for run in variant.runs], _look(row)[0])
        axes.set_xlabel(f"{kind} [Gy], lower is better")
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.3)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + 0.12 * (high - low))  # room for the last numbers
    figure.axes[0].set_yticks(range(len(shown)), [_label(v) for v in shown])
    figure.suptitle(f"Scores {source}; dots: seeds, line: their mean", fontsize=10)
    return figure


def draw_learning_curves(summary: Summary) -> "Figure | None":
    """Return the validation dose score over epochs and over wall time: a line per variant, its mean over seeds.

    Seeds that were validated at other epochs than the first, and runs that are not finished, get thin lines of their
    own. Runs with a single validation are left out; None where there is nothing to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    groups = _groups(summary)
    if not groups:
        return None
    longest_s = max((p.seconds or 0.0 for _, runs, _ in groups for run in runs for p in run.curve), default=0.0)
    unit, unit_s = next((u for u in (("h", 3600.0), ("min", 60.0)) if longest_s >= 2 * u[1]), ("s", 1.0))
    figure = Figure(figsize=(11.5, max(4.5, 1.0 + 0.2 * len(groups))), layout="constrained")
    over_epochs, over_time = figure.subplots(1, 2, sharey=True)
    for place, (_, runs, width) in enumerate(groups):
        color, style = _look(place)
        curves = [run.curve for run in runs]
        alike = [curve for curve in curves if [p.epoch for p in curve] == [p.epoch for p in curves[0]]]
        bold = (mean_curve(alike), width)
        for curve, lw in (bold, *((curve, 0.8) for curve in curves if curve not in alike)):
            line = {"color": color, "ls": style, "lw": lw, "marker": "o", "ms": 2.0 + lw}
            over_epochs.plot(*_points(curve, [p.epoch for p in curve]), **line)
            over_time.plot(*_points(curve, [None if p.seconds is None else p.seconds / unit_s for p in curve]), **line)
    for axes, label in ((over_epochs, "Epoch"), (over_time, f"Wall time of training [{unit}]")):
        _score_axis(axes)
        axes.set_xlabel(label)
    over_epochs.set_ylabel("Validation dose score [Gy]")
    if longest_s == 0.0:
        over_time.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=over_time.transAxes)
    looks = [(*_look(n), width, label) for n, (label, _, width) in enumerate(groups)]
    handles = [Line2D([], [], color=c, ls=ls, lw=width, marker="o", ms=3, label=label) for c, ls, width, label in looks]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def mean_curve(curves: Sequence[Sequence[Validation]]) -> list[Validation]:
    """Return the mean of learning curves with the same epochs; its time is None where one of theirs is."""
    means = []
    for points in zip(*curves, strict=True):
        times = [point.seconds for point in points if point.seconds is not None]
        seconds = float(np.mean(times)) if len(times) == len(points) else None
        dose_gy, dvh_gy = (float(np.mean([getattr(p, name) for p in points])) for name in ("dose_gy", "dvh_gy"))
        means.append(Validation(points[0].epoch, points[0].step, dose_gy, dvh_gy, seconds))
    return means


def _groups(summary: Summary) -> list[tuple[str, Sequence[TrainedRun], float]]:
    """Return label, runs and line width: the variants, then the runs that are not finished."""
    groups = [(_label(variant), variant.runs, 1.6) for variant in summary.variants]
    in_variants = {run.folder for variant in summary.variants for run in variant.runs}
    for run in summary.runs:
        if run.folder not in in_variants:
            name = _cut(run.name or run.folder.name) + ("" if run.seed is None else f", seed {run.seed}")
            groups.append((f"{name} ({run.status})", (run,), 0.8))
    return [
        group for group in groups if any(len(_points(r.curve, [p.epoch for p in r.curve])[0]) > 1 for r in group[1])
    ]


def _points(curve: Sequence[Validation], at: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """Return positions and dose scores where both are known."""
    known = [(x, p.dose_gy) for x, p in zip(at, curve) if x is not None and math.isfinite(p.dose_gy)]
    return [x for x, _ in known], [y for _, y in known]


def _draw_row(axes: "Axes", row: int, values: Sequence[float], color: str) -> None:
    known = np.array([value for value in values if math.isfinite(value)])
    if not known.size:
        return
    axes.plot(known, np.full(known.size, float(row)), "o", color=color, ms=7, alpha=0.65, mew=0)
    axes.plot([known.mean()] * 2, [row - 0.3, row + 0.3], color=color, lw=2.0)
    axes.annotate(
        f"{known.mean():.2f}",
        (known.max(), row),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _score_axis(axes: "Axes") -> None:
    """Show scores by ratio, as they fall fast first and slowly then, with ticks that read as numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=_TICKS_GY, numticks=20))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.3)
    axes.set_xlim(left=0.0)


def _label(variant: Variant) -> str:
    seeds = len(variant.runs)
    return _cut(variant.label) + (f" ({seeds} seeds)" if seeds > 1 else "")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _look(place: int) -> tuple[str, str]:
    return COLORS[place % len(COLORS)], LINE_STYLES[place // len(COLORS) % len(LINE_STYLES)]
