"""The flexible two-stage net: an image encoder in front of a dose decoder learnt from doses alone.

Flexible dose proposer, arXiv:2512.08996: the encoder maps channels and wishes into the latent space of a pretrained,
frozen decoder. The light refinement at full resolution, off with `refine_width=0`, is ours: a latent at a quarter of
the resolution cannot hold all the detail.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dosewright.core import plan_code as plans
from dosewright.core.errors import InputError
from dosewright.core.preference import NEUTRAL, PreferenceSpace
from dosewright.nets.conditioning import ConditionCode, conditional_norm
from dosewright.nets.dose_decoder import DoseDecoder
from dosewright.nets.image_encoder import Encoding, ImageEncoder
from dosewright.nets.plan_normalisation import PlanNormalisation

DEFAULTS: Mapping[str, Any] = MappingProxyType({})


class TwoStageNet(nn.Module):
    """Image and preferences → dose divided by the dose scale.

    All arguments are plain data, so that a weights file carries them. Without anything to read (no preferences, no plan
    code) every norm is the plain one: the neutral net.

    Args:
        in_channels: Channels of the image.
        latent_channels: Channels of the latent; the decoder's.
        widths: Features of the image encoder at 1/2, 1/4, 1/8, … of the resolution.
        decoder: Arguments of `DoseDecoder` but the latent's channels.
        conditioning: "adain", "film", "concatenation" or "none": how preferences and plan act on the features.
        preference: Arguments of `PreferenceSpace`, the sliders; None for a net without sliders.
        plan_code: Read the technique and site as well. A net that does not ignores them.
        refine_width: Features of the refinement at full resolution; 0 leaves the decoder's dose as it is.
        kernel_size: Edge of the spatial kernels in the encoder's blocks, odd.
        expansion: Ratio of hidden channels in the encoder's blocks.
        group_width: Channels these kernels join; 1 is depthwise, as in MedNeXt, and slow to train on a CPU.
        blocks: The encoder's blocks of a level, on the way down and again on the way up.
        code_size: Length of the vector that carries preferences and plan to the norms.
        prescription_channel: Channel of the image that holds the prescription divided by the dose scale, to normalise
            the plan by (`PlanNormalisation`); None leaves the dose as it is.
        spread_lever: Multiply how far the dose in the highest target strays from its mean by what the sliders ask for
            (`PreferenceSpace.spread_factor`), so that the net learns only what is left of homogeneity.
            Part of the normalisation: without `prescription_channel` there is no such target and no lever.

    Raises:
        InputError: If sliders are asked for without conditioning, the widths do not reach the decoder's stride, or a
            value is not one of those named.
    """

    half_range: Tensor

    def __init__(
        self,
        in_channels: int,
        latent_channels: int = 32,
        widths: Sequence[int] = (32, 96, 192, 320),
        decoder: Mapping[str, Any] = DEFAULTS,
        conditioning: str = "adain",
        preference: Mapping[str, Any] | None = DEFAULTS,
        plan_code: bool = True,
        refine_width: int = 16,
        kernel_size: int = 3,
        expansion: int = 2,
        group_width: int = 16,
        blocks: int = 2,
        code_size: int = 64,
        prescription_channel: int | None = None,
        spread_lever: bool = False,
    ) -> None:
        super().__init__()
        if conditioning == "none" and preference is not None:
            raise InputError("must be None where conditioning is 'none'", argument="preference", value=dict(preference))
        self.preference = None if preference is None else PreferenceSpace(**preference)
        self.plan_size = plans.SIZE if plan_code and conditioning != "none" else 0
        ranges = () if self.preference is None else self.preference.ranges
        half_range = torch.tensor([(high - low) / 2 or 1.0 for low, high in ranges])
        self.register_buffer("half_range", half_range, persistent=False)
        reads = len(ranges) + self.plan_size
        self.code = ConditionCode(len(ranges), self.plan_size, code_size) if reads else None
        kind = conditioning if reads else "none"
        self.decoder = DoseDecoder(latent_channels, **decoder)
        self.encoder = ImageEncoder(
            in_channels,
            latent_channels,
            widths,
            blocks=blocks,
            latent_stride=self.decoder.stride,
            kernel_size=kernel_size,
            group_width=group_width,
            expansion=expansion,
            conditioning=kind,
            code_size=code_size,
        )
        self.stride, self.coarsest_stride = self.encoder.stride, self.encoder.coarsest_stride
        context = self.encoder.latent.in_channels
        self.refine = (
            _Refinement(in_channels, widths[0], context, refine_width, kind, code_size) if refine_width else None
        )
        self.prescription_channel = prescription_channel
        self.normalise = None if prescription_channel is None else PlanNormalisation(prescription_channel, context)
        self.spread_lever = spread_lever

    def forward(
        self,
        image: Float[Tensor, "b c z y x"],
        preference: Float[Tensor, "b p"] | None = None,
        plan: Float[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b 1 z y x"]:
        """Return the dose divided by the dose scale.

        Args:
            image: Channels, of sizes that are multiples of `stride`.
            preference: Slider values in the order of `self.preference.names`, 1 neutral; None is neutral.
            plan: `core.plan_code` of each sample; None, like zeros, says nothing.

        Raises:
            InputError: If sliders are given to a net without, their number or the plan's is wrong, or the image's
                channels or sizes do not fit (see `nets.sizes`).
        """
        return self.predict_with_latent(image, preference, plan)[0]

    def predict_with_latent(
        self,
        image: Float[Tensor, "b c z y x"],
        preference: Float[Tensor, "b p"] | None = None,
        plan: Float[Tensor, "b t"] | None = None,
    ) -> tuple[Float[Tensor, "b 1 z y x"], Float[Tensor, "b l u v w"]]:
        """Return the dose divided by the dose scale, and the latent it was decoded from.

        Args:
            image: As for `forward`.
            preference: As for `forward`.
            plan: As for `forward`.

        Raises:
            InputError: As `forward`.
        """
        code = self._code(len(image), preference, plan)
        encoding = self.encoder(image, code)
        dose = self.decoder(encoding.latent)
        if self.refine is not None:
            dose = self.refine(image, dose, encoding, code)
        if self.normalise is not None:
            dose = self.normalise(image, dose, encoding.context, self._spread(preference))
        return dose, encoding.latent

    def _spread(self, preference: Tensor | None) -> Float[Tensor, " b"] | None:
        """Return the factor on the target's dose spread that each sample's sliders ask for; None for none."""
        if preference is None or self.preference is None or not self.spread_lever:
            return None
        space = self.preference
        return torch.tensor([space.spread_factor(row) for row in preference.tolist()], device=preference.device)

    def _code(self, batch: int, preference: Tensor | None, plan: Tensor | None) -> Tensor | None:
        """Return each sample's code vector, or None for a net that reads nothing."""
        deviations = self._deviations(batch, preference)
        if self.code is None:
            return None
        if plan is None or not self.plan_size:
            return self.code(deviations, deviations.new_zeros(batch, self.plan_size))
        if tuple(plan.shape) != (batch, self.plan_size):
            rule = f"must hold {self.plan_size} numbers for each of {batch} samples"
            raise InputError(rule, argument="plan", value=tuple(plan.shape))
        return self.code(deviations, plan.to(deviations))

    def _deviations(self, batch: int, preference: Tensor | None) -> Tensor:
        """Return how far each slider is from neutral, in half-ranges."""
        names = () if self.preference is None else self.preference.names
        if preference is None:
            return self.half_range.new_zeros(batch, len(names))
        if not names:
            raise InputError("must be None for a net without sliders", argument="preference", value=preference)
        if tuple(preference.shape) != (batch, len(names)):
            rule = f"must hold the sliders {names} of each of {batch} samples"
            raise InputError(rule, argument="preference", value=tuple(preference.shape))
        return (preference.to(self.half_range) - NEUTRAL) / self.half_range


