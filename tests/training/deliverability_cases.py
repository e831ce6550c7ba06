"""A case with made-up beams, for the tests of the deliverability loss."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from cases import make_case
from dosewright.core import Grid, PatientCase
from dosewright.datasets.augmentation import Draw, apply
from dosewright.datasets.channels import ChannelSet, Masks
from dosewright.datasets.sample import Sample, collate, make_sample, to_item
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.io.reader import AbstractReader
from dosewright.training.losses import deliverable_cases
from dosewright.training.losses.deliverable_cases import DeliverableCases

NAMES = ("PTV_High", "PTV_Low", "Parotid_L", "Parotid_R")
CHANNELS = ChannelSet([Masks(NAMES)], NAMES)


class OneCase(AbstractReader):
    """A reader of cases at hand."""

    def __init__(self, *cases: PatientCase) -> None:
        self._cases = {case.case_id: case for case in cases}

    @property
    def case_ids(self) -> list[str]:
        return list(self._cases)

    def read(self, case_id: str) -> PatientCase:
        return self._cases[case_id]

    def fingerprint(self, case_id: str) -> str:
        return case_id


def lopsided(case_id: str = "case_1") -> PatientCase:
    """A case whose scored voxels are the same mirrored, but whose targets are not."""
    case = make_case(case_id)
    moved = np.roll(case.structures["PTV_High"], 1, axis=2)
    return replace(case, structures={**case.structures, "PTV_High": moved})


def coarse_grid(case: PatientCase) -> Grid:
    """A grid of 5 mm voxels over all of the case, their centres off the case's."""
    x, y, z = case.grid.origin_xyz_mm
    return Grid((11, 11, 14), (5.0, 5.0, 5.0), (x + 1.3, y + 2.1, z + 3.7))


def made_up_influence(case: PatientCase, grid: Grid | None = None, beamlets: int = 12) -> DoseInfluence:
    """Beamlets of random sparse doses on all voxels of a grid, reproducible."""
    grid = grid or coarse_grid(case)
    voxels = np.arange(int(np.prod(grid.shape_zyx)))
    rng = np.random.default_rng(5)
    matrix = sparse.random_array((len(voxels), beamlets), density=0.3, rng=rng, dtype=np.float32)
    return influence_of(matrix, case, grid, voxels)


def influence_of(matrix: sparse.sparray, case: PatientCase, grid: Grid, voxels: np.ndarray) -> DoseInfluence:
    place = 10.0 * np.arange(matrix.shape[1])
    beamlets = Beamlets(np.zeros(matrix.shape[1], int), place, 0 * place, 10.0)
    return DoseInfluence(sparse.csc_array(matrix), case.beams[:1], beamlets, grid, voxels)


def deliverable(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *cases: PatientCase, influence: DoseInfluence | None = None, **given
) -> DeliverableCases:
    """Cases whose influence is made up instead of computed."""
    monkeypatch.setattr(
        deliverable_cases, "cached_influence", lambda case, *_, **__: influence or made_up_influence(case)
    )
    return DeliverableCases(OneCase(*cases), folder, **given)


def batch_of(*cases: PatientCase, multiple: int = 8, draw: Draw | None = None) -> dict:
    """The batch that the data module makes of cases."""
    samples = [drawn(case, draw) for case in cases]
    return collate([to_item(sample, multiple) for sample in samples])


def drawn(case: PatientCase, draw: Draw | None) -> Sample:
    sample = make_sample(case, CHANNELS)
    return sample if draw is None else apply(sample, draw, CHANNELS)


def random_dose(batch: dict, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 60 * torch.rand(batch["dose_mask"].shape, generator=generator, dtype=dtype)
