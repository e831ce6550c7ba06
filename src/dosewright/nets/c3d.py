"""C3D, the cascade of two 3-D U-Nets that won OpenKBP.

Liu S, Zhang J, Li T, Yan H, Liu J: Technical Note: A cascade 3D U-Net for dose prediction in radiotherapy, Med Phys
48(9), 2021, and the settings its authors published. Net A is half as wide as net B. As in their program, B sees the
image beside A's last *features*, not A's dose. One difference without effect on the function: convolutions before a
norm have no bias, which the norm would take out again.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core.errors import InputError
from dosewright.nets.checkpointing import run_blocks
from dosewright.nets.sizes import check_sizes


class C3D(nn.Module):
    """Cascade of U-Nets; each predicts the dose divided by the dose scale (no activation).

    Args:
        in_channels: Channels of the image.
        channels_a: Channels of net A, finest level first.
        channels_b: Channels of net B, as many levels.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InputError: If the nets have fewer than two levels, or not the same number of them.
    """

    def __init__(
        self,
        in_channels: int,
        channels_a: Sequence[int] = (16, 32, 64, 128, 256),
        channels_b: Sequence[int] = (32, 64, 128, 256, 512),
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        channels_a, channels_b = tuple(channels_a), tuple(channels_b)
        if len(channels_a) < 2 or len(channels_a) != len(channels_b):
            raise InputError(
                "must name at least two levels, as many for both nets",
                argument="channels_a, channels_b",
                value=(channels_a, channels_b),
            )
        self.in_channels = in_channels
        self.stride: int = 2 ** (len(channels_a) - 1)
        self.net_a = _UNet(in_channels, channels_a, gradient_checkpointing)
        self.net_b = _UNet(channels_a[0] + in_channels, channels_b, gradient_checkpointing)
        self.dose_a = nn.Conv3d(channels_a[0], 1, kernel_size=1)
        self.dose_b = nn.Conv3d(channels_b[0], 1, kernel_size=1)

    def forward(
        self, image: Float[Tensor, "b c z y x"]
    ) -> Float[Tensor, "b 1 z y x"] | tuple[Float[Tensor, "b 1 z y x"], Float[Tensor, "b 1 z y x"]]:
        """Return the scaled dose of net B; while training, (B's, A's).

        Raises:
            InputError: If the channels differ or the sizes are not multiples of `stride` (see `nets.sizes`).
        """
        check_sizes(image, self.in_channels, self.stride)
        features_a = self.net_a(image)
        dose_b = self.dose_b(self.net_b(torch.cat((features_a, image), dim=1)))
        return (dose_b, self.dose_a(features_a)) if self.training else dose_b


class _ConvNormReLU(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        conv = nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        nn.init.kaiming_uniform_(conv.weight, mode="fan_in", nonlinearity="relu")
        super().__init__(conv, nn.InstanceNorm3d(out_channels, affine=True), nn.ReLU(inplace=True))


class _UNet(nn.Module):
    """U-Net of strided convolutions down and trilinear interpolation up; returns the features of its finest level."""

    def __init__(self, in_channels: int, channels: tuple[int, ...], checkpointing: bool) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        before = (in_channels, *channels[:-1])
        self.encoder = nn.ModuleList(
            nn.Sequential(_ConvNormReLU(a, b, stride=2 if level else 1), _ConvNormReLU(b, b))
            for level, (a, b) in enumerate(zip(before, channels, strict=True))
        )
        steps = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # (coarse, fine), coarsest step first
        self.raise_resolution = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True), _ConvNormReLU(coarse, fine)
            )
            for coarse, fine in steps
        )
        # Two convolutions a level, one at the finest.
        self.decoder = nn.ModuleList(
            nn.Sequential(
                _ConvNormReLU(2 * fine, fine), *([_ConvNormReLU(fine, fine)] if step < len(steps) - 1 else [])
            )
            for step, (_, fine) in enumerate(steps)
        )

    def forward(self, features: Float[Tensor, "b c z y x"]) -> Float[Tensor, "b c_out z y x"]:
        skips = []
        for level in self.encoder:
            features = self._run(features, level)
            skips.append(features)
        skips.pop()
        for up, level in zip(self.raise_resolution, self.decoder, strict=True):
            features = self._run(torch.cat((self._run(features, up), skips.pop()), dim=1), level)
        return features

    def _run(self, features: Tensor, block: nn.Module) -> Tensor:
        return run_blocks((block,), features, checkpointing=self.checkpointing)
