"""Any dose net at half resolution, with a light head that returns to the full one: big nets on small machines."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dosewright.nets.sizes import check_sizes


class HalfResolution(nn.Module):
    """Halves the image by a strided convolution, runs a net there, and corrects its upsampled dose at full resolution.

    Coarser outputs that the net gives while training (a cascade's first dose, deep supervision) pass as they are.

    Args:
        in_channels: Channels of the image.
        net: Makes the net from `in_channels`; it has a `stride`, and its first or only output is the dose.
        stem_width: Channels the net gets.
        head_width: Features of the full-resolution correction.
    """

    def __init__(
        self, in_channels: int, net: Callable[..., nn.Module], stem_width: int = 32, head_width: int = 16
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stem = nn.Conv3d(in_channels, stem_width, 3, stride=2, padding=1)
        self.net = net(in_channels=stem_width)
        self.stride: int = 2 * int(self.net.stride)  # type: ignore[arg-type]
        self.look = nn.Conv3d(in_channels, head_width, 3, padding=1)
        self.mix = nn.Conv3d(head_width + 1, head_width, 3, padding=1)
        self.correct = nn.Conv3d(head_width, 1, 3, padding=1)

    def forward(
        self, image: Float[Tensor, "b c z y x"]
    ) -> Float[Tensor, "b 1 z y x"] | tuple[Float[Tensor, "b 1 ..."], ...]:
        """Return the dose divided by the dose scale; while training, also the net's coarser outputs if it has any.

        Raises:
            InputError: If the channels differ or the sizes are not multiples of `stride` (see `nets.sizes`).
        """
        check_sizes(image, self.in_channels, self.stride)
        outputs = self.net(functional.leaky_relu(self.stem(image), 0.01))
        if isinstance(outputs, Tensor):
            return self._refined(outputs, image)
        first, *coarser = outputs
        return (self._refined(first, image), *coarser)

    def _refined(self, coarse: Tensor, image: Tensor) -> Tensor:
        dose = functional.interpolate(coarse, scale_factor=2.0, mode="trilinear", align_corners=False)
        joined = torch.cat([dose, functional.leaky_relu(self.look(image), 0.01)], dim=1)
        return dose + self.correct(functional.leaky_relu(self.mix(joined), 0.01))
