"""NIfTI and NRRD: written, read by libraries of others and by the package, and refused when broken."""

import gzip
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from cases import make_case
from dosewright.core import CaseError, Grid, GridMismatchError, InputError, PatientCase
from dosewright.io.predictions import list_predictions, read_prediction
from dosewright.io.volumes import FolderWriter, open_volume, read_volume
from dosewright.io.volumes.nifti import affine_ras_mm, write_nifti
from dosewright.io.volumes.nrrd_file import write_nrrd
from dosewright.io.writer import Origin

GRID = Grid((4, 5, 6), (1.5, 2.5, 3.0), (-120.25, 33.5, 700.0))
ENDINGS = {"nifti": ".nii.gz", "nrrd": ".nrrd"}


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 70, GRID.shape_zyx).astype(np.float32)


def write(path: Path, volume: np.ndarray, grid: Grid = GRID) -> Path:
    return write_nrrd(path, volume, grid) if path.suffix == ".nrrd" else write_nifti(path, volume, grid)


def sitk_grid(image: sitk.Image) -> Grid:
    assert image.GetDirection() == pytest.approx(np.eye(3).ravel(), abs=1e-7)
    return Grid(image.GetSize()[::-1], image.GetSpacing(), image.GetOrigin())


# Writing


@pytest.mark.parametrize("ending", ENDINGS.values())
def test_simpleitk_reads_the_same_voxels_at_the_same_places(tmp_path: Path, values: np.ndarray, ending: str) -> None:
    image = sitk.ReadImage(str(write(tmp_path / f"dose{ending}", values)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values)
    assert sitk_grid(image).is_close(GRID, 1e-4)


def test_nibabel_reads_ras_with_both_codes_and_mm(tmp_path: Path, values: np.ndarray) -> None:
    image = nib.load(write(tmp_path / "dose.nii.gz", values))
    np.testing.assert_array_equal(np.asarray(image.dataobj), values.transpose(2, 1, 0))
    expected = [[-1.5, 0, 0, 120.25], [0, -2.5, 0, -33.5], [0, 0, 3.0, 700.0], [0, 0, 0, 1]]
    for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_allclose(affine, expected, atol=1e-5)
        assert code == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    np.testing.assert_array_equal(affine_ras_mm(GRID), expected)


def test_the_nrrd_header_says_lps_and_mm(tmp_path: Path, values: np.ndarray) -> None:
    head = write(tmp_path / "dose.nrrd", values).read_bytes().partition(b"\n\n")[0].decode()
    for line in (
        "space: left-posterior-superior",
        "sizes: 6 5 4",
        "space directions: (1.5,0,0) (0,2.5,0) (0,0,3)",
        "space origin: (-120.25,33.5,700)",
        'space units: "mm" "mm" "mm"',
        "type: float",
        "encoding: gzip",
    ):
        assert line in head.splitlines()


def test_the_same_volume_gives_the_same_nifti(tmp_path: Path, values: np.ndarray) -> None:
    one, other = (write(tmp_path / name, values).read_bytes() for name in ("a.nii.gz", "b.nii.gz"))
    assert one == other


@pytest.mark.parametrize("ending", ENDINGS.values())
def test_a_volume_of_another_shape_is_not_written(tmp_path: Path, ending: str) -> None:
    with pytest.raises(GridMismatchError, match=r"volume must have the grid's shape \(4, 5, 6\); got \(5, 4, 6\)"):
        write(tmp_path / f"dose{ending}", np.zeros((5, 4, 6), np.float32))
    assert list(tmp_path.iterdir()) == []


# Reading


@pytest.mark.parametrize("ending", [".nii", *ENDINGS.values()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8])
def test_what_simpleitk_writes_is_read(tmp_path: Path, values: np.ndarray, ending: str, dtype: type) -> None:
    stored = values.astype(dtype)
    image = sitk.GetImageFromArray(stored)
    image.SetSpacing(GRID.spacing_xyz_mm)
    image.SetOrigin(GRID.origin_xyz_mm)
    for compressed in (False, True):
        sitk.WriteImage(image, str(tmp_path / f"dose{ending}"), compressed)
        read = read_volume(tmp_path / f"dose{ending}", GRID)
        assert (read.dtype, read.flags.c_contiguous) == (np.float32, True)
        np.testing.assert_array_equal(read, stored.astype(np.float32))


@pytest.mark.parametrize("ending", ENDINGS.values())
def test_axes_in_every_order_and_direction_are_turned_back(tmp_path: Path, values: np.ndarray, ending: str) -> None:
    """SimpleITK turns the volume to each of 48 orientations; the voxels stay where they are."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(GRID.spacing_xyz_mm)
    image.SetOrigin(GRID.origin_xyz_mm)
    letters = [("L", "R"), ("P", "A"), ("S", "I")]
    codes = ["".join(code) for order in itertools.permutations(letters) for code in itertools.product(*order)]
    assert len(set(codes)) == 48
    for code in codes[:: 3 if ending == ".nrrd" else 5]:
        turned = sitk.DICOMOrient(image, code)
        sitk.WriteImage(turned, str(tmp_path / f"dose{ending}"))
        np.testing.assert_array_equal(read_volume(tmp_path / f"dose{ending}", GRID), values, err_msg=code)


@pytest.mark.parametrize("space", ["right-anterior-superior", "RAS", "left-anterior-superior", "LAS"])
def test_other_spaces_of_nrrd_are_the_same_places(tmp_path: Path, values: np.ndarray, space: str) -> None:
    signs = np.array([-1 if space[0] in "rR" else 1, -1, 1])
    path = write(tmp_path / "dose.nrrd", values)
    origin = ",".join(str(v) for v in signs * GRID.origin_xyz_mm)
    steps = " ".join(f"({','.join(str(v) for v in row)})" for row in np.diag(signs * GRID.spacing_xyz_mm))
    edit(path, ("left-posterior-superior", space))
    edit(path, ("(-120.25,33.5,700)", f"({origin})"), ("(1.5,0,0) (0,2.5,0) (0,0,3)", steps))
    np.testing.assert_array_equal(read_volume(path, GRID), values)
    assert sitk_grid(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")).is_close(GRID, 1e-4)


def test_nifti_scaling_is_applied(tmp_path: Path) -> None:
    stored = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    image = nib.Nifti1Image(stored, affine_ras_mm(GRID))
    image.header.set_slope_inter(0.5, 3.0)
    image.header.set_xyzt_units("mm")
    (tmp_path / "dose.nii").write_bytes(image.to_bytes())
    np.testing.assert_allclose(read_volume(tmp_path / "dose.nii", GRID), stored.transpose(2, 1, 0) * 0.5 + 3, rtol=1e-6)


@pytest.mark.parametrize("ending", ENDINGS.values())
@pytest.mark.parametrize(
    "other",
    [
        replace(GRID, origin_xyz_mm=(-120.25, 33.5, 700.01)),
        replace(GRID, spacing_xyz_mm=(1.5, 2.5, 3.001)),
        replace(GRID, shape_zyx=(4, 6, 5)),
    ],
)
def test_another_grid_is_refused_by_its_header(tmp_path: Path, values: np.ndarray, ending: str, other: Grid) -> None:
    path = write(tmp_path / f"dose{ending}", values)
    path.write_bytes(path.read_bytes()[:-20])  # the voxels are not looked at
    with pytest.raises(GridMismatchError, match=rf"dose{re.escape(ending)}: volume must be on the case's grid Grid\("):
        read_volume(path, other)


@pytest.mark.parametrize("ending", ENDINGS.values())
def test_an_oblique_volume_is_refused(tmp_path: Path, values: np.ndarray, ending: str) -> None:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(GRID.spacing_xyz_mm)
    angle = np.deg2rad(1.0)
    c, s = np.cos(angle), np.sin(angle)
    image.SetDirection([c, -s, 0, s, c, 0, 0, 0, 1])
    sitk.WriteImage(image, str(tmp_path / f"dose{ending}"))
    with pytest.raises(CaseError, match=r"axes must be parallel to the patient's axes within 0.001 mm; got"):
        open_volume(tmp_path / f"dose{ending}")


def edit(path: Path, *changes: tuple[str, str]) -> Path:
    head, blank, rest = path.read_bytes().partition(b"\n\n")
    for old, new in changes:
        assert old.encode() in head
        head = head.replace(old.encode(), new.encode())
    path.write_bytes(head + blank + rest)
    return path


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (("space: left-posterior-superior", "space: scanner-xyz"), r"space must be one of .*; got 'scanner-xyz'"),
        (("space: left-posterior-superior\n", ""), r"header must have type.*; got \"without \['space'\]\""),
        (("encoding: gzip", "encoding: bzip2"), "encoding must be raw or gzip; got 'bzip2'"),
        (("encoding: gzip", "encoding: raw"), r"file must hold 480 bytes of voxels; got '\d+ bytes"),
        (("encoding: gzip", "encoding: gzip\ndata file: ../../secret"), r"header must not say .*; got \['data file'\]"),
        (("encoding: gzip", "encoding: gzip\nbyte skip: -1"), r"header must not say .*; got \['byte skip'\]"),
        (("sizes: 6 5 4", "sizes: 6 5 99999999999"), "volume must be at most 1100000000 bytes; got"),
        (("sizes: 6 5 4", "sizes: 6 5 -4"), r"sizes must be one 3-D volume; got \(6, 5, -4\)"),
        (("sizes: 6 5 4", "sizes: 6 5 nan"), r"sizes must be one 3-D volume; got \(6, 5, -9223"),
        (("sizes: 6 5 4", "sizes: 6 5 5"), "file must hold 600 bytes of voxels; got '480 bytes'"),
        (("sizes: 6 5 4", "sizes: 6 5 3"), "file must hold 360 bytes of voxels; got '360 bytes and more'"),
        (("dimension: 3", "dimension: 4"), r"sizes must be one 3-D volume; got \(6, 5, 4\)"),
        (("type: float", "type: block"), "type must be an integer or floating-point type; got 'block'"),
        (("endian: little", "endian: middle"), "endian must be little or big; got 'middle'"),
        (('"mm" "mm" "mm"', '"m" "m" "m"'), r"space units must be mm; got \['m'\]"),
        (("(0,2.5,0)", "none"), "affine must be finite; got"),
        (("(0,2.5,0)", "(0,0,0)"), "axes must be parallel to the patient's axes"),
        (("(-120.25,33.5,700)", "(-120.25,33.5)"), "space directions must have three numbers per axis"),
        (("(-120.25,33.5,700)", "(-120.25,inf,700)"), "affine must be finite; got"),
        (("NRRD0005", "NRRD9999"), "file must be an NRRD header"),
        (("NRRD0005", "XRRD0005"), "file must begin with NRRD; got"),
    ],
)
def test_a_broken_nrrd_header_is_refused(
    tmp_path: Path, values: np.ndarray, change: tuple[str, str], rule: str
) -> None:
    path = edit(write(tmp_path / "dose.nrrd", values), change)
    with pytest.raises(CaseError, match=rule) as refused:
        open_volume(path).values()
    assert str(path) in str(refused.value)


def header_with(**fields: Any) -> bytes:
    image = nib.Nifti1Image(np.ones((6, 5, 4), np.float32), affine_ras_mm(GRID))
    image.header.set_xyzt_units("mm")
    data = image.to_bytes()
    header = nib.Nifti1Header(data[:348])
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + data[348:]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"magic": b"ni1"}, "magic must be a single-file NIfTI-1; got b'ni1"),
        ({"dim": [3, 6, 5, 0, 1, 1, 1, 1]}, r"dim must be one 3-D volume; got \(6, 5, 0\)"),
        ({"dim": [4, 6, 5, 2, 2, 1, 1, 1]}, r"dim must be one 3-D volume; got \(6, 5, 2, 2\)"),
        ({"dim": [2, 6, 5, 4, 1, 1, 1, 1]}, r"dim must be one 3-D volume; got \(6, 5\)"),
        ({"dim": [3, 32000, 32000, 32000, 1, 1, 1, 1]}, "volume must be at most 1100000000 bytes; got"),
        ({"datatype": 32, "bitpix": 64}, "datatype must be real numbers of at most 8 bytes; got 'complex64'"),
        ({"datatype": 128, "bitpix": 24}, "datatype must be real numbers of at most 8 bytes"),
        ({"datatype": 999}, "file must be a NIfTI-1 header"),
        ({"xyzt_units": 1}, r"xyzt_units must be mm \(2\); got 1"),
        ({"sform_code": 0, "qform_code": 0}, "sform and qform must be given"),
        ({"vox_offset": 1e9}, r"vox_offset must be in \[348, 1000000\]; got 1000000000"),
        ({"vox_offset": np.nan}, r"vox_offset must be in \[348, 1000000\]; got nan"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "affine must be finite"),
        ({"scl_slope": np.inf}, "scl_slope must be finite; got inf"),
        ({"scl_slope": 1.0, "scl_inter": np.nan}, "file must be a NIfTI-1 header; got .*intercept"),
        ({"dim": [3, 6, 5, 5, 1, 1, 1, 1]}, "file must hold 600 bytes of voxels; got '480 bytes'"),
        ({"dim": [3, 6, 5, 3, 1, 1, 1, 1]}, "file must hold 360 bytes of voxels; got '360 bytes and more'"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_broken_nifti_header_is_refused(tmp_path: Path, fields: dict[str, Any], rule: str, compressed: bool) -> None:
    path = tmp_path / ("dose.nii.gz" if compressed else "dose.nii")
    path.write_bytes(gzip.compress(header_with(**fields)) if compressed else header_with(**fields))
    with pytest.raises(CaseError, match=rule) as refused:
        open_volume(path).values()
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("ending", ENDINGS.values())
def test_what_is_no_volume_is_refused(tmp_path: Path, values: np.ndarray, ending: str) -> None:
    path = tmp_path / f"dose{ending}"
    with pytest.raises(CaseError, match=f"dose{re.escape(ending)}: file must exist; got 'no such file'"):
        open_volume(path)
    path.mkdir()
    with pytest.raises(CaseError, match=r"file must be readable; got .*Is a directory"):
        open_volume(path)
    path.rmdir()
    path.write_bytes(b"")
    with pytest.raises(CaseError, match=r"file must begin with"):
        open_volume(path)
    whole = write(path, values).read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(CaseError, match="file must be a whole volume; got"):
        open_volume(path).values()
    path.write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])  # in the checksum
    with pytest.raises(CaseError, match=r"file must be a whole volume; got .*CRC"):
        open_volume(path).values()


def test_a_header_without_end_and_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dose.nrrd").write_bytes(b"NRRD0005\n" + b"# \n" * 400_000)
    with pytest.raises(CaseError, match=r"header must end with a blank line within 1000000 bytes; got '1000000 bytes"):
        open_volume(tmp_path / "dose.nrrd")
    with pytest.raises(CaseError, match=r"file must end in one of \('.nii.gz', '.nii', '.nrrd'\); got 'dose.mha'"):
        open_volume(tmp_path / "dose.mha")


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """4 GB behind 4 MB: no more than the header's 480 bytes, and one, are unpacked."""
    head = b"NRRD0005\ntype: float\nendian: little\ndimension: 3\nsizes: 6 5 4\nspace: LPS\nencoding: gzip\n"
    head += b"space directions: (1.5,0,0) (0,2.5,0) (0,0,3)\nspace origin: (-120.25,33.5,700)\n\n"
    member = gzip.compress(bytes(40_000_000), 9)
    (tmp_path / "dose.nrrd").write_bytes(head + member * 100)
    with pytest.raises(CaseError, match="file must hold 480 bytes of voxels; got '480 bytes and more'"):
        open_volume(tmp_path / "dose.nrrd").values()


# Cases


def overlapping() -> PatientCase:
    case = make_case()
    ring = np.zeros(case.grid.shape_zyx, bool)
    ring[4:10, 7:13, 8:14] = True
    return replace(case, structures={**case.structures, "PTV_Low": ring}, dose_mask=case.body & (case.ct_hu > -500))


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_case_becomes_a_folder_of_volumes(tmp_path: Path, case: PatientCase, kind: str) -> None:
    ending = ENDINGS[kind]
    files = FolderWriter(kind).write(case, tmp_path, Origin(dose="predicted"))
    names = {path.relative_to(tmp_path / "case_1").as_posix() for path in files}
    segmentation = "segmentation.nii.gz" if kind == "nifti" else "segmentation.seg.nrrd"
    structures = {f"structures/{name}{ending}" for name in ("External", *case.structures)}
    assert names == {f"ct{ending}", f"dose{ending}", segmentation, "case.json", *structures}
    assert all(path.is_file() for path in files)
    expected = {f"ct{ending}": case.ct_hu, f"dose{ending}": case.dose_gy}
    expected |= {f"structures/{name}{ending}": mask for name, mask in case.structures.items()}
    expected |= {f"structures/External{ending}": case.body}
    for name, volume in expected.items():
        assert volume is not None
        image = sitk.ReadImage(str(tmp_path / "case_1" / name))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume, err_msg=name)
        assert sitk_grid(image).is_close(case.grid, 1e-4)
    assert sitk.ReadImage(str(tmp_path / "case_1" / f"ct{ending}")).GetPixelIDTypeAsString() == "16-bit signed integer"


