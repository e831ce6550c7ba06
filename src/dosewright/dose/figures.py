"""Figures of a dose: the DVH, and slices through a case.

Conventions of the slices (radiological):
  axes      LPS mm, so a figure's data coordinates are patient coordinates
  axial     seen from the feet: patient's left on the image's right, anterior up
  coronal   seen from the front: patient's left on the image's right, cranial up
  sagittal  seen from the patient's left: anterior on the image's left, cranial up
Figures are built without pyplot, so that any number can be drawn from any thread; matplotlib is imported when the first
one is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.core.types import FloatVolume, Triple
from dosewright.dose.colors import color_of
from dosewright.dose.table import BIN_GY, dvh_curves

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_STYLES = ("-", "--", ":", "-.")
ISODOSES_PERCENT = (20.0, 50.0, 80.0, 95.0, 107.0)
ISODOSE_COLORS = ("#2166F3", "#00C8D7", "#7DDA3C", "#FFD400", "#FF3B30")
WINDOW_HU = (-160.0, 240.0)
DIFFERENCE_GY = 10.0  # end of the difference's colour scale
_MARGIN_MM = 8.0
_COLUMN_INCH, _ROW_INCH = 3.7, 4.5  # most a slice takes
_GAP_INCH, _TITLE_INCH, _KEYS_INCH, _BAR_INCH = 0.1, 0.3, 1.7, 0.8

AnyVolume = Shaped[np.ndarray, "z y x"]  # masks too
Span = tuple[float, float]  # from, to in mm


@dataclass(frozen=True)
class View:
    """One of the three slice directions: the axes it shows, the one it cuts, and the letters on its margins."""

    name: str
    across: str
    up: str
    cut: str
    left: str
    right: str
    top: str
    bottom: str
    flip_up: bool


VIEWS = (
    View("axial", "x", "y", "z", "R", "L", "A", "P", flip_up=True),
    View("coronal", "x", "z", "y", "R", "L", "S", "I", flip_up=False),
    View("sagittal", "y", "z", "x", "A", "P", "S", "I", flip_up=False),
)


def draw_dvh(case: PatientCase, doses: Mapping[str, FloatVolume]) -> "Figure":
    """Return the cumulative DVHs of all structures; one line style per dose, one colour per structure.

    Args:
        case: The case whose structures are drawn.
        doses: Label → dose in Gy; the first is solid, the second dashed, at most four.

    Raises:
        InputError: If there is no dose or there are more than four.
        GridMismatchError: If a dose has another shape than the case.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not 1 <= len(doses) <= len(LINE_STYLES):
        raise InputError(f"must hold 1 to {len(LINE_STYLES)} doses", argument="doses", value=tuple(doses))
    for label, dose_gy in doses.items():
        _check_shape(case, label, dose_gy)
    top_gy = max(float(dose_gy.max()) for dose_gy in doses.values())
    bins_gy = np.arange(0.0, max(top_gy, _prescription_gy(case)) * 1.05 + BIN_GY, BIN_GY)
    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    names = _ordered(case)
    for (label, dose_gy), style in zip(doses.items(), LINE_STYLES):
        curves = dvh_curves(case, dose_gy, bins_gy).volume_percent
        for name in names:
            width = 2.2 if name in case.prescription_gy else 1.5
            axes.plot(bins_gy, curves[name], style, color=color_of(name), lw=width, label=f"{name}, {label}")
    axes.set(xlim=(0.0, float(bins_gy[-1])), ylim=(0.0, 102.0), xlabel="Dose [Gy]", ylabel="Volume [%]")
    axes.set_title(f"DVH of {case.case_id}")
    axes.grid(alpha=0.3)
    keys: list[Artist] = [Line2D([], [], color=color_of(name), lw=3.0, label=name) for name in names]
    keys += [Line2D([], [], color="black", ls=style, label=label) for label, style in zip(doses, LINE_STYLES)]
    figure.legend(handles=keys, loc="outside right upper", frameon=False)
    return figure


