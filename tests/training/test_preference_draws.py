"""Draws of slider values: repeatable, in range, in the promised shares."""

import math

import pytest
import torch
from torch import Tensor

from dosewright.core import InputError
from dosewright.core.preference import PreferenceSpace
from dosewright.training.preference_draws import PreferenceDraws

SPACE = PreferenceSpace("per_group", sparing_range=(0.8, 1.2), homogeneity_range=(0.75, 1.5))


def many(draws: PreferenceDraws, steps: int = 1000, count: int = 4) -> Tensor:
    return torch.cat([draws.draw(count, step) for step in range(steps)])


def within(observed: int, trials: int, probability: float) -> bool:
    """Within five standard deviations of a binomial count, both ways."""
    return abs(observed - trials * probability) <= 5 * math.sqrt(trials * probability * (1 - probability))


def test_draws_repeat_without_the_global_generator():
    first = PreferenceDraws(SPACE, seed=5).draw(3, step=17, rank=1)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert torch.equal(PreferenceDraws(SPACE, seed=5).draw(3, step=17, rank=1), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.dtype == torch.float32
    assert torch.equal(PreferenceDraws(SPACE, seed=5).draw(2, step=17, rank=1), first[:2])  # a smaller last batch


def test_seed_step_rank_and_position_each_change_the_draw():
    free = {"neutral_share": 0.0, "tied_share": 0.0}
    draws = PreferenceDraws(SPACE, seed=1, **free)
    rows = [
        *draws.draw(2, step=2, rank=3),
        *draws.draw(1, step=3, rank=3),
        *draws.draw(1, step=2, rank=4),
        *draws.draw(1, step=3, rank=2),
        *PreferenceDraws(SPACE, seed=2, **free).draw(1, step=2, rank=3),
    ]
    assert len({tuple(row.tolist()) for row in rows}) == len(rows) == 6


def test_values_fill_their_ranges():
    vectors = many(PreferenceDraws(SPACE, neutral_share=0.0, tied_share=0.3))
    for column, (low, high) in zip(vectors.T, SPACE.ranges, strict=True):
        assert low <= float(column.min()) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < float(column.max()) <= high


def test_shares_are_the_promised_ones():
    vectors = many(PreferenceDraws(SPACE, neutral_share=0.4, tied_share=0.3))
    neutral = (vectors == 1.0).all(dim=1)
    tied = (vectors[:, :4] == vectors[:, :1]).all(dim=1) & ~neutral
    assert within(int(neutral.sum()), len(vectors), 0.4)
    assert within(int(tied.sum()), len(vectors), 0.3)
    assert not (vectors[tied, 4] == 1.0).any()  # tied sliders leave homogeneity on its own


@pytest.mark.parametrize(("neutral", "tied"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.7, 0.3)])
def test_shares_at_their_ends(neutral: float, tied: float):
    vectors = many(PreferenceDraws(SPACE, neutral, tied), steps=50)
    together = (vectors[:, :4] == vectors[:, :1]).all(dim=1)
    assert bool((vectors == 1.0).all()) == (neutral == 1.0)
    assert bool(together.all()) == (neutral + tied == 1.0)
    assert bool(together.any()) == (neutral + tied > 0.0)


def test_sparing_is_uniform_and_homogeneity_log_uniform_with_median_1():
    vectors = many(PreferenceDraws(SPACE, neutral_share=0.0, tied_share=0.0)).double()
    for column in vectors.T[:4]:
        for fraction in (0.25, 0.5, 0.75):
            assert within(int((column < 0.8 + 0.4 * fraction).sum()), len(column), fraction)
    homogeneity = vectors[:, 4]
    for bound, fraction in ((math.sqrt(0.75), 0.25), (1.0, 0.5), (math.sqrt(1.5), 0.75)):
        assert within(int((homogeneity < bound).sum()), len(homogeneity), fraction)
    correlations = torch.corrcoef(vectors.T) - torch.eye(5)
    assert float(correlations.abs().max()) < 5 / math.sqrt(len(vectors))


def test_a_range_that_ends_at_1_stays_there():
    space = PreferenceSpace("global", sparing_range=(1.0, 1.0), homogeneity_range=(1.0, 1.5))
    vectors = many(PreferenceDraws(space, 0.0, 0.0))
    assert (vectors[:, 0] == 1.0).all()
    assert within(int((vectors[:, 1] == 1.0).sum()), len(vectors), 0.5)


def test_an_empty_batch_has_the_spaces_width():
    assert PreferenceDraws(SPACE).draw(0, 0).shape == (0, 5)


@pytest.mark.parametrize("shares", [(-0.1, 0.5), (0.5, -0.1), (0.6, 0.5), (float("nan"), 0.5)])
def test_shares_must_be_probabilities(shares: tuple[float, float]):
    with pytest.raises(InputError, match="shares must be 0 or more and sum up to at most 1"):
        PreferenceDraws(SPACE, *shares)


def test_seed_must_not_be_negative():
    with pytest.raises(InputError, match="seed must be 0 or more; got -1"):
        PreferenceDraws(SPACE, seed=-1)


@pytest.mark.parametrize("name", ["count", "step", "rank"])
def test_draws_need_natural_numbers(name: str):
    with pytest.raises(InputError, match=f"{name} must be 0 or more; got -2"):
        PreferenceDraws(SPACE).draw(**({"count": 1, "step": 0, "rank": 0} | {name: -2}))
