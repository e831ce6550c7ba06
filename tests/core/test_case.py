"""PatientCase: what it holds, and every combination it refuses."""

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from dosewright.core import Beam, CaseError, Grid, GridMismatchError, PatientCase

SHAPE = (6, 7, 8)
BODY_VOXELS = 4 * 5 * 6


def mask(z: slice, y: slice, x: slice) -> np.ndarray:
    array = np.zeros(SHAPE, bool)
    array[z, y, x] = True
    return array


def a_case(**changes: object) -> PatientCase:
    """A valid case with `changes`."""
    body = mask(slice(1, 5), slice(1, 6), slice(1, 7))
    values: dict = {
        "case_id": "pt_1",
        "grid": Grid(SHAPE, (2.0, 3.0, 4.0)),
        "ct_hu": np.where(body, 40, -1000).astype(np.int16),
        "body": body,
        "structures": {
            "PTV_Low": mask(slice(3, 4), slice(2, 4), slice(2, 4)),
            "PTV_High": mask(slice(2, 3), slice(2, 4), slice(2, 4)),
            "Parotid_L": mask(slice(2, 3), slice(2, 4), slice(5, 6)),
            "zRing": mask(slice(4, 5), slice(2, 4), slice(2, 4)),
        },
        "prescription_gy": {"PTV_Low": 56.0, "PTV_High": 70.0},
        "dose_gy": np.where(body, 30.0, 0.0).astype(np.float32),
    }
    return PatientCase(**(values | changes))


def test_targets_come_highest_first_and_only_organs_are_oars() -> None:
    case = a_case()
    assert case.targets == ("PTV_High", "PTV_Low")
    assert case.oars == ("Parotid_L",)


def test_targets_of_equal_dose_come_by_name() -> None:
    assert a_case(prescription_gy={"PTV_Low": 60.0, "PTV_High": 60.0}).targets == ("PTV_High", "PTV_Low")


def test_dose_is_scored_in_the_body_unless_a_mask_says_otherwise() -> None:
    inner = mask(slice(2, 4), slice(2, 4), slice(2, 4))
    assert a_case().scored_mask.sum() == BODY_VOXELS
    np.testing.assert_array_equal(a_case(dose_mask=inner).scored_mask, inner)


def test_with_dose_changes_the_dose_alone() -> None:
    case = a_case()
    other = case.with_dose(np.full(SHAPE, 7.0, np.float32))
    assert other.dose_gy is not None
    assert np.unique(other.dose_gy).tolist() == [7.0]
    assert np.unique(case.dose_gy).tolist() == [0.0, 30.0]
    assert (other.case_id, other.grid, other.targets) == (case.case_id, case.grid, case.targets)
    assert case.with_dose(None).dose_gy is None


@pytest.mark.parametrize("name", ["ct_hu", "body", "dose_gy", "dose_mask"])
def test_arrays_are_read_only(name: str) -> None:
    case = a_case(dose_mask=mask(slice(1, 3), slice(1, 3), slice(1, 3)))
    with pytest.raises(ValueError, match="read-only"):
        getattr(case, name)[0, 0, 0] = 1


def test_masks_mappings_and_fields_are_read_only() -> None:
    case = a_case()
    with pytest.raises(ValueError, match="read-only"):
        case.structures["PTV_High"][0, 0, 0] = True
    with pytest.raises(TypeError, match="does not support item assignment"):
        case.structures["PTV_Mid"] = case.body  # type: ignore[index]
    with pytest.raises(TypeError, match="does not support item assignment"):
        case.prescription_gy["PTV_High"] = 1.0  # type: ignore[index]
    with pytest.raises(AttributeError, match="cannot assign to field"):
        case.fractions = 30  # type: ignore[misc]


def test_building_a_case_neither_copies_nor_locks_the_callers_array() -> None:
    ct = np.zeros(SHAPE, np.int16)
    case = a_case(ct_hu=ct)
    assert np.shares_memory(case.ct_hu, ct)
    assert ct.flags.writeable


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda case: pickle.loads(pickle.dumps(case))])
def test_a_case_reaches_another_process_whole_and_still_read_only(duplicate: object) -> None:
    case = a_case(beams=(Beam(40.0), Beam(80.0)), isocenter_xyz_mm=(1.0, 2.0, 3.0), technique="VMAT", fractions=33)
    twin = duplicate(case)  # type: ignore[operator]
    for name in ("ct_hu", "body", "dose_gy"):
        np.testing.assert_array_equal(getattr(twin, name), getattr(case, name))
        assert getattr(twin, name).dtype == getattr(case, name).dtype
        assert not getattr(twin, name).flags.writeable
    assert list(twin.structures) == list(case.structures)
    assert all((twin.structures[name] == case.structures[name]).all() for name in case.structures)
    assert dict(twin.prescription_gy) == {"PTV_Low": 56.0, "PTV_High": 70.0}
    for name in ("case_id", "grid", "beams", "isocenter_xyz_mm", "technique", "fractions", "dose_mask", "site"):
        assert getattr(twin, name) == getattr(case, name)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("name", ["ct_hu", "body", "dose_gy", "dose_mask"])
