from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from dosewright.core import GridMismatchError, InputError, PatientCase
from dosewright.dose.colors import color_of
from dosewright.dose.figures import draw_dvh, draw_slices

ISOCENTER = (-7.0, -3.0, 33.0)  # voxel z 7, y 9, x 11: inside PTV_High


def panel(figure: Figure, row: str, view: str) -> Axes:
    (found,) = [axes for axes in figure.axes if axes.get_title().startswith(f"{row}, {view}")]
    return found


def outline(axes: Axes, structure: str) -> np.ndarray:
    (found,) = [c for c in axes.collections if isinstance(c, QuadContourSet) and c.get_gid() == structure]
    return np.concatenate([path.vertices for path in found.get_paths()])


def on_picture(axes: Axes, points: np.ndarray) -> np.ndarray:
    """Mean place in the axes: 0 is left or bottom, 1 is right or top."""
    return axes.transAxes.inverted().transform(axes.transData.transform(points)).mean(axis=0)


@pytest.fixture
def slices(case: PatientCase) -> Figure:
    assert case.dose_gy is not None
    return draw_slices(case, case.dose_gy[::-1].copy(), case.dose_gy, ISOCENTER)


def test_nine_panels_and_a_scale_with_a_reference(case: PatientCase, slices: Figure) -> None:
    titles = [axes.get_title() for axes in slices.axes if axes.get_title()]
    rows, views = (
        ("predicted", "reference", "predicted − reference"),
        ("axial z = 33", "coronal y = -3", "sagittal x = -7"),
    )
    assert titles == [f"{row}, {view} mm" for row in rows for view in views]
    assert len(slices.axes) == 10
    assert case.dose_gy is not None
    assert len(draw_slices(case, case.dose_gy).axes) == 3


@pytest.mark.parametrize("row", ["predicted", "reference", "predicted − reference"])
@pytest.mark.parametrize("view", ["axial", "coronal"])
def test_the_patients_left_is_on_the_right(slices: Figure, row: str, view: str) -> None:
    axes = panel(slices, row, view)
    (left, _), (right, _) = (on_picture(axes, outline(axes, name)) for name in ("Parotid_L", "Parotid_R"))
    assert right < 0.3
    assert left > 0.7


def test_anterior_and_cranial_are_up(slices: Figure) -> None:
    axial, sagittal = panel(slices, "predicted", "axial"), panel(slices, "predicted", "sagittal")
    cord, target = (on_picture(axial, outline(axial, name)) for name in ("SpinalCord", "PTV_High"))
    assert cord[1] < target[1] - 0.1  # the cord is posterior
    cord, target, lower = (on_picture(sagittal, outline(sagittal, n)) for n in ("SpinalCord", "PTV_High", "PTV_Low"))
    assert cord[0] > target[0] + 0.1  # posterior on the right
    assert lower[1] > target[1] + 0.1  # PTV_Low lies at higher z
    coronal = panel(slices, "predicted", "coronal")
    low, high = (on_picture(coronal, outline(coronal, n)) for n in ("PTV_High", "PTV_Low"))
    assert high[1] > low[1] + 0.1


def test_data_coordinates_are_patient_millimetres(case: PatientCase, slices: Figure) -> None:
    axes = panel(slices, "predicted", "axial")
    inside = outline(axes, "Parotid_L")
    # voxels x 17..19, y 8..11 of spacing 3 mm from (-40, -30): half a voxel beyond the outer centres
    np.testing.assert_allclose(inside.min(axis=0), [-40 + 3 * 16.5, -30 + 3 * 7.5], atol=1e-6)
    np.testing.assert_allclose(inside.max(axis=0), [-40 + 3 * 19.5, -30 + 3 * 11.5], atol=1e-6)
    (image,) = axes.images
    assert image.get_extent() == [-41.5, -41.5 + 24 * 3, -31.5, -31.5 + 20 * 3]
    np.testing.assert_array_equal(image.get_array(), case.ct_hu[7])


@pytest.mark.parametrize(("view", "letters"), [("axial", "RLAP"), ("coronal", "RLSI"), ("sagittal", "APSI")])
def test_letters_stand_on_their_margins(slices: Figure, view: str, letters: str) -> None:
    axes = panel(slices, "reference", view)
    places = {text.get_text(): text.get_position() for text in axes.texts}
    left, right, top, bottom = letters
    assert places[left][0] < 0.1 < 0.9 < places[right][0]
    assert places[bottom][1] < 0.1 < 0.9 < places[top][1]


def test_scale_is_true_in_both_directions(slices: Figure) -> None:
    for view in ("axial", "coronal", "sagittal"):
        axes = panel(slices, "predicted", view)
        FigureCanvasAgg(slices).draw()
        origin, across, up = axes.transData.transform([(0.0, 0.0), (10.0, 0.0), (0.0, 10.0)])
        np.testing.assert_allclose(np.linalg.norm(across - origin), np.linalg.norm(up - origin), rtol=1e-3)


