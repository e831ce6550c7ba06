"""The Lightning data module: two readers, prepared on first use, and loaders that repeat exactly after a resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from dosewright.core import CaseError
from dosewright.datasets.augmentation import Augmentation
from dosewright.datasets.channels import ChannelSet
from dosewright.datasets.dataset import DoseDataset, EpochSampler, ShareSampler
from dosewright.datasets.sample import collate
from dosewright.io.prepared import CachedReader
from dosewright.io.reader import AbstractReader


class DoseDataModule(pl.LightningDataModule):
    """Training and validation cases.

    Args:
        reader: Called with `split=`; returns that split's reader.
        cache_dir: Folder of the prepared cases, one subfolder per split; None where the reader keeps prepared cases
            itself, or the source shall be read each time.
        channels: Channels and structures.
        multiple: The net's stride.
        batch_size: Cases per batch; smaller ones are padded to the largest.
        samples_per_epoch: Training samples per epoch; None for one pass over the cases.
        augmentation: For training.
        seed: Of shuffles and augmentation.
        workers: Loader processes; 0 loads in the training process.
        memory_gb: Samples kept in memory by all workers of all processes on this machine together.
        limit_train: Use only the first so many training cases.
        limit_validation: Use only the first so many validation cases.
    """

    def __init__(
        self,
        reader: Callable[..., AbstractReader],
        cache_dir: str | Path | None,
        channels: ChannelSet,
        multiple: int,
        batch_size: int = 1,
        samples_per_epoch: int | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        workers: int = 0,
        memory_gb: float = 4.0,
        limit_train: int | None = None,
        limit_validation: int | None = None,
    ) -> None:
        super().__init__()
        self._reader, self._channels, self._multiple = reader, channels, multiple
        self._cache_dir = None if cache_dir is None else Path(cache_dir)
        self._batch_size, self._samples, self._augmentation = batch_size, samples_per_epoch, augmentation
        self._seed, self._workers, self._memory_gb = seed, workers, memory_gb
        self._limits = {"train": limit_train, "validation": limit_validation}
        self._readers: dict[str, AbstractReader] = {}
        self._datasets: dict[str, DoseDataset] = {}

    def reader(self, split: str) -> AbstractReader:
        """Return the reader of a split, cached where there is a folder for it, made on first use.

        Raises:
            CaseError: If the split holds no case.
        """
        if split not in self._readers:
            reader = self._reader(split=split)
            if self._cache_dir is not None:
                reader = CachedReader(reader, self._cache_dir / split)
            if self._limits[split] is not None:
                reader = FirstCases(reader, self._limits[split] or 0)
            if len(reader) == 0:
                raise CaseError("must hold at least one case", argument=f"split {split!r}", value="none")
            self._readers[split] = reader
        return self._readers[split]

    def dataset(self, split: str) -> DoseDataset:
        """Return the dataset of a split, made on first use.

        Raises:
            CaseError: If the split holds no case.
        """
        if split not in self._datasets:
            processes = max(1, self._workers) * self._rank_and_world()[1]
            self._datasets[split] = DoseDataset(
                self.reader(split),
                self._channels,
                self._multiple,
                augmentation=self._augmentation if split == "train" else None,
                seed=self._seed,
                memory_gb=self._memory_gb / processes * (0.8 if split == "train" else 0.2),
            )
        return self._datasets[split]

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the training loader."""
        dataset = self.dataset("train")
        sampler = EpochSampler(len(dataset), self._samples or len(dataset), self._seed, *self._rank_and_world())
        return self._loader(dataset, sampler=sampler, batch_size=self._batch_size)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the validation loader of this process's share of the cases, one at a time."""
        dataset = self.dataset("validation")
        return self._loader(dataset, sampler=ShareSampler(len(dataset), *self._rank_and_world()), batch_size=1)

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, dataset: DoseDataset, **options: Any) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            dataset, num_workers=self._workers, collate_fn=collate, persistent_workers=self._workers > 0, **options
        )


class FirstCases(AbstractReader):
    """The first so many cases of another reader."""

    def __init__(self, source: AbstractReader, count: int) -> None:
        self._source, self._ids = source, list(source.case_ids)[:count]

    @property
    def case_ids(self) -> list[str]:
        """The first identifiers of the source."""
        return self._ids

    def read(self, case_id: str) -> Any:
        """Return one case of the source."""
        return self._source.read(case_id)

    def fingerprint(self, case_id: str) -> str:
        """Return the source's fingerprint."""
        return self._source.fingerprint(case_id)
