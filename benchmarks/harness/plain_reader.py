"""The peer of the OpenKBP reader: the standard library's csv module, a line at a time, without checks."""

import csv
from pathlib import Path

import numpy as np

from dosewright.io import openkbp_csv

Volumes = dict[str, np.ndarray]


def read_plainly(folder: Path) -> Volumes:
    """Return every file of a patient as a dense (z, y, x) volume by its stem: float32, masks bool."""
    return {path.stem: _volume(path) for path in sorted(folder.glob("*.csv")) if path.stem != "voxel_dimensions"}


def _volume(path: Path) -> np.ndarray:
    flat = np.zeros(np.prod(openkbp_csv.SHAPE), np.float32)
    is_mask = True
    with path.open(newline="") as stream:
        rows = csv.reader(stream)
        next(rows)
        for index, value in rows:
            if value:
                is_mask = False
            flat[int(float(index))] = float(value) if value else 1.0
    volume = np.ascontiguousarray(openkbp_csv.to_lps(flat.reshape(openkbp_csv.SHAPE)))
    return volume > 0 if is_mask else volume
