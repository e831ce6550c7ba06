"""How an iterative planner came to its plan, as files: trace.json, trace.csv and a picture of the score."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dosewright.core.files import atomic_path, atomic_write
from dosewright.planning.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 90
_LINES = 6  # items whose scores changed most are drawn one by one


def write_trace(trace: Trace, folder: Path) -> Path:
    """Write trace.json, trace.csv and trace.png into a folder and return the picture."""
    atomic_write(folder / "trace.json", json.dumps(trace.to_plain(), indent=1, allow_nan=False) + "\n")
    atomic_write(folder / "trace.csv", trace.to_csv())
    picture = folder / "trace.png"
    with atomic_path(picture) as temporary:
        draw_trace(trace).savefig(temporary, format="png", dpi=DPI)
    return picture


def draw_trace(trace: Trace) -> "Figure":
    """Return the score of every plan, and those of the items that changed most."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    total, single = figure.subplots(1, 2)
    at = [step.iteration for step in trace.steps]
    total.plot(at, [step.judgement.score for step in trace.steps], "o-", label="plan")
    total.step(at, [step.best for step in trace.steps], "--", where="post", color="0.5", label="best so far")
    if trace.delivered is not None:
        total.axhline(trace.delivered.score, color="tab:orange", linewidth=1.0, label="best, sequenced")
    total.set_ylabel(f"score, of {trace.best.judgement.maximum:.4g}")
    for name, scores in _changed_most(trace):
        single.plot(at, scores, ".-", label=name)
    single.set_ylabel("score of the item")
    for axes in (total, single):
        axes.set_xlabel("plan")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    return figure


def _changed_most(trace: Trace) -> Sequence[tuple[str, list[float]]]:
    """Return name and scores of the items that every plan has a score for, those with the widest range first."""
    rows = []
    for outcomes in zip(*(step.judgement.items for step in trace.steps), strict=True):
        scores = [outcome.score for outcome in outcomes if outcome.score is not None]
        if len(scores) == len(trace.steps):
            rows.append((f"{outcomes[0].structure} {outcomes[0].measure}", scores))
    changed = sorted(rows, key=lambda row: min(row[1]) - max(row[1]))
    return [row for row in changed[:_LINES] if max(row[1]) > min(row[1])]


def item_rows(trace: dict[str, Any]) -> list[list[str]]:
    """Return value and score of every item for the first plan, the best and the sequenced one, as table cells.

    Args:
        trace: `Trace.to_plain`'s form.
    """
    steps, delivered = trace["steps"], trace["delivered"]
    judged = [steps[0]["judgement"], steps[trace["best_iteration"] - 1]["judgement"]]
    judged += [] if delivered is None else [delivered]
    rows = []
    for outcomes in zip(*(judgement["items"] for judgement in judged), strict=True):
        cells = [cell for outcome in outcomes for cell in (_shown(outcome["value"]), _shown(outcome["score"]))]
        item = outcomes[0]
        rows.append([item["structure"], item["measure"], *cells, f"{item['maximum']:g}", item["reason"]])
    totals = [cell for judgement in judged for cell in ("", f"{judgement['score']:.2f}")]
    return [*rows, ["in all", "", *totals, f"{judged[0]['maximum']:g}", ""]]


def item_headings(trace: dict[str, Any]) -> list[str]:
    """Return the headings of `item_rows`."""
    plans = ["first", "best"] + ([] if trace["delivered"] is None else ["sequenced"])
    return [
        "structure",
        "measure",
        *(f"{plan}{what}" for plan in plans for what in ("", ", score")),
        "of",
        "not scored",
    ]


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
