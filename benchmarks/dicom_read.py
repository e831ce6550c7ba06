"""Time to read one DICOM-RT patient, against a plain reader.

    python benchmarks/dicom_read.py [--slices 200] [--size 512] [--structures 30] [--repeats 3]

The patient is made up: a CT, a structure set of smooth contours with a point every millimetre or two, a plan, and a
dose of 2.5 mm voxels. The plain reader is what one would write first: pydicom's `pixel_array` slice by slice,
scikit-image's `polygon2mask` contour by contour, scipy's `map_coordinates` for the dose; it checks nothing. Both give
the same HU, structures of Dice 0.999 or more, and doses within 1 mGy. Files are in the page cache. Aim: 15 s on two
cores.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from scipy import ndimage
from skimage.draw import polygon2mask

from dosewright.core import Grid, PatientCase
from dosewright.io.dicom import DicomReader
from harness.patients import parser
from harness.timing import machine, medians_ms, peak_gb, print_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from dicom_files import DicomPhantom, Roi  # the tests' phantom

AIM_MS = 15_000.0
NAMES = [
    "Brainstem",
    "SpinalCord",
    "Parotid_R",
    "Parotid_L",
    "Esophagus",
    "Larynx",
    "Bone_Mandible",
    "Brain",
    "OpticChiasm",
    "Cochlea_L",
    "Cochlea_R",
    "Cavity_Oral",
    "Glnd_Thyroid",
    "Trachea",
    "Eye_L",
    "Eye_R",
    "Lens_L",
    "Lens_R",
    "OpticNrv_L",
    "OpticNrv_R",
    "Lung_L",
    "Lung_R",
    "Heart",
    "BrachialPlex_L",
    "BrachialPlex_R",
    "Glnd_Submand_L",
    "Glnd_Submand_R",
    "GTV",
    "CTV",
]


@dataclass(frozen=True)
class BenchmarkPhantom(DicomPhantom):
    """The tests' phantom with a random CT."""

    @property
    def ct_hu(self) -> np.ndarray:
        """HU, int16."""
        return np.random.default_rng(0).integers(-1000, 1500, self.grid.shape_zyx, dtype=np.int16)


def phantom_of(slices: int, size: int, structures: int) -> DicomPhantom:
    spacing = 500.0 / size
    grid = Grid((slices, size, size), (spacing, spacing, 2.5), (-250.0, -250.0, 0.0))
    zs = grid.axis_mm("z")
    rng = np.random.default_rng(0)
    rois = [
        Roi.cylinder("BODY", 0, 0, zs, 190.0, "EXTERNAL", count=600),
        Roi.sphere("PTV", (0, 0, zs[slices // 2]), zs, 40.0),
    ]
    for name in NAMES[: structures - 2]:
        first = int(rng.integers(0, slices // 2))
        x, y = rng.uniform(-90, 90, 2)
        radius = float(rng.uniform(8, 60))
        planes = zs[first : first + slices // 3]
        rois.append(Roi.cylinder(name, x, y, planes, radius, "ORGAN", count=max(24, int(4 * radius))))
    dose_grid = Grid((slices, 160, 160), (2.5, 2.5, 2.5), (-199.1, -198.7, 0.3))
    return replace(BenchmarkPhantom("benchmark"), grid=grid, dose_grid=dose_grid, rois=tuple(rois))


def read_plainly(folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """HU, masks and Gy, with nothing checked."""
    slices = sorted(
        (pydicom.dcmread(p) for p in folder.glob("ct_*.dcm")), key=lambda s: float(s.ImagePositionPatient[2])
    )
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]).astype(np.int16)
    origin, spacing = np.array(slices[0].ImagePositionPatient, float), np.array(slices[0].PixelSpacing, float)
    z = np.array([float(s.ImagePositionPatient[2]) for s in slices])
    structure_set = pydicom.dcmread(folder / "structures.dcm")
    names = {roi.ROINumber: roi.ROIName for roi in structure_set.StructureSetROISequence}
    masks = {}
    for roi in structure_set.ROIContourSequence:
        mask = np.zeros(hu.shape, bool)
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            rows_columns = (points[:, 1::-1] - origin[1::-1]) / spacing
            mask[np.argmin(np.abs(z - points[0, 2]))] ^= polygon2mask(hu.shape[1:], rows_columns)
        masks[names[roi.ReferencedROINumber]] = mask
    dose = pydicom.dcmread(folder / "dose.dcm")
    values = dose.pixel_array.astype(np.float32) * np.float32(dose.DoseGridScaling)
    start = np.array(dose.ImagePositionPatient, float)
    steps = [float(dose.GridFrameOffsetVector[1]), *map(float, dose.PixelSpacing)]
    axes = [z, *(origin[i] + spacing[1 - i] * np.arange(hu.shape[2 - i]) for i in (1, 0))]
    index = [(axis - start[2 - i]) / steps[i] for i, axis in enumerate(axes)]
    at = np.meshgrid(*index, indexing="ij")
    return hu, masks, ndimage.map_coordinates(values, at, order=1, mode="constant", cval=0.0)


def check(case: PatientCase, plain: tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]) -> None:
    hu, masks, dose_gy = plain
    ours = {"BODY": case.body, **case.structures}
    same = np.array_equal(hu, case.ct_hu) and ours.keys() == masks.keys()
    for name, mask in masks.items():
        overlap = 2 * np.count_nonzero(mask & ours[name]) / (mask.sum() + ours[name].sum())
        same &= overlap >= 0.999
    inside = case.body & (dose_gy > 0)  # the plain one ends at the outermost centres
    if case.dose_gy is None or not same or np.abs(case.dose_gy - dose_gy)[inside].max() > 1e-3:
        raise SystemExit("the readers disagree")


def main() -> None:
    arguments = parser(__doc__ or "", repeats=3)
    arguments.add_argument("--slices", type=int, default=200)
    arguments.add_argument("--size", type=int, default=512)
    arguments.add_argument("--structures", type=int, default=30)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = phantom_of(options.slices, options.size, options.structures).write(Path(name))
        reader = DicomReader(folder, check_dose=False)
        case_id = reader.case_ids[0]
        case = reader.read(case_id)
        peak = peak_gb()
        check(case, read_plainly(folder))
        count = len(case.structures) + 1
        del case
        work = (
            lambda: read_plainly(folder),
            lambda: DicomReader(folder, check_dose=False).read(case_id),
            lambda: reader.read(case_id),
        )
        found = medians_ms(work, options.repeats)
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(machine("pydicom", "scikit-image", "scipy"))
        print(
            f"{options.slices} slices of {options.size} × {options.size}, {count} structures, {size_mb:.0f} MB; ",
            end="",
        )
        print(f"median of {options.repeats}; DicomReader's peak memory {peak:.2f} GB\n")
        rows = []
        for label, ms in zip(("pydicom, polygon2mask, map_coordinates", "DicomReader, scan and read", "read"), found):
            aim = "" if label.startswith("pydicom") else f"≤ {AIM_MS / 1e3:.0f} s"
            rows.append((label, f"{ms / 1e3:.2f}", f"{found[0] / ms:.1f}", aim))
        print_table(("reader", "s", "times faster", "aim"), rows)


if __name__ == "__main__":
    main()
