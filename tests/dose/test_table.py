"""Tables and curves of a case: the same numbers as one index at a time, and as counting voxels."""

import numpy as np
import pytest
import torch

from dosewright.core import Beam, GridMismatchError, InputError, PatientCase
from dosewright.dose import CaseDose, DoseIndex, default_indices, dvh_curves, index_table


def one_by_one(case: PatientCase, dose: np.ndarray, name: str, text: str) -> float:
    tensor, mask = torch.from_numpy(dose.astype(np.float64)), torch.from_numpy(case.structures[name].copy())
    body = torch.from_numpy(case.body.copy())
    index = DoseIndex.parse(text)
    return index.evaluate(tensor, mask, case.grid.voxel_volume_cc, case.prescription_gy.get(name), body).item()


def with_extra_structures(case: PatientCase) -> PatientCase:
    outside = np.zeros(case.grid.shape_zyx, bool)
    outside[0:4, 8:12, 9:13] = True  # partly outside the body
    extra = {"CTV": case.structures["PTV_High"], "zRing": outside}
    return PatientCase(
        case_id="extra",
        grid=case.grid,
        ct_hu=case.ct_hu,
        body=case.body,
        structures=dict(case.structures) | extra,
        prescription_gy=dict(case.prescription_gy),
        beams=(Beam(0.0),),
        dose_gy=case.dose_gy,
    )


def test_every_row_is_the_index_evaluated_alone(case: PatientCase) -> None:
    rows = index_table(case)
    assert case.dose_gy is not None
    expected = [one_by_one(case, case.dose_gy, row.structure, row.name) for row in rows]
    assert [row.value for row in rows] == pytest.approx(expected, rel=1e-13)
    assert len(rows) == 9 + 8 + 3 * 3


def test_defaults_follow_role_and_prescription(case: PatientCase) -> None:
    full = ("D99", "D98", "D95", "D50", "D2", "D1", "HI", "V95%", "CI")
    chosen = default_indices(with_extra_structures(case))
    assert chosen["PTV_High"] == full
    assert chosen["PTV_Low"] == full[:-1]
    assert chosen["CTV"] == full[:-2]
    assert chosen["Parotid_L"] == ("Dmean", "D0.1cc", "Dmax")
    assert "zRing" not in chosen


def test_units_and_order_of_rows(case: PatientCase) -> None:
    wanted = {"SpinalCord": ["D0.1cc", "V20Gy", "V20Gy[cc]"], "PTV_High": [DoseIndex.parse("CI"), "D95%"]}
    rows = index_table(case, indices_for=wanted)
    assert [(r.structure, r.name, r.unit) for r in rows] == [
        ("SpinalCord", "D0.1cc", "Gy"),
        ("SpinalCord", "V20Gy", "%"),
        ("SpinalCord", "V20Gy[cc]", "cc"),
        ("PTV_High", "CI", ""),
        ("PTV_High", "D95", "Gy"),
    ]
    volume_cc = case.structures["SpinalCord"].sum() * 3.0 * 3.0 * 4.0 / 1000
    assert rows[2].value == pytest.approx(rows[1].value / 100 * volume_cc, rel=1e-13)


@pytest.mark.parametrize("kind", ["float32 array", "float64 array", "tensor", "tensor with gradient"])
def test_another_dose_may_be_an_array_or_a_tensor(case: PatientCase, kind: str) -> None:
    array = np.random.default_rng(5).uniform(0, 70, case.grid.shape_zyx)
    dose = {
        "float32 array": array.astype(np.float32),
        "float64 array": array,
        "tensor": torch.from_numpy(array),
        "tensor with gradient": torch.from_numpy(array).requires_grad_(),
    }[kind]
    voxels = array[case.structures["Parotid_L"]]
    found = {row.name: row.value for row in index_table(case, dose) if row.structure == "Parotid_L"}
    assert found["Dmean"] == pytest.approx(voxels.mean(), rel=1e-7)
    assert found["Dmax"] == pytest.approx(voxels.max(), rel=1e-7)


def test_curves_count_voxels_at_every_bin(case: PatientCase) -> None:
    curves = dvh_curves(case)
    assert case.dose_gy is not None
    assert curves.volume_percent.keys() == case.structures.keys()
    for name, mask in case.structures.items():
        voxels = case.dose_gy[mask].astype(np.float64)
        expected = [100 * np.mean(voxels >= b) for b in curves.bins_gy]
        np.testing.assert_allclose(curves.volume_percent[name], expected, rtol=1e-12)


def test_default_bins_reach_past_the_greatest_dose(case: PatientCase) -> None:
    dose = np.full(case.grid.shape_zyx, 12.34)
    curves = dvh_curves(case, dose)
    np.testing.assert_allclose(curves.bins_gy, np.arange(125) * 0.1, rtol=1e-14)
    assert [(c[0], c[123], c[124]) for c in curves.volume_percent.values()] == [(100.0, 100.0, 0.0)] * 5


def test_given_bins_are_kept(case: PatientCase) -> None:
    curves = dvh_curves(case, np.full(case.grid.shape_zyx, 30.0), np.array([40.0, 30.0, 20.0]))
    assert curves.bins_gy.tolist() == [40.0, 30.0, 20.0]
    assert curves.volume_percent["PTV_High"].tolist() == [0.0, 100.0, 100.0]


def test_sorted_voxels_are_shared_between_table_and_curves(case: PatientCase) -> None:
    doses = CaseDose.of(case)
    assert index_table(doses) == index_table(case)
    shared, alone = dvh_curves(doses), dvh_curves(case)
    for name in case.structures:
        np.testing.assert_array_equal(shared.volume_percent[name], alone.volume_percent[name])


def test_region_is_body_and_structure_together(case: PatientCase) -> None:
    extra = with_extra_structures(case)
    assert extra.dose_gy is not None
    together = extra.body | extra.structures["zRing"]
    doses = CaseDose.of(extra)
    assert doses.region_gy("zRing", 0.0).numel() == together.sum()
    np.testing.assert_array_equal(doses.region_gy("zRing", 40.0), extra.dose_gy[together & (extra.dose_gy >= 40.0)])


def test_missing_structures_and_doses_are_reported(case: PatientCase) -> None:
    with pytest.raises(InputError, match="indices_for names Larynx, which case case_1 lacks"):
        index_table(case, indices_for={"Larynx": ["Dmean"]})
    with pytest.raises(InputError, match="dose_gy must be given: case case_1 has none of its own"):
        index_table(case.with_dose(None))
    with pytest.raises(InputError, match="prescription_gy must be given for V95%"):
        index_table(case, indices_for={"SpinalCord": ["V95%"]})
    with pytest.raises(InputError, match="dose_gy must be None with a CaseDose"):
        dvh_curves(CaseDose.of(case), np.zeros(case.grid.shape_zyx))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_dose_that_is_not_finite_is_refused(case: PatientCase, value: float) -> None:
    dose = np.ones(case.grid.shape_zyx)
    dose[6, 9, 10] = value
    with pytest.raises(InputError, match="dose_gy must be finite in PTV_High"):
        index_table(case, dose)


def test_a_dose_on_another_grid_is_refused(case: PatientCase) -> None:
    with pytest.raises(GridMismatchError, match=r"dose_gy must have the grid's shape \(16, 20, 24\); got \(3, 3, 3\)"):
        dvh_curves(case, np.zeros((3, 3, 3)))
