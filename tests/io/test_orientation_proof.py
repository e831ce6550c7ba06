"""Left stays left: a phantom with a marked voxel per octant through every writer and reader, seen by other libraries.

What the package wrote is looked at in patient coordinates with SimpleITK, nibabel, pydicom and numpy; what it read
back, at the positions that tests/marked_phantom.py holds by arithmetic.
"""

import csv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dosewright.core import Grid, PatientCase
from dosewright.io.dicom import DicomReader
from dosewright.io.dicom_writer import StudyWriter
from dosewright.io.gdp_hmm import GdpHmmReader, GdpHmmWriter
from dosewright.io.openkbp import OpenKBPReader
from dosewright.io.predictions import read_prediction, write_prediction
from dosewright.io.prepared import PreparedReader
from dosewright.io.prepared_plan import write_anatomy, write_plan
from dosewright.io.prepared_writer import PreparedWriter
from dosewright.io.volumes import FolderWriter, read_volume
from dosewright.io.writer import Origin
from dosewright.submission.openkbp import write_submission
from marked_phantom import BOXES, MARKS, SHAPE_ZYX, Marked, assert_box, assert_marks, marked_case, position_of, truth

Position = tuple[float, float, float]


@pytest.fixture(scope="module")
def marked() -> PatientCase:
    return marked_case()


def at(volume: np.ndarray, grid: Grid) -> Callable[[Position], float]:
    def value(position: Position) -> float:
        index = (np.array(position) - grid.origin_xyz_mm) / grid.spacing_xyz_mm
        x, y, z = np.round(index).astype(int)
        np.testing.assert_allclose(index, (x, y, z), atol=1e-3)
        return float(volume[z, y, x])

    return value


def assert_case(case: PatientCase, dose_tolerance_gy: float = 0.0) -> None:
    """The case that was read has every mark and structure where it was, and no other mark."""
    assert_marks(at(case.ct_hu, case.grid), "ct_hu")
    assert np.count_nonzero(case.ct_hu > 100) == len(MARKS)
    assert case.dose_gy is not None
    assert_marks(at(case.dose_gy, case.grid), "dose_gy", dose_tolerance_gy)
    for name in BOXES:
        assert_box(case.grid.position_xyz_mm(np.argwhere(case.structures[name]).astype(float)), name)
    assert case.isocenter_xyz_mm == pytest.approx(position_of((7, 8, 11)), abs=1e-3)
    assert tuple(beam.gantry_angle_deg for beam in case.beams) == (0.0, 70.0, 155.0)


def test_the_phantom_is_asymmetric_and_its_truth_is_the_package_s(marked: PatientCase) -> None:
    """Every flip, every swap of axes and every shift by a voxel moves a mark."""
    assert_case(marked)
    marks = {index: mark.ct_hu for index, mark in zip(MARKS.values(), truth(), strict=True)}
    sizes = np.array(SHAPE_ZYX)
    for axis in range(3):
        flipped = [tuple(np.where(np.arange(3) == axis, sizes - 1 - np.array(i), i).tolist()) for i in marks]
        assert all(marks.get(index) != hu for index, hu in zip(flipped, marks.values(), strict=True))
    with pytest.raises(AssertionError, match=r"RAI"):
        assert_marks(at(marked.ct_hu[:, :, ::-1], marked.grid), "ct_hu")
    with pytest.raises(AssertionError):
        assert_marks(at(marked.ct_hu, replace(marked.grid, origin_xyz_mm=(-35.5, 12.25, -810.5))), "ct_hu")


def test_left_is_left(marked: PatientCase) -> None:
    """In LPS, x grows to the patient's left: the left parotid's x is larger, as are those of the marks called L."""
    middle = {name: np.mean([position_of(corner) for corner in BOXES[name]], axis=0) for name in BOXES}
    assert middle["Parotid_L"][0] > middle["PTV_High"][0] > middle["Parotid_R"][0]
    assert middle["SpinalCord"][1] > middle["PTV_High"][1] > middle["Larynx"][1]  # posterior is larger
    assert middle["Brainstem"][2] > middle["PTV_High"][2] > middle["Larynx"][2]  # superior is larger
    centre = np.mean([mark.position_xyz_mm for mark in truth()], axis=0)
    for mark in truth():
        sides = [a if p > c else b for p, c, a, b in zip(mark.position_xyz_mm, centre, "LPS", "RAI", strict=True)]
        assert "".join(sides) == mark.octant


# Prepared cases


