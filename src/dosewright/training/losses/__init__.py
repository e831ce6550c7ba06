"""Losses: each takes a predicted dose in Gy and a batch, and returns one number in Gy.

A sample's structures count alike, then samples do; what is absent (an empty mask, a structure a case lacks) adds
exactly zero and no gradient.
"""

from dosewright.training.losses.deep_supervision import DeepSupervisionLoss
from dosewright.training.losses.dvh import DVHLoss
from dosewright.training.losses.masked_l1 import MaskedL1
from dosewright.training.losses.masked_smooth_l1 import MaskedSmoothL1
from dosewright.training.losses.moment import MomentLoss
from dosewright.training.losses.neutral_only import NeutralOnly
from dosewright.training.losses.objective import ObjectiveLoss
from dosewright.training.losses.weighted_sum import WeightedSum

__all__ = [
    "DVHLoss",
    "DeepSupervisionLoss",
    "MaskedL1",
    "MaskedSmoothL1",
    "MomentLoss",
    "NeutralOnly",
    "ObjectiveLoss",
    "WeightedSum",
]
