"""The reference data's DICOM sets, read wholly or refused for what is wrong with them."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dosewright.core import CaseError, PatientCase
from dosewright.io.dicom import DicomReader, DicomReport
from dosewright.io.dicom.read_contours import read_rois

pytestmark = pytest.mark.shared
SET = Path(__file__).resolve().parents[4] / "shared" / "data" / "dicom"


@pytest.fixture(scope="module")
def sets() -> Path:
    folder = SET
    if not folder.is_dir():
        pytest.skip("the reference data's DICOM sets are not here")
    return folder


def names_file(folder: Path, **names: str) -> Path:
    path = folder / "names.csv"
    path.write_text("source,name\n" + "".join(f"{source},{name}\n" for source, name in names.items()))
    return path


class TestTwoSlices:
    """Two slices of a head with three structure sets, as an exporter and two mistakes would leave them."""

    def read(self, sets: Path, folder: Path, name: str, **settings: object) -> tuple[PatientCase, DicomReport]:
        reader = DicomReader(
            sets / "rt_utils",
            choose={"structure_set": name},
            names=names_file(
                folder, **{"ROI-1": "PTV", "ROI-2": "Brainstem", "ROI-3": "Larynx", "ROI-4": "SpinalCord"}
            ),
            prescription={"PTV": 60},
            technique="IMRT",
            fractions=30,
            **settings,
        )
        return reader.read_with_report(reader.case_ids[0])

    def test_three_structure_sets_ask_for_a_choice(self, sets: Path) -> None:
        reader = DicomReader(sets / "rt_utils")
        with pytest.raises(CaseError, match=r"invalid_reference_rt.dcm; non_existent_reference_rt.dcm; rt.dcm"):
            reader.read(reader.case_ids[0])

    def test_hu_are_those_of_pydicom(self, sets: Path, tmp_path: Path) -> None:
        case, report = self.read(sets, tmp_path, "rt.dcm")
        for k in (0, 1):
            data = pydicom.dcmread(sets / "rt_utils" / f"ct_{k + 1}.dcm")
            expected = np.maximum(data.pixel_array.astype(int) - 1024, -1024)
            np.testing.assert_array_equal(case.ct_hu[k], expected)
        assert case.grid.origin_xyz_mm == (-125.0, -125.0, 60.0)
        assert case.grid.spacing_xyz_mm == (0.488281, 0.488281, 5.0)
        assert any("padding of the scanner" in note for note in report.notes)

    def test_a_frame_of_the_exporters_own_is_proved_by_its_contours(self, sets: Path, tmp_path: Path) -> None:
        _, report = self.read(sets, tmp_path, "rt.dcm")
        assert any("another frame of reference" in text for text in report.warnings)

    @pytest.mark.parametrize("name", ["invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"])
    def test_slices_that_are_missing_are_told(self, sets: Path, tmp_path: Path, name: str) -> None:
        with pytest.raises(CaseError, match=r"CT series must hold all [35] slices"):
            self.read(sets, tmp_path, name)
        case, report = self.read(sets, tmp_path, name, incomplete_ct=True)
        assert set(case.structures) == {"PTV", "Brainstem", "Larynx", "SpinalCord"}
        assert sum("reach beyond the grid; cut off there" in text for text in report.warnings) == 4
        rois = {roi.name: roi for roi in read_rois(sets / "rt_utils" / name)}
        for source, target in report.names.items():
            area = sum(_area(points) for points in rois[source].contours if points[0, 2] < 70)
            assert case.structures[target].sum() * 0.488281**2 == pytest.approx(area, rel=0.02), source


class TestOblique:
    def test_an_oblique_series_without_structures_is_no_case(self, sets: Path) -> None:
        with pytest.raises(CaseError, match="1 CT series, 0 structure sets"):
            DicomReader(sets / "rt_utils_oriented")


ECLIPSE = {
    "Borders": "zBorders",
    "Breast": "Breast_L",
    "Heart": "Heart",
    "Lt Lung": "Lung_L",
    "Nodes": "LN_Ax",
    "Scar": "Scar",
    "Tumor Bed": "CTV",
    "Tumor Bed Block": "CTV_Block",
}


class TestEclipse:
    """Structures, plan and dose of a breast boost, with one of its 98 CT slices."""

    def read(self, sets: Path, folder: Path, **settings: object) -> tuple[PatientCase, DicomReport]:
        reader = DicomReader(sets / "eclipse_one_slice", names=names_file(folder, **ECLIPSE), **settings)
        return reader.read_with_report(reader.case_ids[0])

    def test_one_slice_of_98_is_refused(self, sets: Path, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"CT series must hold all 98 slices.*got '1 slices'"):
            self.read(sets, tmp_path, prescription={"CTV": 14})

    @pytest.fixture
    def case(self, sets: Path, tmp_path: Path) -> PatientCase:
        case, report = self.read(
            sets, tmp_path, prescription={"CTV": 14}, grid="dose", incomplete_ct=True, spacing_xyz_mm=[1.25, 1.25, 3]
        )
        assert report.left_out == {"Areola": "no contours"}
        assert any("lies beyond the CT: air there" in text for text in report.warnings)
        return case

    def test_the_plan_is_read(self, case: PatientCase) -> None:
        assert [beam.gantry_angle_deg for beam in case.beams] == [327.0, 0.0, 56.0, 150.0]
        assert case.isocenter_xyz_mm == pytest.approx((72.5304715, -304.3445583, -9.3092401))
        assert (case.fractions, case.technique) == (7, "IMRT")

    def test_volumes_are_areas_times_distance(self, sets: Path, case: PatientCase) -> None:
        masks = {"BODY": case.body} | {source: case.structures[name] for source, name in ECLIPSE.items()}
        for roi in read_rois(sets / "eclipse_one_slice" / "rtss.dcm"):
            if roi.name in ("Heart", "Breast", "Tumor Bed", "Tumor Bed Block", "BODY"):
                expected = 3 * sum(_area(points) for points in roi.contours)
                volume = np.count_nonzero(masks[roi.name]) * case.grid.voxel_volume_mm3
                assert volume == pytest.approx(expected, rel=0.01), roi.name

    def test_doses_are_those_of_the_planning_system(self, sets: Path, case: PatientCase) -> None:
        """Against the DVHs in the RTDOSE. Its extremes and means are in percent of 14 Gy, though labelled GY.

        Volumes differ: Eclipse rounds off the ends of a structure, where its planes stop, so that a mean moves by what
        the ends get; what lies in the middle of its structure in a flat dose does not.
        """
        dataset = pydicom.dcmread(sets / "eclipse_one_slice" / "rtdose.dcm", stop_before_pixels=True)
        rois = {roi.number: roi.name for roi in read_rois(sets / "eclipse_one_slice" / "rtss.dcm")}
        compared = 0
        for dvh in dataset.DVHSequence:
            source = rois[int(dvh.DVHReferencedROISequence[0].ReferencedROINumber)]
            if source not in ECLIPSE:
                continue
            assert case.dose_gy is not None
            doses = case.dose_gy[case.structures[ECLIPSE[source]]]
            mean = 0.14 * float(dvh.DVHMeanDose)
            tolerance = 0.25 if source == "Scar" else 0.1
            assert doses.mean() == pytest.approx(mean, abs=tolerance), source
            if source in ("Tumor Bed", "Tumor Bed Block"):
                edges, volumes = np.cumsum(dvh.DVHData[::2]), np.array(dvh.DVHData[1::2], float)
                for percent in (95.0, 50.0, 5.0):
                    theirs = np.interp(-percent / 100 * volumes[0], -volumes, edges)
                    assert np.percentile(doses, 100 - percent) == pytest.approx(theirs, abs=0.1), (source, percent)
            compared += 1
        assert compared == 8

    def test_the_highest_dose_is_that_of_the_planning_system(self, case: PatientCase) -> None:
        assert case.dose_gy is not None
        assert float(case.dose_gy[case.body].max()) == pytest.approx(0.14 * 104.862666666667, abs=0.05)


def _area(points: np.ndarray) -> float:
    """Area of a polygon by the shoelace formula, mm²."""
    x, y = points[:, 0], points[:, 1]
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
