"""Quantisers of a latent volume, over the library vector-quantize-pytorch: each position becomes a few integers.

The wrappers keep what a trainer relies on: the quantised latent passes its gradient on unchanged, whatever the number
of levels (the library's residual quantisers multiply it by that number); evaluation changes no state; the arithmetic is
float32 under any autocast; and processes that train together share one codebook.
"""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn
from vector_quantize_pytorch import ResidualFSQ, ResidualVQ
from vector_quantize_pytorch.vector_quantize_pytorch import Codebook, sample_vectors_distributed

from dosewright.core import InputError

_MOST_SCALAR_CODES = 2**16


class Quantised(NamedTuple):
    """What a quantiser makes of a latent."""

    latent: Float[Tensor, "b c z y x"]  # float32; its gradient is the gradient of the latent before
    indices: Int[Tensor, "b q z y x"]  # one plane per codebook
    loss: Float[Tensor, ""]  # commitment, which pulls the encoder towards the codes; 0 where no code is learnt


class VectorQuantiser(nn.Module):
    """Residual vector quantisation (arXiv 2107.03312, algorithm 1); codes follow the running mean of their positions.

    The first codebook gives the code nearest the latent, the second the one nearest what is left, and so on; one level
    is the plain VQ-VAE. Codes too seldom used restart at positions of the batch, so that a collapsed codebook spreads.

    Args:
        channels: Channels of the latent.
        codebook_size: Codes per codebook.
        levels: Codebooks that refine each other.
        decay: Of the running means, per training step.
        revive_below: Uses per step, as a running mean, below which a code restarts; 0 for never.
        commitment: Weight of the mean squared distance from what a level is given to its code, averaged over levels.
        kmeans_init: Start at the clusters of the first training batch; until then every code is zero.
        heads: Equal groups of channels quantised apart, each with `levels` codebooks of its own.

    Raises:
        InputError: If an argument is out of range, or `heads` does not divide `channels`.
    """

    def __init__(
        self,
        channels: int,
        codebook_size: int = 512,
        levels: int = 4,
        decay: float = 0.99,
        revive_below: float = 2.0,
        commitment: float = 1.0,
        kmeans_init: bool = True,
        heads: int = 1,
    ) -> None:
        super().__init__()
        _check_at_least(1, channels=channels, levels=levels, heads=heads)
        _check_at_least(2, codebook_size=codebook_size)
        _check_at_least(0, revive_below=revive_below, commitment=commitment)
        if not 0.0 < decay < 1.0:
            raise InputError("must lie between 0 and 1", argument="decay", value=decay)
        if channels % heads:
            raise InputError(f"must divide the {channels} channels", argument="heads", value=heads)
        self.channels, self.commitment = channels, commitment
        self.codebook_sizes = (codebook_size,) * (heads * levels)
        self.heads = nn.ModuleList(
            ResidualVQ(
                dim=channels // heads,
                num_quantizers=levels,
                codebook_size=codebook_size,
                decay=decay,
                threshold_ema_dead_code=revive_below,
                kmeans_init=kmeans_init,
                rotation_trick=False,
                sync_codebook=False,  # see _join_processes
            )
            for _ in range(heads)
        )

    def forward(self, latent: Float[Tensor, "b c z y x"]) -> Quantised:
        """Return the quantised latent; in training, also move the codes towards it.

        Raises:
            InputError: If the latent has other channels than the quantiser was built for.
        """
        _check_channels(latent, self.channels)
        quantise = _quantise_and_learn if self.training else _quantise
        with _float32(latent):
            groups = _positions(latent.float()).chunk(len(self.heads), dim=-1)
            codes, indices, losses = zip(*(quantise(head, group) for head, group in zip(self.heads, groups)))
            nearest = _volume(torch.cat(codes, dim=-1), latent)
            return Quantised(
                _straight_through(latent.float(), nearest),
                _volume(torch.cat(indices, dim=-1), latent),
                self.commitment * torch.stack(losses).mean(),
            )

    def lookup(self, indices: Int[Tensor, "b q z y x"]) -> Float[Tensor, "b c z y x"]:
        """Return the latent that `indices` stand for.

        Raises:
            InputError: If there is not one plane per codebook, or an index is not of its codebook.
        """
        _check_indices(indices, self.codebook_sizes)
        planes = _positions(indices).chunk(len(self.heads), dim=-1)
        heads: Iterable[Any] = self.heads
        codes = [head.get_output_from_indices(plane) for head, plane in zip(heads, planes)]
        return _volume(torch.cat(codes, dim=-1), indices)