@pytest.mark.parametrize("kind", ["case", "plan"])
def test_prepared_cases(marked: PatientCase, tmp_path: Path, kind: str) -> None:
    if kind == "case":
        PreparedWriter().write(marked, tmp_path)
    else:
        anatomy = write_anatomy(tmp_path, replace(marked, case_id="patient"))
        write_plan(tmp_path / "marked.case", marked, anatomy, {}, np.zeros(3))
    assert_case(PreparedReader(tmp_path).read("marked"), dose_tolerance_gy=0.0051 if kind == "plan" else 0.0006)


# Volumes


def sitk_at(image: sitk.Image) -> Callable[[Position], float]:
    return lambda position: float(image.GetPixel(image.TransformPhysicalPointToIndex(position)))


def sitk_positions(image: sitk.Image, label: int = 1) -> np.ndarray:
    voxels = np.argwhere(sitk.GetArrayFromImage(image) == label)[:, ::-1]
    return np.array([image.TransformIndexToPhysicalPoint(voxel.tolist()) for voxel in voxels])


@pytest.mark.parametrize(("kind", "ending"), [("nifti", ".nii.gz"), ("nrrd", ".nrrd")])
def test_volumes_for_simpleitk_and_back(marked: PatientCase, tmp_path: Path, kind: str, ending: str) -> None:
    FolderWriter(kind).write(marked, tmp_path)
    folder = tmp_path / "marked"
    for name, what in (("ct", "ct_hu"), ("dose", "dose_gy")):
        image = sitk.ReadImage(str(folder / f"{name}{ending}"))
        assert_marks(sitk_at(image), what)
        assert_marks(at(read_volume(folder / f"{name}{ending}", marked.grid), marked.grid), what)
    for name in BOXES:
        assert_box(sitk_positions(sitk.ReadImage(str(folder / "structures" / f"{name}{ending}"))), name)
    assert_marks(at(read_prediction(tmp_path, marked), marked.grid), "dose_gy")


def test_nifti_for_nibabel(marked: PatientCase, tmp_path: Path) -> None:
    """RAS positions by the affine alone: x and y with the other sign."""
    FolderWriter("nifti").write(marked, tmp_path)
    for name, what in (("ct", "ct_hu"), ("dose", "dose_gy")):
        image = nib.load(tmp_path / "marked" / f"{name}.nii.gz")
        inverse, values = np.linalg.inv(image.affine), np.asarray(image.dataobj)

        def by_affine(position: Position, inverse: np.ndarray = inverse, values: np.ndarray = values) -> float:
            x, y, z = position
            return float(values[tuple(np.round(inverse @ (-x, -y, z, 1.0)).astype(int)[:3])])

        assert_marks(by_affine, what)


def test_the_slicer_segmentation(marked: PatientCase, tmp_path: Path) -> None:
    """Labels by Slicer's own fields, layer by layer, with SimpleITK's positions."""
    overlapping = {**marked.structures, "CTV": marked.structures["PTV_High"] & (marked.ct_hu < 100)}
    FolderWriter("nrrd").write(replace(marked, structures=overlapping), tmp_path)
    image = sitk.ReadImage(str(tmp_path / "marked" / "segmentation.seg.nrrd"))
    assert image.GetNumberOfComponentsPerPixel() == 2
    for number in range(len(overlapping)):
        name, layer, label = (image.GetMetaData(f"Segment{number}_{key}") for key in ("Name", "Layer", "LabelValue"))
        positions = sitk_positions(sitk.VectorIndexSelectionCast(image, int(layer)), int(label))
        if name in BOXES:
            assert_box(positions, name)


# Predictions


def test_predictions(marked: PatientCase, tmp_path: Path) -> None:
    assert marked.dose_gy is not None
    path = write_prediction(tmp_path, "marked", marked.grid, marked.dose_gy)
    assert_marks(at(read_prediction(tmp_path, marked), marked.grid), "dose_gy")
    with np.load(path) as stored:
        grid = Grid(stored["dose_gy"].shape, tuple(stored["spacing_xyz_mm"]), tuple(stored["origin_xyz_mm"]))
        assert_marks(at(stored["dose_gy"], grid), "dose_gy")


# OpenKBP: axis 0 to posterior, 1 to the left, 2 to caudal, flat in C order, no positions

OPENKBP_SHIFT = (50, 51, 52)  # into the middle of 128³


def openkbp_index(zyx: tuple[int, int, int]) -> int:
    z, y, x = (v + s for v, s in zip(zyx, OPENKBP_SHIFT, strict=True))
    return (y * 128 + x) * 128 + (127 - z)


def openkbp_volume(volume: np.ndarray) -> np.ndarray:
    big = np.zeros((128, 128, 128), np.float32)
    big[tuple(slice(s, s + n) for s, n in zip(OPENKBP_SHIFT, SHAPE_ZYX, strict=True))] = volume
    return big