def draw_slices(
    case: PatientCase,
    predicted_gy: FloatVolume,
    reference_gy: FloatVolume | None = None,
    position_xyz_mm: Triple | None = None,
    labels: tuple[str, str] = ("predicted", "reference"),
) -> "Figure":
    """Return axial, coronal and sagittal slices: CT with isodose lines, and the difference where there is a reference.

    Isodoses are in percent of the highest prescription. Structures are outlined thinly in their colours.

    Args:
        case: CT, structures and prescription.
        predicted_gy: Dose in Gy; the first row.
        reference_gy: Dose in Gy, or None; the second row, and the third shows predicted − reference.
        position_xyz_mm: Where the three planes meet, LPS mm; None takes the isocentre, or where the case gives none the
            centroid of its targets.
        labels: What the two doses are called.

    Raises:
        GridMismatchError: If a dose has another shape than the case.
        InputError: If the position is outside the grid.
    """
    index = _index(case, position_xyz_mm)
    doses = {labels[0]: predicted_gy}
    if reference_gy is not None:
        doses[labels[1]] = reference_gy
    for label, dose_gy in doses.items():
        _check_shape(case, label, dose_gy)
    rows = len(doses) + (reference_gy is not None)
    figure, grid = _canvas(case, index, rows)
    for row, (label, dose_gy) in zip(grid, doses.items()):
        for axes, view in zip(row, VIEWS):
            _draw_isodoses(axes, case, dose_gy, view, index)
            _label(axes, case, view, index, label)
    if reference_gy is not None:
        _draw_differences(figure, grid[-1], case, predicted_gy - reference_gy, index, " − ".join(labels))
    figure.legend(handles=_slice_keys(case), loc="upper right", frameon=False, fontsize=9, title=case.case_id)
    return figure