class FiniteScalarQuantiser(nn.Module):
    """Finite scalar quantisation (arXiv 2309.15505), residual: a few bounded numbers, each rounded to a few steps.

    The latent is projected to one number per entry of `steps`, bounded softly, rounded, and projected back. Nothing can
    collapse and nothing is learnt but the two projections: the alternative to try where a codebook will not fill.

    Args:
        channels: Channels of the latent.
        steps: Values each number can take; a codebook has their product of codes.
        levels: Roundings that refine each other, each in steps finer by the number of `steps` than the one before.

    Raises:
        InputError: If an argument is out of range, or a codebook would have more than 65,536 codes.
    """

    def __init__(self, channels: int, steps: Sequence[int] = (8, 5, 5, 5), levels: int = 4) -> None:
        super().__init__()
        _check_at_least(1, channels=channels, levels=levels)
        if not steps or min(steps) < 2:
            raise InputError("must be one or more numbers of at least 2", argument="steps", value=[*steps])
        if math.prod(steps) > _MOST_SCALAR_CODES:
            rule = f"must have a product of at most {_MOST_SCALAR_CODES}"
            raise InputError(rule, argument="steps", value=[*steps])
        self.channels = channels
        self.codebook_sizes = (math.prod(steps),) * levels
        self.enter = nn.Linear(channels, len(steps))
        self.rounding = ResidualFSQ(levels=[*steps], num_quantizers=levels)
        self.leave = nn.Linear(len(steps), channels)

    def forward(self, latent: Float[Tensor, "b c z y x"]) -> Quantised:
        """Return the quantised latent, with a loss of 0.

        Raises:
            InputError: If the latent has other channels than the quantiser was built for.
        """
        _check_channels(latent, self.channels)
        with _float32(latent):
            numbers = self.enter(_positions(latent.float()))
            nearest, indices = self.rounding(numbers)
            bound = self.rounding.soft_clamp_input_value
            bounded = (numbers / bound).tanh() * bound
            quantised = self.leave(_straight_through(bounded, nearest))
            return Quantised(_volume(quantised, latent), _volume(indices.long(), latent), quantised.new_zeros(()))

    def lookup(self, indices: Int[Tensor, "b q z y x"]) -> Float[Tensor, "b c z y x"]:
        """Return the latent that `indices` stand for.

        Raises:
            InputError: If there is not one plane per codebook, or an index is not of its codebook.
        """
        _check_indices(indices, self.codebook_sizes)
        return _volume(self.leave(self.rounding.get_output_from_indices(_positions(indices))), indices)


class NoQuantiser(nn.Module):
    """Passes the latent on: the codec without a codebook, a plain autoencoder."""

    codebook_sizes: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()  # nn.Module takes any argument; this one takes none

    def forward(self, latent: Float[Tensor, "b c z y x"]) -> Quantised:
        """Return the latent, in float32, with no index planes and a loss of 0."""
        latent = latent.float()
        planes = latent.new_zeros((len(latent), 0, *latent.shape[2:]), dtype=torch.long)
        return Quantised(latent, planes, latent.new_zeros(()))

    def lookup(self, indices: Int[Tensor, "b q z y x"]) -> Float[Tensor, "b c z y x"]:
        """Raise, as there is nothing to look up.

        Raises:
            InputError: Always.
        """
        raise InputError("needs a codebook, and this codec has none", argument="lookup")


