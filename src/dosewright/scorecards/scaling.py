"""Factors that bring a plan's dose to a scorecard's prescription, for `Scorer(dose_scale=…)`."""

import torch

from dosewright.core import InputError
from dosewright.core.types import FloatVolume, Mask
from dosewright.dose.checks import check_positive
from dosewright.dose.dvh import dose_at_volume
from dosewright.scorecards.score_card import ScoreCard


def scale_to_coverage(dose_gy: FloatVolume, mask: Mask, prescription_gy: float, volume_percent: float = 95.0) -> float:
    """Return the factor that gives `volume_percent` of a target its prescription.

    Args:
        dose_gy: Total dose in Gy.
        mask: Voxels of the target.
        prescription_gy: What D(volume_percent) shall be.
        volume_percent: In [0, 100].

    Raises:
        InputError: If the target is empty, its dose there is 0 or not finite, the prescription is not positive, or the
            percent out of range.
        GridMismatchError: If dose and mask differ in shape.
    """
    check_positive("prescription_gy", prescription_gy)
    # Plans carry read-only arrays, which torch warns about.
    reached_gy = float(dose_at_volume(torch.from_numpy(dose_gy.copy()), torch.from_numpy(mask.copy()), volume_percent))
    check_positive(f"D{volume_percent:g}", reached_gy)
    return prescription_gy / reached_gy


def scale_to_card(card: ScoreCard, prescription_gy: float) -> float:
    """Return the factor from a plan's prescription to the card's.

    PlanScoreCard scales the card's doses instead, by the inverse; the scores are the same.

    Raises:
        InputError: If the card has no prescription, or the plan's is not positive.

    >>> scale_to_card(ScoreCard("a", (), dose_per_fraction_gy=2.0, fractions=30), 50.0)
    1.2
    """
    check_positive("prescription_gy", prescription_gy)
    if card.prescription_gy is None:
        raise InputError("must have a dose per fraction and fractions", argument="card", value=card.name)
    return card.prescription_gy / prescription_gy
