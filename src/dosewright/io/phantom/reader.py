"""Phantom patients as a reader: anatomy without dose, made on the fly from a seed."""

from collections.abc import Sequence
from typing import final

import numpy as np

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.core.types import Shape, Triple
from dosewright.io.phantom.head_neck import sample_head_neck
from dosewright.io.phantom.lung import sample_lung
from dosewright.io.phantom.rasterise import phantom_grid, rasterise
from dosewright.io.reader import AbstractReader

GENERATOR_VERSION = 2  # raise when the same seed gives other voxels
DEMO_SHAPE_ZYX: Shape = (64, 64, 64)
DEMO_SPACING_XYZ_MM: Triple = (6.0, 6.0, 5.0)
FULL_SHAPE_ZYX: Shape = (128, 128, 128)
FULL_SPACING_XYZ_MM: Triple = (3.906, 3.906, 2.5)

_SAMPLERS = {"HeadNeck": ("hn", sample_head_neck), "Lung": ("lung", sample_lung)}
_SPLITS = ("train", "validation", "test")


@final
class PhantomAnatomyReader(AbstractReader):
    """Random but anatomically plausible patients without dose.

    The same arguments give the same bytes; splits, sites and indices never share a random stream. The anatomy does not
    depend on the grid, only its sampling does.

    Args:
        site: "HeadNeck", "Lung", or "mixed" for one of each in turn.
        count: Number of patients.
        seed: Any integer from 0 on.
        split: "train", "validation" or "test".
        shape_zyx: Voxels of the grid.
        spacing_xyz_mm: Voxel size; the grid must span 240 mm or more, 320 mm along z hold the whole anatomy.

    Raises:
        InputError: If an argument is out of its range.

    >>> PhantomAnatomyReader(site="mixed", count=3, split="test").case_ids
    ('hn_test_0000', 'lung_test_0001', 'hn_test_0002')
    """

    def __init__(
        self,
        site: str = "HeadNeck",
        count: int = 16,
        seed: int = 0,
        split: str = "train",
        shape_zyx: Sequence[int] = DEMO_SHAPE_ZYX,
        spacing_xyz_mm: Sequence[int | float] = DEMO_SPACING_XYZ_MM,
    ) -> None:
        if site not in (*_SAMPLERS, "mixed"):
            raise InputError('must be "HeadNeck", "Lung" or "mixed"', argument="site", value=site)
        if split not in _SPLITS:
            raise InputError('must be "train", "validation" or "test"', argument="split", value=split)
        for name, value, least in (("count", count, 1), ("seed", seed, 0)):
            if int(value) != value or value < least:
                raise InputError(f"must be an integer from {least} on", argument=name, value=value)
        self.site, self.split, self.count, self.seed = site, split, int(count), int(seed)
        for name, values in (("shape_zyx", shape_zyx), ("spacing_xyz_mm", spacing_xyz_mm)):
            if len(values) != 3:
                raise InputError("must be three numbers", argument=name, value=values)
        nz, ny, nx = shape_zyx  # Hydra passes lists
        dx, dy, dz = (float(d) for d in spacing_xyz_mm)
        self.grid = phantom_grid((nz, ny, nx), (dx, dy, dz))
        self._sites = {self._id(i): (i, self._site_of(i)) for i in range(self.count)}

    @property
    def case_ids(self) -> Sequence[str]:
        """Identifiers such as `hn_train_0003`."""
        return tuple(self._sites)

    def read(self, case_id: str) -> PatientCase:
        """Return one case without dose.

        Raises:
            CaseError: If the case is unknown, or a target lies outside the grid.
        """
        if case_id not in self._sites:
            raise CaseError(
                f"must be one of {len(self)} cases such as {self.case_ids[0]}", argument="case_id", value=case_id
            )
        index, site = self._sites[case_id]
        codes = (self.seed, _SPLITS.index(self.split), list(_SAMPLERS).index(site), index)
        anatomy_seed, noise_seed = np.random.SeedSequence(codes).spawn(2)
        anatomy = _SAMPLERS[site][1](np.random.default_rng(anatomy_seed))
        return rasterise(anatomy, self.grid, case_id, np.random.default_rng(noise_seed))

    def fingerprint(self, case_id: str) -> str:
        """Return all that determines the case's voxels."""
        return f"{GENERATOR_VERSION}:{case_id}:{self.seed}:{self.grid.shape_zyx}:{self.grid.spacing_xyz_mm}"

    def _site_of(self, index: int) -> str:
        return list(_SAMPLERS)[index % 2] if self.site == "mixed" else self.site

    def _id(self, index: int) -> str:
        return f"{_SAMPLERS[self._site_of(index)][0]}_{self.split}_{index:04d}"
