"""What each plan of the factory asks for, drawn at random and the same whatever else is drawn."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dosewright.core import InputError
from dosewright.core.preference import PreferenceSpace

GROUPS = PreferenceSpace("per_group").sparing_names


@dataclass(frozen=True)
class Draw:
    """What one plan asks for.

    Args:
        index: Of the plan among those of its patient and beams.
        sparing: Group of organs → factor on their reference doses; below 1 spares more.
        organ_weight: Factor on the priority of all organs.
        target_weight: Factor on the priority of the targets: above 1 is more even.
        falloff_per_mm: How fast dose should fall outside the targets.
        coverage: D95 over the prescription, averaged over the targets' voxels, to which the plan is scaled.
    """

    index: int
    sparing: Mapping[str, float]
    organ_weight: float
    target_weight: float
    falloff_per_mm: float
    coverage: float

    def as_data(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class DrawSettings:
    """Ranges that `Draw` is drawn from; sparing and coverage evenly, weights and fall-off evenly in their logarithm.

    Args:
        sparing: Of each group, independent of each other.
        organ_weight: Of the organs' priority.
        target_weight: Of the targets' priority.
        falloff_per_mm: Of the tissue's fall-off.
        coverage: Of the scaling.

    Raises:
        InputError: If a range is not two positive numbers in ascending order.
    """

    sparing: Sequence[float | int] = (0.6, 1.2)
    organ_weight: Sequence[float | int] = (0.3, 3.0)
    target_weight: Sequence[float | int] = (0.3, 3.0)
    falloff_per_mm: Sequence[float | int] = (0.03, 0.08)
    coverage: Sequence[float | int] = (0.97, 1.01)

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 2 or not 0.0 < values[0] <= values[1] < math.inf:
                raise InputError(
                    "must be two positive numbers, the least first", argument=f"draws.{name}", value=values
                )
            object.__setattr__(self, name, values)


def draw(settings: DrawSettings, seed: int, case_id: str, beam_set: str, index: int) -> Draw:
    """Return what a plan asks for: it depends on nothing but the arguments.

    >>> one = draw(DrawSettings(), 0, "pt_1", "nine", 3)
    >>> one == draw(DrawSettings(), 0, "pt_1", "nine", 3), one == draw(DrawSettings(), 1, "pt_1", "nine", 3)
    (True, False)
    """
    digest = hashlib.sha256(f"{seed}/{case_id}/{beam_set}/{index}".encode()).digest()
    shares = iter(np.random.default_rng(np.frombuffer(digest, np.uint32)).random(len(GROUPS) + 4))

    def evenly(limits: Sequence[float | int]) -> float:
        return float(limits[0] + next(shares) * (limits[1] - limits[0]))

    def logarithmically(limits: Sequence[float | int]) -> float:
        return float(limits[0] * (limits[1] / limits[0]) ** next(shares))

    return Draw(
        index=index,
        sparing={group: evenly(settings.sparing) for group in GROUPS},
        organ_weight=logarithmically(settings.organ_weight),
        target_weight=logarithmically(settings.target_weight),
        falloff_per_mm=logarithmically(settings.falloff_per_mm),
        coverage=evenly(settings.coverage),
    )