def test_another_shape_is_refused(name: str) -> None:
    array = np.ones((6, 8, 7), bool if name in ("body", "dose_mask") else np.float32)
    with pytest.raises(GridMismatchError, match=rf"{name} must have the grid's shape \(6, 7, 8\); got \(6, 8, 7\)"):
        a_case(**{name: array})


@pytest.mark.usefixtures("types_unchecked")
def test_a_mask_of_another_shape_is_refused_by_its_name() -> None:
    structures = dict(a_case().structures) | {"Larynx": np.ones((6, 7, 9), bool)}
    with pytest.raises(GridMismatchError, match=r"Larynx must have the grid's shape \(6, 7, 8\); got \(6, 7, 9\)"):
        a_case(structures=structures)


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    ("name", "array", "rule"),
    [
        ("ct_hu", np.zeros(SHAPE, bool), "ct_hu must be a numpy array of number; got dtype('bool')"),
        ("ct_hu", [[[0.0]]], "ct_hu must be a numpy array of number; got 'list'"),
        ("body", np.ones(SHAPE, np.uint8), "body must be a numpy array of bool; got dtype('uint8')"),
        ("dose_mask", np.ones(SHAPE), "dose_mask must be a numpy array of bool; got dtype('float64')"),
        ("dose_gy", np.ones(SHAPE, np.int32), "dose_gy must be a numpy array of floating; got dtype('int32')"),
    ],
    ids=lambda v: v if isinstance(v, str) and "must" not in v else "",
)
def test_another_kind_of_array_is_refused(name: str, array: object, rule: str) -> None:
    with pytest.raises(CaseError) as raised:
        a_case(**{name: array})
    assert str(raised.value) == rule


