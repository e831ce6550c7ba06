"""MedNeXt for dose: Roy et al., MICCAI 2023, arXiv:2303.09975, from MONAI's blocks."""

from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from dosewright.core.errors import InputError
from dosewright.nets.checkpointing import run_blocks
from dosewright.nets.sizes import check_sizes

Size = Literal["S", "B", "M", "L"]
KERNEL_SIZES = (3, 5)


class MedNeXt(nn.Module):
    """MedNeXt with one output channel, the dose divided by the dose scale (no activation).

    Parameter names are those of MONAI's `MedNeXt`, so its weights load here and back. The forward pass is written out
    because MONAI's does not checkpoint.

    Args:
        in_channels: Channels of the image.
        size: "S", "B", "M" or "L" (table 1 of the paper).
        kernel_size: Edge of the depthwise kernels, 3 or 5; grow a trained 3 to 5 with `nets.upkern`.
        deep_supervision: Also predict at 1/2, 1/4, 1/8 and 1/16 of the resolution while training.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InputError: If a value is not one of those named.
    """

    stride: int = 16

    def __init__(
        self,
        in_channels: int,
        size: str = "S",
        kernel_size: int = 3,
        deep_supervision: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _check(in_channels, size, kernel_size)
        from monai.networks.nets.mednext import create_mednext

        net = create_mednext(
            size, in_channels=in_channels, out_channels=1, kernel_size=kernel_size, deep_supervision=deep_supervision
        )
        self.in_channels = in_channels
        self.gradient_checkpointing = gradient_checkpointing
        self.stem = net.stem
        self.enc_stages, self.down_blocks = net.enc_stages, net.down_blocks
        self.bottleneck = net.bottleneck
        self.up_blocks, self.dec_stages = net.up_blocks, net.dec_stages
        self.out_0 = net.out_0
        self.out_blocks = net.out_blocks if deep_supervision else None

    def forward(
        self, image: Float[Tensor, "b c z y x"]
    ) -> Float[Tensor, "b 1 z y x"] | tuple[Float[Tensor, "b 1 ..."], ...]:
        """Return the scaled dose; under deep supervision while training, also the coarser ones, finest first.

        Raises:
            InputError: If the channels differ or the sizes are not multiples of 16 (see `nets.sizes`).
        """
        check_sizes(image, self.in_channels, self.stride)
        features, skips = self._encode(image)
        features = self._run(features, *self.bottleneck.children())
        auxiliary = []
        for level, (up, stage) in enumerate(zip(self.up_blocks, self.dec_stages, strict=True)):
            if self.training and self.out_blocks is not None:
                auxiliary.append(self.out_blocks[level](features))
            features = self._run(self._run(features, up) + skips.pop(), *stage.children())
        dose = self.out_0(features)
        return (dose, *reversed(auxiliary)) if auxiliary else dose

    def _encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features of the coarsest level, and those each skip connection carries, finest first."""
        features, skips = self.stem(image), []
        for stage, down in zip(self.enc_stages, self.down_blocks, strict=True):
            skips.append(self._run(features, *stage.children()))
            features = self._run(skips[-1], down)
        return features, skips

    def _run(self, features: Tensor, *blocks: nn.Module) -> Tensor:
        return run_blocks(blocks, features, checkpointing=self.gradient_checkpointing)


def _check(in_channels: int, size: str, kernel_size: int) -> None:
    if in_channels < 1:
        raise InputError("must be at least 1", argument="in_channels", value=in_channels)
    if size not in get_args(Size):
        raise InputError(f"must be one of {get_args(Size)}", argument="size", value=size)
    if kernel_size not in KERNEL_SIZES:
        raise InputError(f"must be one of {KERNEL_SIZES}", argument="kernel_size", value=kernel_size)