class _Refinement(nn.Module):
    """Adds a correction at full resolution; starts as none.

    At half the resolution it joins the encoder's features, their wider context and the decoder's dose, the features
    through a conditional norm so that it can follow a slider. Full resolution, which costs most, sees the image through
    one convolution and mixes once. The image alone goes there without needing a gradient, the dearest half of a
    convolution's backward pass.
    """

    def __init__(
        self, in_channels: int, half_width: int, context_width: int, width: int, conditioning: str, code_size: int
    ) -> None:
        super().__init__()
        self.lift = nn.Conv3d(context_width, half_width, 1, bias=False)
        self.norm = conditional_norm(conditioning, half_width, code_size)
        self.project = nn.Conv3d(half_width + 1, width, 3, padding=1)
        self.look = nn.Conv3d(in_channels, width, 3, padding=1)
        self.mix = nn.Conv3d(width, width, 3, padding=1)
        self.correct = nn.Conv3d(width, 1, 1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, dose: Tensor, encoding: Encoding, code: Tensor | None) -> Tensor:
        half = encoding.half
        context = functional.interpolate(self.lift(encoding.context), size=half.shape[2:], mode="nearest")
        features = functional.leaky_relu(self.norm(half + context, code), 0.01)
        coarse = self.project(torch.cat((features, functional.avg_pool3d(dose, 2).to(features.dtype)), dim=1))
        fine = functional.interpolate(coarse, scale_factor=2.0, mode="trilinear", align_corners=False)
        mixed = self.mix(functional.leaky_relu(fine + self.look(image), 0.01))
        correction = self.correct(functional.leaky_relu(mixed, 0.01))
        # In float32: bfloat16 would round the sum to steps of a quarter gray at 70 Gy.
        return dose.to(self.correct.weight.dtype) + correction.to(self.correct.weight.dtype)