def _canvas(case: PatientCase, index: Triple, rows: int) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure with rows of one axes per view, each as large as fits its column."""
    from matplotlib.figure import Figure

    sizes = [_size_inch(_box_mm(case, view, index)) for view in VIEWS]
    row_inch = max(h for _, h in sizes) + _TITLE_INCH
    width = len(VIEWS) * (_COLUMN_INCH + _GAP_INCH) + _GAP_INCH + _KEYS_INCH
    height = rows * row_inch + _BAR_INCH
    figure = Figure(figsize=(width, height))
    grid = []
    for row in range(rows):
        top = height - row * row_inch - _TITLE_INCH
        lefts = [
            _GAP_INCH + column * (_COLUMN_INCH + _GAP_INCH) + (_COLUMN_INCH - w) / 2
            for column, (w, _) in enumerate(sizes)
        ]
        boxes = [(x / width, (top - h) / height, w / width, h / height) for x, (w, h) in zip(lefts, sizes)]
        grid.append([figure.add_axes(box) for box in boxes])
    return figure, grid


def _size_inch(box_mm: tuple[Span, Span]) -> tuple[float, float]:
    (left, right), (bottom, top) = box_mm
    inch_per_mm = min(_COLUMN_INCH / (right - left), _ROW_INCH / (top - bottom))
    return (right - left) * inch_per_mm, (top - bottom) * inch_per_mm


def _draw_isodoses(axes: "Axes", case: PatientCase, dose_gy: FloatVolume, view: View, index: Triple) -> None:
    _show(axes, case, case.ct_hu, view, index, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
    _outline(axes, case, view, index)
    plane = _plane(dose_gy, view, index)
    levels = np.array(ISODOSES_PERCENT) / 100.0 * _prescription_gy(case)
    shown = (levels > plane.min()) & (levels < plane.max())
    if shown.any():
        colors = [color for color, keep in zip(ISODOSE_COLORS, shown) if keep]
        across, up = case.grid.axis_mm(view.across), case.grid.axis_mm(view.up)
        axes.contour(across, up, plane, levels=levels[shown], colors=colors, linewidths=1.4)


def _draw_differences(
    figure: "Figure", row: Sequence["Axes"], case: PatientCase, difference_gy: FloatVolume, index: Triple, name: str
) -> None:
    scored = np.ma.masked_where(~case.scored_mask, difference_gy)
    image = None
    for axes, view in zip(row, VIEWS):
        axes.set_facecolor("#F2F2F2")
        image = _show(axes, case, scored, view, index, cmap="RdBu_r", vmin=-DIFFERENCE_GY, vmax=DIFFERENCE_GY)
        _outline(axes, case, view, index)
        _label(axes, case, view, index, name)
    width, height = figure.get_size_inches()
    bar = figure.add_axes((4.0 / width, 0.5 / height, 3.8 / width, 0.15 / height))
    figure.colorbar(image, cax=bar, label=f"{name} [Gy]", extend="both", orientation="horizontal")  # type: ignore[arg-type]


def _show(axes: "Axes", case: PatientCase, volume: AnyVolume, view: View, index: Triple, **style: object) -> "Artist":
    """Draw one plane in mm; pixel edges are half a voxel outside the voxel centres."""
    across, up = case.grid.axis_mm(view.across), case.grid.axis_mm(view.up)
    half_a, half_u = (case.grid.spacing_xyz_mm["xyz".index(a)] / 2 for a in (view.across, view.up))
    extent = (across[0] - half_a, across[-1] + half_a, up[0] - half_u, up[-1] + half_u)
    image = axes.imshow(_plane(volume, view, index), origin="lower", extent=extent, aspect="equal", **style)  # type: ignore[arg-type]
    _frame(axes, case, view, index)
    return image


def _frame(axes: "Axes", case: PatientCase, view: View, index: Triple) -> None:
    """Show the patient with a margin, the right way up."""
    across, (bottom, top) = _box_mm(case, view, index)
    axes.set_xlim(across)
    axes.set_ylim((top, bottom) if view.flip_up else (bottom, top))


def _box_mm(case: PatientCase, view: View, index: Triple) -> tuple[Span, Span]:
    """Return where the patient starts and ends in a plane, across and up, with a margin."""
    plane = _plane(case.body, view, index)
    if not plane.any():
        plane = np.asarray(case.body.any(axis="zyx".index(view.cut)))
    spans = []
    for axis, name in ((1, view.across), (0, view.up)):
        at_mm = case.grid.axis_mm(name)[np.flatnonzero(plane.any(axis=1 - axis))]
        spans.append((float(at_mm[0] - _MARGIN_MM), float(at_mm[-1] + _MARGIN_MM)))
    return spans[0], spans[1]


def _outline(axes: "Axes", case: PatientCase, view: View, index: Triple) -> None:
    across, up = case.grid.axis_mm(view.across), case.grid.axis_mm(view.up)
    for name in _ordered(case):
        plane = _plane(case.structures[name], view, index).astype(float)
        if 0 < plane.sum() < plane.size:
            outline = axes.contour(across, up, plane, levels=[0.5], colors=color_of(name), linewidths=0.9)
            outline.set_gid(name)


def _label(axes: "Axes", case: PatientCase, view: View, index: Triple, title: str) -> None:
    from matplotlib.patheffects import withStroke

    x, y, z = case.grid.position_xyz_mm(np.array(index, float))
    at_mm = {"x": x, "y": y, "z": z}[view.cut]
    axes.set_title(f"{title}, {view.name} {view.cut} = {at_mm:.0f} mm", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 10, "fontweight": "bold"}
    style |= {"color": "white", "path_effects": [withStroke(linewidth=2.0, foreground="black")]}
    axes.text(0.015, 0.5, view.left, ha="left", va="center", **style)
    axes.text(0.985, 0.5, view.right, ha="right", va="center", **style)
    axes.text(0.5, 0.985, view.top, ha="center", va="top", **style)
    axes.text(0.5, 0.015, view.bottom, ha="center", va="bottom", **style)


def _slice_keys(case: PatientCase) -> list["Artist"]:
    from matplotlib.lines import Line2D

    rx_gy = _prescription_gy(case)
    keys: list[Artist] = [
        Line2D([], [], color=color, lw=3.0, label=f"{percent:g} % ({percent / 100 * rx_gy:.1f} Gy)")
        for percent, color in zip(reversed(ISODOSES_PERCENT), reversed(ISODOSE_COLORS))
    ]
    return keys + [Line2D([], [], color=color_of(name), lw=1.0, label=name) for name in _ordered(case)]


def _plane(volume: AnyVolume, view: View, index: Triple) -> Shaped[np.ndarray, "up across"]:
    cut = "zyx".index(view.cut)
    return np.take(volume, int(index[cut]), axis=cut) if not np.ma.isMA(volume) else volume.take(int(index[cut]), cut)


def _index(case: PatientCase, position_xyz_mm: Triple | None) -> Triple:
    position = position_xyz_mm or case.isocenter_xyz_mm
    if position is None:
        targets = np.any([case.structures[name] for name in case.targets], axis=0)
        index = np.argwhere(targets).mean(axis=0)
    else:
        index = case.grid.index_zyx(np.array(position))
    index = np.round(index)
    if (index < 0).any() or (index >= case.grid.shape_zyx).any():
        raise InputError("must be inside the grid", argument="position_xyz_mm", value=position)
    return (float(index[0]), float(index[1]), float(index[2]))


def _ordered(case: PatientCase) -> list[str]:
    return [*case.targets, *sorted(case.oars)]


def _prescription_gy(case: PatientCase) -> float:
    return max(case.prescription_gy.values())


def _check_shape(case: PatientCase, label: str, dose_gy: FloatVolume) -> None:
    if dose_gy.shape != case.grid.shape_zyx:
        raise GridMismatchError(
            f"must have the case's shape {case.grid.shape_zyx}", argument=f"dose {label!r}", value=dose_gy.shape
        )
