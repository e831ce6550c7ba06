"""Latent → dose: the half of the dose codec that stage II keeps, frozen, as its prior over doses.

Trilinear upsampling and 3³ convolutions only: transposed convolutions and pixel shuffles leave checkerboards and seams.
Each level narrows *before* it is upsampled, and full resolution gets a single 3³ convolution, because one of them costs
as much there as eight at half the resolution. A linear path from the latent to the dose, interpolated, carries the
coarse dose past all of it: with it the codec learns in a fraction of the steps.
"""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dosewright.core import InputError

SLOPE = 0.01  # of the leaky ReLUs


def check_widths(widths: Sequence[int], blocks: int) -> None:
    """Refuse levels the dose codec cannot be built of.

    Raises:
        InputError: If there are fewer than two widths, one is not positive, or a level has no block.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise InputError("must hold at least two levels of at least one feature", argument="widths", value=[*widths])
    if blocks < 1:
        raise InputError("must be at least 1", argument="blocks", value=blocks)


class ResidualBlock(nn.Module):
    """Adds two 3³ convolutions to an untouched path; starts as adding nothing.

    Nothing is normalised: a norm would make the dose at one place depend on how much dose there is elsewhere, and on
    how far the volume was padded.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b c z y x"]:
        """Return the block's features."""
        return x + self.second(functional.leaky_relu(self.first(functional.leaky_relu(x, SLOPE)), SLOPE))


class DoseDecoder(nn.Module):
    """Latent → dose divided by the dose scale, at `stride` times the latent's resolution.

    Args:
        latent_channels: Channels of the latent.
        widths: Features at 1/1, 1/2, 1/4, … of the dose's resolution; the latent lives at the last.
        blocks: Residual blocks at each level but the finest, which has one convolution.

    Raises:
        InputError: If the levels cannot be built (`check_widths`).
    """

    def __init__(self, latent_channels: int, widths: Sequence[int] = (32, 64, 96), blocks: int = 1) -> None:
        super().__init__()
        check_widths(widths, blocks)
        self.latent_channels = latent_channels
        self.stride = 2 ** (len(widths) - 1)
        coarse_to_fine = list(reversed(widths))
        self.enter = nn.Conv3d(latent_channels, coarse_to_fine[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks))) for width in coarse_to_fine[:-1]
        )
        self.narrow = nn.ModuleList(nn.Conv3d(a, b, 1) for a, b in pairwise(coarse_to_fine))
        self.finest = nn.Conv3d(widths[0], widths[0], 3, padding=1)
        self.out = nn.Conv3d(widths[0], 1, 1)
        self.coarse = nn.Conv3d(latent_channels, 1, 3, padding=1)

    def forward(self, latent: Float[Tensor, "b d k j i"]) -> Float[Tensor, "b 1 z y x"]:
        """Return the dose divided by the dose scale.

        Raises:
            InputError: If the latent has other channels than the decoder was built for.
        """
        if latent.shape[1] != self.latent_channels:
            rule = f"must have the {self.latent_channels} channels the decoder was built for"
            raise InputError(rule, argument="latent", value=latent.shape[1])
        x = self.enter(latent)
        for blocks, narrow in zip(self.levels, self.narrow):
            x = narrow(blocks(x))
            x = functional.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)
        coarse = self.coarse(latent)
        coarse = functional.interpolate(coarse, scale_factor=float(self.stride), mode="trilinear", align_corners=False)
        return self.out(x + functional.leaky_relu(self.finest(x), SLOPE)) + coarse
