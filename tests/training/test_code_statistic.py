"""Use of codes against naive numpy counts."""

import math

import numpy as np
import pytest
import torch

from dosewright.core import InputError
from dosewright.training.code_statistic import CodeStatistic

SIZES = (6, 11)


def batches(seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(seed)
    made = []
    for size in (2, 1):
        planes = [rng.integers(0, n // 2, (size, 3, 4, 5)) for n in SIZES]  # the upper half is never used
        cells = rng.random((size, 1, 3, 4, 5)) < 0.2
        made.append((torch.tensor(np.stack(planes, axis=1)), torch.tensor(cells)))
    return made


def naive(level: int) -> tuple[float, float]:
    """Usage and perplexity of a level over all batches."""
    seen = [int(i) for indices, cells in batches() for i in indices[:, level].numpy()[cells[:, 0].numpy()]]
    shares = [seen.count(code) / len(seen) for code in set(seen)]
    return len(set(seen)) / SIZES[level], math.exp(-sum(p * math.log(p) for p in shares))


@pytest.mark.parametrize("level", [0, 1, None])
def test_usage_and_perplexity_are_the_naive_ones(level: int | None):
    for position, name in enumerate(("usage", "perplexity")):
        statistic = CodeStatistic(SIZES, name, level)
        for indices, cells in batches():
            statistic.update(indices, cells)
        expected = min(naive(0)[position], naive(1)[position]) if level is None else naive(level)[position]
        assert float(statistic.compute()) == pytest.approx(expected, rel=1e-6)


def test_even_use_of_all_codes_has_their_number_as_perplexity():
    indices = torch.arange(8).reshape(1, 1, 2, 2, 2)
    everywhere = torch.ones_like(indices, dtype=torch.bool)
    perplexity, usage = CodeStatistic([8], "perplexity"), CodeStatistic([8])
    for statistic in (perplexity, usage):
        statistic.update(indices, everywhere)
    assert float(perplexity.compute()) == pytest.approx(8.0, rel=1e-6)
    assert float(usage.compute()) == 1.0


def test_a_reset_forgets_and_nothing_counted_is_nothing_used():
    statistic, perplexity = CodeStatistic(SIZES), CodeStatistic(SIZES, "perplexity")
    for one in (statistic, perplexity):
        one.update(*batches()[0])
        one.reset()
        one.update(batches()[0][0], torch.zeros_like(batches()[0][1]))
    assert float(statistic.compute()) == 0.0
    assert float(perplexity.compute()) == 1.0
    assert statistic.state_dict() == {}  # counts of an epoch are no part of a checkpoint


def test_unknown_codebooks_are_refused():
    with pytest.raises(InputError, match="sizes must name at least one codebook"):
        CodeStatistic([])
    with pytest.raises(InputError, match="level must be one of 2 codebooks; got 2"):
        CodeStatistic(SIZES, level=2)
