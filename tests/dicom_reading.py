"""The DICOM phantom as the reader should see it, for tests of whole cases."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from dicom_files import DicomPhantom
from dosewright.core import Grid, PatientCase
from dosewright.io.dicom import DicomReader, DicomReport

PHANTOM = DicomPhantom()
Change = Callable[[FileDataset], object]


def read(root: Path, **settings: object) -> tuple[PatientCase, DicomReport]:
    reader = DicomReader(root, **settings)
    return reader.read_with_report(reader.case_ids[0])


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def truth_masks(grid: Grid) -> dict[str, np.ndarray]:
    """The phantom's structures from their equations."""
    z, y, x = np.meshgrid(*(grid.axis_mm(a) for a in "zyx"), indexing="ij")
    parotid = (z > -14) & (z < 10)  # slices 4 to 9
    return {
        "body": x**2 + (y - 2) ** 2 < 60**2,
        "PTV": (x - 4) ** 2 + (y - 6) ** 2 + (z - 2) ** 2 < 20**2,
        "SpinalCord": x**2 + (y - 40) ** 2 < 8**2,
        "Parotid_L": ((x - 38) ** 2 + (y + 5) ** 2 < 11**2) & parotid,
    }
