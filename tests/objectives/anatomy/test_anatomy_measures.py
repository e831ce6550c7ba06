"""Measures against brute force over all pairs of voxels, and closed forms on boxes."""

import numpy as np
import pytest
from anatomy_cases import SHAPE, SPACING_XYZ_MM, block, sided_case

from dosewright.core import InputError
from dosewright.objectives.anatomy.directional_gap import DIRECTIONS, directional_gaps_mm
from dosewright.objectives.anatomy.dose_predictor import DosePredictor
from dosewright.objectives.anatomy.history import PatientHistory
from dosewright.objectives.anatomy.measures import Measurer, OrganMeasures
from dosewright.objectives.anatomy.population import Population, VolumeNorm
from dosewright.objectives.anatomy.target_distance import TargetDistance
from dosewright.objectives.anatomy.target_geometry import TargetGeometry

SPACING_ZYX_MM = SPACING_XYZ_MM[::-1]
NORMS = Population({"Parotid_L": VolumeNorm(1.0, 0.2, 9)}, "made up")


def measured(organ: str, **structures: np.ndarray) -> OrganMeasures:
    found = Measurer(sided_case(**structures), NORMS, DosePredictor({}, ""), PatientHistory(), 65.0).measure(organ)
    assert found is not None
    return found


def brute_signed_mm(mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Distance of each voxel of a mask to the nearest one of a target, minus that to the nearest one outside it."""
    spacing = np.array(SPACING_ZYX_MM)
    inside, outside = np.argwhere(target) * spacing, np.argwhere(~target) * spacing
    found = []
    for voxel in np.argwhere(mask):
        other, sign = (outside, -1.0) if target[tuple(voxel)] else (inside, 1.0)
        found.append(sign * np.sqrt(((other - voxel * spacing) ** 2).sum(axis=1)).min())
    return np.array(found)


def blob(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < 0.03


@pytest.mark.parametrize("seed", [1, 2])
def test_distances_are_those_of_all_pairs_of_voxels(seed: int) -> None:
    target, organ = blob(seed), blob(seed + 10)
    geometry = TargetGeometry.of(sided_case(PTV_High=target, Parotid_L=organ))
    expected = np.sort(brute_signed_mm(organ, target))
    np.testing.assert_allclose(geometry.distance(organ).ascending_mm, expected, atol=1e-4)
    assert geometry.distance(organ).gap_mm == pytest.approx(max(expected[0], 0.0), abs=1e-4)


@pytest.mark.parametrize("expansion_mm", [-6.0, -3.0, 0.0, 2.0, 4.0, 9.0, 60.0])
def test_the_overlap_volume_histogram_counts_voxels_in_the_grown_or_shrunk_target(expansion_mm: float) -> None:
    target, organ = block((2, 8), (5, 15), (10, 20)), block((3, 7), (8, 20), (15, 25))
    signed = brute_signed_mm(organ, target)
    inside = signed <= expansion_mm + 1e-6 if expansion_mm > 0 else signed < expansion_mm - 1e-6
    found = TargetDistance.of(signed).overlap_volume_percent(expansion_mm)
    assert found == pytest.approx(100.0 * inside.mean(), abs=1e-9)


def test_the_distance_histogram_adds_up_and_its_cumulation_is_the_overlap_volume_histogram() -> None:
    distance = TargetDistance.of(brute_signed_mm(block((3, 7), (8, 20), (15, 25)), block((2, 8), (5, 15), (10, 20))))
    edges = [0.0, 3.5, 7.5, 12.5]  # between distances that occur
    histogram = distance.histogram_percent(edges)
    assert histogram.sum() == pytest.approx(100.0)
    np.testing.assert_allclose(np.cumsum(histogram)[:-1], [distance.overlap_volume_percent(edge) for edge in edges])


def test_the_expansion_for_a_volume_inverts_the_overlap_volume_histogram() -> None:
    distance = TargetDistance.of(np.array([-3.0, 1.0, 2.0, 5.0, 9.0]))
    assert [distance.expansion_mm(percent) for percent in (20.0, 40.0, 41.0, 100.0)] == [-3.0, 1.0, 2.0, 9.0]
    assert distance.overlap_volume_percent(distance.expansion_mm(60.0)) == 60.0
    with pytest.raises(InputError, match=r"volume_percent must be in \(0, 100\]; got 0"):
        distance.expansion_mm(0.0)


def test_distances_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="ascending_mm must have a distance for at least one voxel"):
        TargetDistance(np.zeros(0))


@pytest.mark.parametrize("seed", [3, 4])
def test_directional_gaps_are_how_far_a_structure_can_move_before_it_meets_the_target(seed: int) -> None:
    structure, target = blob(seed), blob(seed + 10)
    found = directional_gaps_mm(structure & ~target, target, SPACING_ZYX_MM)
    for name, (axis, sign) in DIRECTIONS.items():
        expected = None
        for steps in range(SHAPE[axis]):
            moved = np.zeros_like(structure)
            source = [slice(None)] * 3
            goal = [slice(None)] * 3
            source[axis] = slice(0, SHAPE[axis] - steps) if sign > 0 else slice(steps, None)
            goal[axis] = slice(steps, None) if sign > 0 else slice(0, SHAPE[axis] - steps)
            moved[tuple(goal)] = (structure & ~target)[tuple(source)]
            if (moved & target).any():
                expected = steps * SPACING_ZYX_MM[axis]
                break
        assert found[name] == expected, name


def test_gaps_run_in_the_patients_directions() -> None:
    gaps = directional_gaps_mm(block((4, 5), (10, 11), (5, 8)), block((4, 5), (10, 11), (12, 14)), SPACING_ZYX_MM)
    none = dict.fromkeys(("right", "posterior", "anterior", "superior", "inferior"))
    assert gaps == {"left": 10.0} | none  # +x is the patient's left; five steps of 2 mm


def test_sizes_are_counted_in_the_body_and_the_volume_over_the_whole_contour() -> None:
    organ = block((4, 6), (8, 12), (28, 32))  # 32 voxels of 0.024 cc, half of them in the target (x < 30)
    found = measured("Parotid_L", Parotid_L=organ)
    assert found.values["volume_cc"] == pytest.approx(0.768)
    assert found.values["overlap_cc"] == pytest.approx(0.384)
    assert found.values["overlap_percent"] == pytest.approx(50.0)
    assert found.values["volume_z"] == pytest.approx((0.768 - 1.0) / 0.2)
    assert found.values["gap_mm"] == found.values["gap_left_mm"] == 0.0
    beyond = organ | block((4, 6), (8, 12), (38, 40))  # 16 more, 8 of them outside the body
    found = measured("Parotid_L", Parotid_L=beyond)
    assert found.values["volume_cc"] == pytest.approx(48 * 0.024)
    assert found.values["overlap_percent"] == pytest.approx(100.0 * 16 / 40)


def test_an_organ_apart_has_a_gap_and_no_overlap() -> None:
    found = measured("Parotid_R")  # x 6..10, the target begins at 24
    assert found.values["overlap_percent"] == 0.0
    assert found.values["gap_mm"] == found.values["gap_left_mm"] == pytest.approx(28.0)
    assert found.values["gap_right_mm"] is None
    assert found.values["volume_z"] is None  # no norm for it
    assert found.values["expected_mean_gy"] is None


def test_absent_organs_and_those_outside_the_body_have_no_measures() -> None:
    case = sided_case(absent=("Larynx",), Parotid_R=block((4, 6), (8, 12), (0, 1)))
    measurer = Measurer(case, NORMS, DosePredictor({}, ""), PatientHistory(), 65.0)
    assert measurer.measure("Larynx") is None
    assert measurer.measure("Parotid_R") is None


def test_the_prior_dose_of_an_organ_is_measured_in_the_body() -> None:
    case = sided_case()
    prior = np.zeros(SHAPE, np.float32)
    prior[case.structures["SpinalCord"]] = 10.0
    prior[4, 19, 19] = 34.0
    found = Measurer(case, NORMS, DosePredictor({}, ""), PatientHistory((), (), prior), 65.0).measure("SpinalCord")
    assert found is not None
    assert found.values["prior_max_gy"] == 34.0
    assert found.values["prior_mean_gy"] == pytest.approx(10.0 + 24.0 / 32)
    assert found.values["re_irradiation"] is True


def test_plain_measures_hold_both_histograms() -> None:
    plain = measured("Parotid_L").to_plain([0.0, 10.0])
    histogram = plain["distance_to_target_histogram"]
    assert histogram == {"edges_mm": [0.0, 10.0], "percent": [20.0, 80.0, 0.0]}  # a column of five in the target
    assert plain["overlap_volume_histogram_percent"] == {"0": 20.0, "10": 100.0}
    assert plain["laterality"] == "ipsilateral"
