import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dosewright.core import InputError
from dosewright.nets.quantiser import (
    FiniteScalarQuantiser,
    NoQuantiser,
    Quantised,
    VectorQuantiser,
    make_quantiser,
)

CHANNELS, SIZES = 6, (3, 2, 4)
KINDS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: random_vector(levels=1),
    "residual": lambda: random_vector(levels=3),
    "heads": lambda: random_vector(levels=2, heads=3),
    "scalar": lambda: FiniteScalarQuantiser(CHANNELS, steps=(8, 5, 2), levels=3),
}


def random_vector(codebook_size: int = 7, revive_below: float = 0.0, **settings) -> VectorQuantiser:
    """Codebooks drawn at random, the later the smaller, in place of clusters of data."""
    quantiser = VectorQuantiser(
        CHANNELS, codebook_size=codebook_size, revive_below=revive_below, kmeans_init=False, **settings
    )
    for head in quantiser.heads:
        for level, layer in enumerate(head.layers):
            layer._codebook.embed.normal_(std=0.5**level)
            layer._codebook.embed_avg.copy_(layer._codebook.embed)
    return quantiser


@pytest.fixture(params=KINDS)
def quantiser(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return KINDS[request.param]()


def random_latent(batch: int = 2, channels: int = CHANNELS) -> Tensor:
    return torch.randn(batch, channels, *SIZES)


def rows(volume: Tensor) -> np.ndarray:
    """(b c z y x) → (positions, c), in float64 or integers."""
    array = volume.detach().movedim(1, -1).flatten(0, -2).numpy()
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def nearest(given: np.ndarray, books: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Brute force, level by level: codes' sum, indices, what each level left."""
    left, indices, lefts = given.copy(), [], []
    for book in books:
        chosen = np.array([np.argmin([np.sum((row - code) ** 2) for code in book]) for row in left])
        left = left - book[chosen]
        indices.append(chosen)
        lefts.append(left)
    return given - left, indices, lefts


def twin(quantiser: VectorQuantiser, latent: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quantised rows, indices, and the mean of what the levels left, with the codebooks as they stand."""
    parts = []
    for head, group in zip(quantiser.heads, latent.chunk(len(quantiser.heads), dim=1)):
        books = [layer._codebook.embed[0].double().numpy().copy() for layer in head.layers]
        parts.append(nearest(rows(group), books))
    quantised = np.concatenate([part[0] for part in parts], axis=1)
    indices = np.stack([plane for part in parts for plane in part[1]], axis=1)
    lefts = np.concatenate([np.stack(part[2]) for part in parts], axis=2)  # (levels, positions, channels)
    return quantised, indices, lefts


def equal_states(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def copied_state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


# Vector


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["plain", "residual", "heads"])
def test_vector_takes_the_nearest_code_of_each_level(kind: str, training: bool):
    torch.manual_seed(1)
    quantiser = KINDS[kind]().train(training)
    quantiser.commitment = 0.25
    latent = random_latent()
    codes, indices, lefts = twin(quantiser, latent)
    out = quantiser(latent)
    assert out.indices.shape == (2, len(quantiser.codebook_sizes), *SIZES)
    np.testing.assert_array_equal(rows(out.indices), indices)
    np.testing.assert_allclose(rows(out.latent), codes, atol=1e-6)
    assert out.loss.item() == pytest.approx(0.25 * np.mean(lefts**2), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["plain", "residual", "heads"])
def test_gradient_passes_straight_through_whatever_the_levels(kind: str, training: bool):
    latent, pull = random_latent().requires_grad_(), random_latent()
    (KINDS[kind]().train(training)(latent).latent * pull).sum().backward()
    torch.testing.assert_close(latent.grad, pull, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["plain", "residual", "heads"])
def test_commitment_gradient_in_closed_form(kind: str, training: bool):
    """d/dx of w·mean over levels of mean (x − Σ codes)²: every level pulls."""
    torch.manual_seed(2)
    quantiser = KINDS[kind]().train(training)
    quantiser.commitment = 0.7
    latent = random_latent().requires_grad_()
    lefts = twin(quantiser, latent)[2]
    quantiser(latent).loss.backward()
    np.testing.assert_allclose(rows(latent.grad), 0.7 * 2 * lefts.sum(0) / lefts.size, rtol=1e-4, atol=1e-8)


def test_codes_follow_the_running_mean_of_their_positions():
    torch.manual_seed(3)
    quantiser, latent = random_vector(levels=1, decay=0.8), random_latent()
    book = quantiser.heads[0].layers[0]._codebook
    codes = book.embed[0].double().numpy().copy()
    indices = twin(quantiser, latent)[1][:, 0]
    uses = np.array([0.8 + 0.2 * np.sum(indices == k) for k in range(7)])  # starts at one use each
    sums = np.array([0.8 * codes[k] + 0.2 * rows(latent)[indices == k].sum(0) for k in range(7)])
    quantiser(latent)
    np.testing.assert_allclose(book.cluster_size[0].numpy(), uses, rtol=1e-5)
    np.testing.assert_allclose(book.embed[0].numpy(), sums / uses[:, None], rtol=1e-4, atol=1e-6)


def test_kmeans_starts_the_codes_at_the_data():
    """With a code per position, the clusters are the positions."""
    torch.manual_seed(4)
    latent = 50.0 + random_latent(batch=1)
    quantiser = VectorQuantiser(CHANNELS, codebook_size=24, levels=1, revive_below=0.0)
    out = quantiser(latent)
    assert sorted(out.indices.flatten().tolist()) == list(range(24))
    torch.testing.assert_close(out.latent, latent, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("revive_below", "fewest", "most"), [(0.0, 1, 1), (0.5, 15, 16)])
def test_a_collapsed_codebook_spreads_only_where_codes_are_revived(revive_below: float, fewest: int, most: int):
    """Codes around zero and data far away: one code is the nearest to all of them."""
    torch.manual_seed(5)
    quantiser = random_vector(codebook_size=16, levels=1, decay=0.9, revive_below=revive_below)
    away = torch.full((1, CHANNELS, 1, 1, 1), 100.0)
    quantiser.heads[0].layers[0]._codebook.embed[0, 0] = 3.0  # the nearest of all
    quantiser.heads[0].layers[0]._codebook.embed_avg[0, 0] = 3.0
    assert quantiser.eval()(away + random_latent(8)).indices.unique().tolist() == [0]
    quantiser.train()
    for _ in range(30):
        quantiser(away + random_latent(8))
    assert fewest <= len(quantiser.eval()(away + random_latent(8)).indices.unique()) <= most


def test_evaluation_before_training_gives_zeros_and_starts_nothing():
    quantiser = VectorQuantiser(CHANNELS, codebook_size=4, levels=2).eval()
    before, latent = copied_state(quantiser), random_latent()
    out = quantiser(latent)
    assert equal_states(before, quantiser.state_dict())
    assert out.latent.eq(0).all()
    assert out.indices.eq(0).all()
    assert out.loss.item() == pytest.approx(latent.square().mean().item(), rel=1e-6)


PROCESS = """
import sys, torch
from torch import distributed
from dosewright.nets.quantiser import VectorQuantiser
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
given = torch.load(f"{folder}/given.pt")
makers = {"mean": lambda: VectorQuantiser(6, 7, 2, revive_below=0.0, kmeans_init=False),
          "start": lambda: VectorQuantiser(6, 7, 2, revive_below=9.0)}
quantisers = {name: make() for name, make in makers.items()}  # as a trainer does: before the processes are joined
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
quantisers["mean"].load_state_dict(given["state"])
torch.manual_seed(rank)
for quantiser in quantisers.values():
    for latent in given["latents"][rank]:
        quantiser(latent)
torch.save({name: quantiser.state_dict() for name, quantiser in quantisers.items()}, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def test_processes_share_one_codebook(tmp_path: Path):
    """Two processes with half a batch each learn what one learns from the whole; so do starts and restarts agree."""
    torch.manual_seed(6)
    alone = random_vector(levels=2)
    latents = torch.randn(2, 3, 2, CHANNELS, *SIZES)  # process, step, batch, …
    torch.save({"state": alone.state_dict(), "latents": latents}, tmp_path / "given.pt")
    command = [sys.executable, "-c", PROCESS]
    processes = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in (0, 1)]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    for step in range(3):
        alone(latents[:, step].flatten(0, 1))
    zero, one = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(zero["mean"][key], value, rtol=1e-4, atol=1e-6)
    assert equal_states(zero["mean"], one["mean"])
    assert equal_states(zero["start"], one["start"])
    assert bool(zero["start"]["heads.0.layers.1._codebook.initted"])


# Finite scalar


def test_scalar_rounds_to_the_nearest_step_of_each_level():
    torch.manual_seed(7)
    steps, levels = np.array([8, 5, 2]), 3
    quantiser, latent = FiniteScalarQuantiser(CHANNELS, steps=(8, 5, 2), levels=levels), 3 * random_latent()
    out = quantiser(latent)
    enter, leave = (
        (part.weight.detach().double().numpy(), part.bias.detach().double().numpy())
        for part in (quantiser.enter, quantiser.leave)
    )
    bound = 1 + 1 / (steps - 1)
    left = bound * np.tanh((rows(latent) @ enter[0].T + enter[1]) / bound)
    total = np.zeros_like(left)
    for level in range(levels):
        chosen = np.zeros(left.shape, dtype=int)
        for row, number in itertools.product(range(len(left)), range(len(steps))):
            grid = np.linspace(-1, 1, steps[number]) / float(steps[number]) ** level
            chosen[row, number] = np.argmin(np.abs(grid - left[row, number]))
            total[row, number] += grid[chosen[row, number]]
            left[row, number] -= grid[chosen[row, number]]
        radix = np.array([1, 8, 8 * 5])
        np.testing.assert_array_equal(rows(out.indices)[:, level], (chosen * radix).sum(1))
    np.testing.assert_allclose(rows(out.latent), total @ leave[0].T + leave[1], atol=1e-5)
    assert out.loss.item() == 0.0
    assert quantiser.codebook_sizes == (80, 80, 80)


def test_scalar_gradient_is_that_of_its_projections_and_bound():
    torch.manual_seed(8)
    quantiser = FiniteScalarQuantiser(CHANNELS, steps=(8, 5, 2), levels=3)
    latent, pull = random_latent().requires_grad_(), random_latent()
    (quantiser(latent).latent * pull).sum().backward()
    numbers = rows(latent) @ quantiser.enter.weight.detach().double().numpy().T + quantiser.enter.bias.detach().numpy()
    slope = 1 - np.tanh(numbers / (1 + 1 / (np.array([8, 5, 2]) - 1))) ** 2
    weight_in, weight_out = (part.weight.detach().double().numpy() for part in (quantiser.enter, quantiser.leave))
    np.testing.assert_allclose(rows(latent.grad), (rows(pull) @ weight_out * slope) @ weight_in, atol=1e-6)


# Both


def test_lookup_gives_the_quantised_latent(quantiser: nn.Module):
    out = quantiser.eval()(random_latent())
    torch.testing.assert_close(quantiser.lookup(out.indices), out.latent, rtol=0, atol=1e-7)


def test_evaluation_changes_no_state(quantiser: nn.Module):
    quantiser(random_latent())
    before = copied_state(quantiser)
    quantiser.eval()(random_latent())
    assert equal_states(before, quantiser.state_dict())


def test_state_carries_everything():
    torch.manual_seed(9)
    settings = {"codebook_size": 5, "levels": 2, "revive_below": 6.0}
    first, second = VectorQuantiser(CHANNELS, **settings), VectorQuantiser(CHANNELS, **settings)
    first(random_latent())
    second.load_state_dict(first.state_dict())
    latent = random_latent()
    for train in (False, True, False):  # goes on training alike: running means and started flags came along
        outs = []
        for quantiser in (first, second):
            torch.manual_seed(10)
            outs.append(quantiser.train(train)(latent))
        assert torch.equal(outs[0].indices, outs[1].indices)
        assert torch.equal(outs[0].latent, outs[1].latent)
    assert equal_states(first.state_dict(), second.state_dict())


def test_autocast_does_not_reach_the_arithmetic(quantiser: nn.Module):
    latent = random_latent().bfloat16()
    quantiser.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast: Quantised = quantiser(latent)
    plain: Quantised = quantiser(latent.float())
    assert cast.latent.dtype == cast.loss.dtype == torch.float32
    assert all(torch.equal(one, other) for one, other in zip(cast, plain))


def test_none_passes_the_latent_on():
    latent = random_latent().requires_grad_()
    out = NoQuantiser()(latent)
    assert torch.equal(out.latent, latent)
    assert out.indices.shape == (2, 0, *SIZES)
    assert out.loss.item() == 0.0
    with pytest.raises(InputError, match="lookup needs a codebook, and this codec has none"):
        NoQuantiser().lookup(out.indices)


def test_make_quantiser_gives_the_kind_its_arguments():
    assert make_quantiser(4, {"kind": "vector", "codebook_size": 9, "levels": 2}).codebook_sizes == (9, 9)
    assert make_quantiser(4, {"kind": "scalar", "steps": [3, 3], "levels": 1}).codebook_sizes == (9,)
    assert make_quantiser(4, {"kind": "none"}).codebook_sizes == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VectorQuantiser(0), "channels must be at least 1; got 0"),
        (lambda: VectorQuantiser(4, levels=0), "levels must be at least 1; got 0"),
        (lambda: VectorQuantiser(4, heads=0), "heads must be at least 1; got 0"),
        (lambda: VectorQuantiser(4, codebook_size=1), "codebook_size must be at least 2; got 1"),
        (lambda: VectorQuantiser(4, revive_below=-1.0), "revive_below must be at least 0; got -1.0"),
        (lambda: VectorQuantiser(4, commitment=-0.5), "commitment must be at least 0; got -0.5"),
        (lambda: VectorQuantiser(4, decay=1.0), "decay must lie between 0 and 1; got 1.0"),
        (lambda: VectorQuantiser(4, heads=3), "heads must divide the 4 channels; got 3"),
        (lambda: FiniteScalarQuantiser(4, levels=0), "levels must be at least 1; got 0"),
        (lambda: FiniteScalarQuantiser(4, steps=()), r"steps must be one or more numbers of at least 2; got \[\]"),
        (lambda: FiniteScalarQuantiser(4, steps=(8, 1)), r"steps must be one or more .* at least 2; got \[8, 1\]"),
        (lambda: FiniteScalarQuantiser(4, steps=(256, 257)), "steps must have a product of at most 65536"),
        (lambda: make_quantiser(4, {"kind": "lattice"}), "kind must be one of vector, scalar, none; got 'lattice'"),
        (lambda: make_quantiser(4, {"levels": 2}), "kind must be one of vector, scalar, none; got None"),
        (lambda: make_quantiser(4, {"kind": "none", "levels": 2}), r"settings of the none .* got \['levels'\]"),
        (lambda: make_quantiser(4, {"kind": "vector", "steps": [2]}), r"settings of the vector .* got \['steps'\]"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], object], message: str):
    with pytest.raises(InputError, match=message):
        make()


def test_inputs_that_do_not_fit_are_refused(quantiser: nn.Module):
    with pytest.raises(InputError, match=f"latent must have the {CHANNELS} channels .* built for; got 5"):
        quantiser(random_latent(channels=5))
    planes, size = len(quantiser.codebook_sizes), quantiser.codebook_sizes[0]
    indices = torch.zeros(1, planes, *SIZES, dtype=torch.long)
    with pytest.raises(InputError, match=rf"indices must have one plane per codebook \({planes}\); got {planes + 1}"):
        quantiser.lookup(torch.cat((indices, indices[:, :1]), dim=1))
    for wrong in (-1, size):
        indices[0, 0, 0, 0, 0] = wrong
        with pytest.raises(InputError, match=rf"indices must lie in \[0, {size}\); got "):
            quantiser.lookup(indices)
