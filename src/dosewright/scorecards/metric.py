"""What a scorecard's item measures."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from dosewright.core import InputError

Kind = Literal[
    "min_dose",
    "max_dose",
    "mean_dose",
    "dose_at_volume",
    "volume_at_dose",
    "volume",
    "volume_of_regret",
    "conformation_number",
    "homogeneity_index",
    "conformity_index",
    "inhomogeneity_index",
    "modified_gradient_index",
    "dose_at_subvolume",
    "undefined",
]
Unit = Literal["Gy", "cGy", "%", "CC"]
KINDS: tuple[str, ...] = get_args(Kind)
UNITS: tuple[str, ...] = get_args(Unit)


@dataclass(frozen=True)
class Metric:
    """What is measured, with its numbers and units; `measure.measure` says precisely what each kind means.

    Any combination can be built, as cards in the wild hold senseless ones too: `measure` refuses those, with a reason.

    Args:
        kind: The measure. "undefined" stands for a measure this package does not know; it is kept, never scored.
        input_value: The volume or dose at which something is read, in `input_unit`.
        input_unit: "Gy" or "cGy" total dose, "%" (of the prescription for a dose, of the structure for a volume), "CC".
        output_unit: Unit of the result, which the score curve's values are in; None for pure numbers.
        hi_high: For `homogeneity_index` the smaller volume in % (2 for D2); for `modified_gradient_index` the higher
            dose, in `input_unit`.
        hi_low: For `homogeneity_index` the greater volume in % (98 for D98); for `modified_gradient_index` the lower
            dose, in `input_unit`.
        hi_target: Dose the homogeneity index is divided by, in `hi_target_unit`.
        hi_target_unit: "Gy", "cGy" or "%" of the prescription.
        source_name: The card's own name of a measure that is "undefined" here.

    Raises:
        InputError: If the kind or a unit is unknown, or a number is not finite.
    """

    kind: Kind
    input_value: float | int | None = None
    input_unit: Unit | None = None
    output_unit: Unit | None = None
    hi_high: float | int = 0.0
    hi_low: float | int = 0.0
    hi_target: float | int = 0.0
    hi_target_unit: Unit | None = None
    source_name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"must be one of {', '.join(KINDS)}", argument="kind", value=self.kind)
        for name in ("input_unit", "output_unit", "hi_target_unit"):
            unit = getattr(self, name)
            if unit is not None and unit not in UNITS:
                raise InputError(f"must be one of {', '.join(UNITS)}", argument=name, value=unit)
        for name in ("input_value", "hi_high", "hi_low", "hi_target"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise InputError("must be finite", argument=name, value=number)

    def describe(self) -> str:
        """Return the metric as planners write it, output unit in brackets.

        >>> Metric("dose_at_volume", 0.03, "CC", "Gy").describe()
        'D0.03cc [Gy]'
        >>> Metric("volume_at_dose", 20.0, "Gy", "%").describe()
        'V20Gy [%]'
        """
        at = "" if self.input_value is None else f"{self.input_value:g}"
        unit = {"CC": "cc", None: ""}.get(self.input_unit, self.input_unit)
        target = f"{self.hi_target:g} {self.hi_target_unit or ''}".rstrip()
        text = {
            "min_dose": "Dmin",
            "max_dose": "Dmax",
            "mean_dose": "Dmean",
            "dose_at_volume": f"D{at}{unit}",
            "volume_at_dose": f"V{at}{unit}",
            "volume": "Volume",
            "volume_of_regret": f"volume of regret at {at} {unit}",
            "conformation_number": f"conformation number at {at} {unit}",
            "homogeneity_index": f"(D{self.hi_high:g}% − D{self.hi_low:g}%) / {target}",
            "conformity_index": f"conformity index at {at} {unit}",
            "inhomogeneity_index": "(Dmax − Dmin) / Dmean",
            "modified_gradient_index": f"V{self.hi_low:g}{unit} / V{self.hi_high:g}{unit}",
            "dose_at_subvolume": f"D(V − {at} cc)",
            "undefined": self.source_name or "undefined",
        }[self.kind]
        output = {"CC": "cc"}.get(self.output_unit or "", self.output_unit)
        return f"{text} [{output}]" if output else text
