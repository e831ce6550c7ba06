"""Every metric against a naive twin that loops over voxels, on a phantom whose voxels are 2 × 3 × 5 mm."""

import math

import numpy as np
import pytest
import torch
from scorecard_samples import BODY, GRID, MASKS, random_dose

from dosewright.core import GridMismatchError, InputError
from dosewright.dose import dose_at_cc, dose_at_volume, paddick_ci, rtog_ci, volume_at_dose
from dosewright.scorecards import Metric, measure
from dosewright.scorecards import structure_dose as structure_dose_module
from dosewright.scorecards.measure import measure_voxels
from dosewright.scorecards.structure_dose import StructureDose

VOXEL_CC = 0.03
RX_GY = 60.0


def voxels(dose: np.ndarray, mask: np.ndarray) -> list[float]:
    return sorted(float(dose[index]) for index in np.ndindex(dose.shape) if mask[index])


def naive_dose_at_percent(dose: np.ndarray, mask: np.ndarray, percent: float) -> float:
    values = voxels(dose, mask)
    place = (1 - percent / 100) * (len(values) - 1)
    low = math.floor(place)
    return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (place - low)


def naive_dose_at_cc(dose: np.ndarray, mask: np.ndarray, cc: float) -> float:
    hottest_first = voxels(dose, mask)[::-1]
    wanted = min(max(cc / VOXEL_CC, 1.0), float(len(hottest_first)))
    k = math.floor(wanted + 1e-9)
    below = hottest_first[min(k, len(hottest_first) - 1)]
    return hottest_first[k - 1] + (below - hottest_first[k - 1]) * (wanted - k)


def naive_cc(dose: np.ndarray, mask: np.ndarray, threshold: float) -> float:
    return sum(1 for value in voxels(dose, mask) if value >= threshold) * VOXEL_CC


def value_of(metric: Metric, structure: str = "PTV", seed: int = 0) -> float:
    return measure(metric, random_dose(seed), MASKS[structure], GRID, prescription_gy=RX_GY, body=BODY)


def test_the_phantom_is_anisotropic() -> None:
    assert GRID.voxel_volume_cc == pytest.approx(VOXEL_CC)
    assert len(set(GRID.spacing_xyz_mm)) == 3


@pytest.mark.parametrize("structure", sorted(MASKS))
@pytest.mark.parametrize(("unit", "factor"), [("Gy", 1.0), ("cGy", 100.0), ("%", 100.0 / RX_GY)])
def test_dose_metrics(structure: str, unit: str, factor: float) -> None:
    dose, mask = random_dose(), MASKS[structure]
    values = voxels(dose, mask)
    assert value_of(Metric("min_dose", output_unit=unit), structure) == pytest.approx(values[0] * factor)
    assert value_of(Metric("max_dose", output_unit=unit), structure) == pytest.approx(values[-1] * factor)
    mean = sum(values) / len(values)
    assert value_of(Metric("mean_dose", output_unit=unit), structure) == pytest.approx(mean * factor)
    for percent in (0.0, 2.0, 50.0, 95.0, 99.99, 100.0):
        got = value_of(Metric("dose_at_volume", percent, "%", unit), structure)
        assert got == pytest.approx(naive_dose_at_percent(dose, mask, percent) * factor)
    for cc in (0.0, 0.03, 0.04, 0.1, 0.24, 500.0):
        got = value_of(Metric("dose_at_volume", cc, "CC", unit), structure)
        assert got == pytest.approx(naive_dose_at_cc(dose, mask, cc) * factor)


@pytest.mark.parametrize(("value", "unit", "gy"), [(40.0, "Gy", 40.0), (4000.0, "cGy", 40.0), (50.0, "%", 30.0)])
def test_volume_metrics(value: float, unit: str, gy: float) -> None:
    dose, mask = random_dose(), MASKS["PTV"]
    cc = naive_cc(dose, mask, gy)
    assert value_of(Metric("volume_at_dose", value, unit, "CC")) == pytest.approx(cc)
    assert value_of(Metric("volume_at_dose", value, unit, "%")) == pytest.approx(
        100 * cc / (int(mask.sum()) * VOXEL_CC)
    )
    assert value_of(Metric("volume", output_unit="CC")) == pytest.approx(48 * VOXEL_CC) == value_of(Metric("volume"))


@pytest.mark.parametrize(("value", "unit", "gy"), [(40.0, "Gy", 40.0), (3000.0, "cGy", 30.0), (95.0, "%", 57.0)])
@pytest.mark.parametrize("structure", ["PTV", "SpinalCord"])
def test_body_metrics(structure: str, value: float, unit: str, gy: float) -> None:
    dose, mask = random_dose(), MASKS[structure]
    covered, enclosed = naive_cc(dose, mask, gy), naive_cc(dose, BODY, gy)
    volume = int(mask.sum()) * VOXEL_CC
    assert value_of(Metric("volume_of_regret", value, unit, "CC"), structure) == pytest.approx(enclosed - covered)
    assert value_of(Metric("conformity_index", value, unit), structure) == pytest.approx(enclosed / volume)
    number = covered**2 / (enclosed * volume)
    assert value_of(Metric("conformation_number", value, unit), structure) == pytest.approx(number)
    assert value_of(Metric("conformation_number", value, unit, "%"), structure) == pytest.approx(number)


