"""The one rule nets share about the size of what they are given."""

from jaxtyping import Float
from torch import Tensor

from dosewright.core.errors import InputError


def check_sizes(image: Float[Tensor, "b c z y x"], in_channels: int, stride: int) -> None:
    """Refuse an image a net cannot take.

    A net halves its input log2(`stride`) times and normalises over space at the coarsest level, where one single voxel
    has no variance: so at least one size must exceed the stride.

    Args:
        image: Input of the net.
        in_channels: Channels the net was built for.
        stride: Voxels of the image per voxel of the coarsest level, along each axis.

    Raises:
        InputError: If the channels differ, a size is not a multiple of `stride`, or no size exceeds it.
    """
    if image.shape[1] != in_channels:
        raise InputError(
            f"must have the {in_channels} channels the net was built for", argument="image", value=image.shape[1]
        )
    sizes = tuple(image.shape[2:])
    if any(size % stride for size in sizes):
        raise InputError(f"must have sizes (z, y, x) that are multiples of {stride}", argument="image", value=sizes)
    if max(sizes) <= stride:
        raise InputError(f"must be larger than {stride} along at least one axis", argument="image", value=sizes)
