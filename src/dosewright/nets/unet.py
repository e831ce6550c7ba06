"""A residual U-Net that works at half resolution and refines at full resolution: the net for machines without a GPU.

Two thirds of a full-resolution net's time goes into its finest level. Here a strided convolution halves the volume
first, the U-Net runs there, and a light head joins its upsampled features with the full-resolution image. Plain
convolutions throughout: bfloat16 matrix units run them several times faster than depthwise ones.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dosewright.core import InputError


class ConvBlock(nn.Module):
    """Two 3³ convolutions with instance norm and LeakyReLU, and a residual path."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)
        self.first_norm = nn.InstanceNorm3d(out_channels, affine=True)
        self.second = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.InstanceNorm3d(out_channels, affine=True)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv3d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b d z y x"]:
        """Return the block's features."""
        y = functional.leaky_relu(self.first_norm(self.first(x)), 0.01)
        y = self.second_norm(self.second(y))
        return functional.leaky_relu(y + self.shortcut(x), 0.01)


class HalfResolutionUNet(nn.Module):
    """Image → dose divided by the dose scale.

    Args:
        in_channels: Channels of the image.
        widths: Features at 1/2, 1/4, 1/8, … of the resolution.
        head_width: Features of the full-resolution head; 0 upsamples the half-resolution dose instead.

    Raises:
        InputError: If there are fewer than two widths.
    """

    def __init__(self, in_channels: int, widths: Sequence[int] = (32, 64, 128, 256), head_width: int = 16) -> None:
        super().__init__()
        if len(widths) < 2:
            raise InputError("must hold at least two levels", argument="widths", value=tuple(widths))
        self.stride = 2 ** len(widths)
        self.stem = nn.Conv3d(in_channels, widths[0], 3, stride=2, padding=1)
        self.encoder = nn.ModuleList([ConvBlock(widths[0], widths[0])])
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.encoder.extend(ConvBlock(b, b) for b in widths[1:])
        self.up = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(ConvBlock(2 * a, a) for a in widths[:-1])
        self.head = _RefiningHead(in_channels, widths[0], head_width) if head_width else _PlainHead(widths[0])

    def forward(self, image: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b 1 z y x"]:
        """Return the dose divided by the dose scale.

        Raises:
            InputError: If a size is not a multiple of `stride`.
        """
        if any(n % self.stride for n in image.shape[2:]):
            raise InputError(f"must be multiples of {self.stride}", argument="image size", value=tuple(image.shape[2:]))
        x = self.stem(image)
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(x)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(skips))):
            x = functional.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](torch.cat([x, skips[level]], dim=1))
        return self.head(image, x)


class _PlainHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Conv3d(width, 1, 1)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        return functional.interpolate(self.out(features), scale_factor=2.0, mode="trilinear", align_corners=False)


class _RefiningHead(nn.Module):
    """Half-resolution dose, upsampled, plus a full-resolution correction."""

    def __init__(self, in_channels: int, width: int, head_width: int) -> None:
        super().__init__()
        self.out = nn.Conv3d(width, 1, 1)
        self.project = nn.Conv3d(width, head_width, 1)
        self.look = nn.Conv3d(in_channels, head_width, 3, padding=1)
        self.mix = nn.Conv3d(2 * head_width, head_width, 3, padding=1)
        self.correct = nn.Conv3d(head_width, 1, 3, padding=1)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        coarse = torch.cat([self.out(features), self.project(features)], dim=1)
        fine = functional.interpolate(coarse, scale_factor=2.0, mode="trilinear", align_corners=False)
        joined = torch.cat([fine[:, 1:], functional.leaky_relu(self.look(image), 0.01)], dim=1)
        return fine[:, :1] + self.correct(functional.leaky_relu(self.mix(joined), 0.01))