def test_without_a_body_every_voxel_counts() -> None:
    dose = random_dose()
    everywhere = np.ones(GRID.shape_zyx, bool)
    metric = Metric("volume_of_regret", 40.0, "Gy", "CC")
    got = measure(metric, dose, MASKS["PTV"], GRID)
    assert got == pytest.approx(naive_cc(dose, everywhere, 40.0) - naive_cc(dose, MASKS["PTV"], 40.0))


@pytest.mark.parametrize(("target", "unit", "gy"), [(60.0, "Gy", 60.0), (5000.0, "cGy", 50.0), (100.0, "%", 60.0)])
def test_homogeneity_index(target: float, unit: str, gy: float) -> None:
    metric = Metric("homogeneity_index", hi_high=2, hi_low=98, hi_target=target, hi_target_unit=unit)
    dose, mask = random_dose(), MASKS["PTV"]
    spread = naive_dose_at_percent(dose, mask, 2) - naive_dose_at_percent(dose, mask, 98)
    assert value_of(metric) == pytest.approx(spread / gy)


def test_other_indices() -> None:
    dose, mask = random_dose(), MASKS["PTV"]
    values = voxels(dose, mask)
    mean = sum(values) / len(values)
    assert value_of(Metric("inhomogeneity_index")) == pytest.approx((values[-1] - values[0]) / mean)
    ratio = naive_cc(dose, mask, 30.0) / naive_cc(dose, mask, 57.0)
    in_gy = Metric("modified_gradient_index", input_unit="Gy", hi_high=57.0, hi_low=30.0)
    in_percent = Metric("modified_gradient_index", input_unit="%", hi_high=95.0, hi_low=50.0)
    assert value_of(in_gy) == pytest.approx(ratio) == value_of(in_percent)


@pytest.mark.parametrize("spared_voxels", [0, 1, 7, 47])
def test_dose_at_subvolume_is_the_coldest_of_the_rest(spared_voxels: int) -> None:
    values = voxels(random_dose(), MASKS["PTV"])
    metric = Metric("dose_at_subvolume", spared_voxels * VOXEL_CC, "CC", "Gy")
    assert value_of(metric) == pytest.approx(values[spared_voxels])
    whole = naive_dose_at_cc(random_dose(), MASKS["PTV"], (48 - spared_voxels) * VOXEL_CC)
    assert value_of(metric) == pytest.approx(whole)


def test_it_agrees_with_the_package_s_dose_volume_functions() -> None:
    dose, mask = random_dose(3), MASKS["PTV"]
    d, m, b = torch.from_numpy(dose), torch.from_numpy(mask), torch.from_numpy(BODY)
    expected = {
        Metric("dose_at_volume", 95.0, "%", "Gy"): dose_at_volume(d, m, 95.0),
        Metric("dose_at_volume", 0.1, "CC", "Gy"): dose_at_cc(d, m, 0.1, VOXEL_CC),
        Metric("volume_at_dose", 20.0, "Gy", "%"): volume_at_dose(d, m, 20.0),
        Metric("conformation_number", 40.0, "Gy"): paddick_ci(d, m, 40.0, b),
        Metric("conformity_index", 40.0, "Gy"): rtog_ci(d, m, 40.0, b),
    }
    for metric, value in expected.items():
        assert value_of(metric, seed=3) == pytest.approx(float(value), rel=1e-12)


def test_a_dose_on_the_threshold_counts_in_any_precision() -> None:
    mask = MASKS["PTV"]
    for gy in (34.43, 36.25, 19.9, 0.1):
        for dtype in (np.float32, np.float64):
            dose = np.full(GRID.shape_zyx, gy, dtype)
            assert measure(Metric("volume_at_dose", gy, "Gy", "%"), dose, mask, GRID) == 100.0