def test_isodoses_are_percent_of_the_highest_prescription(case: PatientCase) -> None:
    z, _, _ = np.indices(case.grid.shape_zyx)
    ramp = (z * 5.0).astype(np.float32)  # 0 to 75 Gy in 16 slices of 4 mm from z = 5 mm
    figure = draw_slices(case, ramp)
    axes = panel(figure, "predicted", "coronal")
    (isodoses,) = [c for c in axes.collections if isinstance(c, QuadContourSet) and not c.get_gid()]
    np.testing.assert_allclose(isodoses.levels, [14.0, 35.0, 56.0, 66.5, 74.9])
    for path, level in zip(isodoses.get_paths(), isodoses.levels):
        np.testing.assert_allclose(path.vertices[:, 1], 5 + 4 * level / 5, atol=1e-3)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:5] == ["107 % (74.9 Gy)", "95 % (66.5 Gy)", "80 % (56.0 Gy)", "50 % (35.0 Gy)", "20 % (14.0 Gy)"]


def test_difference_is_predicted_minus_reference_in_the_scored_mask(case: PatientCase) -> None:
    assert case.dose_gy is not None
    figure = draw_slices(case, case.dose_gy + np.float32(3.0), case.dose_gy, ISOCENTER)
    (image,) = panel(figure, "predicted − reference", "axial").images
    shown = image.get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), ~case.body[7])
    np.testing.assert_allclose(shown.compressed(), 3.0, atol=1e-4)


def test_doses_are_called_what_the_caller_calls_them(case: PatientCase) -> None:
    assert case.dose_gy is not None
    figure = draw_slices(case, case.dose_gy, case.dose_gy, ISOCENTER, labels=("achieved", "predicted"))
    for row in ("achieved", "predicted", "achieved − predicted"):
        assert panel(figure, row, "sagittal").images
    assert figure.axes[-1].get_xlabel() == "achieved − predicted [Gy]"


def test_without_position_the_targets_centre_is_cut(case: PatientCase) -> None:
    assert case.dose_gy is not None
    # both targets: z 5..11 → 8, y 8..11 → 9.5 → 10 (to even), x 9..12 → 10.5 → 10 (to even)
    titles = [axes.get_title() for axes in draw_slices(case, case.dose_gy).axes]
    assert titles == ["predicted, axial z = 37 mm", "predicted, coronal y = 0 mm", "predicted, sagittal x = -10 mm"]
    given = draw_slices(replace(case, isocenter_xyz_mm=ISOCENTER), case.dose_gy)
    assert given.axes[0].get_title() == "predicted, axial z = 33 mm"


def test_planes_beside_the_patient_can_be_drawn(case: PatientCase) -> None:
    assert case.dose_gy is not None
    corner = draw_slices(case, case.dose_gy, case.dose_gy, case.grid.origin_xyz_mm)
    assert len(corner.axes) == 10


def test_dvh_lines_are_the_dvh(case: PatientCase) -> None:
    flat = np.full(case.grid.shape_zyx, 40.0, np.float32)
    half = flat.copy()
    half[:, :, 18:] = 10.0  # two of Parotid_L's three columns
    figure = draw_dvh(case, {"predicted": half, "reference": flat})
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert len(lines) == 2 * len(case.structures)
    x, y = lines["Parotid_L, predicted"].get_data()
    np.testing.assert_allclose(
        np.interp([5.0, 9.9, 10.2, 39.9, 40.2], x, y), [100, 100, 100 / 3, 100 / 3, 0], atol=1e-6
    )
    assert lines["Parotid_L, predicted"].get_linestyle() == "-"
    assert lines["Parotid_L, reference"].get_linestyle() == "--"
    for name in case.structures:
        assert {to_hex(lines[f"{name}, {dose}"].get_color()).upper() for dose in ("predicted", "reference")} == {
            color_of(name)
        }
    box = figure.legends[0]
    FigureCanvasAgg(figure).draw()
    assert box.get_window_extent().x0 >= axes.get_window_extent().x1  # the legend covers no curve
    labels = [text.get_text() for text in box.get_texts()]
    assert labels == ["PTV_High", "PTV_Low", "Parotid_L", "Parotid_R", "SpinalCord", "predicted", "reference"]


def test_what_cannot_be_drawn_is_refused(case: PatientCase) -> None:
    assert case.dose_gy is not None
    with pytest.raises(InputError, match=r"doses must hold 1 to 4 doses; got \(\)"):
        draw_dvh(case, {})
    with pytest.raises(GridMismatchError, match=r"dose 'a' must have the case's shape .*; got \(15, 20, 24\)"):
        draw_dvh(case, {"a": case.dose_gy[1:]})
    with pytest.raises(GridMismatchError, match="dose 'predicted' must have the case's shape"):
        draw_slices(case, case.dose_gy[:, 1:])
    with pytest.raises(InputError, match=r"position_xyz_mm must be inside the grid; got \(500\.0, 0\.0, 10\.0\)"):
        draw_slices(case, case.dose_gy, position_xyz_mm=(500.0, 0.0, 10.0))
