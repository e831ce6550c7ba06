"""The dataset and its sampler: repeatable, complete, and within their memory."""

from collections import Counter

import numpy as np
import pytest
import torch

from cases import make_case
from dosewright.core import CaseError, InputError, keys
from dosewright.datasets.augmentation import Augmentation, apply
from dosewright.datasets.channels import CT, ChannelSet, Masks
from dosewright.datasets.dataset import REPEAT, REPEATED, DoseDataset, EpochSampler, ShareSampler
from dosewright.datasets.sample import collate, make_sample, to_item
from fake_readers import MemoryReader

NAMES = ("PTV_High", "PTV_Low", "Parotid_L", "Parotid_R")
SMALL = ChannelSet([CT(), Masks(NAMES)], NAMES)


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader([make_case(f"case_{n}", seed=n, shape=(12, 20, 24)) for n in range(3)])


def assert_same_items(one: dict[str, object], other: dict[str, object]) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key], key


def test_an_item_is_the_padded_sample_of_its_case(reader: MemoryReader) -> None:
    dataset = DoseDataset(reader, SMALL, multiple=8)
    assert len(dataset) == 3
    for index in range(3):
        assert_same_items(dataset[index], to_item(make_sample(reader.cases[f"case_{index}"], SMALL), 8))
        assert dataset[index][keys.CASE_ID] == f"case_{index}"


def test_a_draw_decides_the_augmentation(reader: MemoryReader) -> None:
    augmentation = Augmentation(0.5, 0.5)
    one = DoseDataset(reader, SMALL, 8, augmentation, seed=4)
    other = DoseDataset(reader, SMALL, 8, augmentation, seed=4, memory_gb=1.0)
    for draw in (0, 7, 7, 123):
        assert_same_items(one[1, draw], other[1, draw])
        rng = np.random.default_rng([4, draw])
        expected = apply(make_sample(reader.cases["case_1"], SMALL), augmentation.sample(rng), SMALL)
        assert_same_items(one[1, draw], to_item(expected, 8))
    images = [one[1, draw][keys.IMAGE] for draw in range(8)]
    assert sum(torch.equal(images[0], image) for image in images) < 8
    reseeded = DoseDataset(reader, SMALL, 8, augmentation, seed=5)
    assert not all(torch.equal(images[draw], reseeded[1, draw][keys.IMAGE]) for draw in range(8))


def test_kept_samples_are_not_changed_by_augmentation(reader: MemoryReader) -> None:
    dataset = DoseDataset(reader, SMALL, 8, Augmentation(1.0, 1.0), memory_gb=1.0)
    before = dataset.sample(0).image.clone()
    dataset[0, 1]
    dataset[0, 2]
    assert torch.equal(dataset.sample(0).image, before)


@pytest.mark.parametrize(("fitting", "reads"), [(0, 9), (1, 7), (2, 5), (3, 3), (50, 3)])
def test_the_memory_budget_decides_how_often_cases_are_read(reader: MemoryReader, fitting: int, reads: int) -> None:
    size = make_sample(reader.cases["case_0"], SMALL).nbytes
    dataset = DoseDataset(reader, SMALL, 8, memory_gb=(fitting + 0.5) * size / 1e9)
    for _ in range(3):
        for index in range(3):
            dataset[index]
    assert len(reader.reads) == reads


def test_a_case_without_the_dose_it_needs_is_refused(reader: MemoryReader) -> None:
    reader.cases["case_1"] = reader.cases["case_1"].with_dose(None)
    dataset = DoseDataset(reader, SMALL, 8)
    assert keys.DOSE in dataset[0]
    with pytest.raises(CaseError, match="case must have a dose to learn from; got 'case_1'"):
        dataset[1]


def test_a_predicted_dose_is_placed_where_the_case_is(reader: MemoryReader) -> None:
    dataset = DoseDataset(reader, SMALL, multiple=16)
    case = reader.cases["case_2"]
    dose = dataset[2][keys.DOSE]
    assert isinstance(dose, torch.Tensor)
    assert dose.shape == (1, 16, 16, 32)
    np.testing.assert_array_equal(dataset.placed("case_2", dose[0].numpy()), case.dose_gy)


def epochs(count: int, **arguments: int) -> list[list[tuple[int, int]]]:
    sampler = EpochSampler(**arguments)
    drawn = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        drawn.append(list(sampler))
        assert len(drawn[-1]) == len(sampler)
    return drawn


def test_epochs_differ_and_repeat_exactly() -> None:
    first, second = epochs(2, cases=20, samples_per_epoch=20, seed=1)
    assert [case for case, _ in first] != [case for case, _ in second]
    assert epochs(2, cases=20, samples_per_epoch=20, seed=1) == [first, second]
    assert epochs(1, cases=20, samples_per_epoch=20, seed=2)[0] != first
    sampler = EpochSampler(20, 20, seed=1)
    sampler.set_epoch(1)  # as a resumed run does
    assert list(sampler) == second


@pytest.mark.parametrize("per_epoch", [4, 7, 10, 25])
def test_every_case_comes_once_per_round_whatever_the_epoch(per_epoch: int) -> None:
    drawn = [index for epoch in epochs(10, cases=10, samples_per_epoch=per_epoch, seed=3) for index in epoch]
    assert [draw for _, draw in drawn] == list(range(10 * per_epoch))
    cases = [case for case, _ in drawn]
    for start in range(0, len(cases) - 9, 10):
        assert sorted(cases[start : start + 10]) == list(range(10))


@pytest.mark.parametrize(("world", "per_epoch"), [(2, 10), (3, 10), (4, 12)])
def test_ranks_share_an_epoch_without_overlap(world: int, per_epoch: int) -> None:
    shares = [epochs(3, cases=10, samples_per_epoch=per_epoch, seed=5, rank=rank, world=world) for rank in range(world)]
    whole = -(-per_epoch // world) * world
    alone = epochs(3, cases=10, samples_per_epoch=whole, seed=5)
    for epoch in range(3):
        assert {len(share[epoch]) for share in shares} == {whole // world}
        assert Counter(index for share in shares for index in share[epoch]) == Counter(alone[epoch])


@pytest.mark.parametrize("arguments", [(0, 5), (5, 0), (-1, 5)])
def test_empty_epochs_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="cases, samples_per_epoch must be positive; got"):
        EpochSampler(*arguments)


@pytest.mark.parametrize(("cases", "world"), [(5, 1), (5, 2), (6, 2), (1, 3), (7, 4)])
def test_every_case_is_counted_by_one_process_and_all_take_the_same_number(cases: int, world: int) -> None:
    shares = [list(ShareSampler(cases, rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {-(-cases // world)} == {len(ShareSampler(cases, 0, world))}
    assert sorted(case for share in shares for case, draw in share if draw != REPEAT) == list(range(cases))
    assert all(0 <= case < cases for share in shares for case, _ in share)


def test_a_repeated_item_says_so(reader: MemoryReader) -> None:
    dataset = DoseDataset(reader, SMALL, 8)
    assert REPEATED not in dataset[0, 0]
    assert dataset[0, REPEAT][REPEATED] is True
    assert collate([dataset[0, REPEAT]])[REPEATED] == [True]