def test_openkbp_submissions(marked: PatientCase, tmp_path: Path) -> None:
    assert marked.dose_gy is not None
    path = write_submission([("pt_7", openkbp_volume(marked.dose_gy))], tmp_path / "s.zip")
    with zipfile.ZipFile(path) as archive:
        rows = dict(csv.reader(archive.read("pt_7.csv").decode().splitlines()[1:]))
    for mark, zyx in zip(truth(), MARKS.values(), strict=True):
        assert float(rows[str(openkbp_index(zyx))]) == mark.dose_gy
    grid = Grid((128, 128, 128), (3.0, 3.0, 2.5))
    big = PatientCase(
        "pt_7",
        grid,
        np.zeros(grid.shape_zyx, np.int16),
        np.ones(grid.shape_zyx, bool),
        {"PTV_High": np.ones(grid.shape_zyx, bool)},
        {"PTV_High": 70.0},
    )
    assert_openkbp(read_prediction(path, big), [mark.dose_gy for mark in truth()])


def assert_openkbp(volume: np.ndarray, values: list[float]) -> None:
    for zyx, value in zip(MARKS.values(), values, strict=True):
        assert volume[tuple(v + s for v, s in zip(zyx, OPENKBP_SHIFT, strict=True))] == value


def test_openkbp_patients(marked: PatientCase, tmp_path: Path) -> None:
    """Files written here by arithmetic, read by the package."""
    folder = tmp_path / "provided-data" / "train-pats" / "pt_1"
    folder.mkdir(parents=True)
    assert marked.dose_gy is not None

    def write(stem: str, rows: Iterator[tuple[tuple[int, ...], object]]) -> None:
        lines = (f"{openkbp_index((z, y, x))},{value}" for (z, y, x), value in rows)
        (folder / f"{stem}.csv").write_text(",data\n" + "".join(f"{line}\n" for line in lines))

    inside = [tuple(voxel) for voxel in np.argwhere(marked.body).tolist()]
    dose_gy = marked.dose_gy
    write("ct", ((voxel, float(marked.ct_hu[voxel]) + 1000) for voxel in inside))
    write("dose", ((voxel, float(dose_gy[voxel])) for voxel in inside))
    write("possible_dose_mask", ((voxel, "") for voxel in inside))
    theirs = {"PTV70": "PTV_High", "LeftParotid": "Parotid_L", "RightParotid": "Parotid_R", "SpinalCord": "SpinalCord"}
    for stem, name in theirs.items():
        write(stem, ((tuple(voxel), "") for voxel in np.argwhere(marked.structures[name]).tolist()))
    (folder / "voxel_dimensions.csv").write_text("3.0\n2.0\n2.5\n")  # posterior, left, caudal
    case = OpenKBPReader(tmp_path, "train").read("pt_1")
    assert case.grid.spacing_xyz_mm == marked.grid.spacing_xyz_mm
    assert case.dose_gy is not None
    assert_openkbp(case.ct_hu, [mark.ct_hu for mark in truth()])
    assert_openkbp(case.dose_gy, [mark.dose_gy for mark in truth()])
    for name in theirs.values():
        np.testing.assert_array_equal(case.structures[name], openkbp_volume(marked.structures[name]) > 0)


# DICOM


@pytest.fixture(scope="module")
def study(marked: PatientCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    StudyWriter().write(marked, root, Origin())
    return root


def test_dicom_and_back(study: Path) -> None:
    reader = DicomReader(study, site="HeadNeck")
    (case_id,) = reader.case_ids
    assert_case(reader.read(case_id), dose_tolerance_gy=0.001)


def test_dicom_ct_for_pydicom(study: Path) -> None:
    """ImagePositionPatient and PixelSpacing of each slice, as the standard defines them (PS3.3 C.7.6.2.1.1)."""
    slices = [pydicom.dcmread(path) for path in study.rglob("CT_*.dcm")]

    def value(position: Position) -> float:
        (one,) = (s for s in slices if abs(float(s.ImagePositionPatient[2]) - position[2]) < 1e-3)
        along_row, along_column = np.reshape(np.array(one.ImageOrientationPatient, float), (2, 3))
        way = np.array(position) - np.array(one.ImagePositionPatient, float)
        column = round(float(way @ along_row) / float(one.PixelSpacing[1]))
        row = round(float(way @ along_column) / float(one.PixelSpacing[0]))
        return float(one.pixel_array[row, column] * one.RescaleSlope + one.RescaleIntercept)

    assert_marks(value, "ct_hu")


def test_dicom_for_simpleitk(study: Path) -> None:
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(study / "marked"), useSeriesDetails=False)
    ct = sitk.ReadImage([name for name in names if "CT_" in name])
    assert_marks(sitk_at(ct), "ct_hu")
    (path,) = study.rglob("RTDOSE_*.dcm")
    dose = sitk.ReadImage(str(path), sitk.sitkFloat64)
    scaling = float(pydicom.dcmread(path, stop_before_pixels=True).DoseGridScaling)
    found = sitk_at(dose)  # stored values: ITK leaves the scaling to its user
    assert_marks(lambda position: found(position) * scaling, "dose_gy", 0.001)


