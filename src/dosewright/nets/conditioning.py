"""How a code vector (what is asked for, how it is to be treated) acts on the features of a net.

AdaIN: Huang & Belongie, ICCV 2017, arXiv:1703.06868. FiLM: Perez et al., AAAI 2018, arXiv:1709.07871. The flexible
dose proposer (arXiv:2512.08996) conditions by AdaIN. Each kind starts as a norm that ignores its code: what reads the
code is initialised to no change. Codes and what is read from them stay in float32 under autocast, or small moves of a
slider would be rounded away.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dosewright.core.errors import InputError

Conditioning = Literal["adain", "film", "concatenation", "none"]
EPSILON = 1e-5  # of every variance, as in torch's norms


class ConditionCode(nn.Module):
    """Code vector of what is asked for: a perceptron of two layers.

    Args:
        preference_size: Number of sliders.
        plan_size: Length of the plan code (`core.plan_code.SIZE`), 0 to leave it out.
        code_size: Length of the code.
    """

    def __init__(self, preference_size: int, plan_size: int, code_size: int) -> None:
        super().__init__()
        self.first = nn.Linear(preference_size + plan_size, code_size)
        self.second = nn.Linear(code_size, code_size)
        for layer in (self.first, self.second):  # torch's default would leave a slider a tenth of this effect
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, deviations: Float[Tensor, "b p"], plan: Float[Tensor, "b t"]) -> Float[Tensor, "b k"]:
        """Return the code.

        Args:
            deviations: Sliders as deviations from neutral (0) in half-ranges.
            plan: One-hot technique and site.
        """
        with torch.autocast(deviations.device.type, enabled=False):
            wanted = torch.cat((deviations, plan), dim=1)
            return self.second(functional.gelu(self.first(wanted)))


class AbstractConditionalNorm(nn.Module, ABC):
    """A norm whose outcome a code vector moves."""

    @abstractmethod
    def forward(
        self, features: Float[Tensor, "b c z y x"], code: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b c z y x"]:
        """Return the normalised features, moved by each sample's code."""


class AdaIN(AbstractConditionalNorm):
    """Instance norm whose mean and standard deviation per channel are those the code gives.

    Args:
        channels: Channels of the features.
        code_size: Length of the code.
    """

    def __init__(self, channels: int, code_size: int) -> None:
        super().__init__()
        self.read = _ScaleAndShift(channels, code_size)

    def forward(
        self, features: Float[Tensor, "b c z y x"], code: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b c z y x"]:
        """Return features whose channels have mean `shift` and standard deviation |`scale`| (eq. 8 of the paper)."""
        scale, shift = self.read(_given(code))
        return _normalised(features, features.shape[1], scale, shift)


class FiLM(AbstractConditionalNorm):
    """The usual affine norm, then a scale and shift per channel from the code.

    The norm is over all channels of a sample at once, so that the modulation acts on the channels' own means and
    deviations; after an instance norm it would be AdaIN.

    Args:
        channels: Channels of the features.
        code_size: Length of the code.
    """

    def __init__(self, channels: int, code_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.read = _ScaleAndShift(channels, code_size)

    def forward(
        self, features: Float[Tensor, "b c z y x"], code: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b c z y x"]:
        """Return `scale` · norm(features) + `shift` (eq. 2 of the paper)."""
        scale, shift = self.read(_given(code))
        return _normalised(features, 1, scale * self.weight, scale * self.bias + shift)


class Concatenation(AbstractConditionalNorm):
    """Affine instance norm, the code as extra channels of every voxel, and a 1³ convolution back.

    Args:
        channels: Channels of the features.
        code_size: Length of the code.
    """

    def __init__(self, channels: int, code_size: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(channels, eps=EPSILON, affine=True)
        # The convolution over (features, code) in its two parts: the code's is the same for all voxels.
        self.of_features = nn.Conv3d(channels, channels, 1)
        self.of_code = nn.Linear(code_size, channels, bias=False)
        nn.init.dirac_(self.of_features.weight)
        nn.init.zeros_(self.of_features.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.of_code.weight)

    def forward(
        self, features: Float[Tensor, "b c z y x"], code: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b c z y x"]:
        """Return the 1³ convolution of the normalised features beside the code."""
        mixed = self.of_features(self.norm(features))
        with torch.autocast(features.device.type, enabled=False):
            constant = self.of_code(_given(code))
        return mixed + constant[:, :, None, None, None].to(mixed.dtype)


class Unconditioned(AbstractConditionalNorm):
    """The plain affine instance norm.

    Args:
        channels: Channels of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(channels, eps=EPSILON, affine=True)

    def forward(
        self, features: Float[Tensor, "b c z y x"], code: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b c z y x"]:
        """Return the normalised features, whatever the code."""
        return self.norm(features)


def conditional_norm(kind: str, channels: int, code_size: int) -> AbstractConditionalNorm:
    """Return a new norm.

    Args:
        kind: "adain", "film", "concatenation" or "none".
        channels: Channels of the features.
        code_size: Length of the code; "none" reads no code.

    Raises:
        InputError: If the kind is none of those.
    """
    if kind not in get_args(Conditioning):
        raise InputError(f"must be one of {get_args(Conditioning)}", argument="conditioning", value=kind)
    if kind == "none":
        return Unconditioned(channels)
    kinds: dict[str, Callable[[int, int], AbstractConditionalNorm]] = {
        "adain": AdaIN,
        "film": FiLM,
        "concatenation": Concatenation,
    }
    return kinds[kind](channels, code_size)


class _ScaleAndShift(nn.Module):
    """Scale (1 at the start) and shift (0 at the start) of each channel."""

    def __init__(self, channels: int, code_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(code_size, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, code: Float[Tensor, "b k"]) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        with torch.autocast(code.device.type, enabled=False):
            scale, shift = self.linear(code).chunk(2, dim=1)
        return 1.0 + scale, shift


def _normalised(
    features: Float[Tensor, "b c z y x"], groups: int, scale: Float[Tensor, "b c"], shift: Float[Tensor, "b c"]
) -> Float[Tensor, "b c z y x"]:
    """Group norm with a scale and shift of each sample's own: all samples side by side as channels of one."""
    batch, channels = features.shape[:2]
    side_by_side = features.reshape(1, batch * channels, *features.shape[2:])
    out = functional.group_norm(side_by_side, batch * groups, scale.flatten(), shift.flatten(), EPSILON)
    return out.reshape(features.shape)


def _given(code: Tensor | None) -> Tensor:
    if code is None:
        raise InputError("must be given to a conditional norm", argument="code", value=None)
    return code
