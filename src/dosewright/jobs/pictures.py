"""How many cases get pictures, and how pictures reach the disk."""

from pathlib import Path
from typing import TYPE_CHECKING

from dosewright.core import InputError
from dosewright.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100


def drawn_cases(plots: object) -> int | None:
    """Return how many cases get pictures; None means all.

    Raises:
        InputError: If `plots` is neither a number nor "all".
    """
    if plots == "all":
        return None
    if isinstance(plots, bool) or not isinstance(plots, int) or plots < 0:
        raise InputError('must be a number of cases, zero or more, or "all"', argument="plots", value=plots)
    return plots


def save_picture(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG in one step and return its path.

    Raises:
        StorageError: See `atomic_path`.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    return path
