"""From the image to the latent of a dose: the encoder of the two-stage net."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dosewright.core.errors import InputError
from dosewright.nets.conditional_block import ConditionalBlock
from dosewright.nets.sizes import check_sizes
from dosewright.nets.unet import ConvBlock


class Encoding(NamedTuple):
    """What the encoder makes of an image."""

    latent: Float[Tensor, "b l z4 y4 x4"]  # for the dose decoder
    half: Float[Tensor, "b h z2 y2 x2"]  # features at half the resolution
    context: Float[Tensor, "b c z4 y4 x4"]  # what the latent was read from


class ImageEncoder(nn.Module):
    """Image → latent.

    A strided convolution and one plain residual block at half the resolution; from a quarter downwards MedNeXt's
    blocks, each with a conditional norm; back up to the latent's resolution, adding the features met on the way down.
    Sizes need to be multiples of the latent's stride only: below, an odd size counts its last layer twice, which spares
    a whole patient a fifth of its voxels in padding.

    Plain convolutions where there are many voxels: bfloat16 matrix units run them several times faster than depthwise
    ones, and than ones in groups.

    Args:
        in_channels: Channels of the image.
        latent_channels: Channels of the latent.
        widths: Features at 1/2, 1/4, 1/8, … of the resolution.
        blocks: MedNeXt blocks of a level, on the way down and again on the way up.
        latent_stride: Voxels of the image per voxel of the latent along each axis: 4, or a larger power of 2.
        kernel_size: Edge of the blocks' spatial kernels, odd.
        group_width: Channels these join; 1 is depthwise, as in MedNeXt.
        expansion: Ratio of hidden channels in a MedNeXt block.
        conditioning: "adain", "film", "concatenation" or "none": how the code acts (`nets.conditioning`).
        code_size: Length of the code vector.

    Raises:
        InputError: If the latent's stride is not a level's, or a value is not one of those named.
    """

    def __init__(
        self,
        in_channels: int,
        latent_channels: int,
        widths: Sequence[int],
        blocks: int = 2,
        latent_stride: int = 4,
        kernel_size: int = 3,
        group_width: int = 16,
        expansion: int = 2,
        conditioning: str = "adain",
        code_size: int = 64,
    ) -> None:
        super().__init__()
        widths = tuple(widths)
        strides = [2**level for level in range(2, len(widths) + 1)]
        if latent_stride not in strides:
            rule = f"must reach the latent's stride {latent_stride}, a power of 2 from 4, one width per halving"
            raise InputError(rule, argument="widths", value=widths)
        self.in_channels, self.stride, self.coarsest_stride = in_channels, latent_stride, 2 ** len(widths)

        def level(width: int) -> nn.ModuleList:
            settings = (kernel_size, group_width, expansion, conditioning, code_size)
            return nn.ModuleList(ConditionalBlock(width, *settings) for _ in range(blocks))

        raised = widths[strides.index(latent_stride) + 1 :]  # levels passed on the way up, finest first
        self.stem = nn.Conv3d(in_channels, widths[0], 3, stride=2, padding=1)
        self.plain = ConvBlock(widths[0], widths[0])
        self.down = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.descent = nn.ModuleList(level(width) for width in widths[1:])
        self.up = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in pairwise(raised))
        self.ascent = nn.ModuleList(level(width) for width in raised[:-1])
        self.latent = nn.Conv3d(raised[0], latent_channels, 1)

    def forward(self, image: Float[Tensor, "b c z y x"], code: Float[Tensor, "b k"] | None = None) -> Encoding:
        """Return the latent, and the features a refinement may read.

        Args:
            image: Channels, of sizes that are multiples of `stride`.
            code: Code vector of each sample; None without conditioning.

        Raises:
            InputError: If the channels or sizes do not fit (see `nets.sizes`), or a code is needed and missing.
        """
        check_sizes(image, self.in_channels, self.stride)
        if max(image.shape[2:]) <= self.coarsest_stride:
            rule = f"must be larger than {self.coarsest_stride} along at least one axis"
            raise InputError(rule, argument="image", value=tuple(image.shape[2:]))
        half = self.plain(self.stem(image))
        features, skips = half, []
        for down, blocks in zip(self.down, self.descent, strict=True):
            features = _run(blocks, down(_even(features)), code)
            skips.append(features)
        skips.pop()
        for up, blocks in reversed(list(zip(self.up, self.ascent, strict=True))):
            skip = skips.pop()
            z, y, x = skip.shape[2:]
            raised = functional.interpolate(up(features), scale_factor=2.0, mode="nearest")[..., :z, :y, :x]
            features = _run(blocks, skip + raised, code)
        return Encoding(self.latent(features), half, features)


def _even(features: Tensor) -> Tensor:
    """Repeat the last layer along axes of odd size."""
    for axis in (2, 3, 4):
        if features.shape[axis] % 2:
            features = torch.cat((features, features.narrow(axis, features.shape[axis] - 1, 1)), dim=axis)
    return features


def _run(blocks: nn.Module, features: Tensor, code: Tensor | None) -> Tensor:
    for block in blocks.children():
        features = block(features, code)
    return features