def test_the_description_tells_labels_units_and_plan(tmp_path: Path, case: PatientCase) -> None:
    FolderWriter("nifti").write(replace(case, isocenter_xyz_mm=(1.0, 2.0, 3.0)), tmp_path)
    told = json.loads((tmp_path / "case_1" / "case.json").read_text())
    assert told["units"] == {"ct": "HU", "dose": "Gy, total", "lengths": "mm"}
    assert told["grid"] == {
        "size_xyz": [24, 20, 16],
        "spacing_xyz_mm": [3.0, 3.0, 4.0],
        "first_voxel_center_xyz_mm": [-40.0, -30.0, 5.0],
    }
    assert (told["prescription_gy"], told["fractions"], told["isocenter_xyz_mm"]) == (
        {"PTV_High": 70.0, "PTV_Low": 56.0},
        35,
        [1.0, 2.0, 3.0],
    )
    assert (told["use"], told["dose"], len(told["beams"])) == ("research only", "reference", 9)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "case_1" / "segmentation.nii.gz")))
    for name, mask in case.structures.items():
        entry = told["structures"][name]
        np.testing.assert_array_equal(labels == entry["label"], mask)
        assert entry["volume_cc"] == pytest.approx(mask.sum() * 0.036)
        assert entry["file"] == f"structures/{name}.nii.gz"
    assert told["structures"]["External"]["label"] is None


