"""What a planner asks for with the sliders: organ sparing per group of organs, and target homogeneity.

Flexible dose proposer, arXiv:2512.08996: `w̃` multiplies the mean dose of organs at risk (below 1 spares more), `h̃` the
spread of the dose in the target (below 1 is more even). 1 is neutral: the plan one would make without being asked. The
ranges, the groups and the trade-off between the two are ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dosewright.core.errors import InputError
from dosewright.core.structures import KNOWN

REST = "rest"
GROUPS: dict[str, tuple[str, ...]] = {
    "global": ("oars",),
    "per_group": ("salivary", "neural", "swallowing", REST),
}
NEUTRAL = 1.0


@dataclass(frozen=True)
class PreferenceSpace:
    """The sliders of a net: one sparing factor per group of organs, then one homogeneity factor.

    Args:
        groups: "global" for one sparing slider over all organs at risk, "per_group" for parotids and submandibular
            glands, cord and brainstem, swallowing structures, and the rest.
        sparing_range: Least and largest w̃.
        homogeneity_range: Least and largest h̃.
        trade_off: Share by which the target's dose spread grows per unit of mean sparing: what sparing costs. 0 makes
            the two axes independent of each other.

    Raises:
        InputError: If a range does not hold 1, or a value is out of its range.

    >>> PreferenceSpace("per_group").names
    ('salivary', 'neural', 'swallowing', 'rest', 'homogeneity')
    """

    groups: Literal["global", "per_group"] = "per_group"
    sparing_range: Sequence[float | int] = (0.8, 1.2)
    homogeneity_range: Sequence[float | int] = (0.75, 1.5)
    trade_off: float | int = 1.0

    def __post_init__(self) -> None:
        if self.groups not in GROUPS:
            raise InputError(f"must be one of {tuple(GROUPS)}", argument="groups", value=self.groups)
        for name in ("sparing_range", "homogeneity_range"):
            values = tuple(float(v) for v in getattr(self, name))
            if len(values) != 2 or not 0.0 < values[0] <= NEUTRAL <= values[1] < math.inf:
                raise InputError("must be two positive numbers with 1 between them", argument=name, value=values)
            object.__setattr__(self, name, values)
        if not 0.0 <= self.trade_off <= 2.0:
            raise InputError("must be in [0, 2]", argument="trade_off", value=self.trade_off)

    @property
    def sparing_names(self) -> tuple[str, ...]:
        """Names of the sparing sliders."""
        return GROUPS[self.groups]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all sliders, in the order of a preference vector."""
        return (*self.sparing_names, "homogeneity")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Least and largest value of each slider."""
        low, high = self.sparing_range
        least, largest = self.homogeneity_range
        return (*((float(low), float(high)) for _ in self.sparing_names), (float(least), float(largest)))

    @property
    def neutral(self) -> tuple[float, ...]:
        """The vector that asks for nothing."""
        return (NEUTRAL,) * len(self)

    def index_of(self, structure: str) -> int:
        """Return the position of the slider that an organ at risk follows.

        >>> PreferenceSpace("per_group").index_of("Parotid_L"), PreferenceSpace("per_group").index_of("Bone_Mandible")
        (0, 3)
        """
        if self.groups == "global":
            return 0
        group = KNOWN[structure].group if structure in KNOWN else REST
        return self.sparing_names.index(group if group in self.sparing_names else REST)

    def vector(
        self, sparing: float | Mapping[str, float] = NEUTRAL, homogeneity: float | int = NEUTRAL
    ) -> tuple[float, ...]:
        """Return the preference vector of slider values.

        Args:
            sparing: One factor for all groups, or group → factor (groups left out stay neutral).
            homogeneity: Factor on the target's dose spread.

        Raises:
            InputError: If a group is unknown or a value lies outside its slider.

        >>> PreferenceSpace("per_group").vector({"salivary": 0.9}, 1.1)
        (0.9, 1.0, 1.0, 1.0, 1.1)
        """
        if isinstance(sparing, Mapping):
            unknown = sorted(set(sparing) - set(self.sparing_names))
            if unknown:
                raise InputError(f"must name some of {self.sparing_names}", argument="sparing", value=unknown)
            factors = [float(sparing.get(name, NEUTRAL)) for name in self.sparing_names]
        else:
            factors = [float(sparing)] * len(self.sparing_names)
        values = (*factors, float(homogeneity))
        for name, value, (low, high) in zip(self.names, values, self.ranges, strict=True):
            if not low <= value <= high:
                raise InputError(f"must be in [{low:g}, {high:g}]", argument=f"preference {name}", value=value)
        return values

    def spread_factor(self, vector: Sequence[float]) -> float:
        """Return the factor on the target's dose spread that a vector asks for, with the price of its sparing.

        >>> round(PreferenceSpace("global", trade_off=0.5).spread_factor((0.8, 1.0)), 3)
        1.1
        """
        sparing = vector[:-1]
        return float(vector[-1]) * (1.0 + float(self.trade_off) * (NEUTRAL - sum(sparing) / len(sparing)))
