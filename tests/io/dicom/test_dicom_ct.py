"""A CT series: HU exact whatever the order, orientation and storage, and refused when it is no straight even stack."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataset import FileDataset

from dicom_files import DicomPhantom, save, set_pixels
from dosewright.core import CaseError, Grid
from dosewright.core.types import Volume
from dosewright.io.dicom.read_ct import CtStack, read_hu, read_stack
from dosewright.io.dicom.read_scan import CT, scan_folder

PHANTOM = DicomPhantom(grid=Grid((9, 22, 24), (6.0, 7.0, 4.0), (-70.0, -72.0, -28.0)))


def stack_of(folder: Path, slices: list[FileDataset]) -> CtStack:
    for k, data in enumerate(slices):
        save(data, folder / f"{k}.dcm")
    scan = scan_folder(folder)
    assert not scan.broken, scan.broken
    return read_stack([i for i in scan.instances if i.kind == CT], 10**7)


def hu_of(folder: Path, slices: list[FileDataset]) -> Volume:
    return read_hu(stack_of(folder, slices))[0]


ORIENTATIONS = [
    (1, 0, 0, 0, 1, 0),
    (-1, 0, 0, 0, -1, 0),
    (1, 0, 0, 0, -1, 0),
    (-1, 0, 0, 0, 1, 0),
    (0, 1, 0, 1, 0, 0),
    (0, -1, 0, 1, 0, 0),
    (0, 1, 0, -1, 0, 0),
    (0, -1, 0, -1, 0, 0),
]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_axial_orientation_gives_the_same_volume(tmp_path: Path, orientation: tuple[int, ...]) -> None:
    stack = stack_of(tmp_path, PHANTOM.ct_slices([float(v) for v in orientation]))
    assert stack.grid.is_close(PHANTOM.grid)
    hu, notes = read_hu(stack)
    assert hu.dtype == np.int16
    assert notes == ()
    np.testing.assert_array_equal(hu, PHANTOM.ct_hu)


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(None)])
def test_neither_file_names_nor_instance_numbers_order_slices(tmp_path: Path, order: slice) -> None:
    slices = PHANTOM.ct_slices()
    for data, number in zip(slices, np.random.default_rng(0).permutation(len(slices))):
        data.InstanceNumber = int(number)
    shuffled = [slices[i] for i in np.random.default_rng(1).permutation(len(slices))][order]
    np.testing.assert_array_equal(hu_of(tmp_path, shuffled), PHANTOM.ct_hu)


def test_signed_and_short_pixels_and_their_unused_bits(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    hu = PHANTOM.ct_hu
    for k, data in enumerate(slices):
        if k % 2:  # signed, in 13 of 16 bits; the others hold an overlay
            stored = (hu[k].astype(np.int16).view(np.uint16) & 0x1FFF) | 0x6000
            set_pixels(data, stored, signed=False)
            data.BitsStored, data.HighBit, data.PixelRepresentation, data.RescaleIntercept = 13, 12, 1, 0
    np.testing.assert_array_equal(hu_of(tmp_path, slices), hu)


def test_each_slice_has_its_own_rescaling(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    for k, data in enumerate(slices):
        data.RescaleIntercept = -1024.0 + k
    np.testing.assert_array_equal(hu_of(tmp_path, slices), PHANTOM.ct_hu + np.arange(9)[:, None, None])


def test_fractional_rescaling_is_float32(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    slices[3].RescaleSlope = 0.5
    hu = hu_of(tmp_path, slices)
    assert hu.dtype == np.float32
    expected = PHANTOM.ct_hu.astype(float)
    expected[3] = (expected[3] + 1024) * 0.5 - 1024
    np.testing.assert_array_equal(hu, expected)


def test_padding_of_the_scanner_becomes_the_least_hu(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    pixels = PHANTOM.ct_hu[0].astype(np.int16)
    pixels[:2] = -2000
    set_pixels(slices[0], pixels, signed=True)
    slices[0].RescaleIntercept = 0
    hu, notes = read_hu(stack_of(tmp_path, slices))
    assert (hu[0, :2] == -1024).all()
    np.testing.assert_array_equal(hu[0, 2:], PHANTOM.ct_hu[0, 2:])
    assert notes == ("48 voxels below -1024 HU, padding of the scanner, became -1024 HU",)


def test_one_slice_is_as_thick_as_its_header_says(tmp_path: Path) -> None:
    stack = stack_of(tmp_path, PHANTOM.ct_slices()[5:6])
    assert stack.grid.shape_zyx == (1, 22, 24)
    assert stack.grid.spacing_xyz_mm == (6.0, 7.0, 4.0)
    assert stack.notes == ("one slice only: taken to be 4 mm thick, as its header says",)


def test_compressed_slices_are_read_where_pydicom_can(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    for data in slices:
        data.compress("1.2.840.10008.1.2.5")  # RLE, which needs no plug-in
    np.testing.assert_array_equal(hu_of(tmp_path, slices), PHANTOM.ct_hu)


def test_implicit_and_big_endian_files_are_read(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    for k, data in enumerate(slices):
        if k % 2:
            data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
            data.save_as(tmp_path / f"{k}.dcm", implicit_vr=True, little_endian=True)
            continue
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2"
        data["PixelData"].value = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        dcmwrite(tmp_path / f"{k}.dcm", data, implicit_vr=False, little_endian=False)
    scan = scan_folder(tmp_path)
    assert not scan.broken
    np.testing.assert_array_equal(read_hu(read_stack(scan.instances, 10**7))[0], PHANTOM.ct_hu)


def spoil(change: Callable[[list[FileDataset]], object]) -> Callable[[Path], Volume]:
    def read(folder: Path) -> Volume:
        slices = PHANTOM.ct_slices()
        change(slices)
        return hu_of(folder, slices)

    return read


def setting(index: int, **values: object) -> Callable[[list[FileDataset]], None]:
    def change(slices: list[FileDataset]) -> None:
        for keyword, value in values.items():
            setattr(slices[index], keyword, value)

    return change


def moved(dx: float, dy: float, dz: float) -> Callable[[list[FileDataset]], None]:
    def change(slices: list[FileDataset]) -> None:
        x, y, z = slices[7].ImagePositionPatient
        slices[7].ImagePositionPatient = [x + dx, y + dy, z + dz]

    return change


def sheared(slices: list[FileDataset]) -> None:
    for k, data in enumerate(slices):
        x, y, z = data.ImagePositionPatient
        data.ImagePositionPatient = [x, y + 0.3 * k, z]


def all_oriented(*cosines: float) -> Callable[[list[FileDataset]], None]:
    def change(slices: list[FileDataset]) -> None:
        for data in slices:
            data.ImageOrientationPatient = list(cosines)

    return change


def smaller(slices: list[FileDataset]) -> None:
    set_pixels(slices[4], np.zeros((22, 22), int), signed=False)


def cut_short(slices: list[FileDataset]) -> None:
    slices[4]["PixelData"].value = slices[4].PixelData[:-500]


def without(keyword: str, index: int = 4) -> Callable[[list[FileDataset]], None]:
    return lambda slices: delattr(slices[index], keyword)


def too_high(slices: list[FileDataset]) -> None:
    set_pixels(slices[4], np.full((22, 24), 65535), signed=False)


REFUSED = [
    (lambda s: s.pop(7), "a slice is missing.*z = -4, then 4 mm"),
    (
        lambda s: s.append(PHANTOM.renamed("copy")._ct_slice(20, PHANTOM.ct_hu[0], (1, 0, 0, 0, 1, 0))),
        "same in all|missing",
    ),
    (moved(0, 0, -4.0), "must differ between slices.*lies at the same z"),
    (moved(0, 0, 1.0), "evenly spaced within 0.1 mm; got '1.00 mm off at z = 1'"),
    (moved(1.0, 0, 0), "sheared or shifted"),
    (sheared, "sheared or shifted"),
    (all_oriented(0.99, 0.141, 0, -0.141, 0.99, 0), "oblique images are not read"),
    (all_oriented(1, 0, 0, 0, 0.995, 0.0998), "oblique"),
    (all_oriented(1, 0, 0, 0, 0, -1), "must be axial: sagittal and coronal"),
    (all_oriented(0, 1, 0, 0, 0, -1), "must be axial"),
    (all_oriented(1, 0, 0, 1, 0, 0), "parallel to the patient's axes"),
    (all_oriented(0, 0, 0, 0, 1, 0), "parallel to the patient's axes"),
    (setting(3, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]), "must be the same in all slices"),
    (setting(3, GantryDetectorTilt=12.0), "GantryDetectorTilt .0018,1120. must be 0"),
    (setting(3, PixelSpacing=[7.0, 6.1]), "PixelSpacing .* must be the same"),
    (setting(3, FrameOfReferenceUID="1.2.3"), "FrameOfReferenceUID .* must be the same"),
    (setting(3, PatientPosition="FFS"), "PatientPosition .* must be the same"),
    (setting(3, RescaleSlope=0), "RescaleSlope .0028,1053. must be positive"),
    (setting(3, RescaleType="OD"), "RescaleType .* must be HU; got 'OD'"),
    (setting(3, PhotometricInterpretation="RGB"), "must be MONOCHROME2; got 'RGB'"),
    (setting(3, SamplesPerPixel=3), "SamplesPerPixel .* must be 1"),
    (setting(3, BitsAllocated=32), "must be one of .16,."),
    (setting(3, BitsStored=17, HighBit=16), r"BitsStored .* must be in \[1, 16\]"),
    (setting(3, HighBit=11), "HighBit one less"),
    (setting(3, PixelRepresentation=7), "must be 0 or 1"),
    (setting(3, NumberOfFrames=2), "PixelData .* must have 2112 bytes"),
    (smaller, "Columns .* must be the same in all slices"),
    (cut_short, "PixelData .* must have 1056 bytes for 1 × 22 × 24 pixels; got '556 bytes'"),
    (too_high, "must be at most 32767 HU"),
    (without("PixelData"), "PixelData .7FE0,0010. must be given"),
    (without("RescaleIntercept"), "RescaleIntercept .* must be 1 number"),
    (without("ImagePositionPatient"), "ImagePositionPatient .* must be 3 numbers"),
    (without("PixelSpacing", 0), "PixelSpacing .* must be given"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_what_is_no_straight_even_stack_of_hu_is_refused(
    tmp_path: Path, change: Callable[[list[FileDataset]], object], message: str
) -> None:
    with pytest.raises(CaseError, match=message):
        spoil(change)(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PixelSpacing": [7.0, -6.0]}, "PixelSpacing .* must be positive"),
        ({"PixelSpacing": [7.0, "inf"]}, "PixelSpacing .* must be finite"),
        ({"SliceThickness": 0}, "SliceThickness .* must be positive"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path: Path, values: dict[str, object], message: str) -> None:
    (data,) = PHANTOM.ct_slices()[:1]
    setting(0, **values)([data])
    with pytest.raises(CaseError, match=message):
        stack_of(tmp_path, [data])


def test_a_huge_header_is_refused_before_any_pixel(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    for data in slices:
        data.Rows = data.Columns = 65535
        del data.PixelData
    with pytest.raises(CaseError, match=r"× Columns × slices must be in \[1, 10000000\]"):
        stack_of(tmp_path, slices)


def test_the_file_at_fault_is_named(tmp_path: Path) -> None:
    slices = PHANTOM.ct_slices()
    slices[4].GantryDetectorTilt = 5
    with pytest.raises(CaseError) as caught:
        stack_of(tmp_path, slices)
    assert caught.value.path == tmp_path / "4.dcm"
