"""RTDOSE: Gy, planes and position in every form of storage; resampling against a naive twin; what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset

from dicom_files import DicomPhantom, PlanBeam, save, set_pixels, uid
from dosewright.core import CaseError, Grid
from dosewright.core.types import Mask
from dosewright.io.dicom.read_dose import DoseVolume, read_dose
from dosewright.io.dicom.read_dose_sum import read_total_dose
from dosewright.io.dicom.read_plan import DicomPlan, read_plan
from dosewright.io.dicom.read_scan import DOSE, Instance
from dosewright.io.dicom.resample import grid_of_spacing, resample_ct

PHANTOM = DicomPhantom(dose_grid=Grid((7, 8, 9), (4.0, 4.5, 5.0), (-18.0, -16.5, -14.2)))
TRUTH = PHANTOM.dose_gy


def read(folder: Path, data: FileDataset) -> DoseVolume:
    return read_dose(save(data, folder / "dose.dcm"), PHANTOM.frame_uid)


@pytest.mark.parametrize(("bits", "quantum"), [(16, 9.4e-4), (32, 1.5e-8)])
def test_dose_is_within_half_a_quantum_on_its_own_grid(tmp_path: Path, bits: int, quantum: float) -> None:
    dose = read(tmp_path, PHANTOM.dose(bits=bits))
    assert dose.quantum_gy == pytest.approx(quantum, rel=0.1)
    np.testing.assert_allclose(dose.dose_gy, TRUTH, rtol=2**-23, atol=dose.quantum_gy / 2)
    assert dose.grid is not None
    assert dose.grid.is_close(PHANTOM.dose_grid)


def test_absolute_offsets_are_the_same_dose(tmp_path: Path) -> None:
    dose = read(tmp_path, PHANTOM.dose(absolute_offsets=True))
    np.testing.assert_allclose(dose.z_mm, PHANTOM.dose_grid.axis_mm("z"))
    np.testing.assert_allclose(dose.dose_gy, TRUTH, atol=1e-5)


@pytest.mark.parametrize("absolute", [False, True])
def test_planes_in_falling_order_are_the_same_dose(tmp_path: Path, absolute: bool) -> None:
    data = PHANTOM.dose(values_gy=TRUTH[::-1])
    x, y, _ = data.ImagePositionPatient
    z = PHANTOM.dose_grid.axis_mm("z")[::-1]
    data.ImagePositionPatient = [x, y, z[0]]
    data.GridFrameOffsetVector = list(z if absolute else z - z[0])
    dose = read(tmp_path, data)
    np.testing.assert_allclose(dose.z_mm, z[::-1])
    np.testing.assert_allclose(dose.dose_gy, TRUTH, atol=1e-5)


@pytest.mark.parametrize(
    ("orientation", "flip_x", "flip_y", "swapped"),
    [
        ((-1, 0, 0, 0, -1, 0), True, True, False),
        ((1, 0, 0, 0, -1, 0), False, True, False),
        ((0, 1, 0, 1, 0, 0), False, False, True),
    ],
)
def test_every_axial_orientation_is_the_same_dose(
    tmp_path: Path, orientation: tuple[int, ...], flip_x: bool, flip_y: bool, swapped: bool
) -> None:
    stored = TRUTH[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
    data = PHANTOM.dose(values_gy=np.swapaxes(stored, 1, 2) if swapped else stored)
    x, y, z = (PHANTOM.dose_grid.axis_mm(axis) for axis in "xyz")
    data.ImageOrientationPatient = list(orientation)
    data.ImagePositionPatient = [x[-1 if flip_x else 0], y[-1 if flip_y else 0], z[0]]
    data.PixelSpacing = [4.0, 4.5] if swapped else [4.5, 4.0]
    normal = np.cross(orientation[:3], orientation[3:])[2]
    data.GridFrameOffsetVector = list(normal * (z - z[0]))  # distances along row × column
    dose = read(tmp_path, data)
    assert dose.grid is not None
    assert dose.grid.is_close(PHANTOM.dose_grid)
    np.testing.assert_allclose(dose.dose_gy, TRUTH, atol=1e-5)


def naive_dose_at(dose: DoseVolume, x: float, y: float, z: float) -> float | None:
    """Trilinear interpolation at one point, by loops; None where the dose is unknown."""
    places = []
    for value, axis in ((z, dose.z_mm), (y, dose.y_mm), (x, dose.x_mm)):
        if value < axis[0] - (axis[1] - axis[0]) / 2 or value > axis[-1] + (axis[-1] - axis[-2]) / 2:
            return None
        value = min(max(value, axis[0]), axis[-1])
        i = max(k for k in range(len(axis) - 1) if axis[k] <= value)
        share = (value - axis[i]) / (axis[i + 1] - axis[i])
        places.append(((i, 1 - share), (i + 1, share)))
    return sum(
        wz * wy * wx * float(dose.dose_gy[k, j, i]) for k, wz in places[0] for j, wy in places[1] for i, wx in places[2]
    )


@pytest.mark.parametrize("uneven", [False, True])
def test_resampling_is_trilinear_and_unknown_outside(tmp_path: Path, uneven: bool) -> None:
    data = PHANTOM.dose()
    if uneven:
        data.GridFrameOffsetVector = [0, 5, 10, 14, 18, 26, 30]
    dose = read(tmp_path, data)
    assert (dose.grid is None) == uneven
    grid = Grid((6, 7, 8), (5.3, 6.1, 7.7), (-21.1, -20.2, -17.3))
    found, covered = dose.on(grid)
    for k, j, i in np.ndindex(grid.shape_zyx):
        x, y, z = grid.position_xyz_mm(np.array([k, j, i], float))
        expected = naive_dose_at(dose, x, y, z)
        assert covered[k, j, i] == (expected is not None)
        assert found[k, j, i] == pytest.approx(expected or 0.0, abs=2e-5)
    assert 0.2 < covered.mean() < 0.9


def test_resampling_to_its_own_grid_changes_nothing(tmp_path: Path) -> None:
    dose = read(tmp_path, PHANTOM.dose())
    found, covered = dose.on(PHANTOM.dose_grid)
    np.testing.assert_array_equal(found, dose.dose_gy)
    assert covered.all()


def _float_scaling(data: FileDataset) -> None:
    data.DoseGridScaling = 30.0


def _negative(data: FileDataset) -> None:
    set_pixels(data, -np.ones((7, 8, 9)), signed=True)


REFUSED = [
    ({"DoseUnits": "RELATIVE"}, "DoseUnits .3004,0002. must be GY: relative doses have no known scale"),
    ({"DoseUnits": None}, "DoseUnits .* must be given"),
    ({"DoseType": "ERROR"}, "must be PHYSICAL or EFFECTIVE; got 'ERROR'"),
    ({"FrameOfReferenceUID": "1.2.3"}, "FrameOfReferenceUID .0020,0052. must be the CT's"),
    ({"FrameOfReferenceUID": None}, "FrameOfReferenceUID .* must be the CT's.*got 'nothing'"),
    ({"DoseGridScaling": None}, "DoseGridScaling .3004,000E. must be 1 number"),
    ({"DoseGridScaling": -1}, "DoseGridScaling .* must be positive"),
    ({"DoseGridScaling": 30}, "DoseGridScaling .* must give at most 250 Gy"),
    ({"GridFrameOffsetVector": [0, 5, 10]}, "GridFrameOffsetVector .3004,000C. must be 7 numbers"),
    ({"GridFrameOffsetVector": [3, 8, 13, 18, 23, 28, 33]}, "must start at 0 or at Image Position's z, -14.2"),
    ({"GridFrameOffsetVector": [0, 5, 10, 10, 20, 25, 30]}, "must grow or fall from plane to plane"),
    ({"GridFrameOffsetVector": [0, 5, 10, 5, 20, 25, 30]}, "must grow or fall"),
    ({"GridFrameOffsetVector": None}, "GridFrameOffsetVector .* must be 7 numbers"),
    ({"ImageOrientationPatient": [0.99, 0.141, 0, -0.141, 0.99, 0]}, "oblique"),
    ({"PixelSpacing": [4.5, 0]}, "PixelSpacing .* must be positive"),
    ({"NumberOfFrames": 1}, "must be at least 2, as Rows and Columns"),
    ({"NumberOfFrames": 6, "GridFrameOffsetVector": [0, 5, 10, 15, 20, 25]}, "PixelData .* must have 1728 bytes"),
    ({"Rows": 60000, "Columns": 60000}, "PixelData .* must have 100800000000 bytes"),
    ({"BitsAllocated": 8}, r"must be one of \(16, 32\)"),
    ({"TransferSyntaxUID": "1.2.840.10008.1.2.1.99"}, "TransferSyntaxUID .* must not be deflated|readable"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[f"{v}"[:60] for v, _ in REFUSED])
def test_what_is_no_dose_in_gy_is_refused(tmp_path: Path, values: dict[str, object], message: str) -> None:
    data = PHANTOM.dose()
    path = save(data, tmp_path / "dose.dcm")
    for keyword, value in values.items():
        if keyword == "TransferSyntaxUID":
            path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"[:20]))
            data.file_meta.TransferSyntaxUID = value
        elif value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    with pytest.raises(CaseError, match=message) as caught:
        read(tmp_path, data)
    assert caught.value.path == path


def test_negative_doses_are_refused(tmp_path: Path) -> None:
    data = PHANTOM.dose()
    _negative(data)
    with pytest.raises(CaseError, match="must not be negative: a difference of doses"):
        read(tmp_path, data)


# --- doses of beams ------------------------------------------------------------------------------------------------


class TestSums:
    beams = (PlanBeam((0.0,)), PlanBeam((90.0,)), PlanBeam((180.0,), delivery="SETUP"))

    def instance(self, folder: Path, name: str, data: FileDataset, *numbers: int) -> Instance:
        item = Dataset()
        item.ReferencedBeamSequence = []
        for number in numbers:
            beam = Dataset()
            beam.ReferencedBeamNumber = number
            item.ReferencedBeamSequence.append(beam)
        data.ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence = [item]
        path = save(data, folder / name)
        return Instance(path, DOSE, data.SOPInstanceUID, "", (), "", summation=data.DoseSummationType)

    def plan(self, folder: Path) -> DicomPlan:
        path = save(replace(PHANTOM, beams=self.beams).plan(), folder / "plan.dcm")
        return read_plan(path, PHANTOM.frame_uid, "HFS")

    def beam_doses(self, folder: Path, second: DicomPhantom = PHANTOM) -> list[Instance]:
        return [
            self.instance(folder, "b1.dcm", PHANTOM.dose(values_gy=TRUTH * 0.25, summation="BEAM", kind="b1"), 1),
            self.instance(folder, "b2.dcm", second.dose(values_gy=TRUTH * 0.75, summation="BEAM", kind="b2"), 2),
        ]

    def test_doses_of_all_beams_add_up(self, tmp_path: Path) -> None:
        total = read_total_dose(self.beam_doses(tmp_path), self.plan(tmp_path), PHANTOM.frame_uid)
        np.testing.assert_allclose(total.dose_gy, TRUTH, rtol=1e-6, atol=1e-5)

    @pytest.mark.parametrize("summation", ["PLAN", "FRACTION"])
    def test_the_dose_of_a_whole_plan_is_taken_as_it_is(self, tmp_path: Path, summation: str) -> None:
        one = self.instance(tmp_path, "d.dcm", PHANTOM.dose(summation=summation))
        np.testing.assert_allclose(read_total_dose([one], None, PHANTOM.frame_uid).dose_gy, TRUTH, atol=1e-5)

    def test_a_missing_beam_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"must have each treatment beam of plan.dcm once, \[1, 2\]; got \[1\]"):
            read_total_dose(self.beam_doses(tmp_path)[:1], self.plan(tmp_path), PHANTOM.frame_uid)

    def test_doses_of_beams_need_a_plan(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match="must be PLAN where there is no plan"):
            read_total_dose(self.beam_doses(tmp_path), None, PHANTOM.frame_uid)

    def test_beams_on_other_grids_are_refused(self, tmp_path: Path) -> None:
        moved = replace(PHANTOM, dose_grid=replace(PHANTOM.dose_grid, origin_xyz_mm=(-18.0, -16.5, -13.2)))
        with pytest.raises(CaseError, match=r"must be on the grid, and of the type, of b1.dcm"):
            read_total_dose(self.beam_doses(tmp_path, moved), self.plan(tmp_path), PHANTOM.frame_uid)

    def test_a_sum_beyond_any_dose_is_refused(self, tmp_path: Path) -> None:
        doses = self.beam_doses(tmp_path)
        doses[0] = self.instance(tmp_path, "b1.dcm", PHANTOM.dose(values_gy=TRUTH * 3.9, summation="BEAM"), 1)
        with pytest.raises(CaseError, match="must add up to at most 250 Gy"):
            read_total_dose(doses, self.plan(tmp_path), PHANTOM.frame_uid)

    @pytest.mark.parametrize("summation", ["MULTI_PLAN", "CONTROL_POINT", "PLAN_OVERVIEW"])
    def test_sums_over_plans_and_parts_of_fractions_are_refused(self, tmp_path: Path, summation: str) -> None:
        one = self.instance(tmp_path, "d.dcm", PHANTOM.dose(summation=summation))
        with pytest.raises(CaseError, match=f"must be PLAN, FRACTION or BEAM.*got '{summation}'"):
            read_total_dose([one], None, PHANTOM.frame_uid)

    def test_doses_of_several_fraction_groups_are_refused(self, tmp_path: Path) -> None:
        two = [self.instance(tmp_path, f"{n}.dcm", PHANTOM.dose(summation="FRACTION", kind=uid(n))) for n in "ab"]
        with pytest.raises(CaseError, match="there are 2 doses of fraction groups"):
            read_total_dose(two, None, PHANTOM.frame_uid)


# --- volumes from grid to grid -------------------------------------------------------------------------------------


def test_larger_voxels_are_means_of_what_they_cover() -> None:
    grid = Grid((4, 6, 6), (1.0, 1.0, 2.0))
    hu = np.random.default_rng(0).integers(-1000, 1000, grid.shape_zyx).astype(np.int16)
    coarse = grid_of_spacing(grid, (2.0, 3.0, 4.0))
    found, covered = resample_ct(hu, grid, coarse, -1000.0)
    expected = hu.reshape(2, 2, 2, 3, 3, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    assert covered.all()


def test_voxels_that_straddle_count_by_their_share() -> None:
    grid = Grid((1, 1, 3), (1.0, 1.0, 1.0))
    hu = np.array([[[0, 100, 200]]], np.int16)
    found, _ = resample_ct(hu, grid, Grid((1, 1, 2), (1.5, 1.0, 1.0), (0.25, 0.0, 0.0)), -1000.0)
    np.testing.assert_allclose(found[0, 0], [100 / 3, 500 / 3], rtol=1e-6)


def test_finer_voxels_are_interpolated_and_those_beyond_the_ct_are_air() -> None:
    grid = Grid((2, 2, 2), (2.0, 2.0, 2.0))
    hu = np.zeros((2, 2, 2), np.int16)
    hu[1] = 100
    fine = Grid((7, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, -2.0))
    found, covered = resample_ct(hu, grid, fine, -1000.0)
    np.testing.assert_allclose(found[:, 0, 0], [-1000, 0, 0, 50, 100, 100, -1000], atol=1e-4)
    mask: Mask = covered
    assert mask[:, 0, 0].tolist() == [False, True, True, True, True, True, False]


def test_a_linear_volume_stays_linear() -> None:
    grid = Grid((6, 7, 8), (2.0, 3.0, 4.0), (1.0, 2.0, 3.0))
    z, y, x = np.meshgrid(*(grid.axis_mm(a) for a in "zyx"), indexing="ij")
    fine = Grid((9, 8, 7), (1.5, 2.0, 1.0), (2.2, 3.3, 4.4))
    found, _ = resample_ct((x + 10 * y + 100 * z).astype(np.float32), grid, fine, 0.0)
    z, y, x = np.meshgrid(*(fine.axis_mm(a) for a in "zyx"), indexing="ij")
    np.testing.assert_allclose(found, x + 10 * y + 100 * z, rtol=1e-5)