def test_slicer_gets_layers_where_structures_overlap(tmp_path: Path) -> None:
    import nrrd

    case = overlapping()
    FolderWriter("nrrd").write(case, tmp_path)
    path = tmp_path / "case_1" / "segmentation.seg.nrrd"
    labels, fields = nrrd.read(str(path), index_order="C")
    assert (fields["kinds"], labels.shape) == (["list", "domain", "domain", "domain"], (16, 20, 24, 2))
    assert fields["Segmentation_SourceRepresentation"] == "Binary labelmap"
    found = {}
    for number in range(len(case.structures)):
        own = {
            key: fields[f"Segment{number}_{key}"] for key in ("ID", "Name", "Layer", "LabelValue", "Extent", "Color")
        }
        mask = labels[..., int(own["Layer"])] == int(own["LabelValue"])
        np.testing.assert_array_equal(mask, case.structures[own["Name"]])
        z, y, x = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
        assert own["Extent"] == f"{x[0]} {x[-1]} {y[0]} {y[-1]} {z[0]} {z[-1]}"
        found[own["Name"]] = own
    assert [found[name]["Layer"] for name in case.structures] == ["0", "1", "0", "0", "0"]
    assert found["Parotid_L"]["Color"] == "0.149020 0.423529 0.839216"  # #266CD6, as everywhere
    image = sitk.ReadImage(str(path))
    assert image.GetNumberOfComponentsPerPixel() == 2
    assert image.GetOrigin() == case.grid.origin_xyz_mm
    assert image.GetSpacing() == case.grid.spacing_xyz_mm


