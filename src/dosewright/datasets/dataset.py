"""Datasets and samplers whose draws follow from seed, epoch and position: a resumed run sees what the first saw."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from torch.utils.data import Dataset, Sampler

from dosewright.core import CaseError, InputError
from dosewright.core.types import FloatVolume
from dosewright.datasets.augmentation import Augmentation, apply
from dosewright.datasets.channels import ChannelSet
from dosewright.datasets.sample import Sample, make_sample, place_back, to_item
from dosewright.io.reader import AbstractReader

Index = tuple[int, int]  # case, draw
REPEAT = -1  # the draw of a case that another process counts
REPEATED = "repeated"  # key of an item that is there only so that all processes take the same number of steps


class DoseDataset(Dataset[dict[str, object]]):
    """Items of a reader's cases.

    Args:
        reader: Source of cases.
        channels: Channels and structures.
        multiple: Sizes are padded to multiples of this.
        augmentation: None for none.
        seed: Of the augmentation.
        memory_gb: Samples kept in memory, at most; the rest is built anew each time.
    """

    def __init__(
        self,
        reader: AbstractReader,
        channels: ChannelSet,
        multiple: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        memory_gb: float = 0.0,
    ) -> None:
        self.reader, self.channels, self.multiple = reader, channels, multiple
        self.augmentation, self.seed = augmentation, seed
        self._budget = memory_gb * 1e9
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int | Index) -> dict[str, object]:
        """Return the item of a case, augmented as draw `index[1]` says; one of draw `REPEAT` says so."""
        case_index, draw = index if isinstance(index, tuple) else (index, 0)
        sample = self.sample(case_index)
        if self.augmentation is not None and draw != REPEAT:
            rng = np.random.default_rng([self.seed, draw])
            sample = apply(sample, self.augmentation.sample(rng), self.channels)
        item = to_item(sample, self.multiple)
        return item | {REPEATED: True} if draw == REPEAT else item

    def sample(self, case_index: int) -> Sample:
        """Return the sample of a case without augmentation.

        Raises:
            CaseError: If the case cannot be read, or has no dose.
        """
        if case_index in self._kept:
            return self._kept[case_index]
        case_id = self.reader.case_ids[case_index]
        case = self.reader.read(case_id)
        if case.dose_gy is None:
            raise CaseError("must have a dose to learn from", argument="case", value=case_id)
        sample = make_sample(case, self.channels)
        if sample.nbytes <= self._budget:
            self._budget -= sample.nbytes
            self._kept[case_index] = sample
        return sample

    def placed(self, case_id: str, dose_gy: Float[np.ndarray, "d h w"]) -> FloatVolume:
        """Return a dose predicted on a case's item as a volume of the case's whole grid."""
        sample = self.sample(list(self.reader.case_ids).index(case_id))
        return place_back(dose_gy, sample.box, self.reader.read(case_id).grid)


class EpochSampler(Sampler[Index]):
    """Endless shuffles cut into epochs of a fixed number of samples, the same for a given seed and epoch.

    Args:
        cases: Number of cases.
        samples_per_epoch: Samples of all ranks together; rounded up to a multiple of `world`.
        seed: Of the shuffles.
        rank: This process, of `world` processes.
        world: Number of processes.

    Raises:
        InputError: If a count is not positive.
    """

    def __init__(self, cases: int, samples_per_epoch: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        if cases < 1 or samples_per_epoch < 1:
            raise InputError("must be positive", argument="cases, samples_per_epoch", value=(cases, samples_per_epoch))
        self.cases, self.seed, self.rank, self.world = cases, seed, rank, world
        self.samples_per_epoch = -(-samples_per_epoch // world) * world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch the next iteration draws; called by the trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples_per_epoch // self.world

    def __iter__(self) -> Iterator[Index]:
        first = self.epoch * self.samples_per_epoch
        shuffles: dict[int, np.ndarray] = {}
        for draw in range(first + self.rank, first + self.samples_per_epoch, self.world):
            round_, place = divmod(draw, self.cases)
            if round_ not in shuffles:
                shuffles = {round_: np.random.default_rng([self.seed, 1, round_]).permutation(self.cases)}
            yield int(shuffles[round_][place]), draw


class ShareSampler(Sampler[Index]):
    """Deals cases out to processes, the same number to each: where one falls short, a case is repeated and marked.

    Args:
        cases: Number of cases, in all.
        rank: This process, of `world` processes.
        world: Number of processes.

    >>> [list(ShareSampler(3, rank, world=2)) for rank in (0, 1)]
    [[(0, 0), (2, 0)], [(1, 0), (0, -1)]]
    """

    def __init__(self, cases: int, rank: int = 0, world: int = 1) -> None:
        self.cases, self.rank, self.world = cases, rank, world

    def __len__(self) -> int:
        return -(-self.cases // self.world)

    def __iter__(self) -> Iterator[Index]:
        for place in range(self.rank, len(self) * self.world, self.world):
            yield (place, 0) if place < self.cases else (place % self.cases, REPEAT)