@pytest.mark.parametrize("name", ["ct_hu", "dose_gy"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
def test_values_that_are_not_finite_are_counted_and_refused(name: str, bad: float) -> None:
    array = np.zeros(SHAPE, np.float32)
    array[0, 0, :3] = bad
    with pytest.raises(CaseError, match=f"{name} must be finite; got '3 voxels NaN or infinite'"):
        a_case(**{name: array})


@pytest.mark.parametrize(
    ("name", "lowest", "highest", "rule"),
    [
        ("ct_hu", -1024.0, 32767.0, r"ct_hu must be in \[-1024, 32767\] HU"),
        ("dose_gy", 0.0, 250.0, r"dose_gy must be in \[0, 250\] Gy total"),
    ],
)
def test_the_limits_themselves_pass_and_nothing_beyond(name: str, lowest: float, highest: float, rule: str) -> None:
    array = np.zeros(SHAPE)
    array[0, 0, 0], array[1, 1, 1] = lowest, highest
    assert (getattr(a_case(**{name: array}), name) == array).all()
    for index, value in (((0, 0, 0), np.nextafter(lowest, -np.inf)), ((1, 1, 1), np.nextafter(highest, np.inf))):
        wrong = array.copy()
        wrong[index] = value
        with pytest.raises(CaseError, match=rule):
            a_case(**{name: wrong})


def test_dose_in_cgy_is_refused_with_its_range() -> None:
    dose_cgy = np.where(a_case().body, 7000.0, 0.0).astype(np.float32)
    with pytest.raises(CaseError, match=r"dose_gy must be in \[0, 250\] Gy total; got \(0\.0, 7000\.0\)"):
        a_case(dose_gy=dose_cgy)


@pytest.mark.parametrize("name", ["body", "dose_mask"])
def test_empty_masks_are_refused(name: str) -> None:
    with pytest.raises(CaseError, match=f"{name} must not be empty; got '0 voxels'"):
        a_case(**{name: np.zeros(SHAPE, bool)})


def test_an_empty_structure_is_refused_by_its_name() -> None:
    with pytest.raises(CaseError, match="Larynx must not be empty: leave the structure out"):
        a_case(structures=dict(a_case().structures) | {"Larynx": np.zeros(SHAPE, bool)})


def test_the_patient_outline_is_no_structure() -> None:
    case = a_case()
    with pytest.raises(CaseError, match="structures must not hold External: pass it as `body`"):
        a_case(structures=dict(case.structures) | {"External": case.body})


def test_an_illegal_structure_name_is_refused() -> None:
    case = a_case()
    with pytest.raises(CaseError, match=r"structures has an illegal name: it must be a structure name.*'Parotid L'"):
        a_case(structures=dict(case.structures) | {"Parotid L": case.body})


@pytest.mark.parametrize(
    ("prescription_gy", "rule"),
    [
        ({}, r"prescription_gy must name at least one target; got \{\}"),
        ({"PTV_Mid": 63.0}, "prescription_gy names PTV_Mid, which has no mask; got .*PTV_High"),
        ({"Parotid_L": 26.0}, "prescription_gy must name targets only; got 'Parotid_L'"),
        ({"zRing": 26.0}, "prescription_gy must name targets only; got 'zRing'"),
        ({"PTV/High": 70.0}, "prescription_gy has an illegal name: .* got 'PTV/High'"),
        ({"PTV_High": 0.0}, r"prescription_gy\[PTV_High\] must be in \(0, 250\] Gy; got 0\.0"),
        ({"PTV_High": -70.0}, r"prescription_gy\[PTV_High\] must be in \(0, 250\] Gy; got -70\.0"),
        ({"PTV_High": 7000.0}, r"prescription_gy\[PTV_High\] must be in \(0, 250\] Gy; got 7000\.0"),
        ({"PTV_High": math.nan}, r"prescription_gy\[PTV_High\] must be in \(0, 250\] Gy; got nan"),
    ],
    ids=str,
)
def test_prescriptions_that_make_no_sense_are_refused(prescription_gy: dict[str, float], rule: str) -> None:
    with pytest.raises(CaseError, match=rule):
        a_case(prescription_gy=prescription_gy)


@pytest.mark.parametrize(
    "case_id",
    ["", "../x", "a/b", "a\\b", "..", ".hidden", "pt 1", "pt_1\n", "pt:1", "pt\x00", "pät", "pt_١", "-pt", "+1"],
)
def test_ids_that_are_unsafe_as_file_names_are_refused(case_id: str) -> None:
    with pytest.raises(CaseError, match=r"case_id must be ASCII letters, digits and \._\+- only, .*; got") as raised:
        a_case(case_id=case_id)
    assert raised.value.value == case_id


@pytest.mark.parametrize("case_id", ["pt_1", "0522c0017+9Ag+MOS_33093", "A-1.b", "_1"])
def test_ids_of_the_published_data_sets_pass(case_id: str) -> None:
    assert a_case(case_id=case_id).case_id == case_id


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize(
    "isocenter", [(0.0, math.nan, 0.0), (math.inf, 0.0, 0.0), (0.0, 0.0), (0.0, 0.0, 0.0, 0.0)], ids=str
)
def test_isocenters_that_are_no_position_are_refused(isocenter: tuple) -> None:
    with pytest.raises(CaseError, match="isocenter_xyz_mm must be three finite positions in mm; got"):
        a_case(isocenter_xyz_mm=isocenter)


@pytest.mark.usefixtures("types_unchecked")
def test_an_isocenter_becomes_plain_numbers() -> None:
    isocenter = a_case(isocenter_xyz_mm=np.array([1, 2, 3])).isocenter_xyz_mm
    assert isocenter == (1.0, 2.0, 3.0)
    assert [type(v) for v in isocenter] == [float] * 3


@pytest.mark.usefixtures("types_unchecked")
@pytest.mark.parametrize("fractions", [0, -1, 1.5, math.nan, math.inf], ids=str)
def test_fractions_must_be_a_count(fractions: float) -> None:
    with pytest.raises(CaseError, match="fractions must be a positive integer; got"):
        a_case(fractions=fractions)


@pytest.mark.usefixtures("types_unchecked")
def test_an_unknown_technique_is_refused() -> None:
    with pytest.raises(CaseError, match='technique must be "IMRT", "VMAT" or "proton"; got \'imrt\''):
        a_case(technique="imrt")


@pytest.mark.parametrize("angle", [-0.1, 360.0, math.nan, math.inf], ids=str)
@pytest.mark.parametrize("name", ["gantry_angle_deg", "couch_angle_deg"])
def test_beam_angles_outside_a_turn_are_refused(name: str, angle: float) -> None:
    with pytest.raises(CaseError, match=rf"{name} must be in \[0, 360\); got"):
        Beam(**{"gantry_angle_deg": 0.0, name: angle})


@pytest.mark.usefixtures("types_unchecked")
def test_a_beam_knows_its_modality_and_plain_angles() -> None:
    beam = Beam(40, 10, "proton")
    assert (beam.gantry_angle_deg, beam.couch_angle_deg, beam.modality) == (40.0, 10.0, "proton")
    assert type(beam.gantry_angle_deg) is float
    with pytest.raises(CaseError, match='modality must be "photon" or "proton"; got \'electron\''):
        Beam(0.0, modality="electron")  # type: ignore[arg-type]


def test_a_changed_case_is_checked_again() -> None:
    with pytest.raises(CaseError, match="body must not be empty"):
        replace(a_case(), body=np.zeros(SHAPE, bool))
