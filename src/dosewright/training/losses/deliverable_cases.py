"""Dose influences of the cases a net is trained on, found by the identifiers in its batches."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from hydra.utils import instantiate
from jaxtyping import Float
from torch import Tensor

from dosewright.core import InputError, PatientCase
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.influence_cache import cached_influence, influence_path
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.io.prepared import CachedReader
from dosewright.io.reader import AbstractReader
from dosewright.training.losses.crop_sampler import CropSampler

_BYTES_PER_ENTRY = 16  # both orientations of the matrix


@final
@dataclass(frozen=True)
class DeliverableCase:
    """What is known of a case's beams.

    Args:
        sampler: From a crop of the case to the rows of the influence.
        influence: On the dose voxels in the scored mask, m rows.
    """

    sampler: CropSampler
    influence: DoseInfluence


def _coarse() -> InfluenceSettings:
    return InfluenceSettings(beamlet_mm=10.0, dose_spacing_mm=7.0)


@final
@dataclass
class DeliverableCases:
    """Dose influences by case: from memory, else from a folder, else computed and kept there.

    Args:
        reader: Of the training cases, or the Hydra node of one, made on first use with `split`.
        cache_dir: Folder of the influences (see `fluence.influence_cache`).
        split: Split of the cases.
        prepared_dir: Folder of the split folders of prepared cases, read instead of the source where they are fresh.
        settings: Of the dose calculation, or its fields; coarse, as every training step optimises on it.
        compute: Compute what the folder lacks (needs the `plans` extra, seconds a case) instead of raising.
        memory_gb: Influences kept in memory, at most; the rest is loaded anew each time.
    """

    reader: AbstractReader | Mapping[str, Any] | None
    cache_dir: str | Path
    split: str = "train"
    prepared_dir: str | Path | None = None
    settings: InfluenceSettings | Mapping[str, Any] = field(default_factory=_coarse)
    compute: bool = True
    memory_gb: float | int = 4.0
    _kept: OrderedDict[tuple[str, str], DeliverableCase] = field(default_factory=OrderedDict, init=False, repr=False)
    _fluences: dict[str, Float[Tensor, "1 b"]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.settings, InfluenceSettings):
            self.settings = InfluenceSettings(**self.settings)

    def get(self, case_id: str, device: torch.device) -> DeliverableCase:
        """Return what is known of a case's beams, with products on a device.

        Raises:
            InputError: If there is no reader, or no influence in the folder and none is to be computed.
            CaseError: If the reader does not know the case.
            MissingExtraError: If an influence must be computed and pyRadPlan is not installed.
        """
        key = (case_id, str(device))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        case = self._case(case_id)
        influence = self._influence(case)
        sampler = CropSampler(case, influence.grid, influence.voxels)
        found = DeliverableCase(sampler, influence.of_rows(sampler.rows).to(device))
        sampler.to(device)
        self._kept[key] = found
        while len(self._kept) > 1 and self._held_gb() > self.memory_gb:
            self._kept.popitem(last=False)
        return found

    def last_fluence(self, case_id: str) -> Float[Tensor, "1 b"] | None:
        """Return the fluence last remembered for a case."""
        return self._fluences.get(case_id)

    def remember(self, case_id: str, fluence: Float[Tensor, "1 b"]) -> None:
        """Keep a case's fluence, for the next search to start from."""
        self._fluences[case_id] = fluence.detach()

    def _case(self, case_id: str) -> PatientCase:
        if self.reader is None:
            raise InputError("must be given: the reader of the training cases", argument="reader", value=None)
        if not isinstance(self.reader, AbstractReader):
            reader = instantiate(self.reader, split=self.split)
            prepared = None if self.prepared_dir is None else Path(self.prepared_dir) / self.split
            self.reader = reader if prepared is None else CachedReader(reader, prepared)
        return self.reader.read(case_id)

    def _influence(self, case: PatientCase) -> DoseInfluence:
        assert isinstance(self.settings, InfluenceSettings)
        path = influence_path(case, self.settings, self.cache_dir)
        if not (self.compute or path.exists()):
            raise InputError(
                "must hold the dose influence of every training case: let the loss compute them once with "
                "compute=true (`pip install 'dosewright[plans]'`), or call "
                "dosewright.fluence.influence_cache.cached_influence(case, settings, cache_dir)",
                argument="cache_dir",
                value=f"nothing for {case.case_id} at {self.settings}",
                path=path,
            )
        return cached_influence(case, self.settings, self.cache_dir)

    def _held_gb(self) -> float:
        return sum(found.influence.nnz for found in self._kept.values()) * _BYTES_PER_ENTRY / 1e9
