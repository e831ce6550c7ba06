"""Whole cases: a phantom read back exactly, whatever its files look like; settings; reports; what is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reader_contract import ReaderContract, assert_same_case

from dicom_files import DicomPhantom, save, uid
from dicom_reading import PHANTOM, dice, read, truth_masks
from dosewright.core import Beam, CaseError, Grid, InputError
from dosewright.io.dicom import DicomReader


def test_a_phantom_is_read_back(whole: Path) -> None:
    case, report = read(whole)
    assert case.grid.is_close(PHANTOM.grid)
    assert case.ct_hu.dtype == np.int16
    np.testing.assert_array_equal(case.ct_hu, PHANTOM.ct_hu)
    found = {"body": case.body, **case.structures}
    truth = truth_masks(PHANTOM.grid)
    assert found.keys() == truth.keys()
    for name, mask in truth.items():
        assert dice(found[name], mask) >= 0.98, name
    assert case.prescription_gy == {"PTV": 60.0}
    assert case.beams == tuple(Beam(a) for a in (0.0, 72.0, 144.0, 216.0, 288.0))
    assert (case.technique, case.fractions, case.site) == ("IMRT", 30, "Unknown")
    assert case.isocenter_xyz_mm == (0.0, 0.0, 0.0)
    assert report.names == {"BODY": "External", "PTV": "PTV", "SpinalCord": "SpinalCord", "Parotid_L": "Parotid_L"}
    assert (report.left_out, report.warnings) == ({}, [])
    assert report.files["plan"] == ["plan.dcm"]
    assert len(report.files["ct"]) == 16


def test_the_dose_is_that_of_its_own_grid_at_the_cts_voxels(whole: Path) -> None:
    case, _ = read(whole)
    z, y, x = np.meshgrid(*(PHANTOM.grid.axis_mm(a) for a in "zyx"), indexing="ij")
    r2 = ((z - 2) / 30) ** 2 + ((y - 6) / 40) ** 2 + ((x - 4) / 40) ** 2
    assert case.dose_gy is not None
    assert case.dose_mask is None
    error = np.abs(case.dose_gy - 62 * np.exp(-0.5 * r2))[case.body]
    # Linear interpolation is off by at most h²/8 · |f''| per axis: 62 · (4²/40² + 4.5²/40² + 4.5²/30²) / 8 = 0.35.
    assert error.max() < 0.36


def test_a_dose_on_the_cts_grid_is_within_half_a_quantum(tmp_path: Path) -> None:
    same = replace(PHANTOM, dose_grid=PHANTOM.grid)
    same.write(tmp_path)
    data = same.dose(bits=16)
    save(data, tmp_path / "dose.dcm")
    case, _ = read(tmp_path)
    assert case.dose_gy is not None
    assert np.abs(case.dose_gy - same.dose_gy).max() <= float(data.DoseGridScaling) / 2 + 62 * 2**-23


def _shuffle(root: Path) -> None:
    paths = sorted(root.glob("*.dcm"))
    order = np.random.default_rng(3).permutation(len(paths))
    for path, k in zip(paths, order):
        path.rename(root / f"x{k:03d}")


def _split_studies(root: Path) -> None:
    for name, data in (("structures", PHANTOM.structure_set()), ("plan", PHANTOM.plan()), ("dose", PHANTOM.dose())):
        data.StudyInstanceUID = uid("study of", name)
        (root / f"{name}.dcm").unlink()
        save(data, root / name / "1.dcm")


def _reverse(root: Path) -> None:
    for k, data in enumerate(reversed(PHANTOM.ct_slices())):
        data.InstanceNumber = k + 1
        save(data, root / f"ct_{k:03d}.dcm")


def _prone_images(root: Path) -> None:
    for k, data in enumerate(PHANTOM.ct_slices((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0))):
        save(data, root / f"ct_{k:03d}.dcm")


@pytest.mark.parametrize("change", [_shuffle, _split_studies, _reverse, _prone_images])
def test_the_case_stays_the_same(root: Path, whole: Path, change: Callable[[Path], None]) -> None:
    change(root)
    assert_same_case(read(root)[0], read(whole)[0])


@pytest.mark.parametrize("shift", [(0.3, -0.7, 1.1), (2.0, 2.25, -2.25)])
def test_a_dose_grid_may_lie_anywhere(root: Path, whole: Path, shift: tuple[float, float, float]) -> None:
    x, y, z = PHANTOM.dose_grid.origin_xyz_mm
    grid = replace(PHANTOM.dose_grid, origin_xyz_mm=(x + shift[0], y + shift[1], z + shift[2]))
    save(replace(PHANTOM, dose_grid=grid).dose(), root / "dose.dcm")
    moved, still = read(root)[0], read(whole)[0]
    assert moved.dose_gy is not None
    assert still.dose_gy is not None
    inside = still.body & moved.scored_mask
    assert np.abs(moved.dose_gy - still.dose_gy)[inside].max() < 0.36


# --- grids ---------------------------------------------------------------------------------------------------------


def test_a_case_on_the_doses_grid_has_the_doses_values(whole: Path) -> None:
    case, report = read(whole, grid="dose")
    z = PHANTOM.dose_grid.axis_mm("z")
    inside = (z >= -30) & (z <= 34)  # the CT's slices, half a slice beyond their centres
    assert case.grid.shape_zyx[0] == inside.sum()
    assert case.dose_gy is not None
    first = np.flatnonzero(inside)[0]
    expected = PHANTOM.dose_gy[
        first : first + case.grid.shape_zyx[0], : case.grid.shape_zyx[1], : case.grid.shape_zyx[2]
    ]
    np.testing.assert_allclose(case.dose_gy, expected, atol=1e-5)
    for name, mask in truth_masks(case.grid).items():
        assert dice({"body": case.body, **case.structures}[name], mask) >= 0.9, name
    assert any("on a grid of" in note for note in report.notes)


def test_a_coarser_case_has_the_same_volumes_and_mean_hu(whole: Path) -> None:
    case, _ = read(whole, spacing_xyz_mm=[6, 7.0, 8.0])
    assert case.grid.spacing_xyz_mm == (6.0, 7.0, 8.0)
    assert case.ct_hu.dtype == np.int16
    np.testing.assert_allclose(case.ct_hu, PHANTOM.ct_hu.reshape(8, 2, 22, 2, 24, 2).mean(axis=(1, 3, 5)), atol=0.51)
    for name, radius in (("PTV", 20.0),):
        volume = case.structures[name].sum() * case.grid.voxel_volume_mm3
        assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.06)


def test_an_unevenly_spaced_dose_is_no_grid(root: Path) -> None:
    data = PHANTOM.dose()
    data.GridFrameOffsetVector = [4.5 * k + (k > 9) for k in range(18)]
    save(data, root / "dose.dcm")
    assert read(root)[0].dose_gy is not None
    with pytest.raises(CaseError, match="must be an evenly spaced dose for a case on the dose's grid"):
        read(root, grid="dose")


def test_a_dose_grid_beside_the_ct_is_refused(root: Path) -> None:
    far = replace(PHANTOM, dose_grid=replace(PHANTOM.dose_grid, origin_xyz_mm=(900.0, 0.0, 0.0)))
    save(far.dose(), root / "dose.dcm")
    with pytest.raises(CaseError, match="dose grid must overlap the CT; got 'apart along x'"):
        read(root, grid="dose")
    with pytest.raises(CaseError, match="dose grid must overlap the body"):
        read(root)


def test_a_dose_that_covers_a_part_counts_there_only(root: Path) -> None:
    small = replace(PHANTOM, dose_grid=Grid((12, 20, 20), (4.0, 4.5, 4.0), (-40.0, -40.0, -20.0)))
    save(small.dose(), root / "dose.dcm")
    case, report = read(root)
    assert case.dose_gy is not None
    assert case.dose_mask is not None
    z, y, x = np.meshgrid(*(PHANTOM.grid.axis_mm(a) for a in "zyx"), indexing="ij")
    covered = (z >= -22) & (z <= 26) & (y >= -42.25) & (y <= 47.75) & (x >= -42) & (x <= 38)
    np.testing.assert_array_equal(case.dose_mask, case.body & covered)
    assert not case.dose_gy[~covered].any()
    assert f"the dose covers {100 * case.dose_mask.sum() / case.body.sum():.1f} % of the body" in report.warnings[0]


def test_a_dose_that_misses_the_target_is_refused(root: Path) -> None:
    beside = replace(PHANTOM, dose_grid=Grid((12, 8, 20), (4.0, 4.5, 4.0), (-40.0, -65.0, -20.0)))
    save(beside.dose(), root / "dose.dcm")
    with pytest.raises(CaseError, match="dose grid must cover the target; got 'no voxel of PTV'"):
        read(root)


@pytest.mark.parametrize("factor", [1 / 30, 0.4, 2.5])
def test_a_dose_that_cannot_be_the_plans_is_refused(root: Path, factor: float) -> None:
    save(PHANTOM.dose(values_gy=PHANTOM.dose_gy * np.float32(factor)), root / "dose.dcm")
    with pytest.raises(CaseError, match=r"mean dose of PTV must be 0.5 to 2 times its prescription, 60 Gy"):
        read(root)
    assert read(root, check_dose=False)[0].dose_gy is not None


# --- plans and prescriptions ---------------------------------------------------------------------------------------


def test_without_a_plan_what_it_would_say_is_asked_for_one_by_one(root: Path) -> None:
    (root / "plan.dcm").unlink()
    given: dict[str, object] = {}
    for name, value in (("technique", "IMRT"), ("fractions", 25)):
        with pytest.raises(CaseError, match=f"data.{name} must be given where there is no plan"):
            read(root, **given)
        given[name] = value
    with pytest.raises(CaseError, match=r"must be given as data.prescription=.*the case's targets are PTV"):
        read(root, **given)
    case, _ = read(root, prescription={"PTV": 50}, **given)
    assert (case.prescription_gy, case.fractions, case.beams, case.isocenter_xyz_mm) == ({"PTV": 50.0}, 25, (), None)


def test_the_users_settings_overrule_the_plans(whole: Path) -> None:
    case, report = read(whole, prescription={"PTV": 58, "PTV_Low": 50}, fractions=29, site="HeadNeck")
    assert (case.prescription_gy, case.fractions, case.site) == ({"PTV": 58.0}, 29, "HeadNeck")
    assert "no target PTV_Low to prescribe 50 Gy to" in report.notes


def test_the_body_part_tells_the_site(root: Path) -> None:
    for path in root.glob("ct_*.dcm"):
        path.unlink()
    for k, data in enumerate(PHANTOM.ct_slices()):
        data.BodyPartExamined = "HEADNECK"
        save(data, root / f"{k}.dcm")
    assert read(root)[0].site == "HeadNeck"


def test_effective_dose_is_said_to_be(root: Path) -> None:
    data = PHANTOM.dose()
    data.DoseType = "EFFECTIVE"
    save(data, root / "dose.dcm")
    assert "the dose is EFFECTIVE" in read(root)[1].warnings[0]


# --- limits, settings, splits --------------------------------------------------------------------------------------


def test_a_case_larger_than_the_memory_allowed_is_refused(whole: Path) -> None:
    with pytest.raises(
        CaseError, match=r"must fit in data.max_memory_gb=0.0001.*3 structures on \(16, 44, 48\): 0.0 GB"
    ):
        read(whole, max_memory_gb=1e-4)


BAD_SETTINGS = [
    ({"unmatched": "drop"}, "data.unmatched must be one of"),
    ({"grid": "mr"}, "data.grid must be one of"),
    ({"plan": "yes"}, "data.plan must be one of"),
    ({"dose": "yes"}, "data.dose must be one of"),
    ({"technique": "3D"}, "data.technique must be one of"),
    ({"grid": "dose", "dose": "ignore"}, "data.dose must not be ignore where the grid is that of the dose"),
    ({"fractions": 0}, "data.fractions must be a positive integer"),
    ({"arc_spacing_deg": 0}, r"data.arc_spacing_deg must be in \(0, 120\]"),
    ({"max_memory_gb": -1}, r"data.max_memory_gb must be in \(0, inf\]"),
    ({"spacing_xyz_mm": [1, 1]}, "data.spacing_xyz_mm must be three lengths"),
    ({"spacing_xyz_mm": [1, 1, 0.01]}, "data.spacing_xyz_mm must be three lengths of 0.1 mm or more"),
    ({"choose": {"ct": "x"}}, "data.choose must name one of"),
    ({"prescription": {}}, "data.prescription must name a target"),
    ({"split": "all"}, "split must be one of"),
    ({"split": "train"}, 'must hold a folder train: without such folders all cases are of the split "test"'),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS, ids=[str(s) for s, _ in BAD_SETTINGS])
def test_settings_out_of_range_are_refused(whole: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DicomReader(whole, **settings)


def test_folders_of_splits_are_the_splits(root: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for path in list(root.glob("*.dcm")):
        path.rename(tmp_path / "train" / path.name)
    assert len(DicomReader(tmp_path, "train")) == 1
    with pytest.raises(CaseError, match="must hold a folder of the split"):
        DicomReader(tmp_path, "test")


def test_a_file_that_has_gone_is_named(root: Path) -> None:
    reader = DicomReader(root)
    (root / "ct_003.dcm").unlink()
    with pytest.raises(CaseError, match=r"ct_003.dcm: file must still be there"):
        reader.fingerprint(reader.case_ids[0])
    with pytest.raises(CaseError, match=r"ct_003.dcm: file must be readable as DICOM"):
        reader.read(reader.case_ids[0])


def test_settings_that_change_the_case_change_the_fingerprint(whole: Path) -> None:
    settings: Sequence[dict[str, object]] = (
        {},
        {"grid": "dose"},
        {"spacing_xyz_mm": [2, 2, 2]},
        {"prescription": {"PTV": 61}},
        {"fractions": 3},
        {"dose": "ignore"},
    )
    readers = [DicomReader(whole, **s) for s in settings]
    assert len({reader.fingerprint(reader.case_ids[0]) for reader in readers}) == len(readers)


class TestContract(ReaderContract):
    small = Grid((4, 10, 12), (12.0, 14.0, 8.0), (-70.0, -70.0, -12.0))

    def phantom(self, name: str) -> DicomPhantom:
        return DicomPhantom(name, grid=self.small, dose_grid=self.small)

    def make(self, folder: Path) -> DicomReader:
        if not (folder / "a").exists():
            for name in ("a", "b"):
                self.phantom(name).write(folder / name)
        return DicomReader(folder)

    def changed(self, folder: Path) -> DicomReader:
        reader = self.make(folder)
        files, _ = reader.chain(reader.case_ids[0])
        path = files.slices[0].path.parent / "plan.dcm"
        save(replace(self.phantom(path.parent.name), fractions=31).plan(), path)
        return DicomReader(folder)