def test_large_structures_are_selected_from_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    dose = random_dose(1)[BODY]
    places = (0.0, 0.25, 3.0, 100.7, 286.999, 287.0, 1e9)
    by_sorting = [StructureDose(dose, VOXEL_CC).at_position(place) for place in places]
    monkeypatch.setattr(structure_dose_module, "SORTED_MAX", 0)
    large = StructureDose(dose, VOXEL_CC)
    assert [large.at_position(place) for place in places] == pytest.approx(by_sorting, rel=1e-12)
    assert by_sorting[0] == dose.min()
    assert by_sorting[-1] == dose.max()


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (Metric("undefined", source_name="gEUD"), r"metric type is not one this package knows \(gEUD\)"),
        (Metric("mean_dose"), "output unit must be Gy, cGy or %; got None"),
        (Metric("mean_dose", output_unit="CC"), "output unit must be Gy, cGy or %; got 'CC'"),
        (Metric("dose_at_volume", 95.0, None, "Gy"), "input unit must be % or CC; got None"),
        (Metric("dose_at_volume", 95.0, "Gy", "Gy"), "input unit must be % or CC; got 'Gy'"),
        (Metric("dose_at_volume", 101.0, "%", "Gy"), r"input value must be in \[0, 100\] %; got 101.0"),
        (Metric("dose_at_volume", None, "%", "Gy"), "input value must be zero or more; got None"),
        (Metric("dose_at_volume", -1.0, "CC", "Gy"), "input value must be zero or more; got -1.0"),
        (Metric("volume_at_dose", 20.0, "CC", "%"), "input unit must be Gy, cGy or %; got 'CC'"),
        (Metric("volume_at_dose", 20.0, "Gy", "Gy"), "output unit must be % or CC; got 'Gy'"),
        (Metric("volume", output_unit="%"), "output unit must be CC; got '%'"),
        (Metric("volume_of_regret", 20.0, "Gy", "%"), "output unit must be CC; got '%'"),
        (Metric("conformity_index", 0.0, "Gy"), "isodose_gy must be positive and finite; got 0.0"),
        (Metric("homogeneity_index", hi_high=2, hi_low=98), "target unit must be Gy, cGy or %; got None"),
        (
            Metric("homogeneity_index", hi_high=2, hi_low=98, hi_target_unit="Gy"),
            "the target dose must not be 0 to divide by",
        ),
        (
            Metric("homogeneity_index", hi_high=-2, hi_low=98, hi_target=60, hi_target_unit="Gy"),
            r"volume must be in \[0, 100\] %; got -2",
        ),
        (
            Metric("homogeneity_index", hi_high=2, hi_low=98, hi_target=-60, hi_target_unit="Gy"),
            "target value must be a dose of zero or more; got -60",
        ),
        (
            Metric("homogeneity_index", None, None, "%", 2, 98, 60, "Gy"),
            "output unit must be nothing for a homogeneity index; got '%'",
        ),
        (
            Metric("modified_gradient_index", input_unit="Gy", hi_high=90.0, hi_low=30.0),
            "the volume at 90 Gy must not be 0 to divide by",
        ),
        (Metric("dose_at_subvolume", 1.44, "CC", "Gy"), r"input value must be less than the structure's 1\.44 cc"),
        (Metric("dose_at_subvolume", 0.1, "%", "Gy"), "input unit must be CC; got '%'"),
    ],
)
def test_what_cannot_be_measured_is_refused(metric: Metric, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        value_of(metric)


def test_percent_of_a_dose_needs_a_prescription() -> None:
    for metric in (Metric("mean_dose", output_unit="%"), Metric("volume_at_dose", 95.0, "%", "%")):
        with pytest.raises(InputError, match="prescription must be known for a dose in %"):
            measure(metric, random_dose(), MASKS["PTV"], GRID)
        with pytest.raises(InputError, match="prescription_gy must be positive"):
            measure(metric, random_dose(), MASKS["PTV"], GRID, prescription_gy=-1.0)


def test_no_dose_at_all() -> None:
    none = np.zeros(GRID.shape_zyx)
    with pytest.raises(InputError, match="the mean dose must not be 0 to divide by"):
        measure(Metric("inhomogeneity_index"), none, MASKS["PTV"], GRID)
    assert measure(Metric("conformation_number", 60.0, "Gy"), none, MASKS["PTV"], GRID) == 0.0


def test_bad_arrays_are_refused() -> None:
    metric, mask, dose = Metric("mean_dose", output_unit="Gy"), MASKS["PTV"], random_dose()
    with pytest.raises(GridMismatchError, match=r"dose_gy must have the grid's shape \(6, 8, 10\); got \(5, 8, 10\)"):
        measure(metric, dose[1:], mask, GRID)
    with pytest.raises(GridMismatchError, match="mask must have the grid's shape"):
        measure(metric, dose, mask[1:], GRID)
    with pytest.raises(GridMismatchError, match="body must have the grid's shape"):
        measure(metric, dose, mask, GRID, body=BODY[1:])
    with pytest.raises(InputError, match="mask must be a boolean array; got dtype"):
        measure(metric, dose, mask.astype(np.uint8), GRID)
    with pytest.raises(InputError, match="dose_gy must be an array of floats; got dtype"):
        measure(metric, dose.astype(np.int32), mask, GRID)
    with pytest.raises(InputError, match="structure must have a voxel"):
        measure(metric, dose, np.zeros_like(mask), GRID)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = dose.copy()
        spoilt[0, 0, :2] = bad  # outside the body, too
        with pytest.raises(InputError, match="dose_gy must be finite; got '2 voxels NaN or infinite'"):
            measure(metric, spoilt, mask, GRID)


def test_body_metrics_need_the_voxels_outside() -> None:
    with pytest.raises(InputError, match="outside_gy must be given for conformity index at 60 Gy"):
        measure_voxels(Metric("conformity_index", 60.0, "Gy"), StructureDose(np.ones(3), VOXEL_CC))
