"""Dose → latent → codes → dose: stage I of the two-stage model (arXiv 2512.08996), a 3-D VQ-VAE over dose volumes.

Stage II replaces the encoder by one that reads images, and keeps the decoder as it came out of stage I.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from dosewright.nets.dose_decoder import DoseDecoder
from dosewright.nets.dose_encoder import DoseEncoder
from dosewright.nets.quantiser import NoQuantiser, Quantised, make_quantiser


class CodecOutput(NamedTuple):
    """A reconstruction and what it went through."""

    dose: Float[Tensor, "b 1 z y x"]  # divided by the dose scale
    latent: Float[Tensor, "b d k j i"]  # before quantisation
    quantised: Quantised


class DoseCodec(nn.Module):
    """Dose divided by the dose scale → the same dose, through a quantised latent at 1/`stride` of its resolution.

    Args:
        latent_channels: Channels of the latent.
        widths: Features at 1/1, 1/2, 1/4, … of the resolution, for encoder and decoder alike.
        blocks: Residual blocks at each level but the finest.
        quantiser: `kind` ("vector", "scalar" or "none") and that quantiser's arguments; None for "vector" as it comes.

    Raises:
        InputError: If the levels cannot be built, or the quantiser's kind or arguments are not known.
    """

    def __init__(
        self,
        latent_channels: int = 32,
        widths: Sequence[int] = (32, 64, 96),
        blocks: int = 1,
        quantiser: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = DoseEncoder(latent_channels, widths, blocks)
        self.quantiser = make_quantiser(latent_channels, {"kind": "vector"} if quantiser is None else quantiser)
        self.decoder = DoseDecoder(latent_channels, widths, blocks)
        self.stride = self.encoder.stride

    def encode(self, dose: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b d k j i"]:
        """Return the latent, not quantised.

        Raises:
            InputError: If a size is not a multiple of `stride`.
        """
        return self.encoder(dose)

    def quantise(self, latent: Float[Tensor, "b d k j i"]) -> Quantised:
        """Return the latent made of codes, their indices and the commitment loss; training moves the codes."""
        return self.quantiser(latent)

    def decode(self, latent: Float[Tensor, "b d k j i"]) -> Float[Tensor, "b 1 z y x"]:
        """Return the dose divided by the dose scale."""
        return self.decoder(latent)

    def forward(self, dose: Float[Tensor, "b 1 z y x"], quantise: bool = True) -> CodecOutput:
        """Return the reconstruction, the latent before quantisation and what the quantiser made of it.

        Args:
            dose: Divided by the dose scale.
            quantise: False passes the latent on as it is, as a codec without a quantiser does.

        Raises:
            InputError: If a size is not a multiple of `stride`.
        """
        latent = self.encode(dose)
        quantised = self.quantise(latent) if quantise else NoQuantiser()(latent)
        return CodecOutput(self.decode(quantised.latent), latent, quantised)
