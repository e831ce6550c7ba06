"""Patients to measure on: real ones of OpenKBP, or phantoms written in OpenKBP's layout where there are none."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dosewright.core import PatientCase
from dosewright.geometry.distance import distance_to_mm
from dosewright.io import openkbp, openkbp_csv
from dosewright.io.phantom import PhantomAnatomyReader
from dosewright.io.phantom.reader import FULL_SHAPE_ZYX, FULL_SPACING_XYZ_MM


def parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """Return a parser that knows `--root` and `--repeats`."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--root", type=Path, help="folder that holds OpenKBP's provided-data; default: phantoms")
    found.add_argument("--repeats", type=int, default=repeats, help="runs of each, after one that is not counted")
    return found


@contextmanager
def openkbp_root(root: Path | None, count: int = 1) -> Iterator[Path]:
    """Yield `root`, or a temporary folder with `count` training phantoms and one for validation in OpenKBP's layout."""
    if root is not None:
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        first = 1
        for split, number in (("train", count), ("validation", 1)):
            anatomies = PhantomAnatomyReader(
                count=number, split=split, shape_zyx=FULL_SHAPE_ZYX, spacing_xyz_mm=FULL_SPACING_XYZ_MM
            )
            for index, case in enumerate(anatomies, start=first):
                write_openkbp(case, Path(folder) / "provided-data" / f"{split}-pats" / f"pt_{index}")
            first += number
        yield Path(folder)


def source_of(root: Path | None) -> str:
    """Return what the numbers were measured on."""
    return "phantoms in OpenKBP's layout" if root is None else "OpenKBP patients"


def write_openkbp(case: PatientCase, folder: Path) -> None:
    """Write a phantom as OpenKBP publishes patients, with a dose that falls off around its targets."""
    folder.mkdir(parents=True)
    stored_ct = np.where(case.body, np.maximum(case.ct_hu + openkbp.HU_OFFSET, 0), 0)
    masks = {"possible_dose_mask": case.scored_mask}
    names = {ours: theirs for theirs, (ours, _) in openkbp.TARGETS.items()}
    names |= {ours: theirs for theirs, ours in openkbp.OARS.items()}
    masks |= {names[name]: mask for name, mask in case.structures.items() if name in names}
    for name, volume in {"ct": stored_ct, "dose": plausible_dose_gy(case)}.items():
        (folder / f"{name}.csv").write_text(openkbp_csv.format_values(volume.astype(np.float32)))
    for name, mask in masks.items():
        indices = np.flatnonzero(np.ascontiguousarray(openkbp_csv.from_lps(mask)))
        rows = "".join(f"{index},\n" for index in indices.tolist())
        (folder / f"{name}.csv").write_text(f"{openkbp_csv.HEADER}\n{rows}")
    x, y, z = case.grid.spacing_xyz_mm
    (folder / "voxel_dimensions.csv").write_text(f"{y}\n{x}\n{z}\n")


def plausible_dose_gy(case: PatientCase) -> np.ndarray:
    """Return the prescription in each target, falling off with distance to a third of it, with 1 % noise."""
    dose = np.zeros(case.grid.shape_zyx, np.float32)
    for name, gy in case.prescription_gy.items():
        distance = distance_to_mm(case.structures[name], case.grid.spacing_zyx_mm)
        dose = np.maximum(dose, gy * (0.33 + 0.67 * np.exp(-distance / 25)))
    noise = np.random.default_rng(0).normal(1, 0.01, dose.shape)
    return np.where(case.body, dose * noise, 0).astype(np.float32)
