"""Dose → latent: the dose decoder's mirror image, with a linear path of its own."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dosewright.nets.dose_decoder import SLOPE, ResidualBlock, check_widths
from dosewright.nets.sizes import check_sizes


class DoseEncoder(nn.Module):
    """Dose divided by the dose scale → latent, at 1/`stride` of the resolution and without bounds.

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
        self.stride = 2 ** (len(widths) - 1)
        self.finest = nn.Conv3d(1, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks))) for width in widths[1:]
        )
        self.out = nn.Conv3d(widths[-1], latent_channels, 1)
        self.coarse = nn.Conv3d(1, latent_channels, self.stride, stride=self.stride)

    def forward(self, dose: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b d k j i"]:
        """Return the latent.

        Raises:
            InputError: If a size is not a multiple of `stride`.
        """
        check_sizes(dose, 1, self.stride)
        x = functional.leaky_relu(self.finest(dose), SLOPE)
        for down, blocks in zip(self.down, self.levels):
            x = blocks(down(x))
        return self.out(x) + self.coarse(dose)
