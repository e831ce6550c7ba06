"""L_adv of both stages: a patch discriminator that learns beside the net, in the same loss and the same optimiser."""

from typing import final

import torch
from jaxtyping import Bool, Float
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.func import functional_call

from dosewright.core import InputError


@final
class Adversary(nn.Module):
    """Least-squares GAN losses (Mao et al. 2017, arXiv:1611.04076, equation 9) over patches of dose volumes.

    Two terms are returned, each of which moves one side only: the net's term sees the discriminator as a constant, the
    discriminator's term sees the dose as one. So both may be summed into one loss, which one optimiser minimises, and
    clipping, resuming and distributed training need nothing special. Dose outside the mask is zeroed for both sides.

    Args:
        weight: Of the net's term: its value in Gy where every patch reads as predicted.
        start_step: Step from which both terms count; before, both are exactly 0 and the discriminator stays as it is.
        channels: Features of the discriminator's first layer, doubled by each further one.
        layers: Layers after the first one; a patch spans 16 voxels with one, 34 with two, 70 with three.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(self, weight: float | int = 0.05, start_step: int = 0, channels: int = 16, layers: int = 2) -> None:
        super().__init__()
        for name, value, least in (("weight", weight, 0), ("start_step", start_step, 0), ("layers", layers, 1)):
            if not value >= least:
                raise InputError(f"must be at least {least}", argument=name, value=value)
        self.weight, self.start_step = float(weight), start_step
        self.least_size = 3 * 2**layers
        # Instance norm without statistics of its own: a batch may hold one volume.
        self.discriminator = PatchDiscriminator(
            spatial_dims=3, channels=channels, in_channels=1, num_layers_d=layers, norm="INSTANCE"
        )

    def forward(
        self,
        real: Float[Tensor, "b 1 z y x"],
        fake: Float[Tensor, "b 1 z y x"],
        mask: Bool[Tensor, "b 1 z y x"],
        step: int,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the net's term, weighted, and the discriminator's own.

        Args:
            real: Reference dose divided by the dose scale.
            fake: Predicted dose divided by the dose scale.
            mask: Voxels where dose is allowed.
            step: Optimiser steps done so far.

        Raises:
            InputError: If a volume is too small for a single patch.
        """
        if min(fake.shape[2:]) < self.least_size:
            rule = f"must have at least {self.least_size} voxels along each axis for a patch of this discriminator"
            raise InputError(rule, argument="dose", value=tuple(fake.shape[2:]))
        if step < self.start_step:
            # Part of the graph all the same: distributed training wants a gradient for every parameter.
            idle = torch.stack([parameter.sum() for parameter in self.parameters()]).sum() * 0.0
            return fake.new_zeros(()), idle
        nothing = fake.new_zeros(())
        real, fake = (torch.where(mask, dose, nothing.to(dose)) for dose in (real, fake))
        fooling = self.weight * _distance(self._as_constant(fake), 1.0)
        telling = 0.5 * (_distance(self._logits(real), 1.0) + _distance(self._logits(fake.detach()), 0.0))
        return fooling, telling

    def _logits(self, dose: Tensor) -> Tensor:
        return self.discriminator(dose)[-1]

    def _as_constant(self, dose: Tensor) -> Tensor:
        """Return the logits of a dose without a gradient for the discriminator's own weights."""
        frozen = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        return functional_call(self.discriminator, frozen, (dose,))[-1]


def _distance(logits: Tensor, target: float) -> Float[Tensor, ""]:
    return (logits.float() - target).square().mean()