_KINDS: Mapping[str, type[nn.Module]] = {
    "vector": VectorQuantiser,
    "scalar": FiniteScalarQuantiser,
    "none": NoQuantiser,
}


def make_quantiser(channels: int, settings: Mapping[str, Any]) -> nn.Module:
    """Return the quantiser that `settings` name by "kind" ("vector", "scalar" or "none"); the rest are its arguments.

    Raises:
        InputError: If the kind is unknown or has no such argument.
    """
    arguments = dict(settings)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise InputError(f"must be one of {', '.join(_KINDS)}", argument="quantiser kind", value=kind)
    known = set(inspect.signature(_KINDS[kind]).parameters) - {"channels"}
    if unknown := sorted(set(arguments) - known):
        rule = (
            f"must be among {sorted(known)}" if known else "must be none: 'model.quantiser={kind:none}' has no settings"
        )
        raise InputError(rule, argument=f"settings of the {kind} quantiser", value=unknown)
    return _KINDS[kind](**arguments) if kind == "none" else _KINDS[kind](channels, **arguments)


def _quantise_and_learn(head: Any, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes, indices and commitment of one head; move its codes."""
    for level in head.layers:
        _join_processes(level._codebook)
    codes, indices, losses = head(given)
    return codes, indices, losses.mean()


def _quantise(head: Any, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same without a trace: the library would start the codebooks, and leaves the commitment out."""
    if all(bool(level._codebook.initted) for level in head.layers):
        _, indices, _ = head(given)
    else:  # all codes are zero
        indices = given.new_zeros((*given.shape[:2], len(head.layers)), dtype=torch.long)
    codes = head.get_codes_from_indices(indices)
    left = given - codes.cumsum(0)
    return codes.sum(0), indices, left.square().mean()


def _straight_through(source: Tensor, target: Tensor) -> Tensor:
    """Return exactly `target`, with the gradient passed to `source`."""
    return target.detach() + (source - source.detach())


def _positions(volume: Tensor) -> Tensor:
    """Return (b c z y x) as (b, positions, c)."""
    return volume.flatten(2).transpose(1, 2)


def _volume(positions: Tensor, like: Tensor) -> Tensor:
    """Return (b, positions, c) as (b c z y x), with the sizes of `like`."""
    return positions.transpose(1, 2).unflatten(2, like.shape[2:])


def _float32(latent: Tensor) -> torch.autocast:
    return torch.autocast(latent.device.type, enabled=False)


def _join_processes(codebook: Codebook) -> None:
    """Share means, clusters and restarts among the processes that train together.

    The library decides this when a codebook is built, which is before a trainer joins its processes.
    """
    joined = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    if joined and not codebook.use_ddp:
        codebook.use_ddp = True
        codebook.all_reduce_fn = codebook.kmeans_all_reduce_fn = distributed.all_reduce
        codebook.sample_fn = codebook.replace_sample_fn = sample_vectors_distributed


def _check_at_least(least: int, **arguments: int | float) -> None:
    for name, value in arguments.items():
        if value < least:
            raise InputError(f"must be at least {least}", argument=name, value=value)


def _check_channels(latent: Tensor, channels: int) -> None:
    if latent.shape[1] != channels:
        rule = f"must have the {channels} channels the quantiser was built for"
        raise InputError(rule, argument="latent", value=latent.shape[1])


def _check_indices(indices: Tensor, sizes: tuple[int, ...]) -> None:
    if indices.shape[1] != len(sizes):
        raise InputError(f"must have one plane per codebook ({len(sizes)})", argument="indices", value=indices.shape[1])
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= sizes[0]):
        span = (int(indices.min()), int(indices.max()))
        raise InputError(f"must lie in [0, {sizes[0]})", argument="indices", value=span)