def test_dicom_contours_for_pydicom(study: Path) -> None:
    """Contours run along the edges of each box's voxels: half a voxel beyond the centres, on the slices' planes."""
    (path,) = study.rglob("RTSTRUCT.dcm")
    data = pydicom.dcmread(path)
    names = {int(roi.ROINumber): str(roi.ROIName) for roi in data.StructureSetROISequence}
    found = {}
    for roi in data.ROIContourSequence:
        points = np.concatenate([np.reshape(np.array(c.ContourData, float), (-1, 3)) for c in roi.ContourSequence])
        found[names[int(roi.ReferencedROINumber)]] = (points.min(axis=0), points.max(axis=0))
    half = np.array([1.0, 1.5, 0.0])
    for name, (first, last) in BOXES.items():
        low, high = found[name]
        np.testing.assert_allclose(low, np.array(position_of(first)) - half, atol=0.01, err_msg=name)
        np.testing.assert_allclose(high, np.array(position_of(last)) + half, atol=0.01, err_msg=name)


def test_a_dose_written_into_the_study_it_belongs_to(study: Path, marked: PatientCase, tmp_path: Path) -> None:
    """Another grid than the CT's: half the voxels, where the marks are still at their places."""
    files = tuple(sorted(study.rglob("CT_*.dcm"))) + tuple(study.rglob("RTSTRUCT.dcm"))
    assert marked.dose_gy is not None
    case = replace(marked, dose_gy=np.ascontiguousarray(marked.dose_gy / 2))
    (path, *_) = [p for p in StudyWriter().write(case, tmp_path, Origin("predicted", "", files)) if "RTDOSE" in p.name]
    written, ct = pydicom.dcmread(path), pydicom.dcmread(files[0], stop_before_pixels=True)
    assert written.FrameOfReferenceUID == ct.FrameOfReferenceUID
    assert written.StudyInstanceUID == ct.StudyInstanceUID
    offsets = np.array(written.GridFrameOffsetVector, float)
    origin = np.array(written.ImagePositionPatient, float)

    def value(position: Position) -> float:
        frame = int(np.argmin(np.abs(origin[2] + offsets - position[2])))
        column = round((position[0] - origin[0]) / float(written.PixelSpacing[1]))
        row = round((position[1] - origin[1]) / float(written.PixelSpacing[0]))
        return float(written.pixel_array[frame, row, column]) * float(written.DoseGridScaling) * 2

    assert_marks(value, "dose_gy", 0.001)


# GDP-HMM


def test_gdp_hmm_and_for_numpy(marked: PatientCase, tmp_path: Path) -> None:
    GdpHmmWriter(split="train").write(marked, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    content = np.load(path, allow_pickle=True)["arr_0"].item()  # as the challenge's loader does, of our own file
    grid = Grid(content["img"].shape, tuple(content["spacing"]), tuple(content["origin"]))
    assert_marks(at(content["img"], grid), "ct_hu")
    assert_marks(at(content["dose"] * content["dose_scale"], grid), "dose_gy", 1e-5)
    assert tuple(content["direction"]) == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    np.testing.assert_allclose(content["isocenter"], (7, 8, 11), atol=1e-6)
    reader = GdpHmmReader(tmp_path, "train")
    (case_id,) = reader.case_ids
    case = reader.read(case_id)
    assert_marks(at(case.ct_hu, case.grid), "ct_hu")
    assert case.dose_gy is not None
    assert_marks(at(case.dose_gy, case.grid), "dose_gy", 1e-4)
    for name in BOXES:
        if name in case.structures:
            assert_box(case.grid.position_xyz_mm(np.argwhere(case.structures[name]).astype(float)), name)
    assert {"PTV_High", "SpinalCord", "Brainstem", "Larynx"} <= set(case.structures)


def test_marks_are_values_of_their_own() -> None:
    marks: tuple[Marked, ...] = truth()
    assert len({mark.ct_hu for mark in marks}) == len({mark.dose_gy for mark in marks}) == 8
    for axis in range(3):
        assert len({zyx[axis] for zyx in MARKS.values()}) == 8