def test_nifti_has_no_segmentation_where_structures_overlap(tmp_path: Path) -> None:
    FolderWriter("nifti").write(overlapping(), tmp_path)
    assert not (tmp_path / "case_1" / "segmentation.nii.gz").exists()
    assert (tmp_path / "case_1" / "dose_mask.nii.gz").is_file()
    assert json.loads((tmp_path / "case_1" / "case.json").read_text())["layers"] == 2


def test_choices_of_the_writer(tmp_path: Path, case: PatientCase) -> None:
    bare = FolderWriter("nrrd", structures=False, segmentation=False)
    halves = replace(case, ct_hu=case.ct_hu.astype(np.float32) + 0.5, dose_gy=None)
    assert sorted(path.name for path in bare.write(halves, tmp_path)) == ["case.json", "ct.nrrd"]
    ct = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "case_1" / "ct.nrrd")))
    np.testing.assert_array_equal(ct, halves.ct_hu)
    assert json.loads((tmp_path / "case_1" / "case.json").read_text())["dose"] is None
    with pytest.raises(InputError, match=r"kind must be one of \('nifti', 'nrrd'\); got 'mha'"):
        FolderWriter("mha")


def test_names_that_differ_in_case_alone_get_files_of_their_own(tmp_path: Path, case: PatientCase) -> None:
    twins = {**case.structures, "LARYNX": case.structures["SpinalCord"], "Larynx": case.structures["Parotid_L"]}
    FolderWriter("nrrd", segmentation=False).write(replace(case, structures=twins), tmp_path)
    files = {
        name: entry["file"]
        for name, entry in json.loads((tmp_path / "case_1" / "case.json").read_text())["structures"].items()
    }
    assert (files["LARYNX"], files["Larynx"]) == ("structures/LARYNX.nrrd", "structures/Larynx_2.nrrd")
    image = sitk.ReadImage(str(tmp_path / "case_1" / "structures" / "Larynx_2.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), twins["Larynx"])


# Doses as predictions


@pytest.mark.parametrize("kind", ENDINGS)
def test_an_exported_dose_is_read_as_a_prediction(tmp_path: Path, case: PatientCase, kind: str) -> None:
    FolderWriter(kind).write(case, tmp_path / "export")
    alone = tmp_path / "alone" / f"case_1{ENDINGS[kind]}"
    alone.parent.mkdir()
    alone.write_bytes((tmp_path / "export" / "case_1" / f"dose{ENDINGS[kind]}").read_bytes())
    for source in (tmp_path / "export", alone.parent):
        assert list_predictions(source) == ("case_1",)
        np.testing.assert_array_equal(read_prediction(source, case), case.dose_gy)
    np.testing.assert_array_equal(read_prediction(alone, case), case.dose_gy)


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_prediction_of_impossible_doses_is_refused(tmp_path: Path, case: PatientCase, kind: str) -> None:
    path = tmp_path / f"case_1{ENDINGS[kind]}"
    for value, rule in (
        (np.nan, "must be finite; got '1 voxels"),
        (-1.0, "must be in"),
        (5437.5, r"must be in \[0, 250\]"),
    ):
        dose = np.array(case.dose_gy)
        dose[3, 4, 5] = value
        write(path, dose, case.grid)
        with pytest.raises(CaseError, match=f"dose_gy {rule}"):
            read_prediction(tmp_path, case)


def test_two_predictions_of_a_case_are_refused(tmp_path: Path, case: PatientCase) -> None:
    FolderWriter("nrrd").write(case, tmp_path)
    write(tmp_path / "case_1.nii.gz", np.array(case.dose_gy), case.grid)
    with pytest.raises(
        CaseError, match=r"prediction must be unique per case; got \('case_1.nii.gz', 'case_1/dose.nrrd'\)"
    ):
        read_prediction(tmp_path, case)
    with pytest.raises(CaseError, match=r"prediction must be unique per case; got \['case_1'\]"):
        list_predictions(tmp_path)
