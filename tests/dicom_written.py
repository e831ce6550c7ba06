"""A lopsided case, and naive readings of DICOM files to compare what is written with."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dosewright.core import Beam, Grid, PatientCase

OCTANT_GRID = Grid((9, 12, 14), (1.7, 2.3, 3.1), (-35.25, 12.5, -104.9))
# One voxel (z, y, x) in each octant, nowhere symmetric; HU and dose tell them apart.
OCTANTS = ((1, 2, 3), (1, 3, 10), (2, 8, 2), (1, 9, 11), (6, 2, 4), (7, 1, 12), (7, 10, 1), (6, 9, 9))


def octant_case(case_id: str = "octants") -> PatientCase:
    """A case whose every corner differs, in an anisotropic grid off the origin, with a hole and islands."""
    shape = OCTANT_GRID.shape_zyx
    ct, dose = np.full(shape, -1000, np.int16), np.zeros(shape, np.float32)
    marked = np.zeros(shape, bool)
    for number, at in enumerate(OCTANTS, 1):
        ct[at], dose[at], marked[at] = 100 * number + 7, 8.3125 * number, True
    body = np.zeros(shape, bool)
    body[1:8, 1:11, 1:13] = True
    ring = np.zeros(shape, bool)
    ring[3:6, 2:9, 3:11] = True
    ring[3:6, 4:7, 5:9] = False
    ring[4, 5, 6] = True  # an island in the hole
    return PatientCase(
        case_id=case_id,
        grid=OCTANT_GRID,
        ct_hu=ct,
        body=body,
        structures={"PTV_High": ring, "Parotid_L": marked, "zRing": body & ~ring},
        prescription_gy={"PTV_High": 66.0},
        beams=(Beam(0.0), Beam(72.5, 10.0)),
        dose_gy=dose,
        isocenter_xyz_mm=(-20.125, 25.0, -90.5),
        fractions=33,
    )


def check_valid(*paths: Path) -> None:
    """Let dciodvfy look at files: no errors. Skips where it is not installed."""
    found = shutil.which("dciodvfy")
    if found is None:
        pytest.skip("dciodvfy (Debian: dicom3tools) is not on the PATH")
    for path in paths:
        run = subprocess.run([found, str(path)], capture_output=True, text=True, check=False)
        report = run.stderr + run.stdout
        errors = [line for line in report.splitlines() if line.startswith("Error")]
        assert (errors, run.returncode) == ([], 0), (path.name, report)


def masks_in(path: Path, grid: Grid, rule: str = "xor") -> dict[str, np.ndarray]:
    """Structures of an RTSTRUCT on a grid, by counting edges to the left of each voxel's centre.

    The rule is how contours of a slice add up: "xor", or "or" for readers that fill one after the other.
    """
    one = pydicom.dcmread(path)
    names = {item.ROINumber: item.ROIName for item in one.StructureSetROISequence}
    heights = grid.axis_mm("z")
    found = {}
    for roi in one.ROIContourSequence:
        mask = np.zeros(grid.shape_zyx, bool)
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            k = int(np.abs(heights - points[0, 2]).argmin())
            assert np.abs(points[:, 2] - heights[k]).max() < 1e-6
            filled = _filled(points[:, :2], grid)
            mask[k] = mask[k] ^ filled if rule == "xor" else mask[k] | filled
        found[names[roi.ReferencedROINumber]] = mask
    return found


def _filled(points: np.ndarray, grid: Grid) -> np.ndarray:
    x, y = np.meshgrid(grid.axis_mm("x"), grid.axis_mm("y"))
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if ay != by:
            crosses = (y >= min(ay, by)) & (y < max(ay, by)) & (ax + (y - ay) * (bx - ax) / (by - ay) < x)
            inside ^= crosses
    return inside


def dose_in(path: Path) -> tuple[np.ndarray, Dataset]:
    """Dose in Gy as stored, and the file."""
    one = pydicom.dcmread(path)
    return one.pixel_array.astype(float) * float(one.DoseGridScaling), one
